"""The launcher of tests: an attempt runs in this very process, at once."""

from __future__ import annotations

from collections.abc import Iterator

from components.execution.execute import execute
from components.execution.launch import Ended, Handle, Status, Unknown, cause
from components.execution.request import StageRequest, attempt_at


class InProcessLauncher:
    """Carry out each attempt inside `submit`."""

    def __init__(self) -> None:
        self._ended: dict[Handle, Ended] = {}

    def submit(self, request: StageRequest) -> Handle:
        handle = Handle(request.stage, request.key, request.attempt)
        code = execute(request.uri)
        self._ended[handle] = Ended(int(code), cause(attempt_at(request.uri), int(code)))
        return handle

    def find(self, stage: str, key: str, attempt: int) -> Handle | None:
        """Return None: no attempt outlives `submit`."""
        del stage, key, attempt

    def status(self, handle: Handle) -> Status:
        return self._ended.get(handle, Unknown())

    def wait(self, handle: Handle, timeout: float) -> Status:
        """Return the status; the attempt is always over."""
        del timeout
        return self.status(handle)

    def cancel(self, handle: Handle) -> None:
        """Do nothing: the attempt is over when `submit` returns."""

    def logs(self, handle: Handle) -> Iterator[str]:
        """Yield nothing: the attempt printed to this process's own output."""
        del handle
        yield from ()

    def close(self) -> None:
        """Do nothing: no process is kept."""
