"""What is kept was executed and verified; branches name their parent; equal runs give equal
bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from components.agents.conversation import Conversation
from components.agents.environment import load_world, open_environment
from components.artifacts.types import Trajectories
from components.contract import BadInput, EnvironmentMissing, Stopped
from components.sandbox.interface import open_sandbox
from components.tasks.task import read_tasks
from components.trajectories import stage
from components.trajectories.config import TrajectoriesConfig, TrajectoriesInputs
from tests.components.tasks.library_corpus import contents, context_for
from tests.components.trajectories.conftest import CONFIG

Make = Callable[[TrajectoriesConfig, Path], Trajectories]


def conversations(made: Trajectories, split: str) -> list[Conversation]:
    lines = made.split(split).read_text(encoding="utf-8").splitlines()
    return [Conversation.from_json(json.loads(line)) for line in lines]


def test_counts_styles_and_clean_sft(make: Make, tmp_path: Path) -> None:
    made = make(CONFIG, tmp_path)
    midtrain, sft = conversations(made, "midtrain"), conversations(made, "sft")
    assert made.facts["conversations"] == {"midtrain": 200, "sft": 40}
    assert (len(midtrain), len(sft)) == (200, 40)
    assert {talk.style for talk in midtrain} == {"direct", "agentic_cot"}
    assert all(talk.branch is None and talk.style == "direct" for talk in sft)
    assert all(message.trained for talk in sft for message in talk.messages)
    share = sum(talk.branch is not None for talk in midtrain) / len(midtrain)
    assert 0.1 < share < 0.4
    assert len({talk.id for talk in midtrain}) == len(midtrain)


def test_every_answer_and_every_tool_text_is_true(
    make: Make, inputs: TrajectoriesInputs, tmp_path: Path
) -> None:
    """Replay each conversation: the same calls give the same texts, and the answer checks."""
    made = make(CONFIG, tmp_path)
    tasks = {task["id"]: task for task in read_tasks(inputs.tasks.split("midtrain"))}
    world = load_world(inputs.tasks.world)
    sandbox = open_sandbox("bubblewrap", world.files)
    try:
        for talk in conversations(made, "midtrain"):
            environment = open_environment(tasks[talk.task], world, sandbox)
            for call, said in zip(talk.messages, talk.messages[1:], strict=False):
                if call.tool_calls and said.content != "error: try again":
                    assert environment.execute(call.tool_calls[0]).text == said.content
            assert environment.check(talk.messages[-1].content)
    finally:
        sandbox.close()


def test_branches_share_their_parents_beginning_and_recover(make: Make, tmp_path: Path) -> None:
    talks = {talk.id: talk for talk in conversations(make(CONFIG, tmp_path), "midtrain")}
    branches = [talk for talk in talks.values() if talk.branch]
    with_parent = 0
    for talk in branches:
        assert talk.branch is not None
        wrong = [message for message in talk.messages if not message.trained]
        assert len(wrong) == (talk.branch.mistake != "transient")
        if wrong:
            assert talk.messages[talk.branch.step] == wrong[0]
        parent = talks.get(talk.branch.parent)
        if parent is not None:
            with_parent += 1
            assert parent.messages[: talk.branch.step] == talk.messages[: talk.branch.step]
            assert parent.messages[talk.branch.step] != talk.messages[talk.branch.step]
            assert parent.messages[-1] == talk.messages[-1]
    assert 0 < with_parent < len(branches)


def test_phases_are_marked_and_asked_for(make: Make, tmp_path: Path) -> None:
    talks = conversations(make(CONFIG, tmp_path), "midtrain")
    phased = [talk for talk in talks if talk.style == "agentic_cot"]
    assert phased
    for talk in phased:
        assert talk.messages[0].role == "system"
        reasoning = " ".join(message.reasoning for message in talk.messages)
        places = [reasoning.index(f"{phase}:") for phase in ("Analysis", "Plan", "Action")]
        places += [reasoning.rindex(f"{phase}:") for phase in ("Reflection", "Summary")]
        assert places == sorted(places)
    for talk in talks:
        if talk.style == "direct":
            assert not any(message.reasoning for message in talk.messages)


def test_equal_runs_give_equal_bytes_and_seeds_matter(make: Make, tmp_path: Path) -> None:
    one, two = make(CONFIG, tmp_path / "1"), make(CONFIG, tmp_path / "2")
    assert contents(one.path) == contents(two.path)
    other = make(CONFIG.model_copy(update={"seed": 1}), tmp_path / "3")
    assert contents(other.path) != contents(one.path)


def test_described_tools_are_kept_with_the_conversation(make: Make, tmp_path: Path) -> None:
    made = make(CONFIG.model_copy(update={"describe_tools": True}), tmp_path)
    assert all(talk.tools for talk in conversations(made, "midtrain"))
    assert not any(talk.tools for talk in conversations(make(CONFIG, tmp_path / "2"), "sft"))


def test_long_conversations_are_dropped_and_counted(make: Make, tmp_path: Path) -> None:
    made = make(CONFIG.model_copy(update={"max_tokens": 190, "sft": 10}), tmp_path)
    report = json.loads((made.path / "report.json").read_text(encoding="utf-8"))
    assert report["dropped"]["too_long"] > 0
    assert max(report["longest_tokens"].values()) <= 190
    with pytest.raises(BadInput, match="raise max_tokens"):
        make(CONFIG.model_copy(update={"max_tokens": 5}), tmp_path / "none")


def test_tasks_are_used_again_with_other_faults_only(make: Make, tmp_path: Path) -> None:
    made = make(CONFIG.model_copy(update={"midtrain": 320}), tmp_path)
    assert made.facts["dropped"]["duplicate"] > 0
    texts = [json.dumps(talk.to_json()["messages"]) for talk in conversations(made, "midtrain")]
    assert len(set(texts)) == len(texts)


def test_a_wrong_world_leaves_wrong_answers_out(
    make: Make, inputs: TrajectoriesInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = load_world(inputs.tasks.world)
    dear = {key: price + 1 for key, price in world.prices.items()}
    changed = type(world)(world.entries, dear, world.files)
    monkeypatch.setattr(stage, "load_world", lambda directory: changed)
    made = make(CONFIG.model_copy(update={"midtrain": 60}), tmp_path)
    assert made.facts["dropped"]["wrong_answer"] > 0
    assert "prices" not in made.facts["families"]["midtrain"]


def test_both_tiers_give_equal_conversations(make: Make, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"midtrain": 60})
    made = [
        make(config.model_copy(update={"sandbox_tier": tier}), tmp_path / tier)
        for tier in ("bubblewrap", "landlock")
    ]
    one, other = [conversations(each, "midtrain") for each in made]
    assert one == other


def test_a_missing_tier_exits_with_3(make: Make, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing):
        make(CONFIG.model_copy(update={"sandbox_tier": "pods"}), tmp_path)


def test_stop_is_heard(inputs: TrajectoriesInputs, make: Make, tmp_path: Path) -> None:
    from dataclasses import replace

    context = replace(context_for(tmp_path), stop_requested=lambda: True)
    with pytest.raises(Stopped):
        stage.run(CONFIG, inputs, context)
