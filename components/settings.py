"""Where this installation keeps its state and finds its services; the only reader of the
environment.

Every field can be set by `STRATA_<FIELD>`. Differences between a laptop and a cluster are values
in here, never branches on the name of an environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from components.contract import BadInput

PREFIX = "STRATA_"


class Settings(BaseModel):
    """Hold the circumstances of this installation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    home: Path = Path(".strata")
    """Directory of everything Strata keeps: store, catalog, server databases, logs, downloads."""
    store: str = ""
    """Artifact store: a directory, or `s3://bucket/prefix`; empty means `<home>/store`."""
    s3_endpoint: str = ""
    """URL of the S3 server; empty means Amazon's. Credentials come by the standard chain."""
    s3_region: str = ""
    """Region of the bucket; empty means what the AWS configuration says, else `us-east-1`."""
    s3_path_style: bool = True
    """Whether the bucket stands in the path of a URL instead of in its host name."""
    s3_ca_bundle: str = ""
    """File of the certificate authorities to trust for the S3 server; empty means the usual."""
    catalog: str = ""
    """SQLAlchemy URL of the catalog; empty means SQLite under `home`."""
    mlflow: str = ""
    """MLflow tracking URI; empty means the server started by `strata up`, else SQLite under
    `home`.
    """
    prefect: str = ""
    """Prefect API URL; empty means the server started by `strata up`, else a private one."""
    work_pool: str = "strata"
    """Prefect work pool of this worker, and of the runs it is asked for: one for each class of GPU
    where a cluster has several.
    """
    launcher: str = "local_process"
    """How a step is started: `local_process`, `kubernetes` or `in_process`."""
    cluster: str = ""
    """YAML file that describes the cluster for the launcher `kubernetes`; empty means defaults."""
    slots: PositiveInt = 1
    """Steps that may run at the same time."""
    prefect_port: PositiveInt = Field(default=4200, le=65535)
    """Loopback port of the Prefect server of `strata up`."""
    mlflow_port: PositiveInt = Field(default=5000, le=65535)
    """Loopback port of the MLflow server of `strata up`."""
    dashboard_port: PositiveInt = Field(default=8501, le=65535)
    """Loopback port of the dashboard of `strata up`."""
    set: str = ""
    """Recipe overrides as `step.field=value`, separated by `;`."""

    @property
    def store_uri(self) -> str:
        """Address of the artifact store: an absolute directory, or `s3://bucket/prefix`."""
        if "://" in self.store:
            return self.store.rstrip("/")
        return str(Path(self.store or self.home / "store").absolute())

    @property
    def scratch(self) -> Path:
        """Directory of downloads and temporary files."""
        return self.home / "scratch"

    @property
    def catalog_url(self) -> str:
        """URL of the catalog's database."""
        return self.catalog or f"sqlite:///{self.home / 'catalog.db'}"


def settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment; `home` is made absolute.

    Raises BadInput for an unknown `STRATA_` variable or a value of the wrong kind.
    """
    environment = os.environ if environment is None else environment
    values = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    try:
        read = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        known = ", ".join(PREFIX + field.upper() for field in Settings.model_fields)
        raise BadInput(f"{name}: {first['msg']}. Known variables: {known}.") from None
    return read.model_copy(update={"home": read.home.expanduser().absolute()})


def child_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment with `extra` laid over it, for a child process."""
    return {**os.environ, **extra}
