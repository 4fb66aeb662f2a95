"""A TCP proxy before an HTTP server that spoils chosen answers; the rest goes through as it is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

from tests.servers.s3_server import free_port

BUSY = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: 41\r\n\r\n<Error><Code>SlowDown</Code></Error>     \n"
)


class FaultyProxy:
    """Forward connections to a port; `faults` says what becomes of the next requests,
    and `requests` lists the first lines of those that came.

    `busy` answers 503 itself, `reset` closes before the server sees the request, `swallow` lets
    the server carry the request out and closes instead of handing on its answer, `cut` hands on
    the first 1000 bytes of the answer only, and `hang` says nothing until the proxy is closed.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.faults: list[str] = []
        self.requests: list[str] = []
        self._target = target
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no longer."""
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        with client, server, suppress(OSError):
            if not (request := _request(client)):
                return
            with self._lock:
                self.requests.append(request.partition(b"\r\n")[0].decode())
                fault = self.faults.pop(0) if self.faults else ""
            if fault == "reset":
                return
            if fault == "hang":
                self._closed.wait()
                return
            if fault == "busy":
                client.sendall(BUSY)
                return
            server.sendall(request)
            answer = b"".join(iter(lambda: server.recv(1 << 16), b""))
            if fault == "cut":
                client.sendall(answer[:1000])
            elif not fault:
                client.sendall(answer)


@contextmanager
def faulty_proxy(target: int) -> Generator[FaultyProxy]:
    """Run a proxy before a loopback port until the context is left."""
    proxy = FaultyProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


def _request(client: socket.socket) -> bytes:
    """Read one request whole, and ask in it for a connection that ends with the answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := client.recv(1 << 16)):
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in lines if b": " in line)
    if b"expect" in fields:
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    pieces, left = [body], int(fields.get(b"content-length", b"0")) - len(body)
    while left > 0 and (piece := client.recv(min(left, 1 << 16))):
        pieces.append(piece)
        left -= len(piece)
    kept = [line for line in lines if not line.lower().startswith((b"expect:", b"connection:"))]
    head = b"\r\n".join([first, *kept, b"Connection: close"])
    return head + b"\r\n\r\n" + b"".join(pieces)
