"""The form that makes a deployment, from which Prefect starts runs now or by a schedule."""

from __future__ import annotations

import streamlit as st

from components.contract import StageFailure
from dashboards import actions, markup, source


def render() -> None:
    """Offer a recipe, changes and a schedule; show the deployment's page in Prefect."""
    with (
        st.popover("New run", icon=":material/add:", width="stretch"),
        st.form("deploy", border=False),
    ):
        recipe = st.selectbox("Recipe", actions.RECIPES, index=1)
        overrides = st.text_area("Changes, one a line", placeholder="agent.learning_rate=1e-4")
        cron = st.text_input("Schedule (five fields, empty for none)", placeholder="0 3 * * *")
        if st.form_submit_button("Make deployment", type="primary"):
            _deploy(recipe or actions.RECIPES[0], overrides, cron)


def _deploy(recipe: str, overrides: str, cron: str) -> None:
    try:
        with st.spinner("Talking to Prefect"):
            page = actions.deploy(source.settings(), recipe, overrides, cron)
    except StageFailure as error:
        st.html(markup.banner(markup.text(str(error)), error=True))
        return
    st.html(markup.outside(page, "Start it in Prefect ↗"))
