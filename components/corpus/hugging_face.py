"""Data sets of the Hugging Face hub as sources: pinned to a commit, streamed, never held whole.

The extra `huggingface` brings the library; it is imported here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from components.contract import BadInput, EnvironmentMissing, NotFound, TryAgain
from components.corpus.config import HuggingFaceDataset
from components.corpus.document import Document

SHUFFLE_BUFFER = 10_000
"""Documents among which a stream is shuffled; the data files are shuffled as a whole."""


def revision(source: HuggingFaceDataset) -> str:
    """Return the commit that the source's branch or tag names now."""
    _require()
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # Its first parent is the HTTP library's own failure, which a refused connection raises.
    transport: Any = HfHubHTTPError.__mro__[1]
    try:
        found = HfApi().dataset_info(source.name, revision=source.revision, timeout=20)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise NotFound(
            f"the hub has no data set {source.name} at {source.revision}, or it needs a login.\n"
            "Correct corpus.sources, or run `hf auth login`."
        ) from error
    except (transport, OSError) as error:
        raise TryAgain(f"the hub cannot be asked for {source.name}: {error}") from error
    return f"commit:{found.sha}"


def documents(source: HuggingFaceDataset, commit: str, seed: int) -> Iterator[Document]:
    """Yield the rows of a split at a commit, shuffled by `seed`."""
    _require()
    import datasets

    try:
        rows = datasets.load_dataset(
            source.name,
            source.config,
            split=source.split,
            revision=commit.removeprefix("commit:"),
            streaming=True,
        )
    except ValueError as error:  # an unknown configuration or split: the library lists them
        raise BadInput(f"data set {source.name}: {error}") from error
    except OSError as error:
        raise TryAgain(f"data set {source.name} cannot be read: {error}") from error
    rows: Any = rows.shuffle(seed=seed, buffer_size=SHUFFLE_BUFFER)
    for number, row in enumerate(rows, 1):
        text = row.get(source.text_column)
        if not isinstance(text, str):
            raise BadInput(
                f"data set {source.name}, row {number}: column {source.text_column!r} holds no"
                f" text; columns: {', '.join(sorted(row)[:8])}.\nSet text_column of the source."
            )
        title = row.get(source.title_column)
        yield Document(text, title if isinstance(title, str) else "")


def _require() -> None:

    if find_spec("datasets") is None:
        raise EnvironmentMissing(
            "sources of type huggingface need the package datasets.\n"
            "Install the extra: pip install 'strata[huggingface]'."
        )
