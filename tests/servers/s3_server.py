"""What the S3 servers of the tests have in common: an address, a bucket and credentials."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass
from typing import Any

import boto3.session
from botocore.config import Config

DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""What a server is started with, so that it does not outlive tests that are killed."""


@dataclass
class S3Server:
    """Describe a running server; `environment` is what a command needs to use it."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    ca_bundle: str = ""

    @property
    def uri(self) -> str:
        """The store of a test that is alone on this server."""
        return f"s3://{self.bucket}/store"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of settings and credentials."""
        named = {
            "STRATA_STORE": self.uri,
            "STRATA_S3_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return named | ({"STRATA_S3_CA_BUNDLE": self.ca_bundle} if self.ca_bundle else {})

    def client(self) -> Any:
        """Return a plain boto3 client, for what a store does not do: buckets, damage."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            verify=self.ca_bundle or None,
            config=Config(
                s3={"addressing_style": "path"}, request_checksum_calculation="when_required"
            ),
        )

    def create_bucket(self) -> None:
        """Make the bucket."""
        self.client().create_bucket(Bucket=self.bucket)


def free_port() -> int:
    """Return a loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen[Any], seconds: float = 60.0) -> None:
    """Return once the process listens on the port; fails when it ends before."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, f"the server on port {port} ended by itself"
            assert time.monotonic() < deadline, f"no server on port {port} after {seconds:.0f} s"
            time.sleep(0.05)
