import gzip
from pathlib import Path

from components.corpus.parsers.dictd import read

BODY = """\
Gull \\Gull\\ (g[u^]l), n. [Of Celtic origin.]
   1. A long-winged
      sea bird. See {Sea mew}. --Shak.
      [1913 Webster]

   2. One easily cheated.
      [1913 Webster]
"""
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def number(value: int) -> str:
    text = DIGITS[value % 64]
    while value := value // 64:
        text = DIGITS[value % 64] + text
    return text


def test_entries_are_cut_by_the_index_and_made_readable(tmp_path: Path) -> None:
    head = "00-database-info\n   about\n"
    data = head + BODY
    (tmp_path / "x.dict.dz").write_bytes(gzip.compress(data.encode()))
    rows = [("00-database-info", 0, len(head)), ("gull", len(head), len(BODY))]
    rows.append(("gulls", len(head), len(BODY)))
    lines = [f"{word}\t{number(start)}\t{number(size)}\n" for word, start, size in rows]
    (tmp_path / "x.index").write_text("".join(lines))
    (entry,) = read(tmp_path, [tmp_path / "x.index"], 0)
    assert entry.title == "Gull"
    assert entry.references == ("Sea mew",)
    assert entry.text == (
        "Gull, n. [Of Celtic origin.] 1. A long-winged sea bird. See Sea mew. --Shak.\n"
        "2. One easily cheated."
    )
