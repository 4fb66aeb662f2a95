"""Scores of a run by checkpoint: success, families, text loss, and the whole table."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboards import charts, markup, source, tables
from dashboards.checkpoint_scores import CheckpointScores, Gain


def render(run_id: str) -> None:
    """Show what every checkpoint scored, with intervals of 95 %."""
    detail = source.run_detail(run_id)
    scores = source.scores(detail)
    if not scores:
        st.html(markup.empty("No checkpoint of this run has been scored yet."))
        return
    names = {name for of_one in scores for name in of_one.values}
    if names & {"success/greedy", "success/sampled"}:
        _success(scores, source.gains(detail))
    left, right = st.columns(2, gap="large")
    if any(name.startswith("bits_per_byte/") for name in names):
        left.subheader("Bits per byte of held-out text")
        left.caption("Lower is better; a rising line is forgetting.")
        left.altair_chart(charts.text_loss(scores), key="text-loss")
    if any(name.startswith("success/greedy/") for name in names):
        right.subheader("Success by task family")
        right.caption("Greedy answers, per cent.")
        right.altair_chart(charts.families(scores), key="families")
    st.subheader("All scores")
    st.html(tables.scores(scores))
    st.download_button(
        "Download as CSV",
        tables.csv_of_scores({run_id: scores}),
        file_name=f"scores-{run_id}.csv",
        mime="text/csv",
        icon=":material/download:",
    )


def _success(scores: Sequence[CheckpointScores], gains: Sequence[Gain]) -> None:
    st.subheader("Success on held-out tasks")
    st.caption("Right final answer after really executing the calls; bars are 95 % intervals.")
    st.altair_chart(charts.success_by_checkpoint(scores), key="success")
    if gains:
        st.subheader("Gained over the checkpoint before")
        st.caption("Paired, item by item; coloured where the 95 % interval leaves out 0.")
        st.html(tables.gains(gains))
