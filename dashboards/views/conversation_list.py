"""The list beside a conversation: a page of those that fit, the chosen one in the address."""

from __future__ import annotations

import streamlit as st

from dashboards import conversations
from dashboards.conversations import Entry

SIZE = 12


def pick(fitting: list[Entry], artifact: str) -> Entry:
    """Offer the conversations of an artifact (its key) and return the chosen one; the address then
    names both, so that it still holds when there is a newer artifact.
    """
    st.caption(f"{len(fitting):,} conversations")
    ids = [entry.id for entry in fitting]
    asked = st.query_params.get("id", "")
    pages = -(-len(fitting) // SIZE)
    area = st.container()
    start = ids.index(asked) // SIZE + 1 if asked in ids else 1
    page = (
        st.pagination(pages, default=start, max_visible_pages=5, key=f"page-{pages}-{asked}")
        if pages > 1
        else 1
    )
    shown = fitting[(page - 1) * SIZE : page * SIZE]
    index = next((i for i, entry in enumerate(shown) if entry.id == asked), 0)
    key = f"pick-{page}-{pages}-{asked}"

    def remember() -> None:
        st.query_params["key"] = artifact
        st.query_params["id"] = st.session_state[key].id

    with area:
        chosen = st.radio(
            "Conversations",
            shown,
            index,
            format_func=lambda entry: entry.question[:60],
            captions=[conversations.caption(entry) for entry in shown],
            label_visibility="collapsed",
            key=key,
            on_change=remember,
        )
    return chosen or shown[0]
