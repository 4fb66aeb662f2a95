import pytest

from components.agents.rollout import Rollout
from components.rl.experience import experience


def attempt(
    task: str, correct: bool, *, infrastructure: bool = False, malformed: int = 0
) -> Rollout:
    return Rollout(
        task_id=task,
        family="calculator",
        sample=0,
        ids=[1, 2, 3],
        mask=[0, 1, 1],
        logprobs=[0.0, -1.0, -1.0],
        turns=2,
        calls=2,
        malformed_calls=malformed,
        answer="1",
        correct=correct,
        infrastructure=infrastructure,
    )


def test_only_groups_with_spread_are_learned_from() -> None:
    made = experience(
        [
            *(attempt("a", correct) for correct in (True, False, False, False)),
            *(attempt("b", True) for _ in range(4)),
        ],
        group_size=4,
    )
    assert len(made.episodes) == 4
    assert (made.groups, made.live_groups, made.valid) == (2, 1, 8)
    assert made.reward == pytest.approx(5 / 8)
    assert made.sampled_tokens == 16
    assert made.metrics()["rl/live_groups"] == 1


def test_broken_machinery_is_neither_learned_nor_counted() -> None:
    made = experience(
        [
            attempt("a", True),
            attempt("a", False, malformed=1),
            attempt("a", False, infrastructure=True),
            attempt("b", True),
            attempt("b", False, infrastructure=True),
            attempt("b", False, infrastructure=True),
        ],
        group_size=3,
    )
    assert [episode.advantage for episode in made.episodes] == [1.0, -1.0]
    assert made.reward == pytest.approx(2 / 3)
    assert made.parsed_calls == pytest.approx(5 / 6)
    assert made.infrastructure_failures == 3
