"""An audit's view of a sealed recording: the same digests with and without the key, and every change a finding."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from og_ros.attest import digest
from og_ros.attest.content_key import KeyRing
from og_ros.attest.sealed_wire import DEFINITION_TOPIC, SEAL_TYPE, SEALED_TYPE, write_seal, write_sealed
from og_ros.attest.sealing import Sealer
from og_ros.attest.statement import Disclosure
from og_ros.audit.recording.sealed_records import SealedRecords
from og_ros.audit.records import Record

PRIVATE = ec.generate_private_key(ec.SECP256R1())
KIND = "geometry_msgs/msg/Twist"


def run(count: int, secret: bytes | None = None) -> tuple[list[Record], list[bytes], KeyRing]:
    """Return sealed records, their messages, and the ring that opens them."""
    sealer, ring = Sealer([PRIVATE.public_key()]), KeyRing(PRIVATE)
    payloads = [b"\0\1\0\0" + number.to_bytes(8, "little") for number in range(count)]
    records = []
    for number, payload in enumerate(payloads):
        sealed, seal = sealer.seal("/t", KIND, payload, 1000 + number, number, secret)
        if seal is not None:
            ring.learn(seal)
        records.append(Record("/t", SEALED_TYPE, write_sealed(sealed), 1000 + number))
    return records, payloads, ring


@pytest.mark.parametrize("secret", [None, b"s" * 32], ids=["clear", "committed"])
def test_the_key_adds_the_message_and_changes_no_digest(secret: bytes | None) -> None:
    records, payloads, ring = run(5, secret)
    blind, seeing = SealedRecords(), SealedRecords(ring)
    for record, payload in zip(records, payloads, strict=True):
        without, opened = blind.take(record), seeing.take(record)
        assert without is not None
        assert opened is not None
        assert replace(opened, payload=None, message_digest=None) == without
        assert (opened.payload, opened.message_digest) == (payload, digest(payload))
        assert (without.disclosure == Disclosure.CLEAR) == (without.digest == digest(payload))
        assert (without.type, without.size) == (KIND, len(payload))
    assert [*blind.gaps(), *seeing.gaps(), *blind.findings(), *seeing.findings()] == []
    assert "5 sealed messages" in blind.not_checked()[0]
    assert seeing.not_checked() == []


def test_a_whole_sealed_recording_has_no_gap_and_its_definitions_are_no_messages() -> None:
    sealer = Sealer([PRIVATE.public_key()])
    records = []
    for number, topic in enumerate((DEFINITION_TOPIC, "/t", "/t")):
        sealed, seal = sealer.seal(topic, KIND, b"\0\1\0\0", number)
        if seal is not None:
            records.append(Record("/og_ros/seal", SEAL_TYPE, write_seal(seal), number))
        records.append(Record(topic, SEALED_TYPE, write_sealed(sealed), number))
    records.append(Record("/og_ros/seal", SEAL_TYPE, b"", 9))
    blind = SealedRecords()
    assert [blind.take(record) is not None for record in records] == [False, False, True, True, False]
    assert blind.count == 2
    assert list(blind.gaps()) == []
    assert [f.kind for f in blind.findings()] == ["sealed_malformed"]


def test_each_change_is_its_own_finding() -> None:
    records, _, ring = run(6)
    changed = bytearray(records[1].payload)
    changed[-20] ^= 1
    records[1] = replace(records[1], payload=bytes(changed))
    records[2] = replace(records[2], payload=b"\0\1")
    records[3] = records[4]
    seeing, blind = SealedRecords(ring), SealedRecords()
    for record in records:
        seeing.take(record)
        blind.take(record)
    assert [f.kind for f in seeing.findings()] == ["sealed_altered", "sealed_malformed", "sealed_missing"]
    assert [f.kind for f in blind.findings()] == ["sealed_malformed", "sealed_missing"], "no key, no ciphertext checked"
    assert [f.kind for f in blind.gaps()] == ["sealed_missing"]
    assert seeing.findings() == []
