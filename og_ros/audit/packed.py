"""An examined stretch in a form that costs little to hand from one process to another."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from og_ros.attest.statement import DIGEST_SIZE
from og_ros.attest.template import AttestationReader
from og_ros.audit.examine import Checked, Item, Stretch
from og_ros.audit.findings import Finding
from og_ros.audit.records import Inference, Message

# Topic, arrival, payload, digest, whether it is signed and certified, its key's role, and what was found.
_Attestation = tuple[str, int, bytes, bytes, "bool | None", "bool | None", str, list[Finding]]
_MESSAGE, _CHECKED, _FINDING = 0, 1, 2


@dataclass
class PackedStretch:
    """Columns: digests and times of messages side by side; attestations as serialised, with their verdicts."""

    counts: dict[str, int]
    named: dict[str, str]
    hashed: dict[str, str]
    claimed: set[str] = field(default_factory=set)
    kinds: bytearray = field(default_factory=bytearray)
    topics: list[str] = field(default_factory=list)
    message_topics: array[int] = field(default_factory=lambda: array("H"))
    digests: bytearray = field(default_factory=bytearray)
    received_ns: array[int] = field(default_factory=lambda: array("q"))
    stamps_ns: array[int] = field(default_factory=lambda: array("q"))
    attestations: list[_Attestation] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @classmethod
    def of(cls, stretch: Stretch) -> PackedStretch:
        """Pack a stretch."""
        packed = cls(dict(stretch.counts), stretch.named, stretch.hashed, stretch.claimed)
        index: dict[str, int] = {}
        for item in stretch.items:
            if isinstance(item, Message):
                packed.kinds.append(_MESSAGE)
                if item.topic not in index:
                    index[item.topic] = len(packed.topics)
                    packed.topics.append(item.topic)
                packed.message_topics.append(index[item.topic])
                packed.digests += item.digest
                packed.received_ns.append(item.received_ns)
                packed.stamps_ns.append(item.stamp_ns)
            elif isinstance(item, Checked):
                packed.kinds.append(_CHECKED)
                inference = item.inference
                packed.attestations.append(
                    (
                        inference.topic,
                        inference.received_ns,
                        bytes(item.payload),
                        inference.attestation.digest,
                        inference.signed,
                        inference.certified,
                        inference.key_role,
                        item.findings,
                    )
                )
            else:
                packed.kinds.append(_FINDING)
                packed.findings.append(item)
        return packed

    def unpack(self, reader: AttestationReader) -> Stretch:
        """Return the stretch; attestations are decoded again, which costs less than handing them over."""
        messages, attestations, findings = self._messages(), self._attestations(reader), iter(self.findings)
        sources: tuple[Iterator[Item], ...] = (messages, attestations, findings)
        items = [next(sources[kind]) for kind in self.kinds]
        return Stretch(items, self.counts, self.named, self.hashed, self.claimed)

    def _messages(self) -> Iterator[Item]:
        topics, digests = self.topics, bytes(self.digests)
        columns = zip(self.message_topics, self.received_ns, self.stamps_ns, strict=True)
        for number, (topic, received_ns, stamp_ns) in enumerate(columns):
            found = digests[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE]
            yield Message(topics[topic], found, received_ns, stamp_ns)

    def _attestations(self, reader: AttestationReader) -> Iterator[Item]:
        for topic, received_ns, payload, digest, signed, certified, role, findings in self.attestations:
            attestation = reader.read_known(payload, topic, digest)
            inference = Inference(attestation, topic, received_ns, signed, certified, role)
            yield Checked(inference, findings, payload)
