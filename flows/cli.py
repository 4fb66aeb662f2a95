"""The command `strata`: verbs, each of which calls one function elsewhere.

A command's module is imported when it is called, and the overview is printed from the table below,
so that `--help` answers before anything heavy is loaded. Data goes to standard output, talk to
standard error; the exit codes are those of `components.execution.exit_codes`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Run": {
        "run": ("flows.commands.run:run", "Run a recipe, or continue its unfinished run."),
        "plan": ("flows.commands.plan:plan", "Show what would run, why, and at what cost."),
        "rerun": ("flows.commands.run:rerun", "Run a finished run's recipe again from a step."),
        "cancel": ("flows.commands.status:cancel", "Stop a run; its steps save resume points."),
        "eval": ("flows.commands.evaluate:evaluate", "Score one checkpoint of a run."),
        "ablate": ("flows.commands.ablate:ablate", "Compare a recipe with and without a step."),
    },
    "Look": {
        "status": ("flows.commands.status:status", "Show how far the newest run is."),
        "runs": ("flows.commands.status:runs", "List runs, the newest first."),
        "show": ("flows.commands.show:show", "Show a run, a step or an artifact."),
        "logs": ("flows.commands.logs:logs", "Print what a step printed and journalled."),
        "why": ("flows.commands.why:why", "Say why a step ran, would run, or is as it is."),
        "diff": ("flows.commands.show:diff", "Say where two runs part."),
    },
    "Use": {
        "export": ("flows.commands.export:export", "Copy a run's released model to a folder."),
        "serve": ("flows.commands.export:serve", "Serve a model with an OpenAI-compatible API."),
    },
    "Set up": {
        "up": ("flows.commands.servers:up", "Start Prefect, MLflow and the dashboard."),
        "down": ("flows.commands.servers:down", "Stop them; the data stays."),
        "deploy": ("flows.commands.servers:deploy", "Make Prefect deployments, with a schedule."),
        "doctor": ("flows.commands.doctor:doctor", "Check this machine and say what to repair."),
        "reconcile": (
            "flows.commands.reconcile:command",
            "Close runs whose process died, and tidy the cluster.",
        ),
        "gc": ("flows.commands.gc:gc", "Give back the space of what no run needs any more."),
    },
}
SUBCOMMANDS: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "config": (
        "Show, compare and describe recipes.",
        {
            "show": ("flows.commands.config:show", "Print a recipe with everything resolved."),
            "diff": ("flows.commands.config:diff", "Print where two recipes differ."),
            "schema": ("flows.commands.config:schema", "Print the JSON Schema of a recipe."),
        },
    ),
    "artifact": (
        "Work on artifacts.",
        {"verify": ("flows.commands.show:verify", "Check every byte of artifacts.")},
    ),
    "catalog": (
        "Work on the catalog.",
        {"rebuild": ("flows.commands.servers:rebuild_catalog", "Make it again from the store.")},
    ),
    "db": (
        "Work on the catalog's database.",
        {"upgrade": ("flows.commands.servers:upgrade_db", "Bring its schema up to date.")},
    ),
    "mlflow": (
        "Work on what MLflow shows.",
        {"rebuild": ("flows.commands.servers:rebuild_mlflow", "Ship it again from the store.")},
    ),
}
ENDINGS = (
    "strata COMMAND --help explains a command. --debug adds a traceback to an error. "
    "Most commands take --json."
)


def overview() -> str:
    """Return what `strata --help` prints."""
    lines = ["strata takes raw text to a tool-using language model and can prove how it got there."]
    for title, commands in GROUPS.items():
        lines += ["", title]
        lines += [f"  {name:<10} {help_text}" for name, (_, help_text) in commands.items()]
    lines += ["", "More"]
    lines += [
        f"  {name:<10} {' | '.join(inner)}: {help_text}"
        for name, (help_text, inner) in SUBCOMMANDS.items()
    ]
    return "\n".join([*lines, "", ENDINGS])


def make_app() -> Any:
    """Build the application; command modules are named, not imported."""
    from cyclopts import App, Parameter

    defaults = Parameter(negative=())
    app = App(
        name="strata",
        help="Take raw text to a tool-using language model.",
        version=_version,
        default_parameter=defaults,
        help_formatter="plain",
    )
    for commands in GROUPS.values():
        for name, (target, help_text) in commands.items():
            app.command(target, name=name, help=help_text)
    for name, (help_text, commands) in SUBCOMMANDS.items():
        inner = App(name=name, help=help_text, default_parameter=defaults)
        for verb, (target, verb_help) in commands.items():
            inner.command(target, name=verb, help=verb_help)
        app.command(inner)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command line and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not arguments or arguments in (["--help"], ["-h"], ["help"]):
        print(overview())
        return 0
    try:
        return _carry_out(arguments)
    except BaseException as error:
        if debug and not isinstance(error, SystemExit | KeyboardInterrupt):
            raise
        return explain(error)


def _carry_out(arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    from components.contract import BadInput

    refuse_unknown(arguments[0])
    try:
        result = make_app()(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        command = " ".join(a for a in arguments[:1] if not a.startswith("-"))
        raise BadInput(f"{error}\nUsage: strata {command} --help".replace("  ", " ")) from None
    sys.stdout.flush()
    return result if isinstance(result, int) else 0


def refuse_unknown(command: str) -> None:
    """Raise BadInput with a suggestion where there is no such command."""
    from components.contract import BadInput
    from flows.overlay import suggest

    known = [name for commands in GROUPS.values() for name in commands] + list(SUBCOMMANDS)
    if command.startswith("-") or command in known:
        return
    best = suggest(command, known)
    hint = f" Did you mean {best[0]}?" if best else ""
    raise BadInput(f"there is no command {command!r}.{hint}\nstrata --help lists the commands.")


def explain(error: BaseException) -> int:
    """Print an error in at most eight lines and return its exit code."""
    from components.execution.exit_codes import ExitCode, exit_code, machine_fault

    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):  # the reader of our output has gone: nothing to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    code = exit_code(error)
    if isinstance(error, KeyboardInterrupt):
        text = "interrupted"
    elif fault := machine_fault(error):
        text = fault
    elif isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        text = f"{error.strerror or error}{where}\n--debug shows where."
    elif code is ExitCode.FAILED and not getattr(error, "exit_code", None):
        text = f"{type(error).__name__}: {error}\nA fault of strata itself: --debug shows where."
    else:
        text = str(error)
    lines = [line for line in text.splitlines() if line.strip()][:8]
    print("\n".join(["error: " + lines[0], *("  " + line for line in lines[1:])]), file=sys.stderr)
    return int(code)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("strata")
    except PackageNotFoundError:
        return "0 (not installed)"


if __name__ == "__main__":
    sys.exit(main())
