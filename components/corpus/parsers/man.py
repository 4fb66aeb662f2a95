"""Manual pages as plain text, read straight from the roff source (macros of man(7)).

Only what changes the words is followed: sections, paragraphs, fonts, escapes. Tables and the pages
of mdoc(7) are left out, and so is a page that only sources another one.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from components.corpus.document import Document, in_hash_order

FILES = ("usr/share/man/man*/*.gz",)
_FONTS = {"B", "I", "BI", "BR", "IB", "IR", "RB", "RI", "SM", "SB"}
_PARAGRAPHS = {"PP", "P", "LP", "TP", "IP", "HP", "RS", "RE", "TQ", "nf", "fi", "EX", "EE", "sp"}
_ESCAPES = {
    "\\-": "-",
    "\\e": "\\",
    "\\&": "",
    "\\ ": " ",
    "\\~": " ",
    "\\|": "",
    "\\^": "",
    "\\:": "",
    "\\/": "",
    "\\,": "",
    "\\%": "",
    "\\0": " ",
    "\\'": "'",
    "\\`": "`",
    "\\.": ".",
    "\\c": "",
}
_NAMED = {
    "aq": "'",
    "dq": '"',
    "lq": '"',
    "rq": '"',
    "oq": "'",
    "cq": "'",
    "em": "-",
    "en": "-",
    "bu": "*",
    "rs": "\\",
    "ti": "~",
    "ha": "^",
    "ga": "`",
    "mu": "x",
    "->": "->",
    "<=": "<=",
    ">=": ">=",
    "co": "(c)",
    "if": "infinity",
    "pi": "pi",
    "+-": "+/-",
}
_ESCAPE = re.compile(
    r"\\f(?:\[[^\]]*\]|\(..|.)|\\s[+-]?\d+|\\\*?\((..)|\\\*?\[([^\]]*)\]|\\[hv]'[^']*'|\\(?!f).",
    re.DOTALL,
)
_GAP = re.compile(r"\n{3,}")
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"|(\S+)')


def read(root: Path, paths: list[Path], seed: int) -> Iterator[Document]:
    """Yield one document a page, in hash order."""
    for path in in_hash_order(paths, lambda path: path.relative_to(root).as_posix(), seed):
        source = gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace")
        text = page_text(source)
        if text:
            yield Document(text, path.name.split(".")[0])


def page_text(source: str) -> str:
    """Return the text of a page; empty for one that only names another, and for mdoc(7)."""
    lines: list[str] = []
    table = False
    filled = True
    for line in source.replace("\\\n", "").split("\n"):  # a backslash joins two lines
        if not line.startswith((".", "'")):
            if not table and line.strip():
                _add(lines, _unescape(line), filled)
            continue
        name, _, rest = line[1:].strip().partition(" ")
        if name in ("so", "Dd"):
            return ""
        table = name == "TS" or (table and name != "TE")
        if name in ("nf", "EX", "fi", "EE"):
            filled = name in ("fi", "EE")
        _macro(lines, name, rest, filled)
    return _GAP.sub("\n\n", "\n".join(line.rstrip() for line in lines)).strip()


def _macro(lines: list[str], name: str, rest: str, filled: bool) -> None:
    if name in ("SH", "SS"):
        lines += ["", " ".join(_arguments(rest)), ""]
    elif name in _FONTS:
        words = _arguments(rest)
        alternates = len(name) == 2 and name not in ("SM", "SB")
        _add(lines, ("" if alternates else " ").join(words), filled)
    elif name in _PARAGRAPHS and lines and lines[-1]:
        lines.append("")
        if name in ("IP", "TP") and (words := _arguments(rest)) and not words[0].isdigit():
            lines.append(words[0])


def _add(lines: list[str], text: str, filled: bool) -> None:
    if filled and lines and lines[-1]:
        lines[-1] += " " + text
    else:
        lines.append(text)


def _arguments(rest: str) -> list[str]:
    return [
        _unescape(quoted.replace('""', '"') if quoted else word)
        for quoted, word in _ARGUMENT.findall(rest)
    ]


def _unescape(text: str) -> str:
    def replacement(match: re.Match[str]) -> str:
        named = match.group(1) or match.group(2)
        if named:
            return _NAMED.get(named, "")
        return _ESCAPES.get(match.group(), "")

    return _ESCAPE.sub(replacement, text.split('\\"')[0])
