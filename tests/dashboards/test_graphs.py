"""Graphs in DOT: nodes with links, edges, and text that cannot leave its quotes."""

from __future__ import annotations

from dashboards import graphs
from dashboards.graphs import Node
from dashboards.queries import artifact_lineage, run_detail
from tests.dashboards.sample_home import SampleHome, run_id


def test_pipeline_has_a_node_a_step_with_scores_inside(sample: SampleHome) -> None:
    detail = run_detail(sample.catalog, run_id("a"))
    dot = graphs.pipeline(detail.steps, detail.edges, {"agent": 0.853}, 0)
    assert "85 % success" in dot
    assert '"scores.agent"' not in dot
    assert '"agent" -> "release"' in dot
    assert f'URL="artifact?key={sample.made["a/agent"].key}"' in dot
    assert dot.count("{") == dot.count("}") == 1


def test_pending_steps_have_no_link(sample: SampleHome) -> None:
    detail = run_detail(sample.catalog, run_id("e"))
    dot = graphs.pipeline(detail.steps, detail.edges, {}, detail.run.created + 300)
    line = next(row for row in dot.splitlines() if row.startswith('"agent" ['))
    assert "pending" in line
    assert "URL" not in line


def test_lineage_marks_its_artifact(sample: SampleHome) -> None:
    found = artifact_lineage(sample.catalog, sample.made["a/agent"].key)
    dot = graphs.lineage(found)
    strong = [row for row in dot.splitlines() if "penwidth=2.8" in row]
    assert len(strong) == 1
    assert sample.made["a/agent"].key in strong[0]
    assert f'"{sample.made["a/corpus"].key}" ->' in dot


def test_text_stays_in_its_quotes() -> None:
    node = Node('a"b', 'x" URL="evil', "#000000", "done", ("back\\slash",))
    dot = node.dot()
    assert dot.startswith('"a\\"b" [')
    assert 'x\\" URL=\\"evil' in dot
    assert "back\\\\slash" in dot
