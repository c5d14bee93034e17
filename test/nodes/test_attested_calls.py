"""Services and actions over real DDS: each answer is attested over what was asked, and an audit joins them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
pytest.importorskip("test_msgs.action", reason="ros-test-msgs is not installed")
from rclpy.action import ActionClient
from rclpy.serialization import deserialize_message
from ros_peer import Peer, node, running, until
from std_srvs.srv import SetBool
from test_msgs.action import Fibonacci

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.policy import parse_policy
from og_ros.audit.recording.bag import open_bag
from og_ros.audit.run import audit_bag
from og_ros.errors import ConfigError
from og_ros.nodes.interface_definition import interface_definition
from og_ros.nodes.topics import message_class, type_name
from og_ros.registry import Registry, RegistryWriter

SERVER = """\
import sys

from rclpy.node import Node
from std_srvs.srv import SetBool
from test_msgs.action import Fibonacci

from og_ros.nodes.attested import Attestor
from og_ros.nodes.process import run_node


class Planner(Node):
    def __init__(self):
        super().__init__("planner")
        self.attest = Attestor(self, stage="planning", robot="r", key="planning.pem", model=__file__,
                               model_name="rules", model_version="1")
        self.attest.create_service(SetBool, "enable", self.on_enable)
        self.attest.create_action_server(Fibonacci, "count", self.on_count)
        self.attest.create_action_server(Fibonacci, "count_later", self.on_count_later)

    def on_enable(self, request, response):
        response.success, response.message = request.data, f"was asked for {request.data}"
        return response

    def on_count(self, goal):
        feedback = Fibonacci.Feedback(sequence=[0, 1])
        for _ in range(goal.request.order):
            feedback.sequence.append(feedback.sequence[-1] + feedback.sequence[-2])
            goal.publish_feedback(feedback)
        goal.succeed()
        return Fibonacci.Result(sequence=feedback.sequence)

    async def on_count_later(self, goal):
        goal.succeed()
        return Fibonacci.Result(sequence=[goal.request.order])

    def close(self):
        self.attest.close()


sys.exit(run_node(Planner))
"""
PARTS = {
    "/enable/request": "std_srvs/srv/SetBool_Request",
    "/enable/response": "std_srvs/srv/SetBool_Response",
    **{
        f"/{name}/{part.lower()}": f"test_msgs/action/Fibonacci_{part}"
        for name in ("count", "count_later")
        for part in ("Goal", "Feedback", "Result")
    },
    "/enable/response/attestation": "og_ros/msg/Attestation",
}
POLICY = parse_policy(
    b"version: 1\ndecisions: [/enable/response, /count/result, /count_later/result]\nstages: {planning: {}}"
)


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def call(peer: Peer, data: bool) -> SetBool.Response:
    client = peer.node.create_client(SetBool, "/enable")
    until(client.service_is_ready, "the service")
    future = client.call_async(SetBool.Request(data=data))
    until(future.done, "its answer")
    return future.result()


def count(peer: Peer, name: str, order: int) -> tuple[list[int], int]:
    """Send a goal; return its result's sequence, and how many feedbacks came before it."""
    client = ActionClient(peer.node, Fibonacci, name)
    until(client.server_is_ready, "the action")
    heard: list[object] = []
    sent = client.send_goal_async(Fibonacci.Goal(order=order), heard.append)
    until(sent.done, "the goal's acceptance")
    future = sent.result().get_result_async()
    until(future.done, "its result")
    until(lambda: len(heard) >= (order if name == "/count" else 0), "its feedback")
    return list(future.result().result.sequence), len(heard)


def test_what_was_asked_and_answered(peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("planner.py").write_text(SERVER)
    private = keys.generate()
    keys.save_private(private, Path("planning.pem"))
    with RegistryWriter.create(tmp_path / "registry", SoftwareSigner(keys.generate()), "fleet") as writer:
        writer.certify_key(private.public_key(), robot="r", stage="planning")
        writer.certify_model("rules", "1", hashlib.sha256(SERVER.encode()).digest())
    topics = [f"{topic}:{kind}" for topic, kind in PARTS.items()]
    with (
        running(*node("og_ros.nodes.recorder", "recorder", output=tmp_path / "bag", topics=topics)) as recorder,
        running("planner.py") as planner,
    ):
        until(
            lambda: all(peer.node.count_subscribers(t) and peer.node.count_publishers(t) for t in PARTS), "both sides"
        )
        time.sleep(1.0)  # each is known here; that they know each other too cannot be seen from here
        assert [call(peer, data).message for data in (True, False)] == ["was asked for True", "was asked for False"]
        assert count(peer, "/count", 3) == ([0, 1, 1, 2, 3], 3)
        assert count(peer, "/count_later", 7) == ([7], 0)
        assert planner.stop() == 0, planner.output
        assert recorder.stop() == 0, recorder.output
    assert "Traceback" not in planner.output + recorder.output
    with open_bag(tmp_path / "bag") as bag:
        assert {name: topic.type for name, topic in bag.topics.items()} == PARTS
        answers = [bytes(r.payload) for r in bag.records(["/enable/response"])]
    assert [deserialize_message(a, SetBool.Response).success for a in answers] == [True, False]
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), None, POLICY).as_json()
    assert report["verdict"] == "holds", report["finding_counts"]
    assert report["attestations"] == 2 + 3 + 1 + 1
    assert (report["decisions"], report["linked"]) == (4, 4)


def test_parts_of_services_and_actions_are_message_types() -> None:
    for name, kind in (
        ("std_srvs/srv/SetBool_Request", SetBool.Request),
        ("std_srvs/srv/SetBool_Event", SetBool.Event),
        ("test_msgs/action/Fibonacci_Goal", Fibonacci.Goal),
    ):
        assert message_class(name) is kind
        assert type_name(kind) == name
    for wrong in ("std_srvs/srv/SetBool", "std_srvs/srv/SetBool_Goal", "std_srvs/srv/No_Request", "a/action/_Goal"):
        with pytest.raises(ConfigError):
            message_class(wrong)


def test_their_definitions_are_those_that_rosidl_has() -> None:
    found = interface_definition("std_srvs/srv/SetBool_Response")
    assert "bool success" in found.text
    assert "bool data" not in found.text
    assert found.type_hash.startswith("RIHS01_d0814e7f")
    assert "structure_needs_at_least_one_member" in interface_definition("std_srvs/srv/Trigger_Request").text
    nested = interface_definition("test_msgs/action/NestedMessage_Goal").text
    assert "MSG: test_msgs/BasicTypes" in nested
    assert "Fibonacci" not in nested
    with pytest.raises(ConfigError, match="no definition of its own"):
        interface_definition("std_srvs/srv/SetBool_Event")
