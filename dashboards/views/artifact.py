"""An artifact: what it is, what it was made of down to the sources, and its files; or the newest
ones.
"""

from __future__ import annotations

import streamlit as st

from components.artifacts.manifest import Manifest
from components.catalog.queries import ArtifactRow, Lineage
from dashboards import graphs, markup, queries, source, tables, theme


def render() -> None:
    """Show the artifact whose key or digest the address begins to name, or list them."""
    key = st.query_params.get("key", "")
    if not key:
        _listed()
        return
    found = source.lineage(key)
    artifact = found.artifact
    manifest = source.manifest(artifact)
    facts = [
        f"{artifact.stage} · made {theme.ago(artifact.created)}",
        f"in <b>{theme.duration(artifact.seconds)}</b>",
        f"{theme.size(artifact.bytes)} · attempt {artifact.attempt}",
        *_onward(artifact),
    ]
    state = markup.pill("failed") if artifact.condemned else ""
    st.html(markup.heading(artifact.step, state, facts))
    if artifact.condemned:
        text = "This artifact was found damaged and set aside; the next run makes it again."
        st.html(markup.banner(text, error=True))
    st.html(tables.key_values({"key": artifact.key, "digest": artifact.digest}))
    st.subheader("Lineage")
    st.caption("From the sources to this artifact (thick border), and what was made of it.")
    st.graphviz_chart(graphs.lineage(found), width="content", alt="Lineage of the artifact")
    left, right = st.columns([1, 1], gap="large")
    with left:
        st.subheader("Facts")
        st.html(tables.key_values(artifact.facts))
        st.subheader("Made of")
        st.html(_inputs(found))
    with right:
        st.subheader("Used by runs")
        st.html(_runs(artifact))
        if manifest is not None:
            st.subheader("Files")
            st.html(_files(manifest))
    if manifest is not None:
        with st.expander("Manifest: configuration, code, packages, numerics, revisions"):
            st.json(manifest.model_dump(mode="json", exclude={"files", "facts"}), expanded=1)


def _listed() -> None:
    st.html(markup.heading("Artifacts"))
    everything = source.artifacts(limit=200)
    stages = ["all", *sorted({artifact.stage for artifact in everything})]
    stage = st.selectbox("Stage", stages, key="stage", bind="query-params", width=260)
    shown = source.artifacts(None if stage == "all" else stage, limit=50)
    if not shown:
        st.html(markup.empty("No artifact yet."))
        return
    rows = [
        [
            markup.link("artifact", markup.text(artifact.step), key=artifact.key),
            markup.text(artifact.stage),
            markup.mono(theme.short(artifact.key)),
            markup.mono(theme.short(artifact.digest)),
            theme.size(artifact.bytes),
            theme.duration(artifact.seconds),
            theme.ago(artifact.created),
        ]
        for artifact in shown
    ]
    head = ("Step", "Stage", "Key", "Digest", "Size", "Made in", "When")
    st.html(markup.table(head, rows, right=(4, 5)))


def _onward(artifact: ArtifactRow) -> list[str]:
    page = {"trajectories": "trajectories", "corpus": "data"}.get(artifact.stage)
    return [markup.link(page, "Browse its content →", key=artifact.key)] if page else []


def _inputs(found: Lineage) -> str:
    rows = [
        [
            markup.mono(edge.name),
            markup.link("artifact", markup.text(edge.input_step), key=edge.input_key),
            markup.mono(theme.short(edge.input_digest)),
        ]
        for edge in found.edges
        if edge.key == found.artifact.key
    ]
    return markup.table(("Input", "Step", "Digest"), rows) if rows else "Sources only."


def _runs(artifact: ArtifactRow) -> str:
    rows = [
        [
            markup.link("run", markup.mono(run_id), run=run_id),
            markup.text(recipe),
            theme.ago(created),
        ]
        for run_id, recipe, created in queries.runs_using(source.catalog(), artifact.key)
    ]
    return markup.table(("Run", "Recipe", "When"), rows) if rows else "None."


def _files(manifest: Manifest) -> str:
    store = source.store()
    rows = [
        [
            markup.file_link(store.file_url(manifest, file.path), markup.mono(file.path)),
            theme.size(file.bytes),
            markup.mono(theme.short(file.sha256)),
        ]
        for file in manifest.files[:60]
    ]
    return markup.table(("File", "Size", "SHA-256"), rows, right=(1,))
