import json
import os
from pathlib import Path

from components.corpus.fingerprint import combined_sha256


def test_content_and_names_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("y")
    cache = tmp_path / "cache" / "hashes.json"
    both = [("a", tmp_path / "a"), ("b", tmp_path / "b")]
    whole = combined_sha256(both, cache)
    assert whole == combined_sha256(reversed(both), cache)
    assert whole != combined_sha256([("a", tmp_path / "b"), ("b", tmp_path / "a")], cache)
    assert whole != combined_sha256(both[:1], cache)


def test_unchanged_file_is_not_read_again_and_a_changed_one_is(tmp_path: Path) -> None:
    file, cache = tmp_path / "a", tmp_path / "hashes.json"
    file.write_text("first")
    before = combined_sha256([("a", file)], cache)
    ((mark, _),) = json.loads(cache.read_text()).items()
    cache.write_text(json.dumps({mark: "f" * 64}))  # what a reader of the cache would take
    assert combined_sha256([("a", file)], cache) != before
    os.utime(file, ns=(1, 1))
    assert combined_sha256([("a", file)], cache) == before
