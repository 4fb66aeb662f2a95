"""The rules of the house: who may import whom, how large things may grow, how they are named.

A rule is a function from one source file to complaints. `test_tree_keeps` runs every rule over the
tree; `test_rule_finds` runs it over a few lines that break it and a few that do not, so that a rule
which stopped seeing anything is noticed.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("components", "flows", "dashboards")

FILE_LINES = 400
FUNCTION_LINES = 60
PARAMETERS = 6
NESTING = 3
LINE = 100
PIPELINE_LINES = 80
VIEW_LINES = 120

EXCEPTIONS: dict[str, str] = {}
"""`path` or `path::function` that may pass a size limit, and why."""

STAGES = {
    "corpus",
    "tokenizer",
    "tasks",
    "shards",
    "pretraining",
    "trajectories",
    "agentic_midtraining",
    "sft",
    "rl",
    "evaluation",
    "export",
}
"""The packages of stages; `test_stage_packages_are_listed` compares them with the table."""

SHARED = {
    "contract",
    "settings",
    "artifacts",
    "model",
    "training",
    "tokenizer",
    "shards",
    "agents",
    "sandbox",
}
"""What a stage package may import beside itself."""

FRAME = {"contract", "settings", "artifacts", "tracking"}

MAY_IMPORT: dict[str, set[str]] = {
    **{stage: SHARED | {stage} for stage in STAGES},
    "contract": {"artifacts", "tracking"},  # types of annotations only
    "settings": {"contract"},
    "stages": {"contract", "artifacts", *STAGES},
    "artifacts": {"contract", "settings", "artifacts", "stages"},
    "catalog": {"contract", "settings", "artifacts", "catalog"},
    "tracking": {"contract", "settings", "artifacts", "tracking", "catalog"},
    "execution": FRAME | {"execution", "stages"},
    "model": {"contract", "artifacts", "model"},
    "training": {"contract", "artifacts", "model", "tokenizer", "shards", "agents", "training"},
    "sandbox": {"contract", "settings", "sandbox"},
    "agents": {"contract", "settings", "artifacts", "model", "tokenizer", "sandbox", "agents"},
    "serving": SHARED | {"serving"},
}
"""For each part of `components`, the parts its modules may import."""

FLOWS_MAY_IMPORT = FRAME | {"stages", "execution", "catalog"}
FLOWS_EXCEPTIONS = {
    "components.serving": "`strata serve` starts it; it is no stage",
    "components.sandbox": "`strata doctor` probes the isolation tiers",
}
DASHBOARDS_MAY_IMPORT = {"catalog", "artifacts", "tracking", "contract", "settings"}
DASHBOARDS_EXCEPTIONS = {
    "components.agents.conversation": "its renderer is the only one that knows the loss mask",
}
ACTIONS = "dashboards/actions.py"
"""The one module of the dashboard that starts something, and so may import flows.deployments."""

ONLY_IN = {
    "prefect": ("flows/",),
    "streamlit": ("dashboards/",),
    "mlflow": ("components/tracking/",),
    "altair": ("dashboards/",),
    "sqlalchemy": (
        "components/catalog/",
        "components/tracking/mlflow.py",  # names the failure of its database
        "dashboards/queries.py",
        "flows/catalog_queue.py",
    ),
    "alembic": ("components/catalog/",),
    "daft": ("components/corpus/",),
    "boto3": ("components/artifacts/",),
    "botocore": ("components/artifacts/",),
    "datasets": ("components/corpus/",),
    "transformers": ("components/tokenizer/", "components/export/"),
}
"""Outside systems and the packages that are their only door."""

ENVIRONMENT_READERS = {
    "components/settings.py": "the one reader",
    "components/corpus/deduplicate.py": "tells Daft, at import, to send no telemetry",
    "components/tracking/mlflow.py": "MLflow takes its patience from variables, at import",
    "components/execution/ranks.py": "reads what a scheduler gives a pod: rank, address, port",
    "components/training/zero.py": "DeepSpeed takes device and operators from variables, at import",
}

BROAD_EXCEPTS = {
    "flows/shipping.py": "the border of a thread: `finish` tells what went wrong",
    "components/execution/": "the process border: every failure becomes an exit code",
}

BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "core", "base", "manager"}

NO_CONSTRUCTION_IN = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}

UNSEEN_DEPENDENCIES = {
    "fastapi": "pinned: newer ones break Prefect's server, which pip check does not notice",
    "jinja2": "transformers renders chat templates with it but does not require it",
    "psycopg": "SQLAlchemy loads it by its name in the URL of the catalog",
}

HEAVY = (
    "torch",
    "pyarrow",
    "tokenizers",
    "transformers",
    "numpy",
    "pandas",
    "daft",
    "datasets",
    "mlflow",
    "prefect",
    "streamlit",
    "sqlalchemy",
)

DISTRIBUTIONS = {"yaml": "pyyaml", "pydantic_core": "pydantic", "PIL": "pillow"}
"""Import names that differ from the name of the distribution."""

VENDOR_HOSTS = re.compile(
    "|".join(
        [
            r"pypi\.(?:org|python)",
            r"python" + r"hosted\.org",
            r"download\.pytorch",
            r"registry\.npmjs",
            r"(?:index\.)?docker\.io/",
            r"\b(?:ghcr|quay|gcr)\.io\b",
            r"--(?:extra-)?index-url",
        ]
    )
)
MACHINE_PATHS = re.compile(
    r"(?<![\w.~}\"'*/-])/(?:work/(?:main|shared)|farm|root)\b|/opt/(?:pypi|wheels)"
)


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root, with slashes, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=self.path)

    @cached_property
    def imports(self) -> list[tuple[int, str]]:
        """Every absolute module name this file imports, anywhere, with its line."""
        found: list[tuple[int, str]] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
        return found

    @property
    def package(self) -> str:
        return self.path.split("/", 1)[0]

    @property
    def part(self) -> str:
        """The part of `components` this file belongs to: `rl`, `contract`."""
        return PurePosixPath(self.path).parts[1].removesuffix(".py")

    @property
    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )


Rule = Callable[[Source], Iterator[str]]


# ---- who may import whom


def imports_point_one_way(source: Source) -> Iterator[str]:
    """Components know no flows; a part of components imports the parts that MAY_IMPORT lists."""
    for line, name in source.imports:
        parts = name.split(".")
        if parts[0] not in PACKAGES or (parts[0] == source.package and parts[0] != "components"):
            continue
        complaint = {
            "components": _components_may,
            "flows": _flows_may,
            "dashboards": _dashboards_may,
        }[source.package](source, parts)
        if complaint:
            yield f"{source.path}:{line} imports {name}: {complaint}"


def _components_may(source: Source, parts: list[str]) -> str:
    if parts[0] != "components":
        return f"components never imports {parts[0]}; pass the value in, or move the code up"
    if source.path == "components/__init__.py" or len(parts) < 2:
        return "name the module you need"
    allowed = MAY_IMPORT.get(source.part)
    if allowed is None:
        return f"add components.{source.part} to MAY_IMPORT, with what it may import"
    if parts[1] not in allowed and parts[1] != source.part:
        return (
            f"components.{source.part} may import {', '.join(sorted(allowed))}; "
            "what two parts share moves to the noun it is about"
        )
    if source.part == "stages" and parts[1] in STAGES and parts[2:3] != ["config"]:
        return "the table of stages imports each stage's config.py only"
    return ""


def _flows_may(source: Source, parts: list[str]) -> str:
    if parts[0] == "dashboards":
        return "flows never imports dashboards"
    if parts[1] in FLOWS_MAY_IMPORT or ".".join(parts[:2]) in FLOWS_EXCEPTIONS:
        return ""
    if "config" in parts[2:3]:
        return ""
    return "flows uses a stage through the table of stages and its config.py only"


def _dashboards_may(source: Source, parts: list[str]) -> str:
    if parts[0] == "flows":
        if source.path == ACTIONS and parts[1:2] == ["deployments"]:
            return ""
        return f"only {ACTIONS} may import flows, and of it flows.deployments"
    if parts[1] in DASHBOARDS_MAY_IMPORT or ".".join(parts[:3]) in DASHBOARDS_EXCEPTIONS:
        return ""
    return "the dashboard reads catalog, artifacts and tracking, nothing else"


def imports_are_absolute(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.level > 0:
            yield f"{source.path}:{node.lineno} imports relatively: write the full module name"


def stage_imports_no_stage(source: Source) -> Iterator[str]:
    for line, name in source.imports:
        parts = name.split(".")
        if parts[0] == "components" and parts[2:3] == ["stage"] and parts[1] != source.part:
            yield (
                f"{source.path}:{line} imports another stage's stage.py: "
                "move what both need to the package it is about"
            )


def outside_systems_have_one_door(source: Source) -> Iterator[str]:
    for line, name in source.imports:
        top = name.split(".")[0]
        doors = ONLY_IN.get(top)
        if doors and not source.path.startswith(doors):
            yield f"{source.path}:{line} imports {top}: it is used in {' and '.join(doors)} only"


def imports_are_declared(source: Source) -> Iterator[str]:
    """Every outside package stands in pyproject.toml, not only in what something else installs."""
    known = declared_distributions()
    for line, name in source.imports:
        top = name.split(".")[0]
        if top in sys.stdlib_module_names or top in PACKAGES:
            continue
        distribution = DISTRIBUTIONS.get(top, top.replace("_", "-").lower())
        if distribution not in known:
            yield f"{source.path}:{line} imports {top}: add {distribution} to pyproject.toml"


def modules_are_loaded_by_import(source: Source) -> Iterator[str]:
    """A module loaded by a computed name is invisible to the import rules and the code digest."""
    allowed = {"components/contract.py", "flows/recipe.py"}
    if source.path in allowed:
        return
    for node in ast.walk(source.tree):
        name = _called(node)
        if name in {"importlib.import_module", "import_module", "__import__", "exec", "eval"}:
            yield f"{source.path}:{_line(node)} calls {name}: import the module by its name"


# ---- what a file may contain


def environment_has_one_reader(source: Source) -> Iterator[str]:
    if source.path in ENVIRONMENT_READERS:
        return
    for node in ast.walk(source.tree):
        if (
            ast.unparse(node) in {"os.environ", "os.getenv", "os.putenv"}
            if isinstance(node, ast.Attribute)
            else False
        ):
            yield f"{source.path}:{_line(node)} reads the environment: add a field to settings.py"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            names = {alias.name for alias in node.names} & {"environ", "getenv", "putenv"}
            if names:
                yield f"{source.path}:{node.lineno} imports {names}: use components.settings"


def failures_are_not_swallowed(source: Source) -> Iterator[str]:
    """`except Exception` may add a fact and raise again; it may not go on as if nothing was."""
    if source.path.startswith(tuple(BROAD_EXCEPTS)):
        return
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = ast.unparse(node.type) if node.type else "everything"
        broad = caught in {"Exception", "BaseException", "everything"}
        if broad and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
            yield (
                f"{source.path}:{node.lineno} catches {caught} and does not raise: "
                "name the failures it expects, or list the file in BROAD_EXCEPTS with its reason"
            )


def imports_have_no_ladder(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Try):
            continue
        tries_import = any(isinstance(inner, ast.Import | ast.ImportFrom) for inner in node.body)
        caught = " ".join(ast.unparse(handler.type) for handler in node.handlers if handler.type)
        if tries_import and ("ImportError" in caught or "ModuleNotFoundError" in caught):
            raises = all(
                any(isinstance(inner, ast.Raise) for inner in ast.walk(handler))
                for handler in node.handlers
            )
            if not raises:
                yield (
                    f"{source.path}:{node.lineno} tries one import after another: "
                    "make the package an extra and raise EnvironmentMissing"
                )


def nothing_is_pickled(source: Source) -> Iterator[str]:
    """What is unpickled is run; weights cross trust lines as safetensors, messages as JSON."""
    for line, name in source.imports:
        if name.split(".")[0] in NO_CONSTRUCTION_IN:
            yield f"{source.path}:{line} imports {name}: use safetensors or JSON"
    for node in ast.walk(source.tree):
        if _called(node) in {"torch.load", "torch.save"}:
            yield f"{source.path}:{_line(node)} calls {_called(node)}: use safetensors"


def names_say_what_is_inside(source: Source) -> Iterator[str]:
    for part in PurePosixPath(source.path).with_suffix("").parts:
        if part in BANNED_NAMES or any(part.endswith(f"_{name}") for name in BANNED_NAMES):
            yield f"{source.path}: {part!r} says nothing; name the noun it is about"


# ---- how large things may grow


def files_are_short(source: Source) -> Iterator[str]:
    limit = FILE_LINES
    if source.path == "flows/pipeline.py":
        limit = PIPELINE_LINES
    elif source.path.startswith("dashboards/views/"):
        limit = VIEW_LINES
    lines = len(source.text.splitlines())
    if lines > limit and source.path not in EXCEPTIONS:
        yield f"{source.path} has {lines} lines (limit {limit}): split it by noun"


def lines_are_short(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.text.splitlines(), 1):
        if len(line) > LINE:
            yield f"{source.path}:{number} has {len(line)} characters (limit {LINE})"


def functions_are_short(source: Source) -> Iterator[str]:
    for function in source.functions:
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > FUNCTION_LINES and f"{source.path}::{function.name}" not in EXCEPTIONS:
            yield (
                f"{source.path}:{function.lineno} {function.name} has {lines} lines "
                f"(limit {FUNCTION_LINES}): take a step out and name it"
            )


def parameters_are_few(source: Source) -> Iterator[str]:
    for function in source.functions:
        arguments = function.args
        names = [a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
        names += [a.arg for a in (arguments.vararg, arguments.kwarg) if a]
        count = len([name for name in names if name not in {"self", "cls"}])
        if count > PARAMETERS and f"{source.path}::{function.name}" not in EXCEPTIONS:
            yield (
                f"{source.path}:{function.lineno} {function.name} takes {count} parameters "
                f"(limit {PARAMETERS}): give it a config or a dataclass"
            )


BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)


def nesting_is_shallow(source: Source) -> Iterator[str]:
    for function in source.functions:
        depth = max((_depth(statement) for statement in function.body), default=0)
        if depth > NESTING and f"{source.path}::{function.name}" not in EXCEPTIONS:
            yield (
                f"{source.path}:{function.lineno} {function.name} nests {depth} blocks "
                f"(limit {NESTING}): return early, or take the inner block out"
            )


def _depth(node: ast.AST, *, same_level: bool = False) -> int:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return 0
    own = int(isinstance(node, BLOCKS) and not same_level)
    depths = [0]
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        chained = isinstance(node, ast.If) and field == "orelse" and len(children) == 1
        depths += [
            _depth(child, same_level=chained and isinstance(child, ast.If))
            for child in children
            if isinstance(child, ast.AST)
        ]
    return own + max(depths)


# ---- what a reader finds


def modules_say_what_they_are(source: Source) -> Iterator[str]:
    if source.text.strip() and not ast.get_docstring(source.tree):
        yield f"{source.path} has no docstring: say what it is and why this way"


def public_things_are_described(source: Source) -> Iterator[str]:
    """Public functions and classes have a docstring; a function's begins with what it does."""
    for node in _public_definitions(source.tree):
        text = ast.get_docstring(node)
        where = f"{source.path}:{node.lineno} {node.name}"
        if text is None:
            yield f"{where} has no docstring: one sentence in the imperative"
            continue
        problem = _sentence_problem(text, imperative=not isinstance(node, ast.ClassDef))
        if problem:
            yield f"{where}: its docstring {problem}"


