"""What an audit reads: one message as it was recorded or received, and what is said of an attestation once read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from og_ros.attest import Attestation
from og_ros.audit.environment import Environment
from og_ros.audit.findings import Finding

# A session is known by its key and its random id.
SessionKey = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """One message: topic, full type name, CDR payload, and wall time of arrival in nanoseconds."""

    topic: str
    type: str
    payload: bytes | memoryview
    received_ns: int


@dataclass(slots=True)
class Message:
    """A recorded data message: its digest, time of arrival, header stamp (0: none), and the commitment to it.

    `digest` is empty where it is not known: the message is too short to be one, or sealed. `commitment` is empty unless
    a sealed recording gives it, or a disclosure does. `attested` and `excused` say how a join has judged it, and
    `number` is its place among the messages of its topic, from 1.
    """

    topic: str
    digest: bytes
    received_ns: int
    stamp_ns: int
    commitment: bytes = b""
    attested: bool = False
    excused: bool = False
    number: int = 0

    @property
    def names(self) -> tuple[bytes, ...]:
        """What a data reference may call the message by: its digest, and the commitment to it."""
        if not self.commitment:
            return (self.digest,)
        return (self.digest, self.commitment) if self.digest else (self.commitment,)


@dataclass(slots=True, eq=False)
class Inference:
    """An attestation under audit: where it arrived, and what its checks gave.

    `signed` is None where the signature could not be checked; `key_role` is what its key is certified for, empty where
    that is not known. `sources` holds, for each input, the inference that made
    it (None: a message that no stage attests), and `seen` whether a message with that digest was recorded. `linked`
    says that every path back from it ends in recorded sensor messages; `origin_ns` is the oldest stamp among those.
    Both are final once `resolved`, as is `sourced`: every such path ends in a message that its source signed.
    `reexecuted` says whether running the model again gave the same outputs (None: it was not run again), and
    `disclosed` which committed fields were revealed, as ("inputs" or "outputs", index). `chain_levels` is the lowest
    level on each axis over the whole chain, once it is resolved. `settled` is how far a checkpoint over it came on a
    chain; empty where none did, or it is not logged. `environment` is what its key's evidence shows of the time of
    its signature, None where there is none.
    """

    attestation: Attestation
    topic: str
    received_ns: int
    signed: bool | None = None
    certified: bool | None = None
    key_role: str = ""
    logged: bool | None = None
    settled: str = ""
    environment: Environment | None = None
    sources: list[Inference | None] = field(default_factory=list)
    seen: list[bool] = field(default_factory=list)
    outputs_seen: list[bool] = field(default_factory=list)
    linked: bool = False
    sourced: bool = False
    origin_ns: int | None = None
    resolved: bool = False
    reexecuted: bool | None = None
    disclosed: frozenset[tuple[str, int]] = frozenset()
    chain_levels: Mapping[str, str] | None = None

    @property
    def stage(self) -> str:
        """The stage that made the attestation."""
        return self.attestation.statement.stage

    @property
    def sequence(self) -> int:
        """Its sequence number in its session."""
        return self.attestation.statement.sequence

    def finding(self, kind: str, message: str) -> Finding:
        """Return a finding about this record."""
        return Finding(
            kind,
            message,
            topic=self.topic,
            sequence=self.sequence,
            stage=self.stage,
            received_ns=self.received_ns,
            record=self.attestation.digest,
        )
