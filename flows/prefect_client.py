"""One way to ask a Prefect server: by its address, whatever this process is set up for."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


def talking_to(url: str) -> AbstractContextManager[Any]:
    """Let everything of Prefect's in the body talk to the API at `url`."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    return temporary_settings({PREFECT_API_URL: url})


@contextmanager
def prefect_client(url: str) -> Generator[SyncPrefectClient]:
    """Yield a client of the API at `url`."""
    from prefect.client.orchestration import get_client

    with talking_to(url), get_client(sync_client=True) as client:
        yield client
