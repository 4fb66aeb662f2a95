"""Take the README's pictures of the dashboard: `python docs/images/take.py [ADDRESS] [RUN]`.

`strata up` first. Without arguments the newest run of the dashboard at its usual address is shown.
A window of fixed size and a palette keep a picture small and equal in look whoever takes it.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
WIDTH, SHARPNESS, COLOURS = 1280, 1.5, 224
SETTLED_MS = 1500
"""Charts are drawn after the page says that it is ready."""


def take(page: Page, address: str, name: str) -> None:
    """Save a whole page as `<name>.png`."""
    page.set_viewport_size({"width": WIDTH, "height": 900})
    page.goto(address, wait_until="networkidle")
    page.get_by_test_id("stSkeleton").first.wait_for(state="detached")
    page.wait_for_timeout(SETTLED_MS)
    block = page.get_by_test_id("stMainBlockContainer").bounding_box()
    assert block is not None
    page.set_viewport_size({"width": WIDTH, "height": int(block["height"])})
    page.wait_for_timeout(SETTLED_MS)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    file = HERE / f"{name}.png"
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file.relative_to(HERE.parent.parent)}: {file.stat().st_size / 1000:.0f} kB")


def main(address: str = "http://127.0.0.1:8501", run: str = "latest") -> None:
    """Take both pictures."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_page(device_scale_factor=SHARPNESS)
        take(page, f"{address}/run?run={run}", "run")
        take(page, f"{address}/trajectories?branch=with+a+mistake", "trajectory")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
