"""Sealed recordings: without the key names and digests, with it the very recording, after a crash too."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import numpy as np
import wire_messages as wire
from cryptography.hazmat.primitives.asymmetric import ec
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_peer import Peer, delivered, matched, node, running
from rosbags.interfaces import Qos
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from og_ros.attest import (
    ModelReference,
    Runtime,
    Session,
    SoftwareSigner,
    digest,
    encode_attestation,
    keys,
)
from og_ros.attest.commitment import commitment_of, make_secret, salt_of
from og_ros.attest.sealed_wire import DEFINITION_TOPIC, SEAL_TOPIC, SEALED_TYPE, SEALS_KEY, read_sealed
from og_ros.attest.sealing import Sealer
from og_ros.attest.statement import Clock, DataReference, Disclosure
from og_ros.audit.recording.unsealing import unseal
from og_ros.cli.main import main
from og_ros.errors import BagError
from og_ros.nodes.interface_definition import interface_definition
from og_ros.nodes.recording import RecordedTopic, Recording
from og_ros.nodes.recording_seal import RecordingSeal
from og_ros.nodes.recovery import recover

RECORDER = "og_ros.nodes.recorder"
IMAGE, SCAN, TWIST = "sensor_msgs/msg/Image", "sensor_msgs/msg/LaserScan", "geometry_msgs/msg/Twist"
ATTESTATION = "og_ros/msg/Attestation"
START = 1_700_000_000_000_000_000


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The private key of a recipient, and its public half beside it."""
    assert main(["keys", "generate", str(tmp_path / "key.pem"), "--recipient"]) == 0
    return tmp_path / "key.pem"


def private(path: Path) -> ec.EllipticCurvePrivateKey:
    return keys.load_private(path)  # type: ignore[return-value]


def attestation() -> bytes:
    reference = DataReference("/x", TWIST, b"d" * 32, 52)
    session = Session(
        robot="r", stage="s", node="/n", model=ModelReference("m", "1", b"m" * 32), runtime=Runtime("t", "1"),
        signer=SoftwareSigner(keys.generate()),
    )  # fmt: skip
    made = session.attest([reference], [reference], start_ns=1, clock=Clock.SYSTEM, start_monotonic_ns=1, duration_ns=1)
    return encode_attestation(made)


def topic(name: str, kind: str) -> RecordedTopic:
    definition = interface_definition(kind)
    qos = Recorded.qos_of(name)
    return RecordedTopic(name, kind, definition.text, definition.type_hash, qos, kind in (IMAGE, SCAN))


class Recorded:
    """What a recording holds, in comparable form."""

    def __init__(self, bag: Path) -> None:
        with Reader(bag) as reader:
            self.topics = {
                c.topic: (c.msgtype, c.digest, c.msgdef.data if c.msgcount else "", tuple(c.ext.offered_qos_profiles))  # type: ignore[union-attr]
                for c in reader.connections
            }
            self.messages = [(c.topic, at, bytes(payload)) for c, at, payload in reader.messages()]

    def of(self, name: str) -> list[bytes]:
        return [payload for found, _, payload in self.messages if found == name]

    @staticmethod
    def qos_of(name: str) -> tuple[Qos, ...]:
        from rosbags.interfaces import QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

        reliability = QosReliability.BEST_EFFORT if name == "/scan" else QosReliability.RELIABLE
        none = QosTime(0, 0)
        volatile, live = QosDurability.VOLATILE, QosLiveliness.AUTOMATIC
        return (Qos(QosHistory.KEEP_LAST, 7, reliability, volatile, none, none, live, none, False),)


PIXELS = np.arange(32 * 24 * 3, dtype=np.uint8).reshape(24, 32, 3)
TOPICS = {"/image": IMAGE, "/scan": SCAN, "/command": TWIST, "/command/attestation": ATTESTATION, "/silent": TWIST}


def sample(name: str, number: int) -> bytes:
    if name == "/image":
        return wire.serialize(wire.image(PIXELS + number, "rgb8"))
    if name == "/scan":
        return wire.serialize(wire.scan([1.0] * (number % 30 + 1)))
    return attestation() if name == "/command/attestation" else wire.serialize(wire.twist((number, 0, 0), (0, 0, 0)))


