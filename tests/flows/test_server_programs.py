"""What the servers are started with: loopback, no telemetry, data under the home."""

from __future__ import annotations

from pathlib import Path

from components.settings import Settings
from flows.server_programs import answers, server_programs, server_urls


def test_every_server_listens_on_the_loopback_address(tmp_path: Path):
    settings = Settings(home=tmp_path, prefect_port=1, mlflow_port=2, dashboard_port=3)
    programs = {server.name: server for server in server_programs(settings)}
    assert list(programs) == ["prefect", "mlflow", "dashboard", "worker"]
    for name in ("mlflow", "dashboard"):
        assert "127.0.0.1" in programs[name].arguments
    ports = {name: programs[name].port for name in ("prefect", "mlflow", "dashboard")}
    assert ports == {"prefect": 1, "mlflow": 2, "dashboard": 3}
    assert server_urls(settings).mlflow == "http://127.0.0.1:2"
    for name, port in ports.items():
        assert programs[name].setting == f"STRATA_{name.upper()}_PORT"
        assert str(port) in programs[name].arguments
    assert programs["worker"].after == "prefect"


def test_telemetry_is_off_and_data_lie_under_the_home(tmp_path: Path):
    programs = {s.name: s for s in server_programs(Settings(home=tmp_path))}
    prefect, mlflow = programs["prefect"].environment, programs["mlflow"]
    assert prefect["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert str(tmp_path) in prefect["PREFECT_API_DATABASE_CONNECTION_URL"]
    assert prefect["PREFECT_SERVER_UI_API_URL"] == "http://127.0.0.1:4200/api"
    assert mlflow.environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    allowed = mlflow.environment["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {name.partition(":")[0] for name in allowed} == {"127.0.0.1", "localhost"}
    assert any(str(tmp_path) in argument for argument in mlflow.arguments)
    assert "--browser.gatherUsageStats" in programs["dashboard"].arguments


def test_nothing_there_is_not_well():
    assert not answers("http://127.0.0.1:9/", seconds=0.5)
    assert not answers("no url")
