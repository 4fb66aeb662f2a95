"""Tool use in two calls: look up a price, then multiply. The family `prices`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from components.agents.conversation import ToolCall
from components.tasks.splits import draws, keys_by_split, split_of
from components.tasks.task import Task

QUESTIONS = ("What is the price of {n} of item {k}?", "What do I pay for {n} of item {k}?")
STORIES = (
    "Maria buys {n} of item {k}. What does she pay?",
    "An order lists item {k} with a quantity of {n}. What is the total?",
    "How much money is needed for {n} pieces of item {k}?",
)


def price_list(seed: int, digits: int) -> dict[str, int]:
    """Return a price of two digits for every key."""
    rng = draws(seed, "price list")
    keys = sorted(key for keys in keys_by_split(digits).values() for key in keys)
    return {key: rng.randrange(11, 100) for key in keys}


def price_tasks(split: str, seed: int, phrasing: str, prices: Mapping[str, int]) -> Iterator[Task]:
    """Yield tasks over the items of one split; quantities have two digits."""
    keys = [key for key in sorted(prices) if split_of(f"key:{key}") == split]
    rng = draws(seed, "prices", split)
    wordings = QUESTIONS if phrasing == "keys" else STORIES
    for _ in range(90):
        rng.shuffle(keys)
        for key in keys:
            number, price = rng.randrange(10, 100), prices[key]
            yield Task(
                family="prices",
                environment="prices",
                split=split,
                question=rng.choice(wordings).format(n=number, k=key),
                answer=str(price * number),
                source=f"key:{key}",
                steps=(
                    ToolCall("price", {"k": key}),
                    ToolCall("calc", {"e": f"{price} * {number}"}),
                ),
                world={"key": key, "number": number},
            )
