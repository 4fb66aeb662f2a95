"""R16: the disk fills up at each of many write points of a training stage.

The home lies on a small tmpfs of a bubblewrap box, which needs no root: `python -m
tests.faults.full_disk PLACE N` runs inside. An undisturbed attempt shows how much it writes; then
one attempt after another gets a larger part of that, so that each fails at another write.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from tests.faults.figure import Figure
from tests.faults.forks import WARM

ROOT = Path(__file__).parents[2]
BOX_BYTES = 64_000_000
STEPS = 8


@dataclass(frozen=True)
class Starved:
    """Say how an attempt ended that ran out of space, and what came after."""

    free: int
    """Bytes it could write."""
    code: int
    said: str
    """Its own words: the cause it wrote down, else what it printed."""
    whole: bool
    """Whether its newest resume point, if it made one, is sound."""
    goes_on: bool
    """Whether the next attempt, with space, made the artifact an undisturbed one makes."""


def measure(n: int, seed: int, place: Path) -> Figure:
    """Fill the disk at `n` evenly spread points; there is nothing to draw."""
    del seed
    place.mkdir(parents=True, exist_ok=True)
    box = [shutil.which("bwrap") or "bwrap", "--dev-bind", "/", "/"]
    box += ["--size", str(BOX_BYTES), "--tmpfs", str(place)]
    inside = [sys.executable, "-m", "tests.faults.full_disk", str(place), str(n)]
    done = subprocess.run(
        [*box, *inside], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=1800
    )
    found = [Starved(**values) for values in json.loads(done.stdout.splitlines()[-1])]
    full = [each for each in found if each.code != 0]
    mute = [each for each in full if not names_path_and_bytes(each.said, place)]
    codes = sorted({each.code for each in full})
    torn = sum(not each.whole for each in found)
    stuck = sum(not each.goes_on for each in found)
    for each in mute[:3]:
        print(each)
    return Figure(
        row="R16",
        goal="ENOSPC at each write point: last resume point valid, message names path and bytes, "
        "resume works",
        n=n,
        figure=f"{len(full)} of {n} ran out of space (exit codes {codes}), {torn} invalid points, "
        f"{len(mute)} messages without path and bytes, {stuck} did not go on",
        holds=not torn and not mute and not stuck and codes == [3] and len(full) >= 0.8 * n,
    )


def names_path_and_bytes(said: str, place: Path) -> bool:
    """Tell whether a message says what is full, where, and how many bytes are free."""
    return "No space left" in said and f"{place}/" in said and " bytes " in said


def inside_box(place: Path, n: int) -> list[Starved]:
    """Measure on the small disk that `place` is."""
    for module in WARM:  # once, for every process that is forked below
        import_module(module)
    from tests.faults.training import Trainer

    trainer = Trainer(place / "home", STEPS)
    free = free_bytes(place)
    request = trainer.ask(resume_seconds=0)
    least, code, said = watched(trainer, request, place)
    assert code == 0, said
    wanted = digest(trainer, request)
    need = free - least
    found: list[Starved] = []
    for point in range(n):
        clear(trainer, request)
        found.append(starve(trainer, place, int(need * (point + 0.5) / n), wanted))
    return found


def starve(trainer, place: Path, room: int, wanted: str) -> Starved:
    """Let one attempt write `room` bytes, then let another one go on with space."""
    from tests.faults.attempts import attempt_of

    request = trainer.ask(resume_seconds=0)
    filler = place / "filler"
    with filler.open("wb") as file:
        file.truncate(0)
        os.posix_fallocate(file.fileno(), 0, max(1, free_bytes(place) - room))
    _, code, said = watched(trainer, request, place)
    filler.unlink()
    attempt = attempt_of(trainer.home, request)
    said = (attempt.record("result") or {}).get("cause") or said
    whole = is_whole(attempt.resume)
    after = trainer.ask(resume_seconds=0)
    _, again, _ = watched(trainer, after, place)
    goes_on = again == 0 and digest(trainer, after) == wanted
    return Starved(room, code, said, whole, goes_on)


def watched(trainer, request, place: Path) -> tuple[int, int, str]:
    """Carry an attempt out; return the fewest bytes that were free, its code and what it said."""
    log = Path(os.environ["TMPDIR"]) / "said"
    child = os.fork()
    if child == 0:
        from tests.faults.attempts import carry_out

        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os._exit(carry_out(request))
    least = free_bytes(place)
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        least = min(least, free_bytes(place))
        time.sleep(0.001)
    return least, os.waitstatus_to_exitcode(ended[1]), log.read_text()


def is_whole(resume: Path) -> bool:
    """Tell whether the newest resume point verifies; there may be none."""
    from components.training.resume import newest_resume_point
    from tests.components.training.sample_inputs import make_context
    from tests.faults.training import newest_point

    newest = newest_point(resume)
    if newest < 0:
        return True
    reader = Path(os.environ["TMPDIR"]) / f"reader-{time.monotonic_ns()}"
    point = newest_resume_point(make_context(reader, earlier=(resume,)))
    return point is not None and point.step == newest


def digest(trainer, request) -> str:
    """Return the content digest of what was made."""
    from tests.faults.attempts import store_of

    manifest = store_of(trainer.home).manifest(request.stage, request.key)
    return manifest.digest if manifest else ""


def clear(trainer, request) -> None:
    """Remove every attempt at the artifact, and the artifact."""
    shutil.rmtree(trainer.home / "store" / "artifacts" / request.stage / request.key)


def free_bytes(place: Path) -> int:
    return shutil.disk_usage(place).free


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as outside:
        os.environ["TMPDIR"] = outside
        print(
            json.dumps([asdict(each) for each in inside_box(Path(sys.argv[1]), int(sys.argv[2]))])
        )
