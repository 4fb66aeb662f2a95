"""Carry out one request: `python -m components.execution.execute REQUEST`. A container's main
process.

Checks the request, the sources and the inputs, starts the ranks, runs the stage, and commits the
manifest last. The caller learns the outcome from the store and from the exit code, never from
standard output. With several ranks this process only starts and watches them: each is `execute
REQUEST --rank R` with the variables that torchrun would set, since torchrun itself turns every
child's exit code into 1.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from components.artifacts.identity import code_digest, package_versions
from components.artifacts.manifest import Manifest, content_digest, list_files
from components.artifacts.store import ArtifactStore, Attempt
from components.contract import (
    BadInput,
    EnvironmentMissing,
    Facts,
    Stage,
    StageContext,
    StageFailure,
    load_function,
)
from components.execution.exit_codes import ExitCode, disk_is_full, exit_code, machine_fault
from components.execution.numerics import numerics, reset_global_state
from components.execution.publishing import patiently, published
from components.execution.ranks import end_rank, run_ranks
from components.execution.repeat import repeated
from components.execution.request import (
    StageRequest,
    attempt_at,
    open_inputs,
    open_verified,
    read_request,
)
from components.settings import settings
from components.tracking.journal import Journal

HEARTBEAT_SECONDS = 2.0


class StopSignal:
    """Remember that a stop was asked for: by SIGTERM, or by a newer attempt at the same key."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        return self.requested

    def request(self, *_: object) -> None:
        self.requested = True


