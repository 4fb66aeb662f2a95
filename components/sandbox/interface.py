"""What a sandbox is: one long-lived session that runs commands one after another.

A fresh sandbox a command costs 10 to 40 ms, which 12,800 rollouts would feel; a session takes 1 to
2 ms a command and keeps the same walls. Whatever a command leaves running is killed when it ends.
CPU time is the limit a command is judged by, since it does not depend on the load of the machine;
the wall limit is a backstop and counts as our own fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from components.contract import EnvironmentMissing

Tier = Literal["bubblewrap", "landlock", "pods"]

TEXT_TOOLS = (
    *("basename", "cat", "cksum", "cmp", "comm", "cp", "cut", "diff", "dirname", "expand", "expr"),
    *("false", "fmt", "fold", "grep", "head", "join", "ls", "md5sum", "mkdir", "mv", "nl", "od"),
    *("paste", "printf", "rm", "rmdir", "sed", "seq", "sha256sum", "sort", "split", "sum", "tac"),
    *("tail", "tee", "test", "touch", "tr", "true", "truncate", "uniq", "wc", "xargs"),
)
"""Programs of every Debian whose output follows from the files they read. Others tell of the moment
or the machine (`date`, `ps`, `w`): a model that learnt from them could not be made again."""


@dataclass(frozen=True)
class Limits:
    """Bound what a command may use; sizes in bytes."""

    memory_bytes: int = 1 << 29
    """Address space of each process. Not a limit of the session: that would need a memory
    cgroup.
    """
    processes: int = 32
    file_bytes: int = 4 << 20
    scratch_bytes: int = 16 << 20
    """Size of the only writable place, `/tmp` or with Landlock a directory of the session."""
    output_bytes: int = 1 << 16
    """Bytes kept of standard output and of standard error; 16 times as many end the command."""
    wall_seconds: float = 30.0


@dataclass(frozen=True)
class Completed:
    """Hold what a command left: text, exit code (128 + signal for a killed one), and why it
    ended.
    """

    stdout: str
    stderr: str
    code: int
    timed_out_cpu: bool = False
    """The command and its children used up their CPU time: the model's fault."""
    infrastructure: bool = False
    """The session was lost or stood still: our fault, no evidence about the model."""
    truncated: bool = False


class Sandbox(Protocol):
    """Run commands in isolation; one caller at a time."""

    def run(self, command: str, *, cpu_seconds: float = 2.0) -> Completed:
        """Run a bash command in the directory of the files and wait for it; never raises for it."""
        ...

    def reset(self) -> None:
        """Remove what earlier commands wrote, so that the next task starts clean."""
        ...

    def close(self) -> None:
        """End the session and everything in it."""
        ...


def open_sandbox(
    tier: Tier, files: Path, limits: Limits | None = None, *, text_tools: bool = False
) -> Sandbox:
    """Open a session whose working directory shows `files` read-only, and prove its walls.

    With `text_tools` its commands find nothing by name but bash's own words and `TEXT_TOOLS`.
    Raises `EnvironmentMissing` where this machine cannot isolate; there is no way to run without.
    """
    if tier == "bubblewrap":
        from components.sandbox.bubblewrap import BubblewrapSandbox as Opened
    elif tier == "landlock":
        from components.sandbox.landlock import LandlockSandbox as Opened
    else:
        raise EnvironmentMissing(
            f"sandbox tier {tier!r} is not available in this version; set sandbox_tier to "
            "'bubblewrap' (`apt-get install bubblewrap`; it needs user namespaces) or, in a "
            "restricted pod, to 'landlock' (it needs Linux 6.12)"
        )
    from components.sandbox.selftest import prove_isolation

    sandbox = Opened(files, limits or Limits())
    try:
        prove_isolation(sandbox)
    except BaseException:
        sandbox.close()
        raise
    if text_tools:
        sandbox.path = sandbox.tools
    return sandbox
