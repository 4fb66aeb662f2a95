"""A price list and a calculator: the second call needs what the first one answered."""

from __future__ import annotations

from dataclasses import dataclass

from components.agents.conversation import ToolCall
from components.agents.environment import ToolResult, World, same_answer
from components.agents.environments.calculator import calculate
from components.agents.tools import argument_of


@dataclass
class PricesEnvironment:
    """Serve `price` and `calc` and check the total."""

    answer: str
    world: World

    def execute(self, call: ToolCall) -> ToolResult:
        """Look up a price or compute."""
        if call.name == "calc":
            return calculate(call)
        if call.name != "price":
            return ToolResult("error: unknown tool, have price, calc", failed=True)
        key = argument_of(call, "k")
        if key is None:
            return ToolResult('error: price needs "k"', failed=True)
        price = self.world.prices.get(key.strip())
        if price is None:
            return ToolResult(f"error: no item {key.strip()[:20]}", failed=True)
        return ToolResult(str(price))

    def check(self, answer: str) -> bool:
        """Compare with the right total."""
        return same_answer(answer, self.answer)

    def close(self) -> None:
        """Hold nothing, so leave nothing behind."""
