import pytest

from components.rl.prompts import prompts_at, step_seed

TASKS = [{"id": f"task-{number}"} for number in range(10)]


def ids(step: int, *, groups: int = 4, seed: int = 0) -> list[str]:
    return [task["id"] for task in prompts_at(TASKS, seed=seed, step=step, groups=groups)]


def test_prompts_are_a_function_of_seed_and_step() -> None:
    assert ids(3) == ids(3)
    assert ids(3) != ids(3, seed=1)
    assert ids(0) != ids(5)


def test_a_pass_uses_every_task_once() -> None:
    assert sorted(ids(0, groups=5) + ids(1, groups=5)) == sorted(task["id"] for task in TASKS)


def test_order_of_the_file_does_not_matter() -> None:
    backwards = prompts_at(TASKS[::-1], seed=0, step=2, groups=4)
    assert [task["id"] for task in backwards] == ids(2)


@pytest.mark.parametrize("step", range(12))
def test_no_step_holds_a_task_twice(step: int) -> None:
    assert len(set(ids(step))) == 4
    assert len(set(ids(step, groups=7))) == 7


def test_more_prompts_than_tasks_gives_each_once() -> None:
    assert sorted(ids(2, groups=50)) == sorted(task["id"] for task in TASKS)


def test_no_tasks_is_an_error() -> None:
    with pytest.raises(ValueError, match="no tasks"):
        prompts_at([], seed=0, step=0, groups=1)


def test_every_step_has_noise_of_its_own() -> None:
    assert len({step_seed(0, step) for step in range(100)}) == 100
