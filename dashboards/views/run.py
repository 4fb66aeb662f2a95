"""One run: its state and figures at the top, then the overview, scores, curves, steps or
configuration.
"""

from __future__ import annotations

import time

import streamlit as st

from components.catalog.liveness import INTERRUPTED
from components.contract import NotFound
from dashboards import charts, figures, graphs, markup, services, source, theme
from dashboards.queries import RunDetail
from dashboards.views import run_curves, run_scores, run_steps

SECONDS = 2
VIEWS = ("Overview", "Scores", "Curves", run_steps.VIEW, "Configuration")


def render() -> None:
    """Show the run that the address names, or the newest."""
    try:
        detail = source.run_detail(st.query_params.get("run", "latest"))
    except NotFound as error:
        st.html(markup.heading("Run"))
        st.fragment(_wait_for_it, run_every=SECONDS)(str(error))
        return
    st.query_params["run"] = detail.run.id  # an address without it would mean another run tomorrow
    every = None if detail.settled else SECONDS
    st.fragment(_top, run_every=every)(detail.run.id, detail.settled)
    view = st.segmented_control(
        "View",
        VIEWS,
        default=VIEWS[0],
        key="view",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    sections = {
        "Scores": run_scores.render,
        "Curves": run_curves.render,
        run_steps.VIEW: run_steps.render,
        "Configuration": _configuration,
    }
    st.fragment(sections.get(view or "", _overview), run_every=every)(detail.run.id)


def _wait_for_it(reason: str) -> None:
    if source.has_run(st.query_params.get("run", "latest")):
        st.rerun()
    st.html(markup.empty(markup.text(reason)))


def _top(run_id: str, settled: bool) -> None:
    detail = source.run_detail(run_id)
    if detail.settled and not settled:
        st.rerun()  # once, so that the page stops refreshing
    run = detail.run
    now = time.time()
    facts = [
        markup.mono(run.id),
        f'<span title="{theme.clock(run.created)}">started {theme.ago(run.created, now)}</span>',
        *_links(detail),
        markup.link("compare", "Compare", runs=run.id),
    ]
    st.html(markup.heading(run.recipe, markup.pill(run.state), facts))
    if run.state == INTERRUPTED:
        st.html(markup.banner("Its process is gone; the command that started it continues it."))
    if run.cause and run.state != "done":
        st.html(markup.banner(markup.text(run.cause), error=run.state == "failed"))
    st.html(
        markup.cards(figures.cards(detail, source.scores(detail), source.progress(detail), now))
    )


def _links(detail: RunDetail) -> list[str]:
    run = detail.run
    known = source.run_links(run.id)
    flow_run = run.flow_run_id or known.get("prefect_flow_run")
    found: list[str] = []
    for service in source.all_services():
        url = service.url
        if service.name == "Prefect" and flow_run:
            url = services.flow_run_url(service, flow_run)
        elif service.name == "MLflow":
            url = known.get("mlflow") or url
        found.append(markup.outside(url, f"{service.name} ↗"))
    return found


def _overview(run_id: str) -> None:
    detail = source.run_detail(run_id)
    now = time.time()
    st.subheader("Timeline")
    st.html(markup.legend(theme.KINDS))
    start = figures.first_start(detail)
    chart = charts.timeline(
        detail.steps, source.progress(detail), start, now if detail.live else start
    )
    st.altair_chart(chart, key="timeline")
    st.subheader("Pipeline")
    success = figures.success(source.scores(detail))
    dot = graphs.pipeline(detail.steps, detail.edges, success, now)
    st.graphviz_chart(dot, width="content", alt="The steps of the run and what each is made of")


def _configuration(run_id: str) -> None:
    resolved = source.run_detail(run_id).run.resolved_config
    step = st.selectbox("Part", ["everything", *resolved], key="part", bind="query-params")
    st.json(resolved if step == "everything" else resolved[step], expanded=2)
