"""The options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from components.settings import Settings
from flows.recipe import Recipe, resolve


@Parameter(name="*")
@dataclass(frozen=True)
class Changes:
    """Change a recipe: first the file, then STRATA_SET, then each --set."""

    file: Annotated[Path | None, Parameter(name=["--file", "-f"])] = None
    """TOML, YAML or JSON file of changes, such as `[agent]` and `learning_rate = 1e-4`."""
    set: Annotated[list[str], Parameter(name=["--set", "-s"])] = field(default_factory=list[str])
    """One change, STEP.FIELD=VALUE; values may carry units: 10GB, 1.5B, 2h. May be repeated."""

    def apply_to(self, recipe: str, settings: Settings) -> Recipe:
        """Return the named recipe with the changes."""
        return resolve(recipe, file=self.file, assignments=self.set, settings=settings)


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """Say how a run is made."""

    new: bool = False
    """Start another run although one could be continued."""
    until: str = ""
    """Stop after this step."""
    accept_stale: list[str] = field(default_factory=list[str])
    """Use this step's newest artifact although its code has changed since; may be repeated."""
    verify: bool = False
    """Check every byte of what is reused; without it names and sizes are checked here."""
    dry_run: bool = False
    """Print the plan and end; with the launcher kubernetes, every manifest as YAML."""
    launcher: Literal["", "local_process", "kubernetes"] = ""
    """How steps are started; without it, as STRATA_LAUNCHER says."""
    here: bool = False
    """Orchestrate from this machine although a cluster carries the steps out."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""

    def settings(self, settings: Settings) -> Settings:
        """Return the settings with the launcher that was asked for."""
        return (
            settings.model_copy(update={"launcher": self.launcher}) if self.launcher else settings
        )
