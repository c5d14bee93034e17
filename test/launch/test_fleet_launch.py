"""fleet.launch.py over real ROS launch: two robots at once, of whom neither's auditor hears the other's."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROBOTS = ("robot_1", "robot_2")
NODES = ("perception", "planning", "control", "auditor", "recorder", "world")
TWO_ROBOTS = Path(__file__).with_name("two_robots.launch.py")


def test_two_robots_do_not_hear_each_other(run_launch: Callable[..., Any], graph: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the stages need onnxruntime: extra `robot` of og_ros")
    from og_ros.attest import ATTESTATION_TYPE, Clock, cose, decode_attestation
    from og_ros.audit.policy import load_policy
    from og_ros.audit.recording.bag import open_bag
    from og_ros.audit.run import audit_bag
    from og_ros.log import Ledger
    from og_ros.msg import Attestation, ChainStatus
    from og_ros.nodes.demo import prepare
    from og_ros.registry import Registry

    for robot in ROBOTS:
        prepare(tmp_path / robot, robot=robot, namespace=robot)
    more = "record: true, use_sim_time: true, clock: clock, required: true"
    lines = "".join(f"  {robot}: {{pipeline: {robot}/pipeline.yaml, {more}}}\n" for robot in ROBOTS)
    (tmp_path / "fleet.yaml").write_text(f"robots:\n{lines}")
    status: dict[str, ChainStatus] = {}
    first: list[bytes] = []
    for robot in ROBOTS:
        graph.node.create_subscription(
            ChainStatus, f"/{robot}/auditor/status", lambda message, r=robot: status.update({r: message}), 10
        )
    graph.node.create_subscription(Attestation, "/robot_1/wheel_command/attestation", first.append, 10, raw=True)

    launched = run_launch(TWO_ROBOTS, "fleet:=fleet.yaml")
    graph.wait(lambda: len(status) == 2 and all(s.linked >= 60 for s in status.values()), launched)
    for robot, said in status.items():
        assert said.state == ChainStatus.HOLDS, said.recent
        assert (said.robot, said.violations) == (robot, 0)
        assert {stage.attestation_topic.split("/")[1] for stage in said.stages} == {robot}
        assert len(said.stages) == 3

    # Each has the other in its graph, and would hear it if it was not for the namespace.
    found = {topic for topic, types in graph.node.get_topic_names_and_types() if ATTESTATION_TYPE in types}
    assert {topic.split("/")[1] for topic in found} == set(ROBOTS)

    # What one robot signed, published as if it was the other's, is a finding there, and nobody else's concern.
    intruder = graph.node.create_publisher(Attestation, "/robot_2/wheel_command/attestation", 10)
    graph.wait(lambda: intruder.get_subscription_count() >= 2, launched)
    intruder.publish(first[0])
    graph.wait(lambda: status["robot_2"].state == ChainStatus.VIOLATED, launched)
    linked = status["robot_1"].linked
    graph.wait(lambda: status["robot_1"].linked > linked + 20, launched)
    assert status["robot_1"].state == ChainStatus.HOLDS, status["robot_1"].recent

    began = time.monotonic()
    launched.interrupt()
    assert launched.ends(15) == 0, launched.output
    print(f"stopped in {time.monotonic() - began:.2f} s")
    assert launched.output.count("process has finished cleanly") == len(ROBOTS) * len(NODES), launched.output
    assert "SIGTERM" not in launched.output
    assert not launched.errors
    assert "Traceback" not in launched.output

    for robot, verdict in zip(ROBOTS, ("holds", "violated"), strict=True):
        folder = tmp_path / robot
        with open_bag(folder / "bag") as bag:
            topics = [topic for topic in bag.topics if topic.endswith("/attestation")]
            assert all(topic.startswith(f"/{robot}/") for topic in topics)
            assert f"/{robot}/clock" in bag.topics
            attested = [decode_attestation(bytes(r.payload)).statement for r in bag.records(topics)]
        assert len({statement.robot for statement in attested}) == (1 if verdict == "holds" else 2)
        assert {statement.clock for statement in attested} == {Clock.SIM}
        policy = load_policy(folder / "policy.yaml")
        registry = Registry.open(folder / "registry", pinned_root=policy.registry_root)
        report = audit_bag(folder / "bag", registry, folder / "ledger", policy)
        assert report.verdict.value == verdict, report.as_json()["findings"]
    ledger = Ledger.open(tmp_path / "robot_1" / "ledger")
    assert {cose.decode(leaf.data).statement.robot for leaf in ledger.leaves()} == {"robot_1"}
    ledger.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("fleet: {}\n", "fleet is not known; a fleet file has robots"),
        ("robots: {}\n", "robots is missing"),
        ("robots:\n  robot-1: {pipeline: a.yaml}\n", ":2: robots.robot-1: the namespace must be letters"),
        ("robots:\n  r1: {record: true}\n", ":2: robots.r1.pipeline is missing"),
        ("robots:\n  r1: {pipeline: a.yaml, speed: 3}\n", ":2: robots.r1.speed is not known; known: pipeline"),
        ("robots:\n  r1: {pipeline: a.yaml, record: 3}\n", ":2: robots.r1.record is 3; it must be a text"),
        ("robots:\n  r1: {pipeline: a.yaml}\n  r2: {pipeline: ./a.yaml}\n", ":3: robots.r2.pipeline is that of r1"),
    ],
)
def test_a_wrong_fleet_file_names_line_and_field(tmp_path: Path, content: str, words: str) -> None:
    from og_ros.errors import ConfigError
    from og_ros.nodes.fleet_file import load_fleet

    path = tmp_path / "fleet.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_fleet(path)
    assert words in str(caught.value)
