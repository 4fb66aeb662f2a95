"""One bucket of an S3 server: how it is asked, and what becomes of an answer that is none.

A failure falls into one of three classes. What passes by itself (429, 5xx, time-outs, broken
connections) is tried again with full-jitter pauses for a bounded time, then TryAgain. What only the
user can mend (credentials, clock, bucket, certificate) is EnvironmentMissing at once. What the
caller must judge (the object is missing, or exists) is an `Answer`.

botocore's own retries are off: one layer owns them. Its checksums are off where the protocol does
not ask for them, since servers disagree there; Content-MD5 and our own sha256 guard the bytes.
"""

from __future__ import annotations

import base64
import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import boto3.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    InvalidRegionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
)
from botocore.exceptions import ConnectionError as ServerUnreachable
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError as BrokenAnswer

from components.contract import BadInput, EnvironmentMissing, StageFailure, TryAgain

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True)
class S3Options:
    """Say how a bucket is reached, and how much it is asked at once."""

    endpoint: str = ""
    region: str = ""
    path_style: bool = True
    ca_bundle: str = ""
    patience: float = 120.0
    """Seconds for which failures that may pass are tried again."""
    timeout: float = 60.0
    """Seconds of silence after which a connection counts as broken."""
    parallel: int = 4
    """Requests at the same time in one `publish` or `fetch`."""
    part_bytes: int = 16 << 20
    """Size of a part of a large file; `parallel + 1` of them are in memory at most."""
    page: int = 1000
    """Names asked for at once."""


class Answer(Exception):
    """Carry an answer that the caller must judge: `missing`, `exists`, `conflict` or `range`."""

    def __init__(self, meaning: str) -> None:
        super().__init__(meaning)
        self.meaning = meaning


_ANSWERS = {
    "NoSuchKey": "missing",
    "NoSuchUpload": "missing",
    "404": "missing",
    "PreconditionFailed": "exists",
    "412": "exists",
    "ConditionalRequestConflict": "conflict",
    "409": "conflict",
    "InvalidRange": "range",
    "416": "range",
}
_PASSING = {
    "BadDigest",  # bytes that broke on their way
    "ConcurrentModification",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
}
_PASSING_ERRORS = (
    ServerUnreachable,
    HTTPClientError,
    IncompleteReadError,
    ResponseParserError,
    BrokenAnswer,  # a body that ends early comes as urllib3 names it
)
_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_REGION = "set STRATA_S3_REGION to the bucket's region"
_CAUSES = {
    "InvalidAccessKeyId": ("the access key is not known there", _KEYS),
    "SignatureDoesNotMatch": ("the secret key does not belong to the access key", _KEYS),
    "ExpiredToken": ("the session token has expired", "log in again to get a new token"),
    "InvalidToken": ("the session token is not valid", "log in again to get a new token"),
    "RequestTimeTooSkewed": (
        "this machine's clock and the server's differ too much",
        "set the clock, for example with NTP",
    ),
    "NoSuchBucket": ("there is no such bucket", "create it, or correct STRATA_STORE"),
    "PermanentRedirect": ("the bucket is in another region", _REGION),
    "AuthorizationHeaderMalformed": ("the request names another region", _REGION),
    "QuotaExceeded": ("the quota is used up", "run `strata gc`, or raise the quota"),
    "NotImplemented": ("the server lacks this operation", "use another server"),
}
_DENIED = (
    "the credentials may not do this",
    "grant them listing, reading, writing and deleting in the bucket",
)