def _public_definitions(
    tree: ast.Module,
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if not node.name.startswith("_"):
            yield node


NOT_IMPERATIVE = {"a", "an", "the", "this", "it", "its", "function", "method", "class", "here"}
IMPERATIVE_IN_S = {"focus", "bias"}


def _sentence_problem(text: str, *, imperative: bool) -> str:
    paragraph = " ".join(text.split("\n\n")[0].split())
    first = paragraph.split(" ")[0].strip("`,.:;")
    if not first[:1].isupper() and not paragraph.startswith("`"):
        return "does not begin with a capital letter"
    if not re.search(r"[.:!?)`]$", paragraph):
        return "does not end its first sentence"
    third_person = re.fullmatch(r"[A-Z][a-z]+(?<!s)s", first) and first.lower() not in (
        IMPERATIVE_IN_S
    )
    if imperative and (first.lower() in NOT_IMPERATIVE or third_person):
        return f"begins with {first!r}: say what it does in the imperative (Return, Read, Write)"
    return ""


# ---- the rules, what breaks them, what does not

RULES: dict[Rule, tuple[str, str, str]] = {
    # rule: (path of the sample, source that breaks the rule, source that keeps it)
    imports_point_one_way: (
        "components/rl/stage.py",
        "def f():\n    from flows import plan\nfrom components.sft import stage\n",
        "from components.agents.rollout import rollout\nfrom components.rl import grpo\n",
    ),
    imports_are_absolute: (
        "flows/cli.py",
        "from . import plan\n",
        "from flows import plan\n",
    ),
    stage_imports_no_stage: (
        "components/sft/stage.py",
        "from components.tokenizer.stage import run\n",
        "from components.tokenizer.contract import load_tokenizer\n",
    ),
    outside_systems_have_one_door: (
        "components/rl/stage.py",
        "def f():\n    import mlflow\n",
        "import torch\n",
    ),
    imports_are_declared: (
        "components/rl/stage.py",
        "import no_such_package\n",
        "import json\nimport torch\n",
    ),
    modules_are_loaded_by_import: (
        "flows/cli.py",
        "import importlib\nimportlib.import_module('components.' + name)\n",
        "import importlib.util\n",
    ),
    environment_has_one_reader: (
        "components/rl/stage.py",
        "import os\nx = os.environ['HOME']\ny = os.getenv('HOME')\n",
        "import os\nx = os.cpu_count()\n",
    ),
    failures_are_not_swallowed: (
        "flows/cli.py",
        "try:\n    f()\nexcept Exception:\n    log()\n",
        "try:\n    f()\nexcept Exception as e:\n    raise ValueError('fact') from e\n",
    ),
    imports_have_no_ladder: (
        "components/rl/stage.py",
        "try:\n    import a\nexcept ImportError:\n    import b\n",
        "try:\n    import a\nexcept ImportError:\n    raise EnvironmentMissing('a') from None\n",
    ),
    nothing_is_pickled: (
        "components/rl/stage.py",
        "import torch\ntorch.load('x')\n",
        "from safetensors.torch import load_file\n",
    ),
    names_say_what_is_inside: ("components/rl/data_utils.py", "", ""),
    files_are_short: ("components/rl/stage.py", "x = 1\n" * 401, "x = 1\n" * 400),
    lines_are_short: ("components/rl/stage.py", "#" * 101, "#" * 100),
    functions_are_short: (
        "components/rl/stage.py",
        "def f():\n" + "    x = 1\n" * 60,
        "def f():\n" + "    x = 1\n" * 59,
    ),
    parameters_are_few: (
        "components/rl/stage.py",
        "def f(a, b, c, d, *, e, f, g): ...\n",
        "class A:\n    def f(self, a, b, c, d, *, e, f): ...\n",
    ),
    nesting_is_shallow: (
        "components/rl/stage.py",
        "def f():\n if a:\n  for b in c:\n   with d:\n    while e:\n     pass\n",
        "def f():\n if a:\n  pass\n elif b:\n  pass\n elif c:\n  for d in e:\n   pass\n",
    ),
    modules_say_what_they_are: ("components/rl/stage.py", "x = 1\n", '"""The stage."""\n'),
    public_things_are_described: (
        "components/rl/stage.py",
        'def f():\n    """Returns a thing."""\n',
        'def f():\n    """Return a thing."""\ndef _g(): ...\n',
    ),
}

EXEMPT = {
    # generated by alembic and named after revisions
    "components/catalog/migrations/versions/": {files_are_short, functions_are_short},
    "components/catalog/migrations/": {public_things_are_described, modules_are_loaded_by_import},
}


def identify(rule: object) -> str:
    return rule.__name__ if callable(rule) else ""


@pytest.mark.parametrize("rule", RULES, ids=identify)
def test_tree_keeps(rule: Rule) -> None:
    found = [
        complaint
        for source in sources()
        if not any(source.path.startswith(p) and rule in rules for p, rules in EXEMPT.items())
        for complaint in rule(source)
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", RULES, ids=identify)
def test_rule_finds(rule: Rule) -> None:
    path, breaks, keeps = RULES[rule]
    assert list(rule(Source(path, breaks)))
    if rule is names_say_what_is_inside:
        path = "components/rl/grpo.py"
    assert not list(rule(Source(path, keeps)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("components/tokenizer/stage.py", "import prefect\n"),
        ("components/artifacts/store.py", "import streamlit\n"),
        ("dashboards/app.py", "import prefect\n"),
    ],
)
def test_orchestrator_and_dashboard_stay_outside(path: str, text: str) -> None:
    assert list(outside_systems_have_one_door(Source(path, text)))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("components/stages.py", "components.rl.stage"),
        ("components/model/transformer.py", "components.training.loop"),
        ("components/rl/stage.py", "components.sft.mask"),
        ("components/agents/rollout.py", "components.execution.request"),
        ("flows/cli.py", "components.rl.grpo"),
        ("flows/cli.py", "dashboards.app"),
        ("dashboards/app.py", "flows.pipeline"),
        ("dashboards/app.py", "components.execution.launch"),
    ],
)
def test_direction_of_imports(path: str, name: str) -> None:
    module, _, last = name.rpartition(".")
    assert list(imports_point_one_way(Source(path, f"from {module} import {last}\n")))
    assert list(imports_point_one_way(Source(path, f"import {name}\n")))


