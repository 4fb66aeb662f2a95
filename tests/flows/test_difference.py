from __future__ import annotations

from flows.difference import diff, flatten


def test_nested_names_are_dotted_and_lists_stay_whole():
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": 1, "a.c": {}, "d": [1, 2]}


def test_diff_names_what_changed_came_and_went():
    before, after = {"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"x": 1, "y": 5}, "c": 4}
    assert diff(before, after) == {"a.y": (2, 5), "b": (3, None), "c": (None, 4)}