class Bucket:
    """Ask one bucket; safe to use from several threads."""

    def __init__(self, name: str, options: S3Options) -> None:
        self.name = name
        self.options = options
        self.endpoint = options.endpoint or "Amazon S3"
        self.client = _client(options)

    def call(self, key: str, ask: Callable[[Any], T]) -> T:
        """Return what `ask(client)` does, however often it must be asked.

        `ask` must be safe to repeat: its request may have been carried out although it failed.
        Raises Answer, EnvironmentMissing, or TryAgain once `patience` is over.
        """
        deadline = time.monotonic() + self.options.patience
        longest = FIRST_PAUSE
        while True:
            try:
                return ask(self.client)
            except (ClientError, BotoCoreError, ResponseParserError, BrokenAnswer) as error:
                failure = self._judge(key, error)
                if failure is not None:
                    raise failure from None
                pause = random.uniform(0, longest)  # full jitter
                if time.monotonic() + pause >= deadline:
                    raise self._away(error) from None
            time.sleep(pause)
            longest = min(2 * longest, LONGEST_PAUSE)

    def put(self, key: str, data: bytes, metadata: dict[str, str], **conditions: str) -> None:
        """Put one object of at most `part_bytes`, with its Content-MD5."""
        self.call(
            key,
            lambda client: client.put_object(
                Bucket=self.name,
                Key=key,
                Body=data,
                ContentMD5=content_md5(data),
                Metadata=metadata,
                **conditions,
            ),
        )

    def get(self, key: str, **which: str) -> tuple[bytes, dict[str, str]]:
        """Return the bytes and the metadata of an object, or of a `Range` of it."""

        def ask(client: Any) -> tuple[bytes, dict[str, str]]:
            answer = client.get_object(Bucket=self.name, Key=key, **which)
            with answer["Body"] as body:
                return body.read(), answer["Metadata"]

        return self.call(key, ask)

    def metadata(self, key: str) -> dict[str, str] | None:
        """Return the metadata of an object; None where it does not exist."""
        try:
            answer = self.call(key, lambda client: client.head_object(Bucket=self.name, Key=key))
        except Answer:
            return None
        return answer["Metadata"]

    def _judge(self, key: str, error: Exception) -> Exception | None:
        """Return what to raise for a failure; None where it may pass."""
        if isinstance(error, ClientError):
            return self._judge_answer(key, error)
        if isinstance(error, SSLError) and _is_about_trust(error):
            return self._refused(
                f"its certificate is not trusted ({error.kwargs.get('error')})",
                "set STRATA_S3_CA_BUNDLE to a file of the authorities to trust",
            )
        if isinstance(error, _PASSING_ERRORS):
            return None
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return self._refused("there are no credentials", _KEYS)
        if isinstance(error, CredentialRetrievalError):
            return self._refused("the credentials cannot be read", _KEYS)
        return self._refused(f"{type(error).__name__}: {error}", "check the STRATA_S3_ variables")

    def _judge_answer(self, key: str, error: ClientError) -> Exception | None:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _ANSWERS:
            return Answer(_ANSWERS[code])
        if code in _CAUSES:
            return self._refused(*_CAUSES[code])
        if code in _PASSING or status == 429 or status >= 500:
            return None
        cause, fix = _DENIED if status == 403 else (f"it answers {status} to {key}", "")
        return self._refused(f"{cause} ({code})", fix or "see the server's log")

    def _refused(self, cause: str, fix: str) -> StageFailure:
        return EnvironmentMissing(f"bucket {self.name} at {self.endpoint}: {cause}.\nFix: {fix}.")

    def _away(self, error: Exception) -> StageFailure:
        return TryAgain(
            f"bucket {self.name} at {self.endpoint} does not answer: {error}.\n"
            f"It was tried for {self.options.patience:.0f} s. Fix: start the server, or correct "
            "STRATA_S3_ENDPOINT; then run the same command again."
        )


def content_md5(data: bytes) -> str:
    """Return the Content-MD5 header of `data`."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _client(options: S3Options) -> Any:
    if options.ca_bundle and not Path(options.ca_bundle).is_file():
        raise EnvironmentMissing(f"STRATA_S3_CA_BUNDLE: there is no file {options.ca_bundle}")
    config = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=min(options.timeout, 10.0),
        read_timeout=options.timeout,
        max_pool_connections=4 * options.parallel,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if options.path_style else "virtual"},
    )
    try:
        session = boto3.session.Session(region_name=options.region or None)
        client = session.client(
            "s3",
            endpoint_url=options.endpoint or None,
            region_name=session.region_name or DEFAULT_REGION,
            verify=options.ca_bundle or None,
            config=config,
        )
    except InvalidRegionError:
        raise BadInput(f"STRATA_S3_REGION: {options.region!r} is no region") from None
    except ProfileNotFound as error:
        raise EnvironmentMissing(f"AWS_PROFILE: {error}") from None
    except ValueError:
        wanted = "it looks like https://s3.example.org:9000"
        raise BadInput(f"STRATA_S3_ENDPOINT: {options.endpoint!r} is no URL; {wanted}") from None
    client.meta.events.register("before-call.s3.DeleteObjects", _add_content_md5)
    return client


def _add_content_md5(params: dict[str, Any], **_: Any) -> None:
    """Say the digest of a list of names in the one way that every server knows."""
    params["headers"]["Content-MD5"] = content_md5(params["body"])


def _is_about_trust(error: SSLError) -> bool:
    text = str(error).lower()
    return "certificate" in text or "wrong_version_number" in text or "wrong version" in text
