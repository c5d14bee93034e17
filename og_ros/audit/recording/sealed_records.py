"""How an audit reads a sealed recording: digests without the key, messages with it, and what does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from og_ros.attest import Disclosure, digest
from og_ros.attest.content_key import KeyRing
from og_ros.attest.seal_order import SealOrder
from og_ros.attest.sealed_wire import DEFINITION_TOPIC, SEAL_TYPE, SEALED_TYPE, read_seal, read_sealed
from og_ros.attest.sealing import open_sealed
from og_ros.audit.findings import Finding
from og_ros.audit.records import Record
from og_ros.errors import AttestationError

SEALED_TYPES: Final = (SEALED_TYPE, SEAL_TYPE)


@dataclass(frozen=True, slots=True)
class SealedMessage:
    """What an audit may know of a sealed message.

    Without the key `payload` is None, and everything is the recorder's word. With it, `digest` (or, where `disclosure`
    is COMMITTED, the commitment) was recomputed from the payload, and so was `message_digest`, the digest in clear.
    """

    topic: str
    type: str
    digest: bytes
    algorithm: str
    size: int
    stamp_ns: int
    received_ns: int
    disclosure: Disclosure
    payload: bytes | None = None
    message_digest: bytes | None = None


class SealedRecords:
    """Reads the sealed records of one recording; `ring` is what a recipient's key opens (module unsealing).

    `count` is how many messages were read, of which `opened` with the key. `order` can be merged with that of another
    process that read another part.
    """

    def __init__(self, ring: KeyRing | None = None) -> None:
        self.ring = ring
        self.count = 0
        self.opened = 0
        self.order = SealOrder()
        self._findings: list[Finding] = []

    def take(self, record: Record) -> SealedMessage | None:
        """Read a record whose type is in SEALED_TYPES.

        None for one of the seal itself, which is no message that the robot saw, and for one that does not hold, which
        `findings` then tells.
        """
        try:
            if record.type == SEAL_TYPE:
                read_seal(record.payload)
                return None
            sealed = read_sealed(record.payload)
        except AttestationError as error:
            self._find("sealed_malformed", record, f"a sealed record on {record.topic} cannot be read: {error}")
            return None
        if not self.order.add(sealed):
            self._find("sealed_missing", record, f"a sealed message on {record.topic} is there twice")
            return None
        payload = shown = None
        if self.ring is not None:
            try:
                payload = open_sealed(self.ring, record.topic, record.received_ns, sealed)
                shown = digest(payload, sealed.digest_algorithm)
            except AttestationError as error:
                self._find("sealed_altered", record, f"a sealed message on {record.topic}: {error}")
                return None
        if record.topic == DEFINITION_TOPIC:
            return None
        self.count += 1
        self.opened += payload is not None
        return SealedMessage(
            record.topic, sealed.type, sealed.digest, sealed.digest_algorithm, sealed.size, sealed.stamp_ns,
            record.received_ns, sealed.disclosure, payload, shown,
        )  # fmt: skip

    def findings(self) -> list[Finding]:
        """Return what was found since the last call."""
        found, self._findings = self._findings, []
        return found

    def gaps(self) -> Iterator[Finding]:
        """Yield what is missing; call it once the whole recording was read."""
        for number, count in self.order.gaps():
            text = f"{count} sealed messages under content key {number}, or more, are missing: the numbers have a gap"
            yield Finding("sealed_missing", text)

    def not_checked(self) -> list[str]:
        """Return the sentences for a report's list of what was not checked."""
        if self.count == self.opened:
            return []
        return [
            f"the digests of {self.count} sealed messages: they are the recorder's word without the key (--unseal-key)"
        ]

    def _find(self, kind: str, record: Record, text: str) -> None:
        self._findings.append(Finding(kind, text, topic=record.topic, received_ns=record.received_ns))
