"""Refuse a run at once where a step that it would reach needs what this machine lacks.

The step itself checks too, and decides. But it may come hours after the start, and what was made
until then is of no use to a user who wanted the end.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.contract import EnvironmentMissing, Resources, load_function
from components.settings import Settings
from flows.plan import Plan, PlannedStep

GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""One of these exists wherever torch could find a GPU; asking torch itself takes seconds."""
LEAST_FREE_BYTES = 100_000_000
"""Less than this fills up while the servers' databases are made, whatever the run writes."""
FULL_BYTES = 1_000_000
COMMAND_FAMILIES = frozenset({"files", "repair"})
"""Families of tasks whose tools run commands."""


def refuse_missing(
    plan: Plan, resources_of: Callable[[str], Resources], settings: Settings
) -> None:
    """Raise EnvironmentMissing for disk space, a device or a sandbox that a step to be made needs
    in vain; of steps that other machines carry out, this one knows nothing.
    """
    _refuse_full(settings.home)
    if settings.launcher == "kubernetes":
        return
    pending = [plan.steps[name] for name in plan.pending]
    if not any(Path(device).exists() for device in GPU_DEVICES):
        _refuse_gpu([step.name for step in pending if resources_of(step.name).device == "cuda"])
    if _runs_commands(plan):
        tiers = {tier: step.name for step in reversed(pending) if (tier := _tier(step))}
        for tier, step in tiers.items():
            _refuse_tier(tier, step)


def refuse_full(home: Path, error: Exception) -> None:
    """Raise EnvironmentMissing where a run ended with `error` while the disk of its home is full.

    Servers, databases and libraries die of it in their own words, or without any.
    """
    if _free(home) < FULL_BYTES:
        said = str(error).splitlines() or [type(error).__name__]
        raise EnvironmentMissing(
            f"{said[0].removesuffix('.')}.\n"
            f"The disk of {home} is full: free some space; the same command goes on."
        ) from error


def _free(home: Path) -> int:
    return shutil.disk_usage(next(p for p in (home, *home.parents) if p.exists())).free


def _refuse_full(home: Path) -> None:
    free = _free(home)
    if free < LEAST_FREE_BYTES:
        raise EnvironmentMissing(
            f"the disk of {home} is full: {free / 1e6:.0f} MB are free, a run needs "
            f"{LEAST_FREE_BYTES / 1e6:.0f} MB at least.\n"
            "Free some space, or set STRATA_HOME to another disk. Nothing was started."
        )


def _refuse_gpu(steps: list[str]) -> None:
    if steps:
        who = f"step {steps[0]} asks"
        place = steps[0]
        if len(steps) > 1:
            who, place = f"step {steps[0]} and {len(steps) - 1} more ask", "default"
        raise EnvironmentMissing(
            f"{who} for a GPU (device=cuda) and this machine has none.\n"
            f"Run on a machine with one, or set resources.{place}.device=cpu. Nothing was started."
        )


def _runs_commands(plan: Plan) -> bool:
    """Return whether the tasks of the plan run commands; without a step `tasks`, expect it."""
    tasks: Any = plan.steps["tasks"].config if "tasks" in plan.steps else None
    return tasks is None or not COMMAND_FAMILIES.isdisjoint(tasks.families)


def _tier(step: PlannedStep) -> Any:
    config: Any = step.config
    plays = getattr(config, "episodes", 1) or getattr(config, "recovery", 1)
    return getattr(config, "sandbox_tier", None) if plays else None


def _refuse_tier(tier: Any, step: str) -> None:
    with tempfile.TemporaryDirectory() as files:
        try:
            load_function("components.sandbox.interface:open_sandbox")(tier, Path(files)).close()
        except EnvironmentMissing as error:
            raise EnvironmentMissing(f"step {step}: {error}\nNothing was started.") from None
