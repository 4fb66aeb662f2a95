"""The list of runs: state, steps, when, how long, and how well the last checkpoint does."""

from __future__ import annotations

import time

import streamlit as st

from dashboards import markup, source, theme
from dashboards.views import new_run

SIZE = 25
SECONDS = 3
SHOWN = ("done", "cached", "running", "failed", "pending")


def render() -> None:
    """Show the newest runs, filtered and by page, refreshed while the page is open."""
    everything = source.run_page(1, SIZE, None, None)
    total = sum(everything.states.values())
    counts = [f"<b>{count}</b> {state}" for state, count in sorted(everything.states.items())]
    left, right = st.columns([6, 1], vertical_alignment="center")
    left.html(markup.heading("Runs", below=counts))
    with right:
        new_run.render()
    if not total:
        st.html(
            markup.empty("No run yet. <code>strata run toy</code> starts one; it shows up here.")
        )
        return
    left, right, _ = st.columns([2, 3, 5], vertical_alignment="bottom")
    recipes = ["all", *everything.recipes]
    recipe = left.selectbox("Recipe", recipes, key="recipe", bind="query-params")
    states = ["all", *sorted(everything.states)]
    state = right.segmented_control(
        "State", states, default="all", key="state", bind="query-params", required=True
    )
    chosen_recipe = None if recipe == "all" else recipe
    chosen_state = None if state in {None, "all"} else state
    found = source.run_page(1, SIZE, chosen_recipe, chosen_state).total
    st.html(markup.legend({name: theme.STATES[name] for name in SHOWN}))
    area = st.container()
    page = 1
    if found > SIZE:
        page = st.pagination(-(-found // SIZE), key="page", bind="query-params")
    with area:
        _rows(page, chosen_recipe, chosen_state)


@st.fragment(run_every=SECONDS)
def _rows(page: int, recipe: str | None, state: str | None) -> None:
    listed = source.run_page(page, SIZE, recipe, state)
    if not listed.runs:
        st.html(markup.empty("No run fits these filters."))
        return
    st.html(markup.runs_table(listed.runs, time.time()))
