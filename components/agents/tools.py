"""The tools a model may call, described as Hugging Face functions.

Names and arguments are short on purpose: at a vocabulary of 2,048 a call costs about 25 tokens, and
a two-call conversation has to fit into a context of 256 (measured). The descriptions go into the
prompt only where the recipe's `describe_tools` says so.
"""

from __future__ import annotations

from typing import Any

from components.agents.conversation import ToolCall


def _function(name: str, description: str, argument: str, meaning: str) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {argument: {"type": "string", "description": meaning}},
                "required": [argument],
            },
        },
    }


CALC = _function("calc", "Compute an arithmetic expression.", "e", "expression with + - * / ( )")
PRICE = _function("price", "Look up the price of an item.", "k", "key of the item")
SEARCH = _function("search", "Find entries by a word of their title.", "q", "words to find")
OPEN = _function("open", "Read an entry: its class and title.", "k", "key of the entry")
CITES = _function("cites", "List the entries that an entry cites.", "k", "key of the entry")
BASH = _function("bash", "Run a command in a sandbox that holds the files.", "c", "shell command")

TOOLS: dict[str, tuple[dict[str, Any], ...]] = {
    "calculator": (CALC,),
    "prices": (PRICE, CALC),
    "lookup": (SEARCH, OPEN, CITES),
    "files": (BASH,),
}
"""Environment name to the descriptions of its tools."""


def tools_of(environment: str) -> list[dict[str, Any]]:
    """Return the tool descriptions of an environment in the form chat templates read."""
    return list(TOOLS[environment])


def argument_of(call: ToolCall, name: str) -> str | None:
    """Return the string argument `name`, or None where it is missing or no string."""
    value = call.arguments.get(name)
    return value if isinstance(value, str) else None
