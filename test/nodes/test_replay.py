"""A replay publishes the recorded bytes, at the recorded pace, and says what it leaves out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import wire_messages as wire
from ros_peer import Peer, running, until
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from og_ros.attest import digest

TWIST, STRING = "geometry_msgs/msg/Twist", "std_msgs/msg/String"
SECOND = 10**9
FOREVER = QosTime(2147483647, 4294967295)
LATCHED = Qos(
    QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, FOREVER, FOREVER,
    QosLiveliness.AUTOMATIC, FOREVER, False,
)  # fmt: skip


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def twist(number: int) -> bytes:
    # Bytes that no encoder of this ROS writes again: garbage in the two options bytes of the encapsulation header.
    return b"\x00\x01\xaa\xbb" + wire.serialize(wire.twist((number, 0, 0), (0, 0, 0)))[4:]


def text(size: int) -> bytes:
    return wire.serialize(wire.make(STRING, data="x" * size))


def write(path: Path, storage: StoragePlugin, compression: CompressionMode = CompressionMode.NONE) -> None:
    """20 twists and 20 texts of different lengths (padded and not) in 2 s, and a type that is nowhere installed."""
    writer = Writer(path, version=8, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        twists = writer.add_connection("/twist", TWIST, typestore=wire.STORE)
        texts = writer.add_connection("/text", STRING, typestore=wire.STORE, offered_qos_profiles=[LATCHED])
        other = writer.add_connection("/other", "vendor_msgs/msg/Thing", msgdef="int32 a\n", rihs01="RIHS01_00")
        for number in range(20):
            stamp = 1000 * SECOND + number * SECOND // 10
            writer.write(twists, stamp, twist(number))
            writer.write(texts, stamp + 1, text(number))
            writer.write(other, stamp + 2, b"\0\1\0\0\0\0\0\0")


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
    ],
    ids=["sqlite3", "mcap", "mcap-zstd"],
)
def test_bytes_order_and_pace(peer: Peer, tmp_path: Path, storage: StoragePlugin, compression: CompressionMode) -> None:
    write(tmp_path / "bag", storage, compression)
    twists, texts = peer.hear("/twist", TWIST), peer.hear("/text", STRING)
    clocks = peer.hear("/clock", "rosgraph_msgs/msg/Clock")
    until(lambda: peer.node.count_subscribers("/clock") == 1, "own subscription")
    began = time.monotonic()
    arguments = ["replay", str(tmp_path / "bag"), "--rate", "2", "--wait-for-subscribers", "--clock"]
    with running("-m", "og_ros.cli.main", *arguments) as replay:
        until(lambda: twists, "the first message")
        began = time.monotonic()
        assert replay.join() == 0, replay.output
        took = time.monotonic() - began
        assert "/other is left out" in replay.output
        assert "install the package vendor_msgs" in replay.output
        assert "40 messages of 2 topics published" in replay.output
        assert "Traceback" not in replay.output
    until(lambda: len(twists) + len(texts) >= 40, "everything")
    assert [digest(p) for p in twists] == [digest(twist(n)) for n in range(20)]
    assert [digest(p) for p in texts] == [digest(text(n)) for n in range(20)]
    assert took > 0.7, "1.9 s at twice the pace"
    seconds = [wire.deserialize(c, "rosgraph_msgs/msg/Clock").clock.sec for c in clocks]
    assert (seconds[0], seconds[-1]) == (1000, 1001)


def test_chosen_topics_in_a_loop_until_stopped(peer: Peer, tmp_path: Path) -> None:
    write(tmp_path / "bag", StoragePlugin.MCAP)
    twists, texts = peer.hear("/twist", TWIST, 1000), peer.hear("/text", STRING, 1000)
    arguments = ["replay", str(tmp_path / "bag"), "--rate", "100", "--topics", "/twist", "--loop"]
    with running("-m", "og_ros.cli.main", *arguments, "--wait-for-subscribers") as replay:
        until(lambda: len(twists) > 50, "a second and third pass")
        assert replay.stop() == 0, replay.output
        assert "Traceback" not in replay.output
    assert not texts


def test_late_subscriber_hears_what_was_latched(peer: Peer, tmp_path: Path) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile

    write(tmp_path / "bag", StoragePlugin.MCAP)
    arguments = ["replay", str(tmp_path / "bag"), "--rate", "1", "--topics", "/text"]
    with running("-m", "og_ros.cli.main", *arguments) as replay:
        peer.wait_for_publishers("/text")
        time.sleep(0.5)
        heard = peer.hear("/text", STRING, QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        assert replay.join() == 0, replay.output
    until(lambda: len(heard) >= 20, "all, from the first")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere"),
        (["bag", "--topics", "/no"], "has no topic /no; it has /other, /text, /twist"),
        (["bag", "--topics", "/other"], "nothing of bag can be published"),
    ],
)
def test_what_cannot_be_replayed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "bag", StoragePlugin.MCAP)
    with running("-m", "og_ros.cli.main", "replay", *arguments) as replay:
        assert replay.join() == 2
        assert message in replay.output
        assert "Traceback" not in replay.output
