"""Hidden data: sealed recordings with and without the key, and commitments that join, are revealed, or stay hidden."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from rosbags.typesys import Stores, get_typestore
from scenario import Run, honest_run

from og_ros.attest import DataReference, Disclosure, digest
from og_ros.attest.commitment import commitment_of, conceal, salt_of
from og_ros.attest.sealed_wire import SEALED_TYPE, read_sealed, write_sealed
from og_ros.attest.sealing import Sealer
from og_ros.audit.disclosures import Disclosures, load_disclosures
from og_ros.audit.run import audit_bag
from og_ros.errors import BagError, SealError
from og_ros.nodes.interface_definition import interface_definition
from og_ros.nodes.recording import RecordedTopic, Recording
from og_ros.nodes.recording_seal import RecordingSeal
from og_ros.registry import Registry

SECRET = os.urandom(32)
PRIVATE = "/perception/line"  # what the stages hide in these runs


def committed(reference: DataReference) -> DataReference:
    """Show every reference to the private topic as a commitment."""
    return conceal(reference, Disclosure.COMMITTED, SECRET) if reference.topic == PRIVATE else reference


def absent(reference: DataReference) -> DataReference:
    """Leave out every reference to the private topic."""
    return conceal(reference, Disclosure.ABSENT) if reference.topic == PRIVATE else reference


def report_of(directory: Path, **options: Any) -> dict[str, Any]:
    """Audit what was written to a directory."""
    return audit_bag(directory / "bag", Registry.open(directory / "registry"), **options).as_json()


def sealed(run: Run, directory: Path, *recipients: ec.EllipticCurvePublicKey, commits: bool = False) -> Path:
    """Write a run as a sealed recording, as the recorder does."""
    run.write_registry(directory / "registry")
    store = get_typestore(Stores.ROS2_JAZZY)
    seal = RecordingSeal(Sealer(list(recipients)), {PRIVATE: SECRET} if commits else None)
    recording = Recording(directory / "bag", seal=seal)
    for name, kind in {record.topic: record.type for record in run.records}.items():
        if kind.startswith("og_ros/"):
            found = interface_definition(kind)
            text, type_hash = found.text, found.type_hash
        else:
            text, type_hash = store.generate_msgdef(kind)[0], store.hash_rihs01(kind)
        stamped = text.startswith("std_msgs/Header header") or "\nstd_msgs/Header header" in text[:200]
        recording.set_topic(RecordedTopic(name, kind, text, type_hash, stamped=stamped))
    for record in run.records:
        assert recording.write(record.topic, record.received_ns, bytes(record.payload))
    recording.close()
    return directory


def disclosure(run: Run, path: Path, count: int | None = None) -> Disclosures:
    """Reveal the private messages of a run, or the first few."""
    lines = [json.dumps({"format": "og_ros disclosure v1"}, separators=(",", ":"))]
    for record in [r for r in run.records if r.topic == PRIVATE][:count]:
        found = digest(record.payload)
        salt = salt_of(SECRET, found)
        tree = {
            "attestation": "00" * 32,
            "side": "output",
            "index": 0,
            "topic": PRIVATE,
            "type": record.type,
            "stamp_ns": 0,
            "made_ns": 0,
            "digest_algorithm": "sha256",
            "salt": salt.hex(),
            "commitment": commitment_of(salt, found).hex(),
            "payload": base64.b64encode(record.payload).decode(),
        }
        lines.append(json.dumps(tree, separators=(",", ":")))
    path.write_text("\n".join(lines) + "\n")
    return load_disclosures(path)


def test_a_sealed_recording_holds_without_the_key_and_says_what_that_leaves_open(tmp_path: Path) -> None:
    run = honest_run(40)
    key = ec.generate_private_key(ec.SECP256R1())
    sealed(run, tmp_path, key.public_key())
    report = report_of(tmp_path)
    assert report["findings"] == []
    assert report["holds"]
    assert report["linked"] == 40
    assert report["sealed"] == {"messages": 240, "opened": 0}
    assert any("recorder's word" in note for note in report["not_checked"])


def test_with_the_key_every_digest_is_recomputed(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sealed(honest_run(40), tmp_path, key.public_key())
    report = report_of(tmp_path, unseal_key=key)
    assert report["holds"]
    assert report["findings"] == []
    assert report["sealed"] == {"messages": 240, "opened": 240}
    assert not any("recorder's word" in note for note in report["not_checked"])


def test_a_key_of_nobody_here_and_a_key_for_a_clear_recording(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sealed(honest_run(10), tmp_path / "a", key.public_key())
    with pytest.raises(SealError, match="is not sealed for the key"):
        report_of(tmp_path / "a", unseal_key=ec.generate_private_key(ec.SECP256R1()))
    run = honest_run(10)
    run.write_registry(tmp_path / "b" / "registry")
    run.write_bag(tmp_path / "b" / "bag")
    with pytest.raises(BagError, match="is not sealed"):
        report_of(tmp_path / "b", unseal_key=key)


@pytest.mark.parametrize("with_key", [False, True])
def test_tampering_with_a_sealed_message(tmp_path: Path, with_key: bool) -> None:
    """Another digest is found by anybody; other bytes behind the same digest only by who has the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    run = honest_run(40)
    original = Sealer.seal
    count = 0

    def tampering(self: Sealer, topic: str, *arguments: Any) -> Any:
        nonlocal count
        made, seal = original(self, topic, *arguments)
        if topic == "/wheel_command":
            count += 1
            if count == 20:
                made = dataclasses.replace(made, ciphertext=bytes(len(made.ciphertext)))
            if count == 30:
                made = dataclasses.replace(made, digest=os.urandom(32))
        return made, seal

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sealer, "seal", tampering)
        sealed(run, tmp_path, key.public_key())
    report = report_of(tmp_path, unseal_key=key if with_key else None)
    assert report["verdict"] == "violated"
    counts = report["finding_counts"]
    assert counts.get("sealed_altered", 0) == (2 if with_key else 0)
    assert counts.get("output_altered", 0) == (0 if with_key else 1)


