from pathlib import Path

import pytest

from components.evaluation.items import Item, choose, read_items, summarize, write_scores


def test_proportions_quantities_and_families_are_summed_up(tmp_path: Path) -> None:
    items = [
        Item("success/greedy", "a", 1.0, "calculator"),
        Item("success/greedy", "b", 0.0, "lookup"),
        Item("bits_per_byte/code", "d1", 2.0, weight=30.0),
        Item("bits_per_byte/code", "d2", 4.0, weight=10.0),
    ]
    summary = summarize(items, confidence=0.95, seed=0)
    assert list(summary) == [
        "bits_per_byte/code",
        "success/greedy",
        "success/greedy/calculator",
        "success/greedy/lookup",
    ]
    assert summary["bits_per_byte/code"]["value"] == pytest.approx(2.5)
    assert summary["success/greedy"]["value"] == 0.5
    assert summary["success/greedy"]["n"] == 2
    assert 0 < summary["success/greedy"]["low"] < 0.5 < summary["success/greedy"]["high"] < 1
    write_scores(items, summary, tmp_path)
    assert read_items(tmp_path / "items.jsonl", "success/greedy") == {"a": 1.0, "b": 0.0}


def test_choice_is_even_over_families_and_nested() -> None:
    records = [{"id": f"{family}{n}", "family": family} for family in "abc" for n in range(10)]
    few = choose(records, 6, seed=1)
    assert sorted(record["family"] for record in few) == ["a", "a", "b", "b", "c", "c"]
    assert choose(records[::-1], 12, seed=1)[:6] == few
    assert choose(records, 6, seed=2) != few
    assert len(choose(records, 99, seed=1)) == 30
