"""Signs the sensor messages of a run as their drivers would have: a source for each topic, with a key of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from og_ros.attest import (
    ATTESTATION_TYPE,
    Clock,
    DataReference,
    ModelReference,
    Runtime,
    Session,
    SoftwareSigner,
    cose,
    digest,
    encode_attestation,
    keys,
)
from og_ros.attest.digest import covered_size
from og_ros.attest.statement import NO_DIGEST
from og_ros.audit.examine import stamp_of
from og_ros.audit.records import Record
from og_ros.registry import RegistryWriter

MS = 1_000_000
SOURCES = {"/camera/image": "camera", "/scan": "lidar", "/odom": "odometry"}


def source_keys(sources: Mapping[str, str] = SOURCES) -> dict[str, SoftwareSigner]:
    """Return a new key for each source, by its topic."""
    return {topic: SoftwareSigner(keys.generate()) for topic in sources}


def certify_sources(
    writer: RegistryWriter, signers: Mapping[str, SoftwareSigner], robot: str = "demo", since_ns: int = 10**9
) -> None:
    """Certify each key as the source of its topic."""
    for topic, signer in signers.items():
        writer.certify_key(
            signer.public_key, role="source", robot=robot, stage=SOURCES[topic], topics=(topic,), not_before_ns=since_ns
        )


def sign_sensors(
    records: Iterable[Record], signers: Mapping[str, SoftwareSigner], robot: str = "demo", lag_ns: int = MS // 5
) -> list[Record]:
    """Return records with the attestation of its source `lag_ns` behind each sensor message, in order of arrival."""
    found: list[Record] = []
    sessions: dict[str, Session] = {}
    for record in records:
        found.append(record)
        signer = signers.get(record.topic)
        if signer is None or record.type == ATTESTATION_TYPE:
            continue
        session = sessions.get(record.topic)
        if session is None:
            session = sessions[record.topic] = Session(
                robot=robot,
                stage=SOURCES[record.topic],
                node=f"/{SOURCES[record.topic]}_driver",
                model=ModelReference(SOURCES[record.topic], "", NO_DIGEST, "driver"),
                runtime=Runtime("og_ros source", "0.1.0"),
                signer=signer,
            )
            session.began_ns = 0
        at, stamp = record.received_ns, stamp_of(record.payload, True)
        output = DataReference(record.topic, record.type, digest(record.payload), covered_size(record.payload), stamp)
        attestation = session.attest(
            [], [output], start_ns=stamp, clock=Clock.SIM, start_monotonic_ns=at % 10**15, duration_ns=MS // 10
        )
        attestation = cose.sign(
            dataclasses.replace(attestation.statement, signed_at_ns=at + lag_ns // 2), signer
        )  # as if signed then
        session._previous = attestation.digest
        payload = encode_attestation(attestation)
        found.append(Record(f"{record.topic}/attestation", ATTESTATION_TYPE, payload, at + lag_ns))
    return sorted(found, key=lambda r: r.received_ns)
