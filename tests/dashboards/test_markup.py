"""HTML pieces escape what runs wrote and link within the dashboard."""

from __future__ import annotations

from dataclasses import replace

from dashboards import markup, theme
from dashboards.queries import run_page
from tests.dashboards.sample_home import SampleHome, run_id


def test_runs_table_links_each_run_and_escapes(sample: SampleHome) -> None:
    run = run_page(sample.catalog).runs[1]
    page = markup.runs_table([replace(run, recipe="<script>x</script>")], sample.now)
    assert f'href="run?run={run_id("d", "ci")}"' in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_strip_has_a_cell_a_step_in_its_state(sample: SampleHome) -> None:
    steps = run_page(sample.catalog).runs[3].steps
    strip = markup.strip(steps)
    assert strip.count("<i ") == 18
    assert strip.count(theme.STATES["cached"]) == 15
    assert strip.count(theme.STATES["done"]) == 3
    assert 'title="agent: done, 2 min 21 s"' in strip


def test_links_are_relative_and_encoded() -> None:
    assert markup.href("run", run="a b", view="Steps & logs", step=None) == (
        "run?run=a+b&amp;view=Steps+%26+logs"
    )
    assert markup.href("compare") == "compare"


def test_change_is_coloured_only_when_certain() -> None:
    assert "s-good" in markup.change(0.1, low=0.05, high=0.15)
    assert "s-bad" in markup.change(-0.1, low=-0.15, high=-0.05)
    assert markup.change(0.1, low=-0.05, high=0.25) == "+10.0 points"


def test_table_may_go_without_a_head() -> None:
    assert "<thead>" not in markup.table((), [["a", "b"]])
    assert markup.table(("x", "y"), [["a", "b"]], right=(1,)).count('class="s-right"') == 2


def test_style_sheet_knows_every_class_that_is_written() -> None:
    sheet = markup.stylesheet()
    assert "--accent:#B4543A" in sheet
    for name in ("s-strip", "s-card", "s-turn", "s-spans", "s-table", "s-banner"):
        assert f".{name}" in sheet


def test_text_keeps_line_breaks() -> None:
    assert markup.text("a\n<b>") == "a<br>&lt;b&gt;"
