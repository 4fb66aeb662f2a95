"""Serve Prefect's API and pages in this one process: `python -m flows.prefect_api PORT`.

`prefect server start` forks a second process that outlives the first when that one is killed. Here
there is nothing to outlive: with `--end-with-parent` the process ends at once when its standard
input closes, which happens however the parent dies. (PR_SET_PDEATHSIG will not do: it fires when
the thread that started the child ends.) Serving directly also starts faster, 3 s on a database that
exists and 8 s on a new one, against 12 s and 33 s of the ephemeral server.
"""

from __future__ import annotations

import os
import sys
import threading

from flows.server_programs import HOSTS


def main(arguments: list[str]) -> None:
    """Serve on the loopback port that the first argument names until the process is ended."""
    if "--end-with-parent" in arguments:
        threading.Thread(target=_end_with_input, name="parent-watch", daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    uvicorn.run(
        TrustedHostMiddleware(create_app(), allowed_hosts=HOSTS, www_redirect=False),
        host="127.0.0.1",
        port=int(arguments[0]),
        log_level="warning",
        timeout_graceful_shutdown=3,
    )


def _end_with_input() -> None:
    # The descriptor is read directly: a buffered reader's lock would hang an interpreter that ends.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