# ---- the tree as a whole


def test_declared_packages_are_used() -> None:
    used = {name.split(".")[0] for source in sources() for _, name in source.imports}
    names = {DISTRIBUTIONS.get(top, top.replace("_", "-").lower()) for top in used}
    unused = declared_distributions() - names - set(UNSEEN_DEPENDENCIES) - {"strata"}
    assert not unused, f"no module imports {sorted(unused)}: take them out of pyproject.toml"


def test_exceptions_still_exist() -> None:
    paths = {source.path for source in sources()}
    for entry in (*EXCEPTIONS, *ENVIRONMENT_READERS):
        path, _, function = entry.partition("::")
        assert path in paths, f"{entry} is gone: take it off the list"
        if function:
            names = {f.name for s in sources() if s.path == path for f in s.functions}
            assert function in names, f"{entry} is gone: take it off the list"


def test_stage_packages_have_one_shape() -> None:
    wrong = [
        f"components/{stage}/{name} is missing"
        for stage in sorted(STAGES)
        for name in ("config.py", "stage.py")
        if not (ROOT / "components" / stage / name).is_file()
    ]
    assert not wrong, wrong


def test_stage_packages_are_listed() -> None:
    from components.stages import STAGES as table

    run = {stage.run.split(".")[1] for stage in table.values()}
    assert run == STAGES, "the table of stages and STAGES above differ"
    for stage in table.values():
        assert stage.run.endswith(".stage:run"), f"{stage.name}: its code is stage.py's `run`"