def test_a_sealed_message_that_is_gone_or_twice(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    run = sealed_run = honest_run(40)
    sealed(sealed_run, tmp_path, key.public_key())
    from og_ros.audit.recording.bag import open_bag

    with open_bag(tmp_path / "bag") as bag:
        records = [dataclasses.replace(r, payload=bytes(r.payload)) for r in bag.records()]
    places = [i for i, r in enumerate(records) if r.topic == "/camera/image"]
    lost, twice = places[10], places[20]
    assert write_sealed(read_sealed(records[lost].payload)) == records[lost].payload
    kept = [r for i, r in enumerate(records) if i != lost]
    kept.insert(twice, records[twice])
    run.write_bag(tmp_path / "changed" / "bag", records=kept)
    run.write_registry(tmp_path / "changed" / "registry")
    counts = report_of(tmp_path / "changed")["finding_counts"]
    assert counts["sealed_missing"] == 2
    assert all(r.type == SEALED_TYPE for r in records if r.topic == "/camera/image")


def test_commitments_link_a_chain_and_hide_its_data(tmp_path: Path) -> None:
    run = honest_run(40, show=committed)
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    report = report_of(tmp_path)
    assert report["holds"]
    assert report["linked"] == 40
    # The recorded message cannot be held against the commitment, which is said once for each.
    assert set(report["finding_counts"]) == {"digest_not_checked"}
    assert report["disclosure"]["perception"]["outputs"] == {PRIVATE: {"committed": 40}}
    assert report["levels"]["disclosure"]["stages"]["perception"] == "committed"
    assert report["levels"]["disclosure"]["stages"]["control"] == "clear"


def test_a_revealed_commitment_is_checked_as_if_it_were_clear(tmp_path: Path) -> None:
    run = honest_run(40, show=committed)
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    report = report_of(tmp_path, disclosures=disclosure(run, tmp_path / "all.jsonl"))
    assert report["holds"]
    assert report["findings"] == []
    assert report["disclosure"]["perception"]["outputs"] == {PRIVATE: {"revealed": 40}}
    assert report["levels"]["disclosure"]["stages"]["perception"] == "clear"
    some = report_of(tmp_path, disclosures=disclosure(run, tmp_path / "some.jsonl", 10))
    assert some["disclosure"]["perception"]["outputs"] == {PRIVATE: {"committed": 30, "revealed": 10}}
    assert some["finding_counts"] == {"digest_not_checked": 30}


def test_a_revealed_message_that_was_altered_is_found(tmp_path: Path) -> None:
    run = honest_run(40, show=committed)
    revealed = disclosure(run, tmp_path / "all.jsonl")
    place = [i for i, r in enumerate(run.records) if r.topic == PRIVATE][20]
    run.records[place] = dataclasses.replace(
        run.records[place], payload=bytes(run.records[place].payload[:-1]) + b"\x7f"
    )
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    hidden, shown = report_of(tmp_path), report_of(tmp_path, disclosures=revealed)
    assert hidden["verdict"] == "holds"  # nobody can see it, which the warnings say
    assert shown["finding_counts"]["output_altered"] == 1
    assert "output_altered" not in hidden["finding_counts"]


def test_disclosures_of_another_run_are_told(tmp_path: Path) -> None:
    run, other = honest_run(10, show=committed), honest_run(10, show=committed)
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    report = report_of(tmp_path, disclosures=disclosure(other, tmp_path / "other.jsonl"))
    assert any("10 disclosed records that belong to nothing" in note for note in report["not_checked"])


def test_an_absent_digest_breaks_the_link_and_says_so(tmp_path: Path) -> None:
    run = honest_run(40, show=absent)
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    report = report_of(tmp_path)
    assert report["linked"] == 0
    assert report["verdict"] == "not_checked"
    assert report["disclosure"]["planning"]["inputs"][PRIVATE] == {"absent": 40}


def test_sealed_and_committed(tmp_path: Path) -> None:
    """The recorder shows the commitment in place of the digest, so that the join works and nothing is told."""
    key = ec.generate_private_key(ec.SECP256R1())
    run = honest_run(40, show=committed)
    sealed(run, tmp_path, key.public_key(), commits=True)
    report = report_of(tmp_path)
    assert report["holds"]
    assert report["linked"] == 40
    assert report["findings"] == []
    opened = report_of(tmp_path, unseal_key=key)
    assert opened["holds"]
    assert opened["findings"] == []


def test_a_message_too_short_to_be_one_stands_for_nothing(tmp_path: Path) -> None:
    run = honest_run(40)
    place = [i for i, r in enumerate(run.records) if r.topic == "/wheel_command"][20]
    run.records[place] = dataclasses.replace(run.records[place], payload=b"\0\1")
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    assert report_of(tmp_path)["finding_counts"] == {"output_altered": 1}
