"""One task, played undisturbed and with each kind of fault."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from components.agents.conversation import ToolCall
from components.agents.environment import Entry, ToolResult, World, open_environment
from components.trajectories.play import Fault, play

WORLD = World(
    {
        "111": Entry("111", "dog", "animal", "", ("222",)),
        "222": Entry("222", "pet", "role", "", ()),
    },
    {"823": 31},
    Path("nowhere"),
)
PRICES = {
    "id": "p",
    "family": "prices",
    "environment": "prices",
    "question": "What is the price of 46 of item 823?",
    "answer": "1426",
    "world": {"key": "823", "number": 46},
}
INVERSE = {
    "id": "i",
    "family": "inverse",
    "environment": "lookup",
    "question": "What kind of thing is cited by entry 111?",
    "answer": "role",
    "world": {"key": "111"},
}


@pytest.mark.parametrize("task", [PRICES, INVERSE], ids=["prices", "inverse"])
@pytest.mark.parametrize("style", ["direct", "agentic_cot"])
def test_undisturbed(task: dict, style: str) -> None:
    played = play(task, open_environment(task, WORLD), style)
    assert played.correct
    assert played.calls == 2
    assert played.mistake == ""
    roles = [message.role for message in played.messages if message.role != "system"]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]


@pytest.mark.parametrize("step", [0, 1])
def test_a_mistake_is_kept_without_loss_and_recovered_from(step: int) -> None:
    played = play(PRICES, open_environment(PRICES, WORLD), "direct", Fault(step, False), Random(3))
    assert played.correct
    untrained = [message for message in played.messages if not message.trained]
    assert untrained == [played.messages[played.fork]]
    assert played.fork == 1 + 2 * step
    assert len(played.messages) == 8


@pytest.mark.parametrize("step", [0, 1])
def test_a_transient_error_is_answered_by_the_same_call(step: int) -> None:
    played = play(PRICES, open_environment(PRICES, WORLD), "direct", Fault(step, True))
    assert played.correct
    assert played.mistake == "transient"
    assert played.messages[played.fork].content == "error: try again"
    assert played.messages[played.fork - 1] == played.messages[played.fork + 1]
    assert all(message.trained for message in played.messages)


def test_infrastructure_is_reported() -> None:
    class Lost:
        def execute(self, call: ToolCall) -> ToolResult:
            return ToolResult("31", infrastructure=True)

        def check(self, answer: str) -> bool:
            return True

        def close(self) -> None: ...

    assert play(PRICES, Lost(), "direct").infrastructure


def test_a_wrong_table_gives_a_wrong_answer() -> None:
    world = World(WORLD.entries, {"823": 32}, WORLD.files)
    assert not play(PRICES, open_environment(PRICES, world), "direct").correct
