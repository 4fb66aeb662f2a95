import gzip
from pathlib import Path

from components.corpus.parsers.dictd import PAGE_CHARACTERS, read

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


def dictionary(home: Path, rows: list[tuple[str, int, int]], data: str) -> Path:
    (home / "x.dict.dz").write_bytes(gzip.compress(data.encode()))
    lines = [f"{word}\t{number(start)}\t{number(size)}\n" for word, start, size in rows]
    (home / "x.index").write_text("".join(lines))
    return home / "x.index"


def test_entries_are_cut_by_the_index_and_made_readable(tmp_path: Path) -> None:
    head = "00-database-info\n   about\n"
    data = head + BODY
    rows = [("00-database-info", 0, len(head)), ("gull", len(head), len(BODY))]
    rows.append(("gulls", len(head), len(BODY)))
    (entry,) = read(tmp_path, [dictionary(tmp_path, rows, data)], 0)
    assert entry.title == "Gull"
    assert entry.references == ("Sea mew",)
    assert entry.text == (
        "Gull, n. [Of Celtic origin.] 1. A long-winged sea bird. See Sea mew. --Shak.\n"
        "2. One easily cheated."
    )


def test_neighbouring_entries_share_a_page(tmp_path: Path) -> None:
    words = [f"word{place:03d}" for place in range(90)]
    entries = [f"{word}\n   {'as one says ' * 10}\n" for word in words]
    starts = [sum(map(len, entries[:place])) for place in range(90)]
    rows = [(word, starts[place], len(entries[place])) for place, word in enumerate(words)]
    index = dictionary(tmp_path, rows[::-1], "".join(entries))
    pages = list(read(tmp_path, [index], 0))
    assert len(pages) == 4
    assert all(len(page.text) < PAGE_CHARACTERS + 200 for page in pages)
    in_order = sorted(pages, key=lambda page: page.title)
    assert pages != in_order
    assert "".join(page.text for page in in_order).count("word") == 90
    assert in_order[0].title == "word000 – word023"
    assert in_order[0].text.index("word001") < in_order[0].text.index("word002")
