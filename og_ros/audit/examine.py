"""Examines a stretch of a recording: reads and verifies its attestations, and hashes the messages that they name.

All that can be said of a record by itself is said here, so that several processes can examine several stretches at
once. What records say of each other is the auditor's to find.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from og_ros.attest import ATTESTATION_TYPE, Disclosure, digest
from og_ros.attest.cdr import CdrReader
from og_ros.attest.digest import is_computable
from og_ros.attest.statement import NO_DIGEST
from og_ros.attest.template import AttestationReader
from og_ros.audit.certificates import Certificates
from og_ros.audit.findings import Finding
from og_ros.audit.recording.sealed_records import SEALED_TYPES, SealedRecords
from og_ros.audit.records import Inference, Message, Record
from og_ros.errors import AttestationError
from og_ros.registry import Registry

# How the messages are hashed of a topic that no signed record names.
CLAIMED_ALGORITHM: Final = "sha256"
# Messages whose topic no attestation has named yet are kept until the stretch's end, up to so many bytes.
_MAX_KEPT: Final = 32_000_000


class Stamped(Protocol):
    """What an examination must know of a topic: whether its messages begin with a Header."""

    @property
    def stamped(self) -> bool: ...


@dataclass(slots=True)
class Checked:
    """An attestation that was read and checked against the registry, what was found, and its serialised form."""

    inference: Inference
    findings: list[Finding] = field(default_factory=list)
    payload: bytes | memoryview = b""


Item = Checked | Message | Finding


@dataclass
class Stretch:
    """What an examination gave: items in the order of arrival, and counts of the messages behind them, by topic.

    `named` maps the topics that its attestations name to their digest algorithms; `claimed` are those that only records
    name whose signature does not hold. `hashed` maps each topic whose messages are among the items, every one of them,
    to the algorithm that was used.
    """

    items: list[Item]
    counts: dict[str, int]
    named: dict[str, str]
    hashed: dict[str, str]
    claimed: set[str] = field(default_factory=set)


class Examiner:
    """Reads records against a registry; without one, signatures and certificates are not checked.

    `sealed` reads the sealed messages of a recording that has any.
    """

    def __init__(self, registry: Registry | None, sealed: SealedRecords | None = None) -> None:
        self._sealed = sealed
        self._certificates = Certificates(registry)
        self._reader = AttestationReader()

    def check(self, record: Record) -> Checked | Finding:
        """Read an attestation and check its signature and certificates; a Finding where it cannot be read."""
        try:
            attestation = self._reader.read(record.payload, record.topic)
        except AttestationError as error:
            return Finding("malformed_attestation", str(error), topic=record.topic, received_ns=record.received_ns)
        return self.checked(Inference(attestation, record.topic, record.received_ns), record.payload)

    def checked(self, inference: Inference, payload: bytes | memoryview = b"") -> Checked:
        """Check an attestation that was read already."""
        return Checked(inference, self._certificates.check(inference), payload)

    def examine(self, records: Iterable[Record], topics: Mapping[str, Stamped], known: Mapping[str, str]) -> Stretch:
        """Examine records in their order.

        `known` maps the topics that attestations have named so far to their digest algorithms; those that are named in
        this stretch are hashed too.
        """
        algorithms = dict(known)
        named: dict[str, str] = {}
        items: list[Item | Record] = []
        counts: Counter[str] = Counter()
        claimed: set[str] = set()
        passed: set[str] = set()
        kept = 0
        for record in records:
            topic = record.topic
            counts[topic] += 1
            if record.type == ATTESTATION_TYPE:
                found = self.check(record)
                items.append(found)
                if isinstance(found, Checked):
                    statement = found.inference.attestation.statement
                    for reference in (*statement.inputs, *statement.outputs):
                        if found.inference.signed is False:  # it has no say in how others' messages are hashed
                            claimed.add(reference.topic)
                        elif reference.topic not in named:
                            named[reference.topic] = reference.digest_algorithm
                            algorithms.setdefault(reference.topic, reference.digest_algorithm)
            elif self._sealed is not None and record.type in SEALED_TYPES:
                items += _unsealed(self._sealed, record)
            elif topic in algorithms:
                items.append(message_of(record, algorithms[topic], topics[topic].stamped))
            elif kept < _MAX_KEPT:
                kept += len(record.payload)
                items.append(record)
            else:
                passed.add(topic)
        claimed.difference_update(algorithms)
        algorithms.update(dict.fromkeys(claimed, CLAIMED_ALGORITHM))
        passed.update(item.topic for item in items if isinstance(item, Record) and item.topic not in algorithms)
        hashed: list[Item] = []
        for item in items:
            if isinstance(item, Record):
                if item.topic not in passed:
                    hashed.append(message_of(item, algorithms[item.topic], topics[item.topic].stamped))
            elif not (isinstance(item, Message) and item.topic in passed):
                hashed.append(item)
        for topic in passed:
            del counts[topic]
        return Stretch(hashed, counts, named, {t: a for t, a in algorithms.items() if t not in passed}, claimed)


def _unsealed(sealed: SealedRecords, record: Record) -> Iterator[Message | Finding]:
    """Yield what can be told of a sealed record: its digest by the recorder's word, or recomputed with the key."""
    found = sealed.take(record)
    yield from sealed.findings()
    if found is None:
        return
    if found.disclosure is Disclosure.COMMITTED:
        yield Message(found.topic, found.message_digest or b"", found.received_ns, found.stamp_ns, found.digest)
    else:
        yield Message(found.topic, found.digest, found.received_ns, found.stamp_ns)


def message_of(record: Record, algorithm: str, stamped: bool) -> Message:
    """Hash a data message by its topic's algorithm; an unknown one counts as SHA-256, which then matches nothing."""
    try:
        found = digest(record.payload, algorithm if is_computable(algorithm) else "sha256")
    except AttestationError:
        found = NO_DIGEST  # too short to be a message; no attestation names it, which the join will say
    return Message(record.topic, found, record.received_ns, stamp_of(record.payload, stamped))


def stamp_of(payload: bytes | memoryview, stamped: bool) -> int:
    """Return the header stamp of a serialised message in ns; 0 for a type without header or a malformed one."""
    if not stamped:
        return 0
    try:
        return CdrReader(payload).time()
    except (AttestationError, struct.error):
        return 0
