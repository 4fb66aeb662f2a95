"""Comparison of runs: what was configured differently, what came out, and the curves overlayed."""

from __future__ import annotations

import streamlit as st

from dashboards import charts, controls, figures, markup, panels, queries, source, tables, theme
from dashboards.queries import RunDetail

MOST = len(theme.RUNS)
OFFERED = 300


def render() -> None:
    """Compare the runs that the address names (`?runs=A&runs=B`)."""
    st.html(markup.heading("Compare runs"))
    offered = [run.id for run in source.run_page(1, OFFERED, None, None).runs]
    wanted = [run_id for run_id in st.query_params.get_all("runs") if run_id not in offered]
    chosen = st.multiselect(
        "Runs",
        [*wanted, *offered],
        key="runs",
        bind="query-params",
        max_selections=MOST,
        placeholder="Choose two or more runs",
    )
    details = [source.run_detail(run_id) for run_id in chosen]
    if len(details) < 2:
        st.html(markup.empty("Choose two or more runs; the address then leads back here."))
        return
    names = [detail.run.id for detail in details]
    colours: dict[str, str] = dict(zip(names, theme.RUNS, strict=False))
    st.html(markup.legend(colours))
    if url := source.compare_link(details):
        st.html(markup.outside(url, "The same runs in MLflow ↗"))
    _configuration(details)
    _scores(details, colours)
    _curves(details, colours)


def _scores(details: list[RunDetail], colours: dict[str, str]) -> None:
    found = {detail.run.id: source.scores(detail) for detail in details}
    scored = [of_one for of_run in found.values() for of_one in of_run]
    if not scored:
        st.html(markup.empty("None of these runs has scores yet."))
        return
    st.subheader("Scores")
    score = st.selectbox(
        "Score by checkpoint",
        tables.score_names(scored),
        key="score",
        bind="query-params",
        width=320,
    )
    st.altair_chart(charts.success_by_run(found, colours, score), key="scores")
    left, right = st.columns([2, 5], vertical_alignment="bottom")
    with left:
        checkpoint = controls.choose("Checkpoint", figures.comparable(found), "checkpoint")
    right.download_button(
        "Download all scores as CSV",
        tables.csv_of_scores(found),
        file_name="scores.csv",
        mime="text/csv",
        icon=":material/download:",
    )
    st.html(tables.compared_scores(found, checkpoint))
    st.caption("A coloured difference has intervals that do not overlap.")


def _configuration(details: list[RunDetail]) -> None:
    st.subheader("Configuration")
    rows = queries.config_difference([detail.run.resolved_config for detail in details])
    if not rows:
        st.caption("These runs have equal configurations.")
        return
    st.html(tables.differences(rows, [detail.run.id for detail in details]))


def _curves(details: list[RunDetail], colours: dict[str, str]) -> None:
    found = {
        detail.run.id: {
            step.step: source.curves(step.stage, step.key, step.step)
            for step in detail.steps
            if step.key and step.stage != "evaluate"
        }
        for detail in details
    }
    names = panels.metric_names({f"{r} {s}": c for r, of in found.items() for s, c in of.items()})
    if not names:
        return
    st.subheader("Curves")
    metric = st.selectbox("Metric", names, key="metric", bind="query-params", width=320)
    same = panels.shared_steps([detail.steps for detail in details])
    overlaid = panels.overlay(found, metric)
    if shared := [step for step in overlaid if step in same]:
        st.caption(f"Shared by all, the same artifact: {', '.join(shared)}.")
    columns = st.columns(2, gap="large")
    shown = {step: curves for step, curves in overlaid.items() if step not in same}
    for position, (step, curves) in enumerate(shown.items()):
        with columns[position % 2]:
            note = next(iter(curves.values())).metric
            st.altair_chart(charts.curve(curves, colours, step, note), key=f"curve-{step}")
