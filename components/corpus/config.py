"""What the corpus is made of. Imports no data engine.

A source's location is where it is found today; what it holds is its revision, which is resolved
before a plan and enters the key beside this configuration.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from components.contract import Facts, StageConfig, StageInputs

Domain = Literal["general", "stem", "code"]


class SourceConfig(StageConfig):
    """Name one place documents come from, and how much of it to take."""

    domain: Domain
    """Domain all documents of this source belong to."""
    max_bytes: PositiveInt | None = None
    """UTF-8 bytes of text to take; documents are chosen by hash, not by position."""
    min_characters: NonNegativeInt = 40
    """Shorter documents are dropped."""
    max_characters: PositiveInt = 100_000
    """Longer documents are split at a paragraph or a line."""


class LocalFiles(SourceConfig):
    """Take documents from files: txt, md, jsonl (also as .gz and .zst) and parquet."""

    type: Literal["files"] = "files"
    paths: tuple[str, ...] = Field(min_length=1)
    """Files, directories and globs; relative ones are relative to where `strata` is called."""
    text_column: str = "text"
    """Field of a JSON line or parquet column that holds the text."""
    title_column: str = "title"
    """Field that holds the title, if there is one."""
    name: str = "files"
    """Name under which the report lists this source."""


Parser = Literal["wordnet", "dict", "html", "man", "fortune", "text"]


class DebianPackage(SourceConfig):
    """Take documents from a Debian package, which is downloaded but never installed."""

    type: Literal["debian"] = "debian"
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")
    """Name of the binary package."""
    parser: Parser
    """Kind of file that is read out of the package."""
    include: tuple[str, ...] = ()
    """Globs of paths inside the package; empty takes what the parser can read."""
    fallback: tuple[str, ...] = ()
    """Python packages whose doc-strings stand in where apt does not exist; the report says so."""


class PythonPackage(SourceConfig):
    """Take documents from an installed Python distribution, or from the standard library."""

    type: Literal["python"] = "python"
    name: str = "stdlib"
    """Name of the distribution; `stdlib` is the standard library of the running Python."""
    take: Literal["code", "docs"] = "code"
    """`code`: each module is a document. `docs`: each doc-string is, with its kind (module, class,
    exception, function, method)."""


class HuggingFaceDataset(SourceConfig):
    """Take documents from a data set of the Hugging Face hub, streamed; needs the extra
    `huggingface`.
    """

    type: Literal["huggingface"] = "huggingface"
    name: str
    """Repository of the data set, such as `owner/name`."""
    config: str | None = None
    """Configuration (subset) of the data set."""
    split: str = "train"
    """Split of the data set."""
    revision: str = "main"
    """Branch, tag or commit; it is resolved to a commit before a plan."""
    text_column: str = "text"
    """Column that holds the text."""
    title_column: str = ""
    """Column that holds the title; empty for none."""


Source = Annotated[
    LocalFiles | DebianPackage | PythonPackage | HuggingFaceDataset, Field(discriminator="type")
]


class Quality(StageConfig):
    """Set the thresholds of the rule filters; shares are of a document's characters or lines.

    The rules follow Rae et al. 2021 (Gopher), table A1, with thresholds of ours that dictionary
    entries, manual pages and source code pass.
    """

    min_letter_share: float = Field(default=0.4, ge=0, le=1)
    """Letters among the characters that are no white space."""
    max_digit_share: float = Field(default=0.3, ge=0, le=1)
    """Digits among the characters that are no white space."""
    max_line_repeat_share: float = Field(default=0.5, ge=0, le=1)
    """Characters in lines that occurred before in the same document."""
    max_word_length: PositiveFloat = 16.0
    """Mean characters of a word; not applied to code."""
    max_symbol_share: float = Field(default=0.35, ge=0, le=1)
    """Characters that are neither letter, digit nor white space."""


class NearDuplicates(StageConfig):
    """Configure the near-duplicate pass: MinHash bands, then exact comparison of what meets."""

    threshold: float = Field(default=0.7, gt=0, le=1)
    """Jaccard similarity of word shingles from which on two documents are duplicates."""
    shingle_words: PositiveInt = 5
    """Words of one shingle."""
    bands: PositiveInt = 20
    """Bands of the sketch; two documents meet if one band agrees."""
    rows: PositiveInt = 5
    """Hashes of one band. With 20 bands of 5, pairs at Jaccard 0.7 meet with probability 0.975,
    at 0.5 with 0.47."""


DEFAULT_SOURCES: tuple[Source, ...] = (
    DebianPackage(name="wordnet-base", parser="wordnet", domain="general", fallback=("stdlib",)),
    DebianPackage(name="dict-gcide", parser="dict", domain="general", fallback=("torch",)),
    DebianPackage(name="dict-foldoc", parser="dict", domain="general", fallback=("pandas",)),
    DebianPackage(
        name="python-sympy-doc",
        parser="html",
        domain="stem",
        fallback=("sympy",),
        max_characters=20_000,
    ),
    DebianPackage(
        name="manpages-dev",
        parser="man",
        domain="stem",
        fallback=("numpy",),
        max_characters=20_000,
    ),
    PythonPackage(name="stdlib", take="code", domain="code", max_characters=10_000),
)
"""Real text that installs by name on Debian and Ubuntu, and code that is always there."""


class CorpusConfig(StageConfig):
    """Configure sources, filters, deduplication and the held-out split."""

    sources: tuple[Source, ...] = DEFAULT_SOURCES
    """Where documents come from; of duplicates, the one from the earlier source is kept."""
    quality: Quality = Quality()
    """Thresholds of the rule filters."""
    near_duplicates: NearDuplicates | None = NearDuplicates()
    """The near-duplicate pass; null leaves it out (exact duplicates always go)."""
    heldout_share: float = Field(default=0.05, gt=0, lt=1)
    """Share of documents held out, chosen by hash."""
    seed: NonNegativeInt = 0
    """Chooses which documents `max_bytes` and `heldout_share` take."""

    @model_validator(mode="after")
    def _sources_differ(self) -> CorpusConfig:
        if not self.sources:
            raise ValueError("sources is empty; name at least one, such as a directory of text")
        labels = [label(source) for source in self.sources]
        for name in labels:
            if labels.count(name) > 1:
                raise ValueError(f"two sources are called {name!r}; give one another `name`")
        return self


def label(source: Source) -> str:
    """Return the name of a source in revisions, in the report and in the column `source`."""
    if isinstance(source, PythonPackage):
        return f"python:{source.name}:{source.take}"
    return f"{source.type}:{source.name}"


class CorpusInputs(StageInputs):
    """Need nothing: the corpus is where a pipeline begins."""


class CorpusFacts(Facts):
    """Tell what the corpus holds."""

    documents: dict[str, int]
    """Training documents by domain."""
    bytes: dict[str, int]
    """UTF-8 bytes of training text by domain."""
    heldout_documents: dict[str, int]
    """Held-out documents by domain."""
    dropped: dict[str, int]
    """Documents dropped, by reason."""
    fallbacks: list[str]
    """Sources that were replaced, since this machine has no apt."""
