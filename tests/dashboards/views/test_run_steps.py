"""A step of a run with its attempts, log and facts."""

from __future__ import annotations

import pytest

from tests.dashboards.conftest import Open, html
from tests.dashboards.sample_home import run_id

pytestmark = pytest.mark.usefixtures("home")


def test_one_step_with_attempts_log_and_facts(open_page: Open) -> None:
    page = html(open_page("run", run=run_id("a"), view="Steps and logs", step="agentic_base"))
    assert "the resume point is saved" in page
    assert "agentic_base: done" in page
    assert "573,440" in page
