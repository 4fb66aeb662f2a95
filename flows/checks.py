"""What `strata doctor` looks at: each check returns its state, what it found, and the repair."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from components.contract import StageFailure, load_function
from components.settings import Settings

Result = tuple[str, str, str]
Check = Callable[[Settings], Result]

LEAST_FREE_GB = 3.0
LEAST_MEMORY_GB = 4.0
PATIENCE = 3.0  # seconds for a store that does not answer
EXTRAS = {
    "data": ("daft", "pyarrow", "rustbpe", "tokenizers", "zstandard"),
    "train": ("safetensors", "torch", "transformers"),
    "servers": ("fastapi", "mlflow", "prefect", "psutil", "streamlit"),
}
INSTALL = "pip install -e '.[all]' -c constraints.txt"


def python(_: Settings) -> Result:
    """Check the interpreter's version."""
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return "ok", found, ""
    return "fault", found, "use Python 3.11, 3.12 or 3.13"


def packages(_: Settings) -> Result:
    """Check that every extra is installed, without importing it."""
    missing = [
        f"{name} (extra {extra})"
        for extra, names in EXTRAS.items()
        for name in names
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        return "fault", f"missing: {', '.join(missing)}", INSTALL
    version = metadata.version("fastapi")
    major, minor = (int(part) for part in version.split(".")[:2])
    if (major, minor) >= (0, 155) or (major, minor) < (0, 139):
        repair = "pip install 'fastapi>=0.139,<0.155': Prefect's server does not start with others"
        return "fault", f"fastapi {version}", repair
    return "ok", f"all of {', '.join(EXTRAS)}", ""


def sandbox(here: Settings) -> Result:
    """Open a sandbox session in each tier, which proves its walls; the tiers that the recipes of
    this place choose must hold.
    """
    faults: dict[str, str] = {}
    tiers = ("bubblewrap", "landlock")
    for tier in tiers:
        try:
            opened = load_function("components.sandbox.interface:open_sandbox")
            with tempfile.TemporaryDirectory() as files:
                opened(tier, Path(files)).close()
        except (StageFailure, OSError, ImportError) as error:
            faults[tier] = str(error)
    holding = [tier for tier in tiers if tier not in faults]
    broken = sorted(_tiers(here).difference(holding))
    if not broken:
        return "ok", f"{holding[0]} isolates" + ", and so does landlock" * (len(holding) > 1), ""
    repair = "apt-get install bubblewrap; allow user namespaces"
    if "landlock" not in faults:
        repair += "; or set sandbox_tier=landlock where a step has it, which isolates here"
    return "fault", "; ".join(faults.get(tier, f"no tier {tier} yet") for tier in broken), repair


def _tiers(here: Settings) -> set[str]:
    """Return the sandbox tiers that a recipe chooses with the settings of this place."""
    from flows.recipe import resolve

    try:
        steps = resolve("ci", settings=here)
    except StageFailure:  # STRATA_SET does not hold
        return {"bubblewrap"}
    return {step.sandbox_tier for _, step in steps if hasattr(step, "sandbox_tier")}


def home(here: Settings) -> Result:
    """Check that the home can be written."""
    place = _existing(here.home)
    if not os.access(place, os.W_OK):
        return "fault", f"{place} cannot be written", "set STRATA_HOME to a directory you may write"
    return "ok", str(here.home), ""


def disk(here: Settings) -> Result:
    """Check the space under the home."""
    free = shutil.disk_usage(_existing(here.home)).free / 1e9
    if free < LEAST_FREE_GB:
        repair = f"free {LEAST_FREE_GB - free:.1f} GB, or set STRATA_HOME to another disk"
        return "fault", f"{free:.1f} GB free", repair
    return "ok", f"{free:.0f} GB free", ""


def memory(_: Settings) -> Result:
    """Check the machine's memory."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if total < LEAST_MEMORY_GB:
        return "note", f"{total:.1f} GiB", f"toy wants {LEAST_MEMORY_GB:.0f} GiB: close programs"
    return "ok", f"{total:.0f} GiB, {os.cpu_count()} cores", ""


def sources(_: Settings) -> Result:
    """Check for the tools that fetch the recipes' Debian text."""
    missing = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None]
    if missing:
        found = f"no {' and no '.join(missing)}"
        return "note", found, "nothing: general text falls back to what Python packages carry"
    return "ok", "apt-get and dpkg", ""


