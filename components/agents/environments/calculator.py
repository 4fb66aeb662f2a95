"""The calculator: an arithmetic parser of our own, without `eval`.

Grammar: sums of products of signed numbers and parentheses. Integers stay exact; a division that is
not exact gives at most six decimals. Length, depth and size of numbers are bounded, so no
expression a model writes takes long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from components.agents.conversation import ToolCall
from components.agents.environment import ToolResult, same_answer
from components.agents.tools import argument_of

MAX_LENGTH = 200
MAX_DEPTH = 20
MAX_DIGITS = 60
_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|([-+*/()]))")


class ArithmeticProblem(ValueError):
    """Report an expression that has no value; the message is what the tool answers."""


@dataclass
class _Reader:
    tokens: list[str]
    place: int = 0
    depth: int = 0

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.place += 1
        return token


def evaluate(expression: str) -> str:
    """Return the value of an expression as text; raises `ArithmeticProblem` with the tool's
    message.
    """
    if len(expression) > MAX_LENGTH:
        raise ArithmeticProblem("error: expression too long")
    reader = _Reader(_tokens(expression))
    value = _sum(reader)
    if reader.peek():
        raise ArithmeticProblem(f"error: unexpected {reader.peek()}")
    return _written(value)


def _tokens(expression: str) -> list[str]:
    tokens: list[str] = []
    place, text = 0, expression.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ArithmeticProblem(f"error: unexpected {text[place:].strip()[:1]}")
        tokens.append(match.group(1) or match.group(2))
        place = match.end()
    return tokens


def _sum(reader: _Reader) -> Fraction:
    value = _product(reader)
    while reader.peek() in ("+", "-"):
        value = value + _product(reader) if reader.take() == "+" else value - _product(reader)
    return value


def _product(reader: _Reader) -> Fraction:
    value = _signed(reader)
    while reader.peek() in ("*", "/"):
        operator, right = reader.take(), _signed(reader)
        if operator == "/" and right == 0:
            raise ArithmeticProblem("error: division by zero")
        value = value * right if operator == "*" else value / right
        if value.numerator.bit_length() + value.denominator.bit_length() > 4 * MAX_DIGITS:
            raise ArithmeticProblem("error: number too large")
    return value


def _signed(reader: _Reader) -> Fraction:
    negative = False
    while reader.peek() in ("+", "-"):
        negative ^= reader.take() == "-"
    token = reader.take()
    if token == "(":
        reader.depth += 1
        if reader.depth > MAX_DEPTH:
            raise ArithmeticProblem("error: too many parentheses")
        value = _sum(reader)
        reader.depth -= 1
        if reader.take() != ")":
            raise ArithmeticProblem("error: missing )")
    elif token[:1].isdigit():
        if len(token) > MAX_DIGITS:
            raise ArithmeticProblem("error: number too large")
        value = Fraction(token)
    else:
        raise ArithmeticProblem("error: number expected")
    return -value if negative else value


def _written(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    scaled = round(abs(value) * 10**6)
    whole, rest = divmod(scaled, 10**6)
    sign = "-" if value < 0 and scaled else ""
    return f"{sign}{whole}.{rest:06d}".rstrip("0").rstrip(".")


def calculate(call: ToolCall) -> ToolResult:
    """Answer a `calc` call; an expression without a value is a failed result that says why."""
    expression = argument_of(call, "e")
    if expression is None:
        return ToolResult('error: calc needs "e"', failed=True)
    try:
        return ToolResult(evaluate(expression))
    except ArithmeticProblem as problem:
        return ToolResult(str(problem), failed=True)


@dataclass
class CalculatorEnvironment:
    """Serve `calc` and check one number."""

    answer: str

    def execute(self, call: ToolCall) -> ToolResult:
        """Run a `calc` call."""
        if call.name != "calc":
            return ToolResult("error: unknown tool, have calc", failed=True)
        return calculate(call)

    def check(self, answer: str) -> bool:
        """Compare with the right number."""
        return same_answer(answer, self.answer)

    def close(self) -> None:
        """Hold nothing, so leave nothing behind."""