def execute(uri: str, *, rank: int = 0, stop: StopSignal | None = None) -> ExitCode:
    """Carry out the request at `uri` as one rank and return the exit code; errors are printed,
    not raised.

    Writes `result.json` with code, cause and digest beside the request (rank 0).

    """
    stop = stop or StopSignal()
    outcome: dict[str, object] = {}
    attempt: Attempt | None = None
    try:
        attempt = attempt_at(uri)
        request = read_request(uri)
        with _terminate_means(stop):
            outcome["digest"] = _run(request, attempt, rank, stop)
        code = ExitCode.DONE
    except BaseException as error:
        code = exit_code(error)
        place = attempt.path if attempt else None
        outcome["cause"] = machine_fault(error, place) or str(error) or type(error).__name__
        if attempt and disk_is_full(error):  # what is half written is of no use, its space is
            shutil.rmtree(attempt.files, ignore_errors=True)
        if code is ExitCode.FAILED:
            traceback.print_exc()
            outcome["cause"] = f"{type(error).__name__}: {error}"
        else:
            print(f"{type(error).__name__}: {outcome['cause']}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    if rank == 0 and attempt is not None:
        outcome |= {"code": int(code), "ended": time.time()}
        try:
            attempt.write_record("result", outcome)
        except (OSError, StageFailure) as error:  # the exit code says the most important part
            print(f"result.json was not written: {error}", file=sys.stderr)
            code = exit_code(error) if code is ExitCode.FAILED else code
    return code


def _run(request: StageRequest, attempt: Attempt, rank: int, stop: StopSignal) -> str:
    stage = _stage(request)
    home = request.home or settings().home
    store = ArtifactStore(attempt.objects, home / "locks")
    config = stage.config.model_validate(request.config)
    inputs = open_inputs(stage, request.inputs, open_verified(store))
    started = time.time()
    seed = getattr(config, "seed", None)
    function = stage.load()
    reset_global_state(seed or 0, request.resources)
    out = _empty(attempt.files if rank == 0 else attempt.path / f"rank-{rank}")
    journal = Journal(attempt.journal if rank == 0 else attempt.path / f"journal-{rank}")
    resources = request.resources
    context = StageContext(
        out=out,
        resume=attempt.resume,
        earlier_resumes=tuple(
            earlier.fetch_resume()
            for earlier in reversed(store.attempts(request.stage, request.key))
            if earlier.number < request.attempt and earlier.has_resume_point()
        ),
        scratch=home / "scratch",
        journal=journal,
        resources=resources,
        step=request.step,
        revisions=request.revisions,
        rank=rank,
        world_size=resources.nodes * resources.processes,
        stop_requested=stop,
    )
    with _published(attempt, context), _heartbeat(attempt, store, context):
        facts = function(config, inputs, context)
        journal.close()
    if rank != 0:
        return ""
    return _commit(request, stage, store, facts, started)


def _published(attempt: Attempt, context: StageContext) -> AbstractContextManager[None]:
    first_of_node = context.rank % context.resources.processes == 0
    return published(attempt, rank=context.rank) if first_of_node else nullcontext()


def _stage(request: StageRequest) -> Stage:
    stage: Stage = load_function(request.table)[request.stage]  # type: ignore[index]
    if not request.exceptions and code_digest(stage).digest != request.code_digest:
        raise EnvironmentMissing(
            f"the code of stage {request.stage} changed between plan and start: "
            "run the command again"
        )
    device = request.resources.device
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise EnvironmentMissing(
                f"step {request.step} asks for a GPU and this machine has none: "
                f"set resources.{request.step}.device=cpu"
            )
    return stage


def _commit(
    request: StageRequest, stage: Stage, store: ArtifactStore, facts: Facts, started: float
) -> str:
    attempt = store.attempt(request.stage, request.key, request.attempt)
    files = list_files(attempt.files)
    if not files:
        raise BadInput(f"stage {stage.name} returned without writing a file")
    code = code_digest(stage)
    manifest = Manifest(
        stage=request.stage,
        step=request.step,
        key=request.key,
        digest=content_digest(files),
        facts=facts.model_dump(mode="json"),
        config=request.config,
        inputs=request.inputs,
        code_digest=code.digest,
        code_modules=code.modules,
        packages=package_versions(stage),
        revisions=request.revisions,
        numerics=numerics(request.resources),
        seed=request.config.get("seed"),
        files=files,
        attempt=request.attempt,
        fence=request.attempt,
        run=request.run,
        host=socket.gethostname(),
        started=started,
        ended=time.time(),
        exceptions=request.exceptions,
    )
    return patiently(lambda: _commit_files(manifest, attempt, store))


def _commit_files(manifest: Manifest, attempt: Attempt, store: ArtifactStore) -> str:
    """Publish the files, then the manifest; where another attempt was first, discard the files."""
    store.objects.publish(f"{attempt.name}/files")
    if not store.commit(manifest):
        winner = store.manifest(manifest.stage, manifest.key)
        if winner is not None and winner.attempt != manifest.attempt:
            store.objects.delete(f"{attempt.name}/files")
            return winner.digest
    for each in store.attempts(manifest.stage, manifest.key):
        store.objects.delete(f"{each.name}/resume")
    return manifest.digest


def _heartbeat(
    attempt: Attempt, store: ArtifactStore, context: StageContext
) -> AbstractContextManager[None]:
    """Publish progress every two seconds, and stop the stage when a newer attempt appears."""
    journal, stop = context.journal, context.stop_requested
    assert isinstance(stop, StopSignal)

    def beat() -> None:
        if context.rank == 0:
            attempt.write_record("progress", _progress(journal))
        if store.fence(attempt.stage, attempt.key) > attempt.number:
            stop.request()

    return repeated(beat, HEARTBEAT_SECONDS, "heartbeat")


def _progress(journal: Journal) -> dict[str, object]:
    """Return what a heartbeat says: where the attempt runs and how far it is."""
    return {
        "time": time.time(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "loss": journal.newest.get("train/loss"),
        **journal.last_progress,
    }


@contextmanager
def _terminate_means(stop: StopSignal) -> Generator[None]:
    """Let SIGTERM ask for a stop while the body runs; a thread other than the main one leaves
    signals alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(_signal: int, _frame: FrameType | None) -> None:
        stop.request()

    before = signal.signal(signal.SIGTERM, asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _empty(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def end_with_parent(on_line: Callable[[str], None] | None = None) -> None:
    """End this process at once when its standard input closes, which happens however the parent
    dies.

    `on_line` gets each line that arrives before. PR_SET_PDEATHSIG will not do: it fires when the
    thread that started the child ends, and an orchestrator starts children from short-lived
    threads.
    """

    def watch() -> None:
        for line in sys.stdin:
            if on_line is not None:
                on_line(line)
        os._exit(ExitCode.KILLED)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def find_here() -> None:
    """Let a table of stages lie in the current directory, behind everything that is installed."""
    sys.path.append(str(Path.cwd()))


def main(arguments: list[str]) -> int:
    """Run `execute REQUEST [--rank R] [--end-with-parent]`."""
    uri = arguments[0]
    find_here()
    if "--end-with-parent" in arguments:
        end_with_parent()
    if "--rank" in arguments:
        end_rank(execute(uri, rank=int(arguments[arguments.index("--rank") + 1])))
    try:
        resources = read_request(uri).resources
    except StageFailure as error:
        print(error, file=sys.stderr)
        return exit_code(error)
    if resources.processes * resources.nodes == 1:
        return execute(uri)
    return run_ranks(uri, resources)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
