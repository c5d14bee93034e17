"""A gate and signed sensors: what a source signed begins a chain, and once it signs, nothing else does."""

from __future__ import annotations

import dataclasses
import struct

import pytest
from gated import Gated
from scenario import MS, Run, certify_all, honest_run
from sourced import certify_sources, sign_sensors, source_keys

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.policy import parse_policy
from og_ros.audit.records import Record
from og_ros.registry import Registry, RegistryWriter

TICKS = 20
IMAGE = "/camera/image"
DEMANDED = parse_policy(b"version: 1\ndecision_levels: {data_provenance: signed_at_source}")


@pytest.fixture(scope="module")
def signers() -> dict[str, SoftwareSigner]:
    return source_keys()


@pytest.fixture(scope="module")
def run() -> Run:
    return honest_run(TICKS)


@pytest.fixture(scope="module")
def registry(run: Run, signers: dict[str, SoftwareSigner], tmp_path_factory: pytest.TempPathFactory) -> Registry:
    directory = tmp_path_factory.mktemp("sources") / "registry"

    def certify(writer: RegistryWriter, run: Run) -> None:
        certify_all(writer, run)
        certify_sources(writer, signers)

    run.write_registry(directory, certify)
    return Registry.open(directory)


def test_every_command_over_signed_sensors_passes(
    run: Run, registry: Registry, signers: dict[str, SoftwareSigner]
) -> None:
    gated = Gated.by(registry, DEMANDED).stream(sign_sensors(run.records, signers))
    assert len(gated.passed) == TICKS
    assert {v.stages for v in gated.verdicts} == {("camera", "perception", "lidar", "planning", "odometry", "control")}


def test_a_gate_waits_for_a_sources_record_that_comes_last(
    run: Run, registry: Registry, signers: dict[str, SoftwareSigner]
) -> None:
    """The record of a sensor's message may come later than that of the command over it."""
    records = sign_sensors(run.records, signers, lag_ns=40 * MS)
    gated = Gated.by(registry, DEMANDED).stream(records)
    assert len(gated.passed) == TICKS
    assert max(v.latency_ns for v in gated.verdicts) == 12 * MS


@pytest.mark.parametrize("topics", [(), (IMAGE,), (IMAGE, "/scan")])
def test_one_unsigned_sensor_is_refused_where_the_policy_demands_it(
    topics: tuple[str, ...], run: Run, registry: Registry, signers: dict[str, SoftwareSigner]
) -> None:
    records = sign_sensors(run.records, {topic: signers[topic] for topic in topics})
    gated = Gated.by(registry, DEMANDED).stream(records).wait(1.0)
    assert gated.passed == []
    assert "below_policy" in gated.kinds
    assert len(Gated.by(registry).stream(records).passed) == TICKS, "and passes where it does not"


def injected(records: list[Record], run: Run, payload: bytes, at: int) -> list[Record]:
    """Let perception read a message of another publisher in place of the driver's, at one tick."""
    from og_ros.attest import digest

    old = next(r for r in records[at:] if r.topic == IMAGE)
    stranger = dataclasses.replace(old, payload=payload, received_ns=old.received_ns + MS)
    run = dataclasses.replace(run, records=list(records))
    place, attestation = next(
        (i, a) for i, a in run.of_stage("perception") if a.statement.inputs[0].digest == digest(old.payload)
    )
    reference = dataclasses.replace(attestation.statement.inputs[0], digest=digest(payload))
    run.resign(place, inputs=(reference,))
    return sorted([*run.records, stranger], key=lambda r: r.received_ns)


def test_a_frame_of_a_second_publisher_begins_no_chain(
    run: Run, registry: Registry, signers: dict[str, SoftwareSigner]
) -> None:
    records = sign_sensors(run.records, signers)
    payload = bytearray(next(r.payload for r in records if r.topic == IMAGE))
    payload[8:12] = struct.pack("<I", 77)
    gated = Gated.by(registry).stream(injected(records, run, bytes(payload), 200)).wait(1.0)
    assert any("not signed at its source" in r.message for v in gated.verdicts for r in v.reasons)
    assert 0 < len(gated.passed) < TICKS


def test_a_forged_record_of_a_source_does_not_help_it(
    run: Run, registry: Registry, signers: dict[str, SoftwareSigner]
) -> None:
    records = sign_sensors(run.records, signers)
    payload = bytearray(next(r.payload for r in records if r.topic == IMAGE))
    payload[8:12] = struct.pack("<I", 77)
    records = injected(records, run, bytes(payload), 200)
    stranger = next(r for r in records if bytes(r.payload) == bytes(payload))
    forged = sign_sensors([stranger], {IMAGE: SoftwareSigner(keys.generate())})[1]
    records = sorted([*records, forged], key=lambda r: r.received_ns)
    gated = Gated.by(registry).stream(records).wait(1.0)
    assert any("is not in the registry" in r.message for v in gated.verdicts for r in v.reasons)
    assert 0 < len(gated.passed) < TICKS


def test_a_replayed_frame_begins_no_second_chain(
    run: Run, registry: Registry, signers: dict[str, SoftwareSigner]
) -> None:
    records = sign_sensors(run.records, signers)
    old = [r for r in records if r.topic == IMAGE][2]
    gated = Gated.by(registry).stream(injected(records, run, bytes(old.payload), 200)).wait(1.0)
    assert any("more often than its source signed it" in r.message for v in gated.verdicts for r in v.reasons)
    assert 0 < len(gated.passed) < TICKS


def test_who_signs_without_a_certificate_cannot_make_a_gate_demand_it(run: Run, registry: Registry) -> None:
    records = sign_sensors(run.records, source_keys())
    assert len(Gated.by(registry).stream(records).passed) == TICKS
