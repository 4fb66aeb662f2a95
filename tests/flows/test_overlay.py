from __future__ import annotations

import random
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from components.contract import BadInput, NotFound
from flows.overlay import apply, read_assignment, read_environment, read_file, suggest
from flows.recipe import Recipe, resolve, shipped


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    rate: float = 0.1
    """How fast, in steps a second."""
    size: PositiveInt = 3
    kind: Literal["a", "b"] = "a"
    mixture: dict[str, float] = Field(default={"x": 1.0})


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    first: Inner = Inner()
    second: Inner = Inner()
    parts: tuple[Inner, ...] = (Inner(), Inner(size=9))
    by_name: dict[str, Inner] = Field(default={"default": Inner(size=7)})


def changed(*texts: str) -> Outer:
    return apply(Outer(), [read_assignment(text) for text in texts])


def test_nested_fields_are_set_and_the_rest_stays():
    outer = changed("first.rate=2.5", "first.mixture.y=3", "by_name.second.rate=1")
    assert outer.first.rate == 2.5
    assert outer.first.mixture == {"x": 1.0, "y": 3.0}
    assert outer.second == Inner()
    assert outer.by_name["second"] == Inner(size=7, rate=1)
    assert outer.by_name["default"].rate == 0.1


def test_the_later_change_wins():
    assert changed("first.size=4", "first.size=5").first.size == 5


def test_a_whole_mapping_replaces():
    assert changed('first.mixture={"z": 1}').first.mixture == {"z": 1.0}


def test_an_entry_of_a_list_is_named_by_its_place():
    assert [part.size for part in changed("parts.1.size=4").parts] == [3, 4]
    twice = changed("parts.1.size=4", "parts.1.rate=2").parts[1]
    assert (twice.size, twice.rate) == (4, 2)
    with pytest.raises(BadInput, match=r"parts has 2 entries, 0 to 1"):
        changed("parts.2.size=4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frist.rate=1", r"Did you mean first\?"),
        ("first.rat=1", r"Did you mean first.rate\?"),
        ("rate=1", r"Did you mean first.rate\?"),
        ("first.rate.x=1", "it has no part x"),
        ("first.size=0", "greater than 0"),
        ("first.kind=c", "'a' or 'b'"),
        ("first.rate=fast", "How fast, in steps a second"),
        ("first.rate", "step.field=value"),
        ("=3", "step.field=value"),
    ],
)
def test_errors_name_the_key_its_origin_and_the_fix(text, message):
    with pytest.raises(BadInput, match=message) as caught:
        changed(text)
    lines = str(caught.value).splitlines()
    assert len(lines) <= 3
    assert "--set" in lines[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("o.toml", "[first]\nrate = 2\nmixture = {z = 2}\n[by_name.a]\nsize = '1k'\n"),
        (
            "o.yaml",
            "first: {rate: 2, mixture: {z: 2}}\nby_name: {a: {size: 1k}}\n",
        ),
        (
            "o.json",
            '{"first": {"rate": 2, "mixture": {"z": 2}}, "by_name": {"a": {"size": "1k"}}}',
        ),
    ],
)
def test_files_of_each_kind_say_the_same(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    outer = apply(Outer(), read_file(path, Outer))
    assert outer.first == Inner(rate=2, mixture={"z": 2})
    assert outer.by_name["a"].size == 1000


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("o.toml", "[first\nrate = 2", "line 1"),
        ("o.json", "{\n'a'}", "line 2"),
        ("o.yaml", "a: [1\nb", "line 2"),
        ("o.txt", "x", "unknown ending"),
        ("o.json", "[1]", "expected a table"),
        ("o.toml", "[frist]\nrate = 1", "Did you mean first"),
    ],
)
def test_a_bad_file_is_one_error_with_its_place(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        apply(Outer(), read_file(path, Outer))
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 5


def test_a_missing_file(tmp_path):
    with pytest.raises(NotFound, match="there is no overlay file"):
        read_file(tmp_path / "none.toml", Outer)


def test_the_environment_holds_several():
    changes = read_environment("first.rate=2; second.size=4;")
    assert [(c.name, c.value, c.origin) for c in changes] == [
        ("first.rate", "2", "STRATA_SET"),
        ("second.size", "4", "STRATA_SET"),
    ]


def test_precedence_is_recipe_file_environment_flag(tmp_path):
    from components.settings import Settings

    file = tmp_path / "o.toml"
    file.write_text("[agent]\nsteps = 1\ngroups_per_step = 1\ngroup_size = 2\n")
    here = Settings(set="agent.groups_per_step=2;agent.group_size=3")
    agent = resolve("toy", file=file, assignments=["agent.group_size=4"], settings=here).agent
    assert (agent.steps, agent.groups_per_step, agent.group_size) == (1, 2, 4)
    assert agent.learning_rate == shipped("toy").agent.learning_rate


def typo(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word))
    how = rng.choice(["swap", "drop", "double", "replace"])
    if how == "swap" and at + 1 < len(word):
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if how == "drop":
        return word[:at] + word[at + 1 :]
    if how == "double":
        return word[:at] + word[at] + word[at:]
    return word[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :]


def test_the_right_suggestion_comes_first_for_nine_typos_in_ten():
    rng = random.Random(0)
    recipe = shipped("toy")
    names = [
        (step, field)
        for step in Recipe.model_fields
        if isinstance(getattr(recipe, step), BaseModel)
        for field in type(getattr(recipe, step)).model_fields
    ]
    tried = right = 0
    while tried < 200:
        step, field = rng.choice(names)
        fields = type(getattr(recipe, step)).model_fields
        wrong = typo(field, rng)
        if wrong in fields or len(field) < 4:
            continue
        tried += 1
        right += suggest(wrong, fields)[:1] == [field]
    assert right >= 180, right
