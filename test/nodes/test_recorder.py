"""The recorder: what arrives is in the bag byte for byte, in a format that others read, also after a crash."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import raw_bags

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import numpy as np
import wire_messages as wire
from hostile_bags import HOSTILE_MCAP
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_peer import Peer, delivered, matched, node, running, until
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader

from og_ros.attest import ModelReference, Runtime, Session, SoftwareSigner, digest, encode_attestation, keys
from og_ros.attest.statement import Clock, DataReference
from og_ros.audit.recording.bag import open_bag
from og_ros.errors import BagError
from og_ros.nodes.interface_definition import interface_definition
from og_ros.nodes.recording import DROPPED_KEY, RecordedTopic, Recording
from og_ros.nodes.recovery import recover

RECORDER = "og_ros.nodes.recorder"
IMAGE, SCAN = "sensor_msgs/msg/Image", "sensor_msgs/msg/LaserScan"
TWIST, ATTESTATION = "geometry_msgs/msg/Twist", "og_ros/msg/Attestation"


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def attestation() -> bytes:
    reference = DataReference("/x", TWIST, b"d" * 32, 52)
    session = Session(
        robot="r", stage="s", node="/n", model=ModelReference("m", "1", b"m" * 32), runtime=Runtime("t", "1"),
        signer=SoftwareSigner(keys.generate()),
    )  # fmt: skip
    made = session.attest([reference], [reference], start_ns=1, clock=Clock.SYSTEM, start_monotonic_ns=1, duration_ns=1)
    return encode_attestation(made)


def recorded(bag: Path) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    with Reader(bag) as reader:
        for connection, _, payload in reader.messages():
            found.setdefault(connection.topic, []).append(bytes(payload))
    return found


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_every_message_of_every_topic(peer: Peer, tmp_path: Path, compression: str) -> None:
    bag = tmp_path / "bag"
    pixels = np.arange(640 * 480 * 3, dtype=np.uint8).reshape(480, 640, 3)
    best_effort = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    sent = {
        "/image": [wire.serialize(wire.image(pixels + n, "rgb8")) for n in range(5)],
        "/mono": [wire.serialize(wire.image(np.full((3, n, 1), n, np.uint8), "mono8")) for n in range(1, 30)],
        "/scan": [wire.serialize(wire.scan([1.0] * n)) for n in range(1, 30)],
        "/cmd/attestation": [attestation() for _ in range(20)],
    }
    assert {len(payload) % 4 for payload in sent["/mono"]} == {0, 1, 2, 3}, "DDS pads some of them"
    kinds = {"/image": IMAGE, "/mono": IMAGE, "/scan": SCAN, "/cmd/attestation": ATTESTATION}
    publishers = {t: peer.publisher(t, k, best_effort if t == "/scan" else 100) for t, k in kinds.items()}
    before = peer.publisher("/latched", TWIST, latched)
    before.publish(wire.serialize(wire.twist((1, 0, 0), (0, 0, 0))))
    peer.publisher("/silent", TWIST)
    peer.publisher("/_hidden", TWIST).publish(wire.serialize(wire.twist((1, 0, 0), (0, 0, 0))))
    began = time.time_ns()
    with running(*node(RECORDER, "recorder", output=bag, all=True, compression=compression)) as recorder:
        for publisher in publishers.values():
            matched(publisher)
        for topic, payloads in sent.items():
            for payload in payloads:
                publishers[topic].publish(payload)
                time.sleep(0.002)
        delivered(*publishers.values())
        assert recorder.stop() == 0, recorder.output
        assert "Traceback" not in recorder.output
    found = recorded(bag)
    for topic, payloads in sent.items():
        assert [digest(p) for p in found[topic]] == [digest(p) for p in payloads], topic
    assert len(found["/latched"]) == 1
    assert "/_hidden" not in found
    with AnyReader([bag]) as reader:
        by_topic = {c.topic: c for c in reader.connections}
        assert by_topic["/silent"].msgcount == 0
        for topic, kind in kinds.items():
            assert by_topic[topic].digest == live_hash(peer, topic)
            assert by_topic[topic].msgtype == kind
        offered = {t: by_topic[t].ext.offered_qos_profiles for t in by_topic}
        assert offered["/scan"][0].reliability == QosReliability.BEST_EFFORT
        assert offered["/image"][0].reliability == QosReliability.RELIABLE
        assert offered["/latched"][0].durability == QosDurability.TRANSIENT_LOCAL
        for connection, timestamp, payload in reader.messages():
            assert began <= timestamp <= time.time_ns()
            message = reader.deserialize(payload, connection.msgtype)  # from the embedded definition
            if connection.msgtype == ATTESTATION:
                assert message.model.name == "m"
    assert json.loads(metadata(bag)["custom_data"][DROPPED_KEY]) == {}
    with open_bag(bag) as opened:
        assert opened.topics["/image"].stamped


def live_hash(peer: Peer, topic: str) -> str:
    return str(peer.node.get_publishers_info_by_topic(topic)[0].topic_type_hash)


def metadata(bag: Path) -> dict:  # type: ignore[type-arg]
    import yaml

    return yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]  # type: ignore[no-any-return]


def test_topics_with_a_type_are_heard_from_the_first_message(peer: Peer, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    arguments = node(RECORDER, "recorder", output=bag, topics=f"['/early:{TWIST}', '/late']", use_sim_time=True)
    payload = wire.serialize(wire.twist((1, 0, 0), (0, 0, 0)))
    with running(*arguments) as recorder:
        until(lambda: peer.node.count_subscribers("/early") == 1, "a subscription without a publisher")
        early, late = peer.publisher("/early", TWIST), peer.publisher("/late", TWIST)
        matched(early)
        early.publish(payload)
        matched(late)
        late.publish(payload)
        delivered(early, late)
        assert recorder.stop(signal.SIGTERM) == 0
    assert recorded(bag) == {"/early": [payload], "/late": [payload]}
    with AnyReader([bag]) as reader:
        assert all(c.ext.offered_qos_profiles for c in reader.connections)


def test_duration_ends_the_recording(peer: Peer, tmp_path: Path) -> None:
    with running(*node(RECORDER, "recorder", output=tmp_path / "bag", all=True, duration=0.5)) as recorder:
        assert recorder.join() == 0, recorder.output
    assert (tmp_path / "bag" / "metadata.yaml").is_file()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "nothing to record"),
        ({"all": True}, "output is missing"),
        ({"all": True, "output": "."}, "exists already"),
        ({"all": True, "output": "x", "compression": "rar"}, "none or zstd"),
        ({"topics": "['/a:no/msg/Such']", "output": "x"}, "install the package no"),
    ],
)
def test_a_bad_start_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with running(*node(RECORDER, "recorder", **parameters)) as recorder:
        assert recorder.join() == 1
        assert message in recorder.output
        assert "Traceback" not in recorder.output


def test_what_was_synced_survives_a_kill(peer: Peer, tmp_path: Path) -> None:
    bag, saved = tmp_path / "bag", tmp_path / "saved"
    publisher = peer.publisher("/scan", SCAN)
    sent = [wire.serialize(wire.scan([float(n)] * 100)) for n in range(200)]
    with running(*node(RECORDER, "recorder", output=bag, topics="['/scan']", flush_period=0.2)) as recorder:
        matched(publisher)
        for payload in sent:
            publisher.publish(payload)
            time.sleep(0.002)
        delivered(publisher)
        time.sleep(1.5)
        recorder.stop(signal.SIGKILL)
    with open_bag(bag) as cut:
        assert {finding.kind for finding in cut.findings} == {"metadata_missing", "recording_incomplete"}
        assert [digest(r.payload) for r in cut.records(["/scan"])] == [digest(p) for p in sent]
    assert recover(bag, saved) == len(sent)
    assert [digest(p) for p in recorded(saved)["/scan"]] == [digest(p) for p in sent]
    with AnyReader([saved]) as reader:
        assert reader.connections[0].digest == live_hash(peer, "/scan")
        assert reader.connections[0].ext.offered_qos_profiles[0].reliability == QosReliability.RELIABLE


def topic(name: str = "/t") -> RecordedTopic:
    definition = interface_definition(TWIST)
    return RecordedTopic(name, TWIST, definition.text, definition.type_hash)


PAYLOAD = wire.serialize(wire.twist((1, 2, 3), (4, 5, 6)))


def test_recovery_takes_every_whole_chunk_of_a_cut_file(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "bag", flush_s=0.01)
    recording.set_topic(topic())
    for number in range(20):
        recording.write("/t", number, PAYLOAD)
        time.sleep(0.02)
    recording.close()
    file = next((tmp_path / "bag").glob("*.mcap"))
    whole = file.read_bytes()
    (tmp_path / "bag" / "metadata.yaml").unlink()
    counts = []
    for index, size in enumerate(range(len(whole), 0, -max(1, len(whole) // 40))):
        file.write_bytes(whole[:size])
        try:
            counts.append(recover(tmp_path / "bag", tmp_path / f"saved{index}"))
        except BagError:
            counts.append(0)
    assert counts[0] == 20
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) > 5, "chunks are lost one by one, from the end"
    with pytest.raises(BagError, match="exists already"):
        recover(tmp_path / "bag", tmp_path / "saved0")
    with pytest.raises(BagError, match="there is no recording"):
        recover(tmp_path / "saved1" / "nothing", tmp_path / "new")


@pytest.mark.parametrize("name", HOSTILE_MCAP)
def test_what_cannot_be_recovered_leaves_nothing(name: str, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    bag.mkdir()
    (bag / "bag.mcap").write_bytes(HOSTILE_MCAP[name][0])
    with pytest.raises(BagError, match=r"bag\.mcap"):
        recover(bag, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_sqlite_recording_is_recovered_too(tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    bag.mkdir()
    messages = [raw_bags.Message("/a", n, PAYLOAD + bytes([n])) for n in range(9)]
    raw_bags.sqlite(bag / "bag.db3", messages)
    assert recover(bag, tmp_path / "saved") == 9
    assert recorded(tmp_path / "saved")["/a"] == [m.payload for m in messages]


def test_a_slow_disk_costs_counted_messages_not_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(tmp_path / "bag", max_bytes=10 * len(PAYLOAD))
    recording.set_topic(topic())
    hold = recording._changed  # the writing thread cannot take what is queued
    with hold:
        accepted = [recording.write("/t", n, PAYLOAD) for n in range(25)]
    assert accepted == [True] * 10 + [False] * 15
    summary = recording.close()
    assert summary.messages == {"/t": 10}
    assert summary.dropped == {"/t": 15}
    assert json.loads(metadata(tmp_path / "bag")["custom_data"][DROPPED_KEY]) == {"/t": 15}
    assert not recording.write("/t", 1, PAYLOAD)


def test_a_full_disk_is_an_error_that_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(tmp_path / "bag", flush_s=0.01)
    recording.set_topic(topic())
    recording.write("/t", 1, PAYLOAD)
    time.sleep(0.2)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    until(lambda: not recording.write("/t", 2, PAYLOAD), "the error")
    with pytest.raises(BagError, match=r"No space left on device; og-ros record --recover"):
        recording.close()
    assert recover(tmp_path / "bag", tmp_path / "saved") >= 1
