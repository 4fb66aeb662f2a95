"""Exact arithmetic, the same as Python's, and bounded whatever is written."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.agents.conversation import ToolCall
from components.agents.environments.calculator import (
    ArithmeticProblem,
    CalculatorEnvironment,
    evaluate,
)

expressions = st.recursive(
    st.integers(0, 999).map(str),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"-{text}"),
    ),
    max_leaves=8,
)


@given(expressions)
def test_agrees_with_python(expression: str) -> None:
    plain = expression.replace("(0", "(0")
    assert evaluate(expression) == str(eval(plain, {"__builtins__": {}}))


@given(st.integers(-999, 999), st.integers(1, 999))
def test_division(a: int, b: int) -> None:
    exact = Fraction(a, b)
    said = evaluate(f"{a} / {b}")
    if exact.denominator == 1:
        assert said == str(exact.numerator)
    else:
        assert abs(Fraction(said) - exact) <= Fraction(1, 10**6)


@pytest.mark.parametrize(
    ("expression", "value"),
    [("1/4", "0.25"), ("-1/3", "-0.333333"), ("2.5 * 2", "5"), ("--3", "3"), ("1/10000000", "0")],
)
def test_values(expression: str, value: str) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "error: number expected"),
        ("1 +", "error: number expected"),
        ("1 1", "error: unexpected 1"),
        ("(1", "error: missing )"),
        ("1)", "error: unexpected )"),
        ("2 ** 3", "error: number expected"),
        ("__import__('os')", "error: unexpected _"),
        ("1/0", "error: division by zero"),
        ("9" * 61, "error: number too large"),
        ("*".join(["999999999"] * 20), "error: number too large"),
        ("(" * 50 + "1", "error: too many parentheses"),
        ("1+" * 500 + "1", "error: expression too long"),
        ("a", "error: unexpected a"),
    ],
)
def test_problems(expression: str, message: str) -> None:
    with pytest.raises(ArithmeticProblem) as caught:
        evaluate(expression)
    assert str(caught.value) == message


@given(st.text(max_size=250))
def test_any_text_answers_fast(text: str) -> None:
    began = time.monotonic()
    result = CalculatorEnvironment("1").execute(ToolCall("calc", {"e": text}))
    assert time.monotonic() - began < 0.5
    assert result.failed == result.text.startswith("error:")