def test_configs_import_nothing_heavy() -> None:
    """A plan is made before torch is there: the table of stages must cost milliseconds."""
    program = (
        "import sys, json, components.stages\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_tests_mirror_modules() -> None:
    stray = []
    for test in tracked_files("tests/*.py"):
        parts = PurePosixPath(test).parts
        if len(parts) < 3 or parts[1] not in PACKAGES or not parts[-1].startswith("test_"):
            continue
        folder = PurePosixPath(*parts[1:-1])
        module = folder / parts[-1].removeprefix("test_")
        # a package may have one test of its own, beside it: tests/components/test_rl.py
        if not (ROOT / module).is_file() and not (ROOT / module.with_suffix("")).is_dir():
            stray.append(f"{test} tests {module}, which does not exist: name it after its module")
    assert not stray, "\n" + "\n".join(stray)


def test_packages_have_tests() -> None:
    missing = [
        f"tests/components/{folder.name} is missing: test what components/{folder.name} does"
        for folder in sorted((ROOT / "components").iterdir())
        if (folder / "__init__.py").is_file()
        and not list((ROOT / "tests" / "components" / folder.name).rglob("test_*.py"))
    ]
    assert not missing, "\n" + "\n".join(missing)


GUEST = ("components/sandbox/", "tests/components/sandbox/")
"""Where a path like /root means one inside the sandbox."""

BINARY = {".png", ".parquet", ".gz", ".zst"}


def test_files_name_no_machine_and_no_registry() -> None:
    found = []
    for name in tracked_files():
        path = ROOT / name
        if path.suffix in BINARY or path == Path(__file__) or name.startswith(GUEST):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for pattern in (VENDOR_HOSTS, MACHINE_PATHS):
                if match := pattern.search(line):
                    found.append(f"{name}:{number} names {match.group()!r}")
    assert not found, "\n" + "\n".join(found)


def test_machine_and_registry_are_recognised() -> None:
    assert VENDOR_HOSTS.search("pip install --index-url https://example.org")
    assert VENDOR_HOSTS.search("image: docker.io/library/python")
    assert not VENDOR_HOSTS.search("apt-get install docker.io")
    place = "/" + "work"
    assert MACHINE_PATHS.search(f"see {place}/main for it")
    assert not MACHINE_PATHS.search(f"from home{place}/ and framework{place}")


def test_ruff_is_content() -> None:
    run_tool("ruff", "check", "--no-cache", "--output-format=concise", ".")
    run_tool("ruff", "format", "--no-cache", "--check", ".")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_types_hold() -> None:
    run_tool("basedpyright", "--level", "error")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_dashboard_types_hold(tmp_path: Path) -> None:
    """The dashboard is checked in basic mode: Streamlit and Plotly are loosely typed."""
    project = tmp_path / "pyrightconfig.json"
    settings = {
        "include": [str(ROOT / "dashboards")],
        "typeCheckingMode": "basic",
        "pythonVersion": "3.11",
        "extraPaths": [str(ROOT)],
    }
    project.write_text(json.dumps(settings), encoding="utf-8")
    run_tool(
        "basedpyright",
        "--level",
        "error",
        "--project",
        str(project),
        "--pythonpath",
        sys.executable,
    )


def test_infrastructure_holds_no_code() -> None:
    allowed = {"infra/images/buckets.py", "infra/images/healthy.py"}  # they prepare and ask servers
    stray = set(tracked_files("infra/*.py")) - allowed
    assert not stray, "infra says where; code goes to components or flows"


# ---- reading the tree


@cache
def tracked_files(pattern: str = "*") -> tuple[str, ...]:
    """Names of the files that git tracks or would track, from the root."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", pattern],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = sorted(name.decode() for name in done.stdout.split(b"\0") if name)
    return tuple(name for name in names if (ROOT / name).is_file())


@cache
def sources() -> tuple[Source, ...]:
    return tuple(
        Source(name, (ROOT / name).read_text(encoding="utf-8"))
        for name in tracked_files("*.py")
        if name.split("/")[0] in PACKAGES
    )


@cache
def declared_distributions() -> frozenset[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = project["dependencies"] + [
        line for name, group in extras.items() if name != "dev" for line in group
    ]
    return frozenset(re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in lines)


def run_tool(*command: str) -> None:
    tool = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [str(tool), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, "\n" + done.stdout[-6000:] + done.stderr[-2000:]


def _called(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)
