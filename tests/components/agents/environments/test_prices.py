"""A price list and a calculator in one environment."""

from __future__ import annotations

from pathlib import Path

from components.agents.conversation import ToolCall
from components.agents.environment import World
from components.agents.environments.prices import PricesEnvironment

ENVIRONMENT = PricesEnvironment("1426", World({}, {"823": 31}, Path("nowhere")))


def test_two_calls_lead_to_the_total() -> None:
    price = ENVIRONMENT.execute(ToolCall("price", {"k": "823"})).text
    total = ENVIRONMENT.execute(ToolCall("calc", {"e": f"{price} * 46"})).text
    assert (price, total) == ("31", "1426")
    assert ENVIRONMENT.check(total)


def test_failures_say_why() -> None:
    unknown = ENVIRONMENT.execute(ToolCall("price", {"k": "999"}))
    assert (unknown.text, unknown.failed) == ("error: no item 999", True)
    assert ENVIRONMENT.execute(ToolCall("price", {"e": "1"})).text == 'error: price needs "k"'
