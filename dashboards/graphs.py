"""Pictures of the pipeline and of an artifact's lineage, as text in the DOT language.

Scores are written into the node of their checkpoint, and edges that a longer path implies are left
out, so that the course of training is what the eye follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.catalog.queries import Lineage, Step
from dashboards import theme
from dashboards.queries import reduce_edges

_FRAME = (
    'rankdir=LR; bgcolor="transparent"; nodesep=0.22; ranksep=0.28; pad=0.1; margin=0;',
    'node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=10.5, '
    'margin="0.14,0.05", height=0.55, width=0.9];',
    'edge [color="#B9B5AC", arrowsize=0.55, penwidth=1.1];',
)
_FILLS = {"pending": "#FAF9F7", "running": "#E8F1FA", "failed": "#FBE9E8", "condemned": "#FBE9E8"}
_BORDERS = {
    "pending": "#DCD8D0",
    "running": theme.STATES["running"],
    "failed": theme.STATES["failed"],
    "condemned": theme.STATES["failed"],
}


@dataclass(frozen=True)
class Node:
    """Hold one box: a title with its colour, small lines under it, and where a click leads."""

    name: str
    title: str
    colour: str
    state: str
    notes: tuple[str, ...]
    address: str = ""
    strong: bool = False

    def dot(self) -> str:
        """Write the node in DOT; the style sheet sets its first line in bold and the others
        small.
        """
        label = "\\n".join(_quoted(line) for line in (self.title, *self.notes))
        attributes = [
            f'label="{label}"',
            f'class="s-node {self.state}"',
            f'color="{_BORDERS.get(self.state, self.colour)}"',
            f'fillcolor="{_FILLS.get(self.state, "#FFFFFF")}"',
            f"penwidth={2.8 if self.strong else 1.3}",
        ]
        if self.address:
            title = _quoted(self.title)
            attributes.append(f'URL="{self.address}", target="_self", tooltip="{title}"')
        return f'"{_quoted(self.name)}" [{", ".join(attributes)}];'


def pipeline(
    steps: Sequence[Step],
    edges: Sequence[tuple[str, str]],
    success: Mapping[str, float],
    now: float,
) -> str:
    """Draw the steps of a run; `success` is by checkpoint, between 0 and 1."""
    shown = [step for step in steps if not step.step.startswith("scores.")]
    nodes: list[Node] = []
    for step in shown:
        notes = [_state_line(step, now)]
        if step.step in success:
            notes.append(f"{100 * success[step.step]:.0f} % success")
        address = f"artifact?key={step.key}" if step.digest else ""
        colour = theme.step_colour(step.step, step.stage)
        nodes.append(Node(step.step, step.step, colour, step.state, tuple(notes), address))
    return _digraph(nodes, _without_scores(edges, {step.step for step in shown}))


def lineage(found: Lineage) -> str:
    """Draw an artifact with all it was made of, and what was made of it directly."""
    start = found.artifact
    direct = {edge.key for edge in found.edges if edge.input_key == start.key}
    below = [row for row in found.descendants if row.key in direct]
    shown = {row.key: row for row in (*found.ancestors, start, *below)}
    nodes = [
        Node(
            name=row.key,
            title=row.step,
            colour=theme.step_colour(row.step, row.stage),
            state="condemned" if row.condemned else "done",
            notes=(theme.short(row.key)[:10], theme.size(row.bytes)),
            address=f"artifact?key={row.key}",
            strong=row.key == start.key,
        )
        for row in shown.values()
    ]
    edges = [
        (edge.input_key, edge.key)
        for edge in found.edges
        if edge.input_key in shown and edge.key in shown
    ]
    return _digraph(nodes, reduce_edges(edges))


def _digraph(nodes: Sequence[Node], edges: Sequence[tuple[str, str]]) -> str:
    lines = [*_FRAME, *(node.dot() for node in nodes)]
    lines += [f'"{_quoted(source)}" -> "{_quoted(target)}";' for source, target in edges]
    return "digraph {\n" + "\n".join(lines) + "\n}"


def _without_scores(edges: Sequence[tuple[str, str]], names: set[str]) -> list[tuple[str, str]]:
    """Lead an edge from a checkpoint over its scores straight on, then reduce."""
    checkpoint = {score: source for source, score in edges if score.startswith("scores.")}
    direct = {(a, b) for a, b in edges if a in names and b in names}
    folded = {(checkpoint[a], b) for a, b in edges if checkpoint.get(a) in names and b in names}
    return reduce_edges(direct | folded)


def _state_line(step: Step, now: float) -> str:
    if step.started is not None and step.state in {"done", "running"}:
        return theme.duration((step.ended or now) - step.started)
    return step.state


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
