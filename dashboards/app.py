"""The dashboard: `streamlit run dashboards/app.py`. Pages, their addresses, and what surrounds
them.

Streamlit runs this file as a script, so the repository's root is put on the path where the package
is not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from components.contract import StageFailure  # noqa: E402
from dashboards import controls, markup  # noqa: E402
from dashboards.views import (  # noqa: E402
    artifact,
    compare,
    corpus,
    run,
    runs,
    trajectories,
)


def guarded(render: Callable[[], None]) -> Callable[[], None]:
    """Show a failure that names its cause and fix as a message instead of a traceback."""

    def page() -> None:
        controls.service_banners()
        try:
            render()
        except StageFailure as error:
            st.html(markup.banner(markup.text(str(error)), error=True))

    return page


def main() -> None:
    """Show the page that the address names."""
    icon = str(Path(__file__).with_name("icon.svg"))  # a named icon would come from another host
    st.set_page_config(page_title="Strata", page_icon=icon, layout="wide")
    st.logo(Path(__file__).with_name("logo.svg"), size="large")
    st.html(markup.stylesheet())
    pages = [
        st.Page(guarded(runs.render), title="Runs", url_path="runs", default=True),
        st.Page(guarded(run.render), title="Run", url_path="run"),
        st.Page(guarded(compare.render), title="Compare", url_path="compare"),
        st.Page(guarded(artifact.render), title="Artifacts", url_path="artifact"),
        st.Page(guarded(trajectories.render), title="Trajectories", url_path="trajectories"),
        st.Page(guarded(corpus.render), title="Data", url_path="data"),
    ]
    st.navigation(pages, position="top").run()


main()
