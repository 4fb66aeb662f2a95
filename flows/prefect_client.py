"""One way to ask a Prefect server: by its address, whatever this process is set up for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient


def talking_to(url: str) -> AbstractContextManager[Any]:
    """Let everything of Prefect's in the body talk to the API at `url`."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    return temporary_settings({PREFECT_API_URL: url})


@asynccontextmanager
async def prefect_client(url: str) -> AsyncGenerator[PrefectClient]:
    """Yield a client of the API at `url`."""
    from prefect.client.orchestration import get_client

    with talking_to(url):
        async with get_client() as client:
            yield client
