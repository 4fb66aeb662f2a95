"""A proxy on a loopback port that stands before a service and plays its faults.

It passes bytes on until it is told another fault: `reset` (connections are reset), `stall` (nothing
comes back until the fault is over), `black hole` (what is sent vanishes, the connection stays
open), `error` (HTTP 503; a reset where the service does not speak HTTP), `slow` (every piece is
late). A fault reaches the connections that are open, too.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Literal

Fault = Literal["", "reset", "stall", "black hole", "error", "slow"]
FAULTS: tuple[Fault, ...] = ("reset", "stall", "black hole", "error", "slow")
LATE_SECONDS = 0.3
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\naway"
)
_AT_ONCE = struct.pack("ii", 1, 0)
"""Linger for no time: closing sends a reset."""


class Proxy:
    """Serve one upstream port until `close`."""

    def __init__(self, upstream: int, *, http: bool = True) -> None:
        self._upstream = upstream
        self._http = http
        self._fault: Fault = ""
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """URL of the service behind the proxy."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def fault(self) -> Fault:
        """The fault it plays now; empty for none."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        with self._changed:
            before, self._fault = self._fault, fault
            self._changed.notify_all()
        # A connection that lost bytes cannot go on, and one that is kept alive would miss an error.
        if before == "black hole" or fault in {"reset", "error"}:
            for connection in list(self._open):
                self._reset(connection)

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self._listener.close()
        for connection in list(self._open):
            self._reset(connection)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                self._open.add(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._fault == "reset" or (self._fault == "error" and not self._http):
                return self._reset(client)
            if self._fault == "error":
                client.recv(1 << 16)
                client.sendall(UNAVAILABLE)
                return self._drop(client)
            server = socket.create_connection(("127.0.0.1", self._upstream))
            self._open.add(server)
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            return self._pump(client, server)
        return self._reset(client)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                with self._changed:
                    self._changed.wait_for(lambda: self._fault != "stall")
                if self._fault == "black hole":
                    continue
                if self._fault == "slow":
                    time.sleep(LATE_SECONDS)
                target.sendall(data)
        if self._fault != "black hole":
            self._drop(source)
            self._drop(target)

    def _drop(self, connection: socket.socket) -> None:
        self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def _reset(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            connection.shutdown(socket.SHUT_RD)
        self._open.discard(connection)
        connection.close()