def record(path: Path, messages: list[tuple[str, int, bytes]], seal: RecordingSeal | None = None) -> None:
    recording = Recording(path, seal=seal)
    for name, kind in TOPICS.items():
        recording.set_topic(topic(name, kind))
    for name, at, payload in messages:
        assert recording.write(name, at, payload)
    assert sum(recording.close().messages.values()) == len(messages)


@pytest.fixture
def pair(tmp_path: Path, key: Path) -> tuple[Path, Path]:
    """One run recorded twice: in clear and sealed, with a new content key every few messages."""
    names = [name for name in TOPICS if name != "/silent"]
    messages = [
        (name, START + number * 10**7 + order // 2, sample(name, number))
        for number in range(40)
        for order, name in enumerate(names)
    ]
    record(tmp_path / "plain", messages)
    sealer = Sealer([private(key).public_key(), keys.generate().public_key()], period_s=0.001)  # type: ignore[list-item]
    record(tmp_path / "sealed", messages, RecordingSeal(sealer))
    return tmp_path / "plain", tmp_path / "sealed"


def test_unsealed_is_what_a_plain_recorder_got(pair: tuple[Path, Path], key: Path, tmp_path: Path) -> None:
    plain, sealed = pair
    closed, expected = Recorded(sealed), Recorded(plain)
    assert {name for name, (kind, *_) in closed.topics.items() if kind == SEALED_TYPE} == {
        "/image", "/scan", "/command", "/silent", DEFINITION_TOPIC
    }  # fmt: skip
    assert closed.of("/command/attestation") == expected.of("/command/attestation"), "accounts stay clear"
    assert [read_sealed(p).digest for p in closed.of("/image")] == [digest(p) for p in expected.of("/image")]
    assert read_sealed(closed.of("/image")[0]).stamp_ns > 0
    files = b"".join(path.read_bytes() for path in sealed.iterdir())
    assert sample("/image", 3)[100:160] not in files
    assert interface_definition(IMAGE).text.encode() not in files
    assert len(closed.of(SEAL_TOPIC)) > 3
    assert main(["unseal", str(sealed), "--key", str(key), "-o", str(tmp_path / "open")]) == 0
    found = Recorded(tmp_path / "open")
    assert found.messages == expected.messages, "order, times, bytes"
    assert found.topics == expected.topics
    assert not list(tmp_path.glob(".*"))


def test_a_part_is_unsealed(pair: tuple[Path, Path], key: Path, tmp_path: Path) -> None:
    plain, sealed = pair
    arguments = ["unseal", str(sealed), "--key", str(key), "--topics", "/scan", "--from", "0.1", "--to"]
    assert main([*arguments, "0.2", "-o", str(tmp_path / "part")]) == 0
    assert main([*arguments, "2023-11-14T22:13:20.2Z", "-o", str(tmp_path / "same")]) == 0
    part = Recorded(tmp_path / "part")
    assert part.messages == Recorded(tmp_path / "same").messages
    assert part.messages == [
        m for m in Recorded(plain).messages if m[0] == "/scan" and START + 10**8 <= m[1] < START + 2 * 10**8
    ]
    assert len(part.messages) == 10
    assert list(part.topics) == ["/scan"]


def rewrite(source: Path, target: Path, change: Any, custom: dict[str, str] | None = None) -> Path:
    """Copy a recording; `change` gets each (topic, time, payload) and gives what to write instead, or None."""
    with Reader(source) as reader, Writer(target, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        for name, value in (custom or {}).items():
            writer.set_custom_data(name, value)
        connections = {
            c.id: writer.add_connection(c.topic, c.msgtype, msgdef=c.msgdef.data, rihs01=c.digest)
            for c in reader.connections
        }
        for number, (connection, at, payload) in enumerate(reader.messages()):
            for new_at, new in change(number, connection, at, bytes(payload)):
                writer.write(connections[connection.id], new_at, new)
    return target


ATTACKS = {
    "ciphertext": (lambda at, data: [(at, data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])], "does not open"),
    "time": (lambda at, data: [(at + 1, data)], "does not open"),
    "removed": (lambda at, data: [], "1 sealed messages under content key"),
    "doubled": (lambda at, data: [(at, data), (at, data)], "there twice"),
    "cut": (lambda at, data: [(at, data[:-5])], "truncated"),
    "emptied": (lambda at, data: [(at, b"")], "at least 4 bytes"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_tampering_is_named_and_the_rest_is_opened(
    pair: tuple[Path, Path], key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], attack: str
) -> None:
    _, sealed = pair
    change, reason = ATTACKS[attack]
    seen = []

    def tamper(number: int, connection: Any, at: int, data: bytes) -> list[tuple[int, bytes]]:
        if connection.topic == "/image":
            seen.append(number)
            if len(seen) == 5:
                return change(at, data)
        return [(at, data)]

    altered = rewrite(sealed, tmp_path / "altered", tamper)
    capsys.readouterr()
    assert main(["unseal", str(altered), "--key", str(key), "-o", str(tmp_path / "open")]) == 1
    error = capsys.readouterr().err
    assert reason in error
    assert "does not hold" in error
    lost = attack not in ("doubled",)
    assert len(Recorded(tmp_path / "open").of("/image")) == 40 - lost
    assert len(Recorded(tmp_path / "open").of("/scan")) == 40


def test_seals_that_are_gone_or_false(pair: tuple[Path, Path], key: Path, tmp_path: Path) -> None:
    _, sealed = pair

    def no_seals(number: int, connection: Any, at: int, data: bytes) -> list[tuple[int, bytes]]:
        return [] if connection.topic == SEAL_TOPIC else [(at, data)]

    def false_seals(number: int, connection: Any, at: int, data: bytes) -> list[tuple[int, bytes]]:
        return [(at, data[:-150] + b"x" + data[-149:] if connection.topic == SEAL_TOPIC else data)]

    without = rewrite(sealed, tmp_path / "without", no_seals)
    with pytest.raises(BagError, match="is not sealed"):
        unseal(without, tmp_path / "open", private(key))
    flipped = rewrite(sealed, tmp_path / "false", false_seals)
    summary = unseal(flipped, tmp_path / "nothing", private(key))
    assert not summary.holds
    assert set(summary.messages) == {"/command/attestation"}
    with Reader(sealed) as reader:
        seals = (reader.storage.metadata.custom or {})[SEALS_KEY]
    told = rewrite(sealed, tmp_path / "told", no_seals, {SEALS_KEY: seals})
    assert unseal(told, tmp_path / "from_metadata", private(key)).messages["/image"] == 40


def test_wrong_key_and_bad_targets(
    pair: tuple[Path, Path], key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, sealed = pair
    keys.save_private(keys.generate(), tmp_path / "other.pem")
    target = tmp_path / "open"
    for bag, path, out, text in (
        (sealed, tmp_path / "other.pem", target, "is not sealed for the key"),
        (plain, key, target, "is not sealed: it has no Seal"),
        (sealed, key, plain, "exists already"),
        (tmp_path / "none", key, target, "there is no"),
        (sealed, tmp_path / "none.pem", target, "cannot read the key"),
    ):
        capsys.readouterr()
        assert main(["unseal", str(bag), "--key", str(path), "-o", str(out)]) == 2
        assert text in capsys.readouterr().err
        assert not target.exists()


def test_a_failure_leaves_nothing_that_looks_complete(
    pair: tuple[Path, Path], key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sealed = pair
    write, count = Writer.write, [0]

    def full(self: Writer, *args: Any) -> None:
        count[0] += 1
        if count[0] > 50:
            raise OSError(28, "No space left on device")
        write(self, *args)

    monkeypatch.setattr(Writer, "write", full)
    with pytest.raises(BagError, match="No space left"):
        unseal(sealed, tmp_path / "open", private(key))
    assert not list(tmp_path.glob("*open*"))


def test_committed_topics_show_no_digest(tmp_path: Path, key: Path) -> None:
    """A stop command could be guessed by its digest, not by its commitment; with the key both are checked."""
    secret = bytes(range(32))
    seal = RecordingSeal(Sealer([private(key).public_key()]), {"/command": secret})
    payload = sample("/command", 0)
    record(tmp_path / "sealed", [("/command", START, payload), ("/scan", START + 1, sample("/scan", 1))], seal)
    closed = Recorded(tmp_path / "sealed")
    found = read_sealed(closed.of("/command")[0])
    assert found.disclosure == Disclosure.COMMITTED
    assert found.digest == commitment_of(salt_of(secret, digest(payload)), digest(payload))
    assert digest(payload) not in b"".join(path.read_bytes() for path in (tmp_path / "sealed").iterdir())
    assert read_sealed(closed.of("/scan")[0]).disclosure == Disclosure.CLEAR
    assert unseal(tmp_path / "sealed", tmp_path / "open", private(key)).holds
    assert Recorded(tmp_path / "open").of("/command") == [payload]


def test_what_is_no_cdr_is_dropped_not_stored_in_clear(tmp_path: Path, key: Path) -> None:
    recording = Recording(tmp_path / "sealed", seal=RecordingSeal(Sealer([private(key).public_key()])))
    recording.set_topic(topic("/command", TWIST))
    for payload in (b"abc", sample("/command", 1)):
        recording.write("/command", START, payload)
    summary = recording.close()
    assert (summary.messages, summary.dropped) == ({"/command": 1}, {"/command": 1})
    assert unseal(tmp_path / "sealed", tmp_path / "open", private(key)).holds


def test_recorders_side_by_side_and_a_kill(peer: Peer, tmp_path: Path, key: Path) -> None:
    """Three recorders hear the same: one in clear, one sealed, one sealed and killed."""
    make_secret(tmp_path / "secret")
    best_effort = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
    kinds = {name: kind for name, kind in TOPICS.items() if name != "/silent"}
    sealed = {"seal": f"['{key}.pub']", "committed": "['/command']", "disclosure_key": tmp_path / "secret"}
    common = {"all": True, "flush_period": 0.2}
    publishers = {n: peer.publisher(n, k, best_effort if n == "/scan" else 100) for n, k in kinds.items()}
    sent = {name: [sample(name, number) for number in range(12)] for name in kinds}
    with (
        running(*node(RECORDER, "plain", output=tmp_path / "plain", **common)) as one,
        running(*node(RECORDER, "sealed", output=tmp_path / "sealed", **common, **sealed)) as two,
        running(*node(RECORDER, "killed", output=tmp_path / "killed", **common, **sealed)) as three,
    ):
        for publisher in publishers.values():
            matched(publisher, 3)
        for number in range(12):
            for name, publisher in publishers.items():
                publisher.publish(sent[name][number])
            time.sleep(0.01)
        delivered(*publishers.values())
        time.sleep(1.0)
        three.stop(signal.SIGKILL)
        assert (one.stop(), two.stop()) == (0, 0)
        assert "recording to" in two.output
        assert ", sealed" in two.output
        assert "Traceback" not in one.output + two.output
    assert recover(tmp_path / "killed", tmp_path / "saved") > 4 * 12
    plain = Recorded(tmp_path / "plain")
    for source in ("sealed", "saved"):
        target = tmp_path / f"{source}_open"
        assert main(["unseal", str(tmp_path / source), "--key", str(key), "-o", str(target)]) == 0
        found = Recorded(target)
        for name in kinds:
            assert found.of(name) == plain.of(name), (source, name)
            assert [digest(p) for p in found.of(name)] == [digest(p) for p in sent[name]]
            assert found.topics[name] == plain.topics[name]
    assert not any(path.read_bytes().count(sent["/image"][2][60:120]) for path in (tmp_path / "killed").iterdir())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"seal": "['nothing.pub']"}, "cannot read the key nothing.pub"),
        ({"committed": "['/x']"}, "recorded in clear without seal"),
        ({"seal": "['{key}.pub']", "committed": "['/x']"}, "disclosure_key is missing"),
        ({"seal": "['{key}.pub']", "seal_period": 0.0}, "seal_period is 0; it must be"),
    ],
)
def test_a_bad_start_is_one_clear_line_and_makes_no_recording(
    tmp_path: Path, key: Path, parameters: dict[str, Any], message: str
) -> None:
    given = {name: str(value).replace("{key}", str(key)) for name, value in parameters.items()}
    with running(*node(RECORDER, "recorder", output=tmp_path / "bag", all=True, **given)) as recorder:
        assert recorder.join() == 1
        assert message in recorder.output
        assert "Traceback" not in recorder.output
    assert not (tmp_path / "bag").exists()


