"""A pipeline file for a lone robot, moved into a namespace."""

from __future__ import annotations

from pathlib import Path

from og_ros.nodes.bringup import describe_nodes
from og_ros.nodes.relative_topics import relative
from og_ros.paths import share_directory
from og_ros.stages.pipeline import load_pipeline

GATE = """
gate:
  output: /wheels
  key: keys/gate.pem
  hand_over: /hand
"""


def test_no_topic_of_a_robot_is_left_global(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    text = (share_directory() / "config" / "demo.yaml").read_text()
    path.write_text(text.replace("topic: /scan,", "topic: /lidar/scan,") + GATE)
    pipeline = load_pipeline(path)
    before = {node.name: node.parameters for node in describe_nodes(pipeline, record=True)}
    after = {node.name: node.parameters for node in describe_nodes(relative(pipeline), record=True)}
    assert before.keys() == after.keys()
    moved = 0
    for name, parameters in after.items():
        for key, value in parameters.items():
            old = before[name][key]
            if value == old:
                items = value if isinstance(value, list) else [value]
                where = [item for item in items if isinstance(item, str) and item.startswith("/")]
                # Paths of files, and what all robots share.
                assert all(Path(item).is_relative_to(tmp_path) or item.startswith("/clock") for item in where), (
                    name,
                    key,
                )
            else:
                moved += 1
                olds, news = (x if isinstance(x, list) else [x] for x in (old, value))
                for o, n in zip(olds, news, strict=True):
                    assert n == (o if o.startswith("/clock:") else o.removeprefix("/"))
    assert moved >= 14
    assert "/clock:rosgraph_msgs/msg/Clock" in after["recorder"]["topics"]
    assert after["gate"]["hand_over"] == "hand"
    assert after["planning"]["inputs.ranges.topic"] == "lidar/scan"


def test_what_is_relative_stays_so() -> None:
    once = relative(load_pipeline(share_directory() / "config" / "demo.yaml"))
    assert relative(once) == once
