from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components.agents.conversation import Message, encode, encode_prompt
from components.agents.environment import World, load_world
from components.agents.inference import LockStepEngine, Respond, Row, Sampling
from components.agents.rollout import (
    MALFORMED_RESPONSE,
    OneShotSandbox,
    Rollout,
    RolloutSettings,
    rollout,
)
from components.model.weights import load_model
from components.sandbox.interface import Completed, open_sandbox
from tests.small_agent import SmallAgent, small_agent, solution

GREEDY = RolloutSettings(max_turns=3, max_tokens=150, max_turn_tokens=70)
NO_WORLD = World({}, {}, Path("nowhere"))


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> SmallAgent:
    return small_agent(tmp_path_factory.mktemp("agent"), wrong_share=0.5)


@pytest.fixture(scope="module")
def attempt(agent: SmallAgent) -> Callable[[RolloutSettings], list[Rollout]]:
    tokenizer = agent.text_tokenizer
    engine = LockStepEngine(load_model(agent.checkpoint.path), tokenizer)
    world = load_world(agent.tasks.world)
    return lambda settings: rollout(engine, tokenizer, agent.asked, world, None, settings)


class Script:
    """An engine that writes given turns, whoever asks."""

    def __init__(self, agent: SmallAgent, *turns: str) -> None:
        self.tokenizer = agent.text_tokenizer
        self.turns = turns

    def generate(self, rows: list[Row], respond: Respond, sampling: Sampling) -> None:
        for row in rows:
            for turn in self.turns:
                for token in self.ids(turn):
                    row.take(token, -0.1)
                forced = respond([row])[0] if row.ids[-1] in sampling.stop else None
                if forced is None:
                    break
                row.force(forced)

    def ids(self, turn: str) -> list[int]:
        for token in ("<tool_call>", "</tool_call>", "<|end_of_text|>"):
            turn = turn.replace(token, f"\0{token}\0")
        ids: list[int] = []
        for piece in turn.split("\0"):
            special = self.tokenizer.special.get(piece)
            ids += [special] if special is not None else self.tokenizer.encode(piece)
        return ids


def scripted(
    agent: SmallAgent, *turns: str, settings: RolloutSettings = GREEDY
) -> tuple[Rollout, str]:
    tokenizer = agent.text_tokenizer
    engine = Script(agent, *turns)
    made = rollout(engine, tokenizer, agent.asked[:1], NO_WORLD, None, settings)[0]
    return made, tokenizer.decode(made.ids)


def test_a_taught_model_solves_tasks_with_real_calls(
    agent: SmallAgent, attempt: Callable[[RolloutSettings], list[Rollout]]
) -> None:
    made = attempt(replace(GREEDY, temperature=1.0, samples=6, seed=1))
    assert [one.task_id for one in made[::6]] == [asked["id"] for asked in agent.asked]
    assert [one.sample for one in made[:6]] == list(range(6))
    assert {one.correct for one in made} == {True, False}
    assert all(one.calls >= 1 and one.turns >= 2 for one in made if one.correct)
    by_id = {asked["id"]: asked["answer"] for asked in agent.asked}
    assert all(one.correct == (one.answer == by_id[one.task_id]) for one in made)


def test_a_rollout_is_spelled_as_its_training_example(
    agent: SmallAgent, attempt: Callable[[RolloutSettings], list[Rollout]]
) -> None:
    for asked, made in zip(agent.asked, attempt(GREEDY), strict=True):
        ids, mask = encode(solution(asked, made.answer), agent.text_tokenizer)
        assert made.ids == ids
        assert made.mask == mask


def test_sampling_does_not_depend_on_company(
    agent: SmallAgent, attempt: Callable[[RolloutSettings], list[Rollout]]
) -> None:
    tokenizer = agent.text_tokenizer
    settings = replace(GREEDY, temperature=1.0, samples=2, seed=3)
    engine = LockStepEngine(load_model(agent.checkpoint.path), tokenizer)
    alone = rollout(engine, tokenizer, agent.asked[2:3], NO_WORLD, None, settings)
    assert [one.ids for one in alone] == [one.ids for one in attempt(settings)[4:6]]


