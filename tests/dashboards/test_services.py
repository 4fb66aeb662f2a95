"""Where the other servers are, and whether they answer."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from components.settings import Settings
from dashboards import services


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


def test_urls_of_the_local_servers_and_of_given_ones() -> None:
    prefect, mlflow = services.services(Settings())
    assert prefect.health == "http://127.0.0.1:4200/api/health"
    assert mlflow.url == "http://127.0.0.1:5000"
    given = services.services(Settings(prefect="https://p.test/api", mlflow="sqlite:///x.db"))
    assert [service.url for service in given] == ["https://p.test"]
    assert services.flow_run_url(prefect, "f") == "http://127.0.0.1:4200/runs/flow-run/f"


def test_a_server_answers_or_does_not() -> None:
    server = HTTPServer(("127.0.0.1", 0), Health)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        assert services.answers(services.Service("MLflow", base, f"{base}/health"))
        assert not services.answers(services.Service("MLflow", base, f"{base}/other"))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert not services.answers(services.Service("MLflow", base, f"{base}/health"))


def test_runs_are_compared_in_the_experiment_of_their_page() -> None:
    mlflow = services.services(Settings())[1]
    page = "http://127.0.0.1:5000/#/experiments/3/runs/abc?workflowType=machine_learning"
    assert services.experiment_of(page) == "3"
    assert services.experiment_of("") is None
    url = services.compare_url(mlflow, ["abc", "def"], "3")
    assert url.startswith("http://127.0.0.1:5000/#/compare-runs?runs=%5B%22abc%22%2C+%22def%22%5D")
    assert "experiments=%5B%223%22%5D" in url
