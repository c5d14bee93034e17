"""The markers of RViz: the colour is that of the worst state, and the text names it."""

from __future__ import annotations

from contextlib import closing

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
pytest.importorskip("visualization_msgs.msg", reason="visualization_msgs is not installed")

from rclpy.serialization import deserialize_message
from ros_peer import Peer, Process, until
from visualization_msgs.msg import Marker, MarkerArray

from og_ros.msg import ChainStatus, Finding, Verdict
from og_ros.nodes.markers import markers

RED = (0.9, 0.15, 0.1)


def shown(status: ChainStatus | None, verdict: Verdict | None) -> tuple[str, tuple[float, float, float]]:
    ball, text = markers(status, verdict, "base_link", 1.0, 0.2).markers
    assert (ball.type, text.type) == (Marker.SPHERE, Marker.TEXT_VIEW_FACING)
    assert {ball.header.frame_id, text.header.frame_id} == {"base_link"}
    assert ball.id != text.id
    assert ball.color == text.color
    return text.text, tuple(round(v, 2) for v in (ball.color.r, ball.color.g, ball.color.b))  # type: ignore[return-value]


def test_a_chain_that_holds_is_green() -> None:
    text, (red, green, _) = shown(ChainStatus(state=ChainStatus.HOLDS), None)
    assert text == "chain holds"
    assert green > red


def test_a_violation_is_red_and_named() -> None:
    status = ChainStatus(state=ChainStatus.VIOLATED, recent=[Finding(kind="output_altered")])
    assert shown(status, None) == ("chain VIOLATED: output_altered", RED)


def test_a_refusal_is_red_though_the_chain_holds() -> None:
    verdict = Verdict(state=Verdict.OPEN, mode=Verdict.ENFORCE, accepted=False, reasons=["signature_invalid"])
    text, colour = shown(ChainStatus(state=ChainStatus.HOLDS), verdict)
    assert text == "chain holds\ngate open: signature_invalid"
    assert colour == RED


def test_a_gate_that_only_monitors_says_so() -> None:
    verdict = Verdict(state=Verdict.OPEN, mode=Verdict.MONITOR, accepted=True)
    assert "(monitors only)" in shown(ChainStatus(state=ChainStatus.HOLDS), verdict)[0]


def test_silence_is_grey() -> None:
    text, (red, green, blue) = shown(None, None)
    assert text == "no word from the auditor"
    assert red == green == blue


def test_the_node_says_what_the_auditor_says() -> None:
    with closing(Peer()) as peer:
        heard = peer.hear("/markers/array", "visualization_msgs/msg/MarkerArray")
        statuses = peer.publisher("/auditor/status", "og_ros/msg/ChainStatus")
        process = Process(["-m", "og_ros.nodes.markers", "--ros-args", "-p", "frame:=chassis"])
        try:
            def violated() -> bool:
                statuses.publish(ChainStatus(state=ChainStatus.VIOLATED))
                return any(b"chain VIOLATED" in payload for payload in list(heard))

            until(violated, "the violation")
        finally:
            assert process.stop() == 0
    assert deserialize_message(heard[-1], MarkerArray).markers[0].header.frame_id == "chassis"
