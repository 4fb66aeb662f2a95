from __future__ import annotations

import pytest
from pydantic import PositiveInt

from flows.quantity import alternatives, quantity, read_value


@pytest.mark.parametrize(
    ("text", "field", "number"),
    [
        ("5e-4", "learning_rate", 5e-4),
        ("1.5B", "tokens", 1_500_000_000),
        ("600k", "tokens", 600_000),
        ("2_000", "tokens", 2000),
        ("10GB", "max_bytes", 10_000_000_000),
        ("10GiB", "max_bytes", 10 * 2**30),
        ("16GiB", "memory_gb", 16),
        ("2h", "timeout_hours", 2),
        ("90min", "timeout_hours", 1.5),
        ("2h", "pause", 7200),
        ("-3", "x", -3),
        (".5", "x", 0.5),
        ("8.16T", "tokens", 8_160_000_000_000),
    ],
)
def test_numbers_and_units(text, field, number):
    assert quantity(text, field) == pytest.approx(number)


@pytest.mark.parametrize("text", ["fast", "", "1.2.3", "10 apples", "GB", "0x10"])
def test_what_is_no_number(text):
    assert quantity(text) is None


def test_whole_numbers_stay_whole():
    assert isinstance(quantity("1.5B"), int)
    assert isinstance(quantity("3"), int)
    assert isinstance(quantity("0.5"), float)


def test_a_unit_is_read_only_where_a_number_belongs():
    assert read_value("10GB", str, "name") == "10GB"
    assert read_value("10GB", PositiveInt, "max_bytes") == 10_000_000_000
    assert read_value("10GB", PositiveInt | None, "max_bytes") == 10_000_000_000
    assert read_value("null", PositiveInt | None, "max_bytes") is None


def test_collections():
    assert read_value('["a","b"]', tuple[str, ...], "families") == ["a", "b"]
    assert read_value("a, b", tuple[str, ...], "families") == ["a", "b"]
    assert read_value('{"general": "1k"}', dict[str, float], "mixture") == {"general": 1000}
    assert read_value("{broken", dict[str, float], "mixture") == "{broken"


def test_alternatives_looks_through_unions():
    assert set(alternatives(int | None)) == {int, type(None)}
