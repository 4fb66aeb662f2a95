"""The one message by which a step is started, on a laptop and on a cluster alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from components.artifacts.manifest import InputRecord
from components.artifacts.open_objects import open_objects
from components.artifacts.store import ArtifactStore, Attempt, attempt_name
from components.artifacts.types import Artifact
from components.contract import BadInput, NotFound, Resources, Stage, StageInputs
from components.settings import settings


class StageRequest(BaseModel):
    """Ask for one attempt at one artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    table: str
    """`module:mapping` of the stages by name; the request names one of them."""
    stage: str
    step: str
    config: dict[str, Any]
    inputs: tuple[InputRecord, ...]
    key: str
    code_digest: str
    """Digest of the stage's code when the plan was made; another one is refused."""
    revisions: dict[str, str] = {}
    run: str
    attempt: int
    """Number of the attempt, which is its fence too."""
    resources: Resources = Resources()
    store: str
    """Address of the artifact store: a directory, or `s3://bucket/prefix`."""
    home: Path | None = None
    """Directory of locks, downloads and working copies; without one, that of the machine which
    carries the request out.
    """
    exceptions: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """Address the request is read from."""
        return f"{self.store}/{attempt_name(self.stage, self.key, self.attempt)}/request.json"


def attempt_at(uri: str) -> Attempt:
    """Return the attempt whose request lies at `uri`; raises BadInput for another address."""
    store, _, rest = uri.rpartition("/artifacts/")
    match rest.split("/"):
        case [stage, key, "attempts", number, "request.json"] if store and number.isdigit():
            return Attempt(open_objects(store, settings()), stage, key, int(number))
        case _:
            raise BadInput(f"{uri} is no address of a request")


def read_request(uri: str) -> StageRequest:
    """Read a request; raises NotFound or BadInput with its address."""
    attempt = attempt_at(uri)
    data = attempt.objects.read(f"{attempt.name}/request.json")
    if data is None:
        raise NotFound(f"there is no request at {uri}")
    try:
        return StageRequest.model_validate_json(data)
    except ValidationError as error:
        raise BadInput(f"{uri} is not a request: {error.errors()[0]['msg']}") from None


Opener = Callable[[type[Artifact], InputRecord], Artifact]


def open_inputs(stage: Stage, records: tuple[InputRecord, ...], open_one: Opener) -> StageInputs:
    """Build the stage's inputs from their records; `open_one` opens a record as the type its
    field asks for.
    """
    values: dict[str, Any] = {}
    for name, field in stage.needs.model_fields.items():
        kind, many = _artifact_type(field.annotation)
        opened = [open_one(kind, record) for record in records if record.name == name]
        if many:
            values[name] = tuple(opened)
        elif opened:
            values[name] = opened[0]
    try:
        return stage.needs.model_validate(values)
    except ValidationError as error:
        name = error.errors()[0]["loc"][0]
        raise BadInput(f"stage {stage.name} needs the input {name}, which was not given") from None


def open_verified(store: ArtifactStore) -> Opener:
    """Return an opener that checks every byte; a damaged input is condemned and reported as
    NotFound.
    """

    def open_one(kind: type[Artifact], record: InputRecord) -> Artifact:
        manifest = store.manifest(record.stage, record.key)
        if manifest is None or manifest.digest != record.digest:
            raise NotFound(
                f"the input {record.name} (step {record.step}, {record.key[:12]}) is gone"
            )
        problems = store.damaged(manifest)
        if problems:
            store.condemn(manifest)
            raise NotFound(
                f"the input {record.name} (step {record.step}, {record.key[:12]}) is damaged: "
                f"{problems[0]}. It was set aside; the same command makes it again."
            )
        return kind(
            path=store.files(manifest),
            step=record.step,
            key=record.key,
            digest=record.digest,
            facts=manifest.facts,
        )

    return open_one


def _artifact_type(annotation: Any) -> tuple[type[Artifact], bool]:
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0], True
    choices = [kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)]
    return choices[0], False
