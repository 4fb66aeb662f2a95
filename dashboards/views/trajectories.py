"""Trajectory browser: conversations with calls, results, branches and the loss mask in colour."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboards import (
    checkpoint_scores,
    controls,
    conversations,
    markup,
    source,
    theme,
    transcript,
)
from dashboards.conversations import Entry, Filter
from dashboards.views import conversation_list

KINDS = {
    "all": "",
    "forked from another": "branch",
    "with a mistake": "masked",
    "without a mistake": "plain",
}


def render() -> None:
    """Show one split of a Trajectories artifact: the list, and the chosen conversation."""
    st.html(markup.heading("Trajectories"))
    artifacts = {artifact.key: artifact for artifact in source.artifacts("trajectories")}
    if not artifacts:
        st.html(markup.empty("No trajectories yet: the step <b>trajectories</b> makes them."))
        return
    top = st.columns([3, 2, 2, 2, 3], vertical_alignment="bottom")
    with top[0]:
        key = controls.choose(
            "Artifact",
            list(artifacts),
            "key",
            show=lambda k: f"{theme.short(k)} · {theme.ago(artifacts[k].created)}",
            drops=("id",),
        )
    with top[1]:
        split = controls.choose("Split", conversations.SPLITS, "split", drops=("id",))
    path = checkpoint_scores.files_of(source.store(), artifacts[key]) / f"{split}.jsonl"
    if not path.is_file():
        st.html(markup.empty(f"The artifact has no split {markup.text(split)}."))
        return
    entries = source.conversation_index(path, path.stat().st_size)
    families = ["all", *conversations.choices(entries, "family")]
    family = top[2].selectbox("Family", families, key="family", bind="query-params")
    styles = ["all", *conversations.choices(entries, "style")]
    style = top[3].selectbox("Style", styles, key="style", bind="query-params")
    kind = top[4].selectbox("Branch", list(KINDS), key="branch", bind="query-params")
    wanted = Filter(
        family="" if family == "all" else family,
        style="" if style == "all" else style,
        kind=KINDS[kind],
    )
    fitting = [entry for entry in entries if wanted.takes(entry)]
    if not fitting:
        st.html(markup.empty("No conversation fits these filters."))
        return
    left, right = st.columns([3, 8], gap="large")
    with left:
        entry = conversation_list.pick(fitting, key)
    with right:
        _conversation(path, entry, conversations.relatives(entries, entry))


def _conversation(file: Path, entry: Entry, relatives: list[Entry]) -> None:
    conversation = conversations.read(file, entry)
    trained, whole = transcript.counts(conversation)
    facts = [
        markup.mono(entry.id),
        f"family <b>{markup.text(entry.family)}</b>",
        f"style <b>{markup.text(entry.style)}</b>",
        f"loss on <b>{theme.percent(trained / whole if whole else 0, 0)}</b> of the text",
    ]
    st.html(f'<div class="s-sub">{"".join(f"<span>{fact}</span>" for fact in facts)}</div>')
    st.html(markup.legend(transcript.LEGEND))
    if relatives:
        other = conversations.read(file, relatives[0])
        shared = conversations.shared_turns(conversation, other)
        one, two = st.columns(2, gap="medium")
        one.caption("This branch" if entry.parent else "This conversation")
        one.html(transcript.turns(conversation, shared=shared if entry.parent else 0))
        two.caption("Where it forked from" if entry.parent else "A branch of it")
        two.html(transcript.turns(other, shared=0 if entry.parent else shared))
    else:
        st.html(transcript.turns(conversation))
    st.markdown("**As the model reads it**")
    st.html(transcript.spans(conversation))
