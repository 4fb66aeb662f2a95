"""What the shards are. Imports no tokenizer library."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from components.artifacts.types import Corpus, Tasks, Tokenizer
from components.contract import Facts, StageConfig, StageInputs


class ShardsConfig(StageConfig):
    """Configure how training text is cleaned of test questions and turned into tokens."""

    ngram: PositiveInt = 8
    """Words in a row that a document must share with a test question to be dropped. A shorter
    question is searched as a whole."""
    shortest_match: PositiveInt = 3
    """Words of the shortest question that is searched for; shorter ones occur by chance."""
    max_document_tokens: PositiveInt = Field(default=1_000_000)
    """Tokens after which a document is cut."""


class ShardsInputs(StageInputs):
    """Read documents, the tokenizer, and the questions that training text must not contain."""

    corpus: Corpus
    tokenizer: Tokenizer
    tasks: Tasks


class ShardsFacts(Facts):
    """Tell what the shards hold."""

    tokens: dict[str, int]
    """Training tokens by domain, separators included."""
    heldout_tokens: dict[str, int]
    """Held-out tokens by domain."""
    documents: dict[str, int]
    """Training documents by domain."""
    contaminated: dict[str, int]
    """Training documents dropped by domain, since they contain a test question."""
