"""The plan as a table: what is cached, what runs and why, at what cost."""

from __future__ import annotations

from flows.commands.output import amount, size
from flows.cost import Cost
from flows.display import duration
from flows.plan import Plan

STATES = {"cached": "cached", "runs": "runs", "depends": "waits"}


def plan_table(plan: Plan) -> str:
    """Lay a plan out for reading; a plan without work is one line."""
    if not plan.pending:
        return f"plan: all {len(plan.steps)} steps are cached; nothing runs"
    rows: list[list[str]] = []
    total = Cost()
    for name, step in plan.steps.items():
        cost = step.cost
        total += cost
        why = "; ".join(step.reasons)
        rows.append([name, STATES[step.state], *_cost(cost), _cut(why)])
    rows.append(["total", f"{len(plan.pending)} run", *_cost(total), ""])
    head = ["step", "plan", "tokens", "FLOPs", "about", "size", "why"]
    widths = [max(len(str(row[at])) for row in [head, *rows]) for at in range(len(head))]
    lines = [
        "  ".join(
            str(cell).rjust(width) if at in {2, 3, 4, 5} else str(cell).ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [head, *rows]
    ]
    return "\n".join(lines)


def _cost(cost: Cost) -> list[str]:
    flops = "" if cost.flops is None else f"{cost.flops:.1e}"
    return [amount(cost.tokens), flops, duration(cost.seconds), size(cost.bytes)]


def _cut(text: str, most: int = 96) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
