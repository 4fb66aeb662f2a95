"""A fake cluster for tests: the fake API server, and fake nodes that run pods as processes.

with fake_cluster(tmp_path) as cluster:
    node = cluster.add_node("one", gpus=1)
    launcher = KubernetesLauncher(ClusterSettings(kubeconfig=cluster.kubeconfig, …), objects)
    cluster.api.away(3)       # faults of the API server
    node.evict(pod)           # faults of a node
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.api_server.controllers import Clock
from tests.fakes.api_server.server import TOKEN, FakeApiServer, Faults
from tests.fakes.node_agent import NodeAgent

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: fake, cluster: {{server: "{url}"}}}}]
users: [{{name: admin, user: {{token: {token}}}}}]
contexts: [{{name: fake, context: {{cluster: fake, user: admin}}}}]
current-context: fake
"""


@dataclass
class FakeCluster:
    """Hold a running fake."""

    server: FakeApiServer
    directory: Path
    kubeconfig: str
    stack: ExitStack
    nodes: dict[str, NodeAgent] = field(default_factory=dict)

    @property
    def api(self) -> Faults:
        """Switch for the faults of the API server."""
        return self.server.faults

    def add_node(self, name: str, *, gpus: int = 0, images: set[str] | None = None) -> NodeAgent:
        """Start a node."""
        capacity = {"nvidia.com/gpu": str(gpus)} if gpus else {}
        place = self.directory / "nodes" / name
        node = NodeAgent(self.kubeconfig, name, place, capacity=capacity, images=images)
        self.nodes[name] = self.stack.enter_context(node)
        return node


@contextmanager
def fake_cluster(directory: Path, clock: Clock | None = None) -> Generator[FakeCluster]:
    """Run a fake cluster without nodes until the body ends."""
    with FakeApiServer(clock) as server, ExitStack() as stack:
        path = directory / "kubeconfig"
        path.write_text(KUBECONFIG.format(url=server.url, token=TOKEN))
        yield FakeCluster(server, directory, str(path), stack)
