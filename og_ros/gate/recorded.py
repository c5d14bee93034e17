"""What a recording shows of a gate: which messages reached the driver, and whether each had a right to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from og_ros.attest import ATTESTATION_TYPE, digest
from og_ros.attest.template import AttestationReader
from og_ros.audit.certificates import Certificates
from og_ros.audit.records import Inference, Record
from og_ros.errors import AttestationError
from og_ros.registry import Registry


@dataclass(frozen=True)
class Passed:
    """Messages on the gate's output: commands that a stage attested, the gate's own, and those that nobody answers for.

    `held` counts commands that did not reach the driver.
    """

    commands: int
    own: int
    unproven: int
    held: int


def what_passed(records: Iterable[Record], registry: Registry, command: str, output: str) -> Passed:
    """Compare a gate's input, its output and the attestations of both, all from one recording.

    A command counts as proven when a certified key attested its very bytes on the gate's input; a message of the gate's
    own when the gate attested it and it is no copy of a command that was not proven.
    """
    certificates, reader = Certificates(registry), AttestationReader()
    attested: set[bytes] = set()
    own: set[bytes] = set()
    said: list[bytes] = []
    given: list[bytes] = []
    for record in records:
        if record.topic == command:
            given.append(digest(record.payload))
        elif record.topic == output:
            said.append(digest(record.payload))
        elif record.type == ATTESTATION_TYPE:
            try:
                attestation = reader.read(record.payload, record.topic)
            except AttestationError:
                continue
            inference = Inference(attestation, record.topic, record.received_ns)
            certificates.check(inference)
            if inference.signed and inference.certified:
                attested.update(o.digest for o in attestation.statement.outputs if o.topic == command)
                own.update(o.digest for o in attestation.statement.outputs if o.topic == output)
    proven = sum(name in attested for name in said)
    safe = sum(name in own and name not in attested and name not in given for name in said)
    reached = set(said)
    return Passed(proven, safe, len(said) - proven - safe, sum(name not in reached for name in given))
