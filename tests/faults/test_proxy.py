"""The proxy plays each fault as it says, on connections that are open as well as on new ones."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.faults.proxy import LATE_SECONDS, Proxy


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = Proxy(server.server_port)
    yield proxy
    proxy.close()
    server.shutdown()
    server.server_close()


def ask(connection: http.client.HTTPConnection) -> tuple[int, bytes]:
    connection.request("GET", "/")
    answer = connection.getresponse()
    return answer.status, answer.read()


def connected(proxy: Proxy, seconds: float = 1.0) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=seconds)


@pytest.mark.parametrize("fault", ["reset", "error", "stall", "black hole"])
def test_a_fault_reaches_open_and_new_connections_and_passes(proxy: Proxy, fault) -> None:
    kept = connected(proxy)
    assert ask(kept) == (200, b"hello")
    proxy.fault = fault
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(kept)
    if fault == "error":
        assert ask(connected(proxy)) == (503, b"away")
    else:
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(connected(proxy))
    proxy.fault = ""
    assert ask(connected(proxy)) == (200, b"hello")


def test_what_was_stalled_arrives_in_the_end(proxy: Proxy) -> None:
    proxy.fault = "stall"
    threading.Timer(0.3, setattr, (proxy, "fault", "")).start()
    assert ask(connected(proxy, 10)) == (200, b"hello")


def test_slow_is_late_and_whole(proxy: Proxy) -> None:
    proxy.fault = "slow"
    started = time.monotonic()
    assert ask(connected(proxy, 10)) == (200, b"hello")
    assert time.monotonic() - started >= 2 * LATE_SECONDS, "there and back"


def test_other_services_are_reset_instead_of_answered(proxy: Proxy) -> None:
    plain = Proxy(proxy.port, http=False)
    plain.fault = "error"
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(connected(plain))
    plain.close()