def store(here: Settings) -> Result:
    """Check that the store's records can be read, and that a bucket keeps what is relied on."""
    from components.artifacts.open_objects import open_objects
    from components.artifacts.probe import probe
    from components.artifacts.store import ArtifactStore
    from flows.runs import load_run

    try:
        objects = open_objects(here.store_uri, here, patience=PATIENCE)
        opened = ArtifactStore(objects, here.home / "locks")
        names = list(objects.names("runs"))
        lacks = probe(objects) if here.store_uri.startswith("s3://") else []
    except StageFailure as error:
        found, _, repair = str(error).partition("\n")
        return "fault", found, repair.rpartition("Fix: ")[2] or "correct STRATA_STORE"
    if lacks:
        return "fault", f"{here.store_uri}: {'; '.join(lacks)}", "use another S3 server"
    torn = [name for name in names if load_run(opened, name) is None]
    if torn:
        repair = f"move {here.store_uri}/runs/{torn[0]} aside"
        return "fault", f"{len(torn)} of {len(names)} run records cannot be read", repair
    return "ok", f"{here.store_uri}, {len(names)} runs", ""


def catalog(here: Settings) -> Result:
    """Check that the catalog answers and has the newest schema; one that is not there yet is
    well.
    """
    if here.catalog_url.startswith("sqlite:///"):
        path = Path(here.catalog_url.removeprefix("sqlite:///"))
        if not path.exists():
            return "ok", "made by the first run", ""
    from components.catalog.session import condition
    from components.catalog.tables import HEAD

    try:
        seen = condition(here.catalog_url)
    except StageFailure as error:
        return _fault(error, "move it aside, then `strata catalog rebuild`")
    where = f"{seen.server}, {seen.url}"
    if seen.revision is None:
        return "ok", f"{where}, empty: the first run makes it", ""
    if seen.revision == HEAD:
        return "ok", f"{where}, revision {HEAD}", ""
    found = f"{where}, revision {seen.revision} where this version has {HEAD}"
    if seen.revision > HEAD:
        return "fault", found, "upgrade Strata, or point STRATA_CATALOG elsewhere"
    return "note", found, "strata db upgrade, or the next run does it"


def servers(here: Settings) -> Result:
    """Check the servers that are up, or that their ports are free."""
    from flows.server_processes import port_holder
    from flows.servers import mlflow_uri, prefect_url, running

    try:
        prefect = prefect_url(here)
        if running(here) is not None or here.prefect:
            versions = {name: metadata.version(name) for name in ("prefect", "mlflow")}
            found = f"Prefect {versions['prefect']} {prefect or 'not well'}"
            return "ok", f"{found}, MLflow {versions['mlflow']} {mlflow_uri(here)}", ""
    except StageFailure as error:
        return _fault(error, "unset STRATA_PREFECT")
    ports = {
        "STRATA_PREFECT_PORT": here.prefect_port,
        "STRATA_MLFLOW_PORT": here.mlflow_port,
        "STRATA_DASHBOARD_PORT": here.dashboard_port,
    }
    for name, port in ports.items():
        holder = port_holder(port)
        if holder:
            return "note", f"port {port} is taken by {holder}", f"set {name} before `strata up`"
    return "ok", "not up; `strata up` starts them", ""


def recipes(_: Settings) -> Result:
    """Check that every shipped recipe resolves."""
    from flows.recipe import RECIPES, shipped

    for name in RECIPES:
        try:
            shipped(name)
        except ValueError as error:
            return "fault", f"{name}: {error}", "undo your change of flows/recipes"
    return "ok", ", ".join(RECIPES), ""


def _fault(error: StageFailure, repair: str) -> Result:
    """Return what an error says, with its own repair where it names one."""
    found, _, own = str(error).partition("\nFix: ")
    return "fault", found, own or repair


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


CHECKS: dict[str, Check] = {
    "python": python,
    "packages": packages,
    "recipes": recipes,
    "sandbox": sandbox,
    "home": home,
    "disk": disk,
    "memory": memory,
    "sources": sources,
    "store": store,
    "catalog": catalog,
    "servers": servers,
}
