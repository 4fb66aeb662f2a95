"""Data page: what the corpus kept and dropped, and its documents."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboards import checkpoint_scores, controls, corpus, figures, markup, source, tables, theme

SIZE = 6
SPLITS = ("train", "heldout")


def render() -> None:
    """Show the report of a corpus and pages of its documents."""
    st.html(markup.heading("Data"))
    artifacts = {artifact.key: artifact for artifact in source.artifacts("corpus")}
    if not artifacts:
        st.html(markup.empty("No corpus yet: the step <b>corpus</b> makes it."))
        return
    top = st.columns([3, 2, 2, 3], vertical_alignment="bottom")
    with top[0]:
        key = controls.choose(
            "Corpus",
            list(artifacts),
            "key",
            show=lambda k: f"{theme.short(k)} · {theme.ago(artifacts[k].created)}",
        )
    files = checkpoint_scores.files_of(source.store(), artifacts[key])
    counts = {
        (split, domain): corpus.document_count(_path(files, split, domain))
        for split in SPLITS
        for domain in corpus.DOMAINS
    }
    report = corpus.report(files)
    st.html(markup.cards(figures.corpus_cards(counts, report)))
    if report:
        st.subheader("Sources: what was kept and dropped")
        st.html(tables.sources(report))
    st.subheader("Documents")
    with top[1]:
        domain = controls.choose("Domain", corpus.DOMAINS, "domain")
    with top[2]:
        split = controls.choose("Split", SPLITS, "split")
    _documents(_path(files, split, domain))


def _path(files: Path, split: str, domain: str) -> Path:
    return files / split / f"{domain}.parquet"


def _documents(path: Path) -> None:
    count = corpus.document_count(path)
    if not count:
        st.html(markup.empty("No document of this domain in this split."))
        return
    pages = -(-count // SIZE)
    area = st.container()
    page = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
    for document in source.documents(path, (page - 1) * SIZE, SIZE):
        with area.expander(f"{document['title'] or document['id']} · {document['source']}"):
            st.caption(f"{document['id']} · {len(document['text']):,} characters")
            st.text(document["text"][:4000])
