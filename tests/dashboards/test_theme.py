"""Formats for readers, and that Streamlit's theme has the colours of ours."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import dashboards
from dashboards import theme


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.42, "0.4 s"),
        (9.97, "10 s"),
        (59.4, "59 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (100_000, "1 d 3 h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert theme.duration(seconds) == text


def test_ago_counts_up_to_a_week_then_gives_the_date() -> None:
    assert theme.ago(1000, now=1030) == "just now"
    assert theme.ago(1000, now=1000 + 60) == "1 minute ago"
    assert theme.ago(1000, now=1000 + 3 * 86_400) == "3 days ago"
    assert theme.ago(0, now=30 * 86_400).endswith("1970")


def test_numbers_sizes_and_shares() -> None:
    assert theme.number(12_345) == "12,345"
    assert theme.number(1_500_000) == "1.5M"
    assert theme.number(0.00031) == "0.00031"
    assert theme.size(999) == "999 B"
    assert theme.size(2_500_000) == "2.5 MB"
    assert theme.percent(0.8234) == "82.3 %"
    assert theme.percent(None) == "–"


def test_shade_runs_from_pale_to_dark_and_takes_any_number() -> None:
    assert theme.shade(0) == "#F7EFEA"
    assert theme.shade(1) == "#7F2F22"
    assert theme.shade(0.8) == theme.ACCENT
    assert theme.shade(-3) == theme.shade(0)
    assert theme.shade(3) == theme.shade(1)


def test_every_stage_has_a_kind_with_a_colour() -> None:
    from components.stages import STAGES

    assert {theme.kind_of(stage) for stage in STAGES} == set(theme.KINDS)


def test_streamlit_is_themed_with_our_colours() -> None:
    folder = Path(dashboards.__file__).parent
    config = tomllib.loads((folder / ".streamlit" / "config.toml").read_text())
    assert config["theme"]["primaryColor"] == theme.ACCENT
    assert config["theme"]["textColor"] == theme.INK
    assert config["theme"]["borderColor"] == theme.LINE
    assert config["theme"]["secondaryBackgroundColor"] == theme.PAPER
    assert tuple(config["theme"]["chartCategoricalColors"]) == theme.RUNS
    assert config["server"]["address"] == "127.0.0.1"
