"""Widgets whose value stands in the address, so that every view of a page can be shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import streamlit as st

from dashboards import markup, source


def choose(
    label: str,
    options: Sequence[str],
    parameter: str,
    *,
    show: Callable[[str], str] = str,
    drops: Sequence[str] = (),
    width: int | Literal["stretch"] = "stretch",
) -> str:
    """Offer `options`; the choice stands in the address as `parameter`, the first one if it does
    not.

    A change takes the parameters `drops` out of the address: they meant something in the old
    choice only.
    """
    wanted = st.query_params.get(parameter, "")
    index = named(options, wanted)
    key = f"choose-{parameter}-{wanted}"

    def remember() -> None:
        st.query_params[parameter] = st.session_state[key]
        for name in drops:
            st.query_params.pop(name, None)

    return st.selectbox(
        label, options, index, format_func=show, key=key, on_change=remember, width=width
    )


def named(options: Sequence[str], wanted: str) -> int:
    """Return which option `wanted` is, or begins; the first one if it names none."""
    if wanted in options:
        return list(options).index(wanted)
    begun = [i for i, option in enumerate(options) if wanted and option.startswith(wanted)]
    return begun[0] if begun else 0


def service_banners() -> None:
    """Say which server does not answer; the pages work from the store and the catalog."""
    found = source.all_services()
    well = source.answering(found)
    down = [service for service in found if not well[service.name]]
    if down:
        names = " and ".join(f"<b>{service.name}</b> ({service.url})" for service in down)
        st.html(
            markup.banner(
                f"No answer from {names}. These pages read the store and the catalog and go on "
                "working; <code>strata up</code> starts the servers."
            )
        )
