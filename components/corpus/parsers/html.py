"""HTML documentation as plain text: one document a section.

Tags are removed by patterns, fifty times as fast as the parser of the standard library: generated
documentation is regular, and a page lost to bad markup is no loss to a corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

from components.corpus.document import Document, in_hash_order

FILES = ("**/*.html", "**/*.htm")
_NO_TEXT = re.compile(
    r"(?:^|[/_-])(?:genindex|search|index|toc|singlepage|modindex)(?:-[^/]*)?\.html?$"
    r"|(?:^|/)_modules/"
)
_DROPPED = re.compile(
    r"<!--.*?-->|<(script|style|head|nav|footer|svg|button|noscript|form)\b.*?</\1\s*>",
    re.DOTALL | re.IGNORECASE,
)
_MAIN = re.compile(r"<(article|main)\b[^>]*>(.*)</\1>", re.DOTALL | re.IGNORECASE)
_HEADING = re.compile(r"<h[1-4]\b[^>]*>(.*?)</h[1-4]\s*>", re.DOTALL | re.IGNORECASE)
_PERMALINK = re.compile(r"<a\b[^>]*class=\"(?:headerlink|copiable-anchor)[^>]*>.*?</a>", re.DOTALL)
_BLOCK = re.compile(
    r"</?(?:p|div|li|ul|ol|dl|dt|dd|tr|table|pre|section|blockquote)\b[^>]*>|<br\b[^>]*>",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^>]*>")
_PRE = re.compile(r"<pre\b.*?</pre\s*>", re.DOTALL | re.IGNORECASE)
_BLANK = re.compile(r"[ \t]*\n[ \t]*\n\s*")


def read(root: Path, paths: list[Path], seed: int) -> Iterator[Document]:
    """Yield the sections of each page, pages in hash order."""

    def name(path: Path) -> str:
        return path.relative_to(root).as_posix()

    pages = [path for path in paths if not _NO_TEXT.search(name(path))]
    for path in in_hash_order(pages, name, seed):
        yield from sections(path.read_text(encoding="utf-8", errors="replace"))


def sections(page: str) -> Iterator[Document]:
    """Yield what stands under each heading of a page, with the heading as title and first line."""
    page = _PERMALINK.sub("", _DROPPED.sub("", page))
    main = _MAIN.search(page)
    pieces = _HEADING.split(main.group(2) if main else page)
    for heading, body in zip(pieces[1::2], pieces[2::2], strict=True):
        title = " ".join(plain_text(heading).split()).strip("¶# ")
        text = plain_text(body)
        if text:
            yield Document(f"{title}\n\n{text}", title)


def plain_text(markup: str) -> str:
    """Return the text of a piece of HTML: a line a block, preformatted text as it is."""
    kept: list[str] = []
    end = 0
    for match in _PRE.finditer(markup):
        kept += [_flow(markup[end : match.start()]), unescape(_TAG.sub("", match.group()))]
        end = match.end()
    kept.append(_flow(markup[end:]))
    return _BLANK.sub("\n\n", "\n\n".join(part for part in kept if part.strip())).strip()


def _flow(markup: str) -> str:
    lines = _BLOCK.sub("\n", re.sub(r"\s+", " ", markup)).split("\n")
    texts = (" ".join(unescape(_TAG.sub("", line)).split()) for line in lines)
    return "\n".join(text for text in texts if text)
