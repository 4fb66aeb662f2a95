"""What a cluster is like: the one file that the launcher `kubernetes` reads, and its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError
from pydantic import field_validator as validates

from components.contract import BadInput
from components.settings import Settings


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Toleration(_Part):
    """Let pods run on nodes with a taint."""

    key: str = ""
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute", ""] = ""


class TopologySpread(_Part):
    """Spread the pods of one step over the values of a node label."""

    topology_key: str
    max_skew: PositiveInt = 1
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = "ScheduleAnyway"


class NodeRequirement(_Part):
    """Ask for nodes whose label fits."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = "In"
    values: tuple[str, ...] = ()


class ClusterSettings(_Part):
    """Describe the cluster that steps are sent to."""

    kubeconfig: str = ""
    """File with the cluster's address and credentials; empty means KUBECONFIG, the file under
    `~/.kube`, or inside a pod its service account.
    """
    context: str = ""
    """Context of the kubeconfig; empty means its current one."""
    namespace: str = "strata"
    image: str = "strata-stage"
    """Image of the stages, by digest (`name@sha256:…`), so that it cannot change under a run."""
    allow_tag: bool = False
    """Whether `image` may be a tag: for a cluster of one's own only."""
    service_account: str = "strata-stage"
    """Account of the stages' pods; it needs no rights, and its token is not mounted."""
    env_secret: str = "strata-store"
    """Secret whose entries become variables: the credentials of the store."""
    env_config_map: str = "strata-store"
    """ConfigMap whose entries become variables: STRATA_STORE and the like."""
    gpu_resource: str = "nvidia.com/gpu"
    """Name by which the cluster hands out GPUs: `nvidia.com/gpu` or `amd.com/gpu`."""
    node_selector: dict[str, str] = {}
    affinity: tuple[NodeRequirement, ...] = ()
    """What nodes must be like; all of it must hold."""
    tolerations: tuple[Toleration, ...] = ()
    priority_class: str = ""
    topology_spread: tuple[TopologySpread, ...] = ()
    queue: str = ""
    """Kueue LocalQueue that admits the Jobs; empty means none."""
    scratch_gb: PositiveInt = 50
    """Size of the volume for downloads, inputs and what a step writes, in GiB."""
    shm_gb: PositiveInt = 2
    """Size of `/dev/shm`, in GiB; it counts as memory of the pod."""
    grace_seconds: PositiveInt = 30
    """Time a pod has to save its resume point after SIGTERM."""
    ttl_seconds: NonNegativeInt = 3600
    """Time for which an ended Job is kept."""
    start_seconds: PositiveInt = 300
    """Time after which a pod that cannot start (image, Secret, quota) ends the attempt. One that
    only waits for a free node waits on.
    """

    @validates("queue", "namespace", "service_account", "env_secret", "env_config_map")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if value and not all(c.isdigit() or c.islower() or c in "-." for c in value):
            raise ValueError(f"{value!r} is no name: use lower-case letters, digits and -")
        return value

    def image_for_pods(self) -> str:
        """Return the image; raises BadInput for a tag that was not allowed."""
        if "@sha256:" not in self.image and not self.allow_tag:
            raise BadInput(
                f"the image {self.image!r} is a tag, which may change under a run.\n"
                "Name it by digest (image: name@sha256:…) in the file of STRATA_CLUSTER, "
                "or write allow_tag: true there."
            )
        return self.image


def read_cluster(settings: Settings) -> ClusterSettings:
    """Read the file that `settings.cluster` names; defaults without one.

    Raises BadInput, with file and key, for what cannot be read.
    """
    if not settings.cluster:
        return ClusterSettings()
    path = Path(settings.cluster)
    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise BadInput(f"STRATA_CLUSTER={path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is no YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict):
        raise BadInput(f"{path} holds no keys: write lines such as `namespace: strata`")
    try:
        return ClusterSettings.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(ClusterSettings.model_fields)
        message = first["msg"].removeprefix("Value error, ")
        raise BadInput(f"{path}: {key}: {message}.\nKnown keys: {known}.") from None