def test_an_injected_error_meets_the_first_call_only(agent: SmallAgent) -> None:
    call = '<tool_call>{"name": "calc", "arguments": {"e": "3+1"}}</tool_call>'
    made, text = scripted(
        agent, call, call, "4<|end_of_text|>", settings=replace(GREEDY, recovery_share=1.0)
    )
    assert "<tool_response>error: try again</tool_response>" in text
    assert "<tool_response>4</tool_response>" in text
    assert made.correct
    assert (made.turns, made.calls, made.malformed_calls) == (3, 2, 0)


def test_a_call_that_cannot_be_read_gets_an_error_and_another_try(agent: SmallAgent) -> None:
    made, text = scripted(agent, "<tool_call>{]</tool_call>", "4<|end_of_text|>")
    assert f"<tool_response>{MALFORMED_RESPONSE}</tool_response>" in text
    assert made.correct
    assert not made.parsed
    assert made.malformed_calls == 1


def test_turns_are_limited_and_an_unfinished_attempt_has_no_answer(agent: SmallAgent) -> None:
    call = '<tool_call>{"name": "calc", "arguments": {"e": "1"}}</tool_call>'
    made, _ = scripted(agent, call, call, call, call)
    assert (made.turns, made.calls, made.answer, made.correct) == (3, 3, None, False)
    rambling, _ = scripted(agent, "4 4 4")
    assert (rambling.answer, rambling.correct, rambling.parsed) == (None, False, False)


def test_tool_text_cannot_become_a_special_token(agent: SmallAgent) -> None:
    tokenizer = agent.text_tokenizer
    sly = solution(agent.asked[0]).with_message(Message("user", "<|end_of_text|>"))
    assert encode_prompt(sly, tokenizer).count(tokenizer.eos) == 1


class CountingSandbox:
    """A session that answers with the number of commands it ran."""

    def __init__(self, *, broken: bool = False) -> None:
        self.commands: list[str] = []
        self.resets = 0
        self.broken = broken

    def run(self, command: str, *, cpu_seconds: float = 2.0) -> Completed:
        self.commands.append(command)
        return Completed(str(len(self.commands)), "", 0, infrastructure=self.broken)

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        raise AssertionError("the session belongs to the stage")


def test_equal_commands_run_once_and_each_from_a_clean_session() -> None:
    session = CountingSandbox()
    sandbox = OneShotSandbox(session)
    outputs = [sandbox.run(command).stdout for command in ("wc a", "wc b", "wc a")]
    sandbox.close()
    assert outputs == ["1", "2", "1"]
    assert session.commands == ["wc a", "wc b"]
    assert session.resets == 2


def test_broken_machinery_marks_the_rollout_and_is_not_remembered(agent: SmallAgent) -> None:
    session = CountingSandbox(broken=True)
    asked = agent.asked[0] | {"environment": "files"}
    call = '<tool_call>{"name": "bash", "arguments": {"c": "wc a"}}</tool_call>'
    engine = Script(agent, call, "4<|end_of_text|>")
    made = rollout(
        engine, agent.text_tokenizer, [asked, asked | {"id": "again"}], NO_WORLD, session, GREEDY
    )
    assert [one.infrastructure for one in made] == [True, True]
    assert [one.correct for one in made] == [False, False]
    assert len(session.commands) == 2


def test_commands_really_run_in_isolation(agent: SmallAgent, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "901.csv").write_text("x" * 37)
    asked = agent.asked[0] | {"environment": "files", "answer": "37"}
    leave = "echo secret > /tmp/note; wc -c 901.csv"
    turns = [
        f'<tool_call>{{"name":"bash","arguments":{{"c":"{command}"}}}}</tool_call>'
        for command in (leave, "cat /tmp/note")
    ]
    sandbox = open_sandbox("bubblewrap", files)
    try:
        made = rollout(
            Script(agent, *turns, "37<|end_of_text|>"),
            agent.text_tokenizer,
            [asked],
            World({}, {}, files),
            sandbox,
            replace(GREEDY, max_tokens=999),
        )[0]
    finally:
        sandbox.close()
    text = agent.text_tokenizer.decode(made.ids)
    assert "<tool_response>37 901.csv</tool_response>" in text
    assert "secret" not in text.split("</tool_call>", 1)[1], "each command has a clean scratch"
    assert made.correct
    assert not made.infrastructure
