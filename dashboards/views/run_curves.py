"""Curves of a run: one panel a training step, the metric chosen by name."""

from __future__ import annotations

import streamlit as st

from dashboards import charts, markup, panels, source, theme
from dashboards.journals import Curve


def render(run_id: str) -> None:
    """Show one metric of every step that reports it."""
    detail = source.run_detail(run_id)
    found: dict[str, list[Curve]] = {
        step.step: source.curves(step.stage, step.key, step.step)
        for step in detail.steps
        if step.key and step.stage != "evaluate"
    }
    names = panels.metric_names(found)
    if not names:
        st.html(markup.empty("No step of this run has reported a metric yet."))
        return
    metric = st.selectbox("Metric", names, key="metric", bind="query-params", width=320)
    shown = panels.panels(found, metric)
    st.caption(
        "x: optimizer step. Thin line: as measured, at most 2,000 points; thick line: its average."
    )
    columns = st.columns(min(3, max(2, len(shown))), gap="medium")
    stages = {step.step: step.stage for step in detail.steps}
    for position, (step, one) in enumerate(shown.items()):
        colours = {step: theme.step_colour(step, stages[step])}
        note = f"{one.metric}   {theme.number(one.last)}"
        with columns[position % len(columns)]:
            st.altair_chart(charts.curve({step: one}, colours, step, note), key=f"curve-{step}")
