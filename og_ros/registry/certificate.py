"""What a registry says: authorities, certificates of models and keys, revocations, and their status at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Final

from og_ros.attest import keys
from og_ros.attest.statement import Algorithm
from og_ros.attest.verifier import Verifier

ROLES: Final = ("models", "keys", "index")
"""What an authority may sign: model certificates, key certificates, the index and its own successors."""

KEY_ROLES: Final = ("stage", "source", "observer", "log", "witness", "auditor", "operator", "settlement", "endpoint")
"""What a certified key is for: a stage's attestations, the first word on the data of named topics, records of what
another node was seen to do, a log's checkpoints, cosignatures of them, audit reports, narrower envelopes and emergency
stops (so that such a key can be revoked), a robot's checkpoints on a chain, a settlement endpoint's log."""

ADMITTED_LEVELS: Final = ("software_key", "measured", "tee")
"""The levels of the axis execution_environment that evidence of a key may have shown."""

ROBOT_ROLES: Final = ("stage", "source", "observer")
"""The roles of keys that sign attestations, each for one stage of one robot."""


class Status(Enum):
    """What a certificate is worth at a time."""

    VALID = "valid"
    NOT_YET_VALID = "not yet valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


def status_at(at_ns: int, not_before_ns: int, not_after_ns: int | None, revoked_at_ns: int | None) -> Status:
    """Return the status at a time; both ends of the validity belong to it, the moment of revocation does not."""
    if revoked_at_ns is not None and at_ns >= revoked_at_ns:
        return Status.REVOKED
    if at_ns < not_before_ns:
        return Status.NOT_YET_VALID
    if not_after_ns is not None and at_ns > not_after_ns:
        return Status.EXPIRED
    return Status.VALID


@dataclass(frozen=True)
class Authority:
    """A key that may sign in a registry, by name, and what it may sign (a subset of ROLES)."""

    name: str
    public_key_pem: str
    roles: tuple[str, ...]

    @cached_property
    def public_key(self) -> keys.PublicKey:
        """The key; it was checked when the root was read."""
        return keys.parse_public(self.public_key_pem, f"the key of authority {self.name}")

    @cached_property
    def key_id(self) -> bytes:
        """The 32-byte id of the key."""
        return keys.key_id(self.public_key)


@dataclass(frozen=True, slots=True)
class VendorSignature:
    """An OpenSSF model signature behind a model certificate: what the vendor signed, and who gave it a name here.

    The vendor signed the digest of the file `resource` ("." for a model of one file) of the model that the vendor
    calls `subject`. Name, version, stages and validity in the registry are the word of `registered_by`.
    """

    bundle_digest: bytes
    subject: str
    resource: str
    registered_by: str


@dataclass(frozen=True)
class ModelCertificate:
    """A model that may run: the SHA-256 of its bytes, the stages where (none listed: any), from when to when (ns).

    `processing_digest` is the certified pre- and post-processing (Runtime.processing_digest), None when any is allowed.
    `certifier` is the authority whose signature stands for the digest; see VendorSignature when it is a vendor.
    """

    name: str
    version: str
    digest: bytes
    stages: tuple[str, ...]
    not_before_ns: int
    not_after_ns: int | None
    certifier: str
    processing_digest: bytes | None = None
    notes: str = ""
    vendor_signature: VendorSignature | None = None
    revoked_at_ns: int | None = None
    revocation_reason: str = ""

    def status(self, at_ns: int) -> Status:
        """Return what the certificate is worth at a time in ns since 1970."""
        return status_at(at_ns, self.not_before_ns, self.not_after_ns, self.revoked_at_ns)

    def allows_stage(self, stage: str) -> bool:
        """Say whether the model may run in a stage."""
        return not self.stages or stage in self.stages


@dataclass(frozen=True, slots=True)
class Admission:
    """What the certifier found when it appraised evidence of a key's environment, before it certified the key.

    Attributes:
        format: of the evidence, such as tpm2-quote.
        level: on the axis execution_environment, out of ADMITTED_LEVELS.
        provenance: where the key lives, as the evidence shows it: software, tpm-quoted, tpm-resident, tee …
        verified_at_ns, valid_until_ns: when it was appraised, and until when that result was good by itself.
        policy: SHA-256 of the appraisal policy.
        result: SHA-256 of the result (EAR, JSON) that the certifier has; zeros: it kept none.
        verifier: name and version of the program.
    """

    format: str
    level: str
    provenance: str
    verified_at_ns: int
    valid_until_ns: int
    policy: bytes
    result: bytes
    verifier: str


@dataclass(frozen=True)
class KeyCertificate:
    """A key that may sign: for which role, robot, stage and vendor, from when to when (ns).

    `algorithm` is the one that the key itself has. `admission` is there where the key came with evidence. `origin` is
    the name of a log, witness or endpoint key in C2SP checkpoints, empty for other roles; `robot` and `stage` are empty
    where the role does not need them. `topics` are those that a key of role source may say where data begins on, empty
    for other roles. `post_quantum_pem` is the ML-DSA-65 key that signs beside a log's key (PEM), empty where there is
    none: then every checkpoint must carry both signatures.
    """

    key_id: bytes
    public_key_pem: str
    algorithm: Algorithm
    role: str
    robot: str
    stage: str
    vendor: str
    origin: str
    not_before_ns: int
    not_after_ns: int | None
    certifier: str
    topics: tuple[str, ...] = ()
    post_quantum_pem: str = ""
    admission: Admission | None = None
    revoked_at_ns: int | None = None
    revocation_reason: str = ""

    @cached_property
    def public_key(self) -> keys.PublicKey:
        """The key; it was checked when the certificate was read."""
        return keys.parse_public(self.public_key_pem, f"the certified key {self.key_id.hex()[:16]}")

    @cached_property
    def verifier(self) -> Verifier:
        """What checks the key's signatures."""
        return Verifier(self.public_key)

    def status(self, at_ns: int) -> Status:
        """Return what the certificate is worth at a time in ns since 1970.

        Give a time that the holder of the key cannot choose (a log's or a receiver's) where there is one: who has
        stolen a key writes any `signed_at` that he likes.
        """
        return status_at(at_ns, self.not_before_ns, self.not_after_ns, self.revoked_at_ns)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A key ("key", its id) or a model ("model", its digest) that is worth nothing from `revoked_at_ns` on."""

    kind: str
    subject: bytes
    revoked_at_ns: int
    reason: str
    revoked_by: str
