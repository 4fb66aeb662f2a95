"""An S3 server in memory: moto's, in a process of its own.

moto checks a condition and then writes, in two steps; a server does both at once. So requests with
a condition are answered one at a time here, and nothing else about moto is changed. It takes any
credentials.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.s3_server import DIES_WITH_US, S3Server, free_port, wait_for_port


@contextmanager
def moto_server(
    directory: Path, *, bucket: str = "strata", certificate: tuple[Path, Path] | None = None
) -> Generator[S3Server]:
    """Serve S3 until the context is left; `certificate` is a file of it and one of its key."""
    port = free_port()
    paths = [str(path) for path in certificate or ()]
    with (directory / "moto.log").open("ab") as log:
        process = subprocess.Popen(
            [*DIES_WITH_US, sys.executable, "-m", "tests.servers.moto_server", str(port), *paths],
            cwd=Path(__file__).parents[2],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for_port(port, process)
        server = S3Server(
            endpoint=f"{'https' if certificate else 'http'}://127.0.0.1:{port}",
            bucket=bucket,
            access_key="moto",
            secret_key="moto-secret",
            ca_bundle=paths[0] if paths else "",
        )
        server.create_bucket()
        yield server
    finally:
        process.kill()
        process.wait()


def serve(port: int, *certificate: str) -> None:
    """Run moto's application until the process is ended."""
    from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    application = DomainDispatcherApplication(create_backend_app)
    lock = threading.Lock()

    def one_at_a_time(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if "HTTP_IF_NONE_MATCH" not in environ:
            return application(environ, start)
        with lock:
            return list(application(environ, start))

    run_simple(
        "127.0.0.1",
        port,
        one_at_a_time,
        threaded=True,
        request_handler=MotoRequestHandler,
        ssl_context=certificate or None,
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]), *sys.argv[2:])
