from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.artifacts import identity
from components.artifacts.identity import (
    artifact_key,
    canonical_source,
    code_digest,
    package_versions,
    sha256_text,
)
from components.contract import EnvironmentMissing, Stage
from components.stages import CORPUS, RL, STAGES, TOKENIZER
from tests.sample_stages import COUNT, CountConfig, CountInputs, Numbers

SAMPLE = '''
"""Docstring."""
from __future__ import annotations
import os  # comment

class A(dict):
    """Doc."""
    x: int = 3
    """Field doc."""
    def f[T](self, a, /, b=1, *, c: str = "d", **kw) -> T:
        with open(a) as g, open(b):
            return f"{a!r:>{b}} {c=}" if a else (yield)
        try:
            pass
        except* ValueError as e:
            raise
        match a:
            case {"k": [1, *_]} | None:
                x = lambda *z: -1.5e3 + 2j
'''.replace("f[T]", "f")
GOLDEN = "434c5700e3fd389917f5799feec3afde17be1af5cb4df385a3ee68a30b0295aa"


def digest_of(source: str) -> str:
    return sha256_text(canonical_source(ast.parse(source)))


def test_comments_docstrings_and_layout_do_not_count():
    changed = (
        SAMPLE.replace("Doc.", "Other.").replace("# comment", "").replace("(a) as", "( a ) as")
    )
    assert digest_of(changed) == digest_of(SAMPLE)
    assert digest_of(SAMPLE.replace("x: int = 3", "x: int = 4")) != digest_of(SAMPLE)
    assert digest_of(SAMPLE.replace('"d"', '"e"')) != digest_of(SAMPLE)


def test_the_canonical_form_is_the_same_on_every_supported_python():
    assert digest_of(SAMPLE) == GOLDEN
    script = (
        "import ast, sys, types\n"
        "source = open(sys.argv[1]).read()\n"
        "names = ['canonical_json', 'canonical_source', '_canonical', '_is_bare_string']\n"
        "tree = ast.parse(source)\n"
        "keep = [n for n in tree.body if getattr(n, 'name', None) in names]\n"
        "scope = {'ast': ast, 'json': __import__('json'), 'Any': object}\n"
        "exec(compile(ast.Module(keep, []), 'identity', 'exec', 1 << 24), scope)\n"
        "text = scope['canonical_source'](ast.parse(sys.stdin.read()))\n"
        "print(__import__('hashlib').sha256(text.encode()).hexdigest())\n"
    )
    others = [path for version in (11, 12, 13) if (path := shutil.which(f"python3.{version}"))]
    for python in {sys.executable, *others}:
        argv = [python, "-c", script, identity.__file__]
        done = subprocess.run(argv, input=SAMPLE, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            assert done.stdout.strip() == GOLDEN, python
        else:
            assert python != sys.executable, done.stderr


def test_code_reaches_what_a_stage_imports_and_nothing_of_the_frame():
    rl, tokenizer = code_digest(RL).modules, code_digest(TOKENIZER).modules
    assert {"components.rl.stage", "components.model.transformer"} <= rl.keys()
    assert not any(name.startswith(identity.FRAME) for name in rl)
    assert not any(name.startswith("components.rl") for name in tokenizer)
    assert not any(name.startswith("components.evaluation") for name in rl)


def test_a_changed_line_changes_only_the_stages_that_reach_it(tmp_path: Path, monkeypatch):
    package = tmp_path / "sample_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "entry.py").write_text("def run():\n    from sample_package.work import f\n")
    (package / "work.py").write_text("def f():\n    return 1\n")
    (package / "other.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    stage = Stage("s", CountConfig, CountInputs, Numbers, run="sample_package.entry:run")
    before = code_digest(stage)
    assert set(before.modules) == {"sample_package", "sample_package.entry", "sample_package.work"}
    (package / "other.py").write_text("X = 22\n")
    assert code_digest(stage).digest == before.digest
    (package / "work.py").write_text("def f():\n    return 22\n")
    assert code_digest(stage).digest != before.digest
    (package / "work.py").write_text("def f():\n    return 1  # same\n")
    assert code_digest(stage).digest == before.digest
    (package / "words.txt").write_text("data counts, too")
    assert code_digest(stage).digest != before.digest


def key(**changes):
    arguments = {
        "stage": COUNT,
        "config": CountConfig(),
        "revisions": {"source": "1"},
        "inputs": {"before": "a" * 64},
        **changes,
    }
    return artifact_key(**arguments)


@pytest.mark.parametrize(
    "change",
    [
        {"config": CountConfig(upto=4)},
        {"revisions": {"source": "2"}},
        {"revisions": {}},
        {"inputs": {"before": "b" * 64}},
        {"inputs": {"before": None}},
        {"stage": Stage("other", CountConfig, CountInputs, Numbers, run=COUNT.run)},
        {"stage": Stage("count", CountConfig, CountInputs, Numbers, COUNT.run, ("pydantic",))},
    ],
)
def test_everything_that_shapes_the_content_enters_the_key(change):
    assert key(**change) != key()


def test_the_key_is_stable_and_knows_no_circumstance():
    assert key() == key()
    assert len(key()) == 64
    for stage in STAGES.values():
        circumstances = {"device", "processes", "nodes", "micro_batch", "path", "out", "threads"}
        assert not circumstances & stage.config.model_fields.keys(), stage.name


def test_package_versions_are_public_and_missing_ones_are_named():
    assert "+" not in package_versions(RL)["torch"]
    lacking = Stage("s", CountConfig, CountInputs, Numbers, COUNT.run, ("no-such-package",))
    with pytest.raises(EnvironmentMissing, match="no-such-package"):
        package_versions(lacking)


def test_sources_enter_through_a_resolver():
    assert CORPUS.sources is not None
    assert COUNT.revisions(CountConfig()) == {}
