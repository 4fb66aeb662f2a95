"""The list of runs: state, steps, when, how long, and how well the last checkpoint does."""

from __future__ import annotations

import time

import streamlit as st

from dashboards import markup, source, theme
from dashboards.views import new_run

SIZE = 25
SECONDS = 3
SHOWN = ("done", "cached", "running", "failed", "interrupted", "pending")


def render() -> None:
    """Show the newest runs, filtered and by page, refreshed while the page is open."""
    everything = source.run_page(1, SIZE, None, None)
    left, right = st.columns([5, 1.2], vertical_alignment="center")
    with left:
        _heading()
    with right:
        new_run.render()
    if not everything.states:
        _wait_for_the_first()
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
        _rows(page, chosen_recipe, chosen_state, (everything.recipes, set(everything.states)))


@st.fragment(run_every=SECONDS)
def _heading() -> None:
    states = source.run_page(1, SIZE, None, None).states
    counts = [f"<b>{count}</b> {state}" for state, count in sorted(states.items())]
    st.html(markup.heading("Runs", below=counts))


@st.fragment(run_every=SECONDS)
def _wait_for_the_first() -> None:
    if source.run_page(1, SIZE, None, None).states:
        st.rerun()
    st.html(markup.empty("No run yet. <code>strata run toy</code> starts one; it shows up here."))


@st.fragment(run_every=SECONDS)
def _rows(
    page: int, recipe: str | None, state: str | None, offered: tuple[tuple[str, ...], set[str]]
) -> None:
    listed = source.run_page(page, SIZE, recipe, state)
    if (listed.recipes, set(listed.states)) != offered:
        st.rerun()  # there is something new to filter by
    if not listed.runs:
        st.html(markup.empty("No run fits these filters."))
        return
    st.html(markup.runs_table(listed.runs, time.time()))
