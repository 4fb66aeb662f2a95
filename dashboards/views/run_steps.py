"""Steps of a run: table, attempts, facts and log of the chosen one."""

from __future__ import annotations

import time

import streamlit as st

from components.catalog.queries import Step
from dashboards import controls, figures, journals, markup, source, tables, theme
from dashboards.queries import RunDetail


def render(run_id: str) -> None:
    """Show every step in a row, and one of them in detail."""
    detail = source.run_detail(run_id)
    names = [step.step for step in detail.steps]
    chosen = controls.choose("Step", [ALL, *names], "step", width=320)
    if chosen == ALL:
        st.html(markup.table(_HEAD, [_row(step, detail) for step in detail.steps], right=(2, 3)))
        return
    step = detail.steps[names.index(chosen)]
    _attempts(step, detail)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _logs(step)
    artifact = detail.artifacts.get(step.step)
    with right:
        st.markdown("**Facts**")
        if artifact is None:
            st.caption("The step has no artifact yet.")
        else:
            st.html(tables.key_values(artifact.facts))
            st.html(markup.link("artifact", "Artifact and lineage →", key=artifact.key))


VIEW = "Steps and logs"
ALL = "all steps"
_HEAD = ("Step", "State", "Time", "Attempts", "Artifact", "Why")


def _row(step: Step, detail: RunDetail) -> list[str]:
    count = sum(1 for attempt in detail.attempts if attempt.key == step.key)
    key = markup.mono(theme.short(step.key))
    artifact = markup.link("artifact", key, key=step.key) if step.digest else key
    return [
        markup.link("run", markup.text(step.step), run=step.run_id, view=VIEW, step=step.step),
        markup.pill(step.state),
        theme.duration(figures.step_seconds(step, time.time())),
        str(count) if count else "–",
        artifact if step.key else "–",
        f"<small>{markup.text(step.cause or step.reason or '')}</small>",
    ]


def _attempts(step: Step, detail: RunDetail) -> None:
    rows = [
        [
            str(attempt.number),
            markup.pill(attempt.state),
            theme.clock(attempt.started),
            theme.duration(figures.step_seconds(attempt, time.time())),
            markup.text(attempt.host or "–"),
            str(attempt.exit_code) if attempt.exit_code is not None else "–",
            f"<small>{markup.text(attempt.cause or '')}</small>",
        ]
        for attempt in detail.attempts
        if attempt.key == step.key
    ]
    if rows:
        head = ("Attempt", "State", "Started", "Time", "Host", "Exit", "Cause")
        st.html(markup.table(head, rows, right=(3, 5)))


def _logs(step: Step) -> None:
    st.markdown("**Log**")
    attempts = source.store().attempts(step.stage, step.key) if step.key else []
    if not attempts:
        st.caption("Nothing has been started for this step yet.")
        return
    numbers = [attempt.number for attempt in reversed(attempts)]
    number = numbers[0]
    if len(numbers) > 1:
        number = st.segmented_control(
            "Attempt", numbers, default=number, key=f"attempt-{step.step}", required=True
        )
    attempt = next(one for one in attempts if one.number == number)
    lines = [*journals.journal_lines(attempt.fetch_journal()), *journals.tail(attempt.fetch_log())]
    st.html(markup.log(lines) if lines else markup.empty("The attempt has reported nothing yet."))
