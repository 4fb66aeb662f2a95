from pathlib import Path

from components.corpus.parsers.html import plain_text, read, sections

PAGE = """<html><head><title>no</title><style>p {}</style></head><body><nav>menu</nav>
<article role="main"><h1>Series<a class="headerlink" href="#s">¶</a></h1>
<p>A series is a <em>sum</em> of
terms &amp; more.</p><ul><li>first</li><li>second</li></ul>
<h2>Example</h2><div><pre><span>&gt;&gt;&gt; f(x)
  x**2</span></pre></div><script>var x = "<p>";</script></article>
<footer>f</footer></body></html>"""


def test_sections_have_titles_and_readable_text() -> None:
    first, second = sections(PAGE)
    assert first.title == "Series"
    assert first.text == "Series\n\nA series is a sum of terms & more.\nfirst\nsecond"
    assert second.title == "Example"
    assert second.text == "Example\n\n>>> f(x)\n  x**2"


def test_indices_and_sources_are_left_out(tmp_path: Path) -> None:
    names = ["a.html", "genindex.html", "search.html", "py-modindex.html", "_modules/a.html"]
    names.append("manual_singlepage.html")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("<h1>T</h1><p>words</p>")
    assert len(list(read(tmp_path, [tmp_path / name for name in names], 0))) == 1


def test_text_without_tags_is_kept() -> None:
    assert plain_text("a &lt; b") == "a < b"
