"""Evidence of the format tpm2-quote made without a TPM: by a key in software that signs what a TPM would.

For a verifier it is as good as real, once the relying party's policy names the enrolment service; so it tests the rules
everywhere, and test_swtpm.py tests that a TPM's evidence is like it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from og_ros.attest import keys
from og_ros.attest.signer import SoftwareSigner
from og_ros.evidence import manifest as manifests
from og_ros.evidence.appraisal import Appraisal
from og_ros.evidence.binding import Context, binding
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.manifest import Manifest, Package
from og_ros.evidence.tpm import document, enrolment, event_log, templates
from og_ros.evidence.tpm.document import FORMAT, Document
from og_ros.evidence.tpm.event_log import Event
from og_ros.evidence.tpm.public_area import parse_public
from og_ros.evidence.tpm.quote import Clock, digest_of
from og_ros.evidence.tpm.verifier import VERIFIER
from og_ros.evidence.tpm.wire import number, sized

NOW_NS = 1_900_000_000 * 10**9
NONCE = b"a nonce that was asked with....."
ROBOT, STAGE = "amr-1", "perception"
CLOCK = Clock(1000, 3, 0, True)
BOOT = {index: sha256(b"boot %d" % index).digest() for index in (0, 2, 4, 7)}


def key_of(seed: str) -> ec.EllipticCurvePrivateKey:
    """Return a P-256 key that is always the same."""
    return ec.derive_private_key(int.from_bytes(sha256(seed.encode()).digest(), "big") >> 1, ec.SECP256R1())


AK, SESSION, ENROLLER, RELEASE = (key_of(name) for name in ("ak", "session", "enroller", "release"))


def manifest_of(model: bytes = b"model", adapter: bytes = b"adapter", **changes: Any) -> Manifest:
    """Return a small manifest."""
    files = {
        "model": sha256(model).digest(),
        "config": sha256(b"config").digest(),
        "adapter/image": sha256(adapter).digest(),
        "og_ros/attest/cbor.py": sha256(b"cbor").digest(),
    }
    packages = {"numpy": Package("2.0.0", sha256(b"numpy").digest()), "rich": Package("13.0")}
    made = Manifest(ROBOT, STAGE, "CPython 3.12.3 x86_64", "", files, packages, {})
    return dataclasses.replace(made, **changes)


MANIFEST = manifest_of()


def launch_log(manifest: Manifest = MANIFEST, key: ec.EllipticCurvePrivateKey = SESSION) -> tuple[Event, ...]:
    """Return the log of a launch of one stage."""
    return (
        Event("manifest", manifest.robot, manifest.stage, manifest.digest),
        Event("model", manifest.robot, manifest.stage, manifest.model),
        Event("key", manifest.robot, manifest.stage, sha256(keys.spki(key.public_key())).digest()),
        event_log.cap(manifest.robot),
    )


def public_area(key: ec.EllipticCurvePrivateKey = AK, clear: int = 0, extra: int = 0) -> bytes:
    """Return the TPMT_PUBLIC of an attestation key, with some attributes cleared or set."""
    template = templates.attestation_key()
    attributes = int.from_bytes(template[4:8], "big") & ~clear | extra
    point = key.public_key().public_numbers()
    head = template[:4] + number(attributes, 4) + template[8:-4]
    return head + sized(number(point.x, 32)) + sized(number(point.y, 32))


def attest_of(pcrs: Mapping[int, bytes], extra_data: bytes, clock: Clock = CLOCK) -> bytes:
    """Return a TPMS_ATTEST."""
    info = number(clock.clock_ms, 8) + number(clock.reset_count, 4) + number(clock.restart_count, 4)
    head = number(0xFF544347, 4) + number(0x8018, 2) + sized(b"\x00\x0b" + bytes(32)) + sized(extra_data)
    selection = templates.pcr_selection(pcrs)
    return head + info + bytes([clock.safe]) + bytes(8) + selection + sized(digest_of(list(pcrs), pcrs))


def signature_of(message: bytes, key: ec.EllipticCurvePrivateKey = AK) -> bytes:
    """Return a TPMT_SIGNATURE."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return number(0x18, 2) + number(0x0B, 2) + sized(number(r, 32)) + sized(number(s, 32))


def record_of(
    robot: str = ROBOT, name: bytes = b"", signer: ec.EllipticCurvePrivateKey = ENROLLER, **changes: Any
) -> bytes:
    """Return an enrolment record of the attestation key."""
    made = enrolment.Enrolment(
        robot, name or parse_public(public_area()).name, bytes(32), bytes(32), False, NOW_NS - 10**9, NOW_NS + 10**15
    )
    return enrolment.sign(dataclasses.replace(made, **changes), SoftwareSigner(signer))


@dataclass
class Made:
    """Evidence in the making: each field can be replaced by a wrong one."""

    log: Sequence[Event] = field(default_factory=launch_log)
    manifest: Manifest = MANIFEST
    robot: str = ROBOT
    stage: str = STAGE
    nonce: bytes = NONCE
    session: ec.EllipticCurvePrivateKey = SESSION
    bound: ec.EllipticCurvePrivateKey | None = None
    boot: Mapping[int, bytes] = field(default_factory=lambda: dict(BOOT))
    pcr14: bytes | None = None
    ak: ec.EllipticCurvePrivateKey = AK
    area: bytes = b""
    record: bytes | None = None
    certificates: tuple[bytes, ...] = ()
    log_start: bytes = event_log.START
    clock: Clock = CLOCK
    carried: bytes | None = None

    def evidence(self) -> Evidence:
        """Return the evidence."""
        context = Context(self.robot, self.stage, self.manifest.digest)
        bound = keys.spki((self.bound or self.session).public_key())
        pcrs = {**self.boot, 14: self.pcr14 or event_log.replay(self.log, self.log_start)}
        quote = attest_of(pcrs, binding(FORMAT, self.nonce, bound, context), self.clock)
        made = Document(
            quote=quote,
            signature=signature_of(quote, self.ak),
            key=self.area or public_area(self.ak),
            pcrs=pcrs,
            log_start=self.log_start,
            log=tuple(self.log),
            enrolment=record_of() if self.record is None else self.record,
            certificates=self.certificates,
            manifest=manifests.encode(self.manifest) if self.carried is None else self.carried,
        )
        key = keys.spki(self.session.public_key())
        return Evidence(FORMAT, document.encode(made), key, self.nonce, context, NOW_NS)


def references(**changes: Any) -> dict[str, Any]:
    """Return reference values that the evidence meets."""
    found = {
        "enrollers": {"fleet": keys.public_pem(ENROLLER.public_key())},
        "manifests": [MANIFEST.digest.hex()],
        "pcrs": {str(index): value.hex() for index, value in BOOT.items()},
    }
    return {name: value for name, value in {**found, **changes}.items() if value is not None}


def policy(
    nonce: bytes | None = NONCE, collateral: Mapping[str, bytes] | None = None, **changes: Any
) -> AppraisalPolicy:
    """Return a policy that the evidence meets."""
    return AppraisalPolicy(
        reference_values={FORMAT: references(**changes)}, nonce=nonce, collateral=dict(collateral or {})
    )


def appraise(made: Made | Evidence, chosen: AppraisalPolicy | None = None, now_ns: int = NOW_NS) -> Appraisal:
    """Appraise."""
    evidence = made.evidence() if isinstance(made, Made) else made
    return VERIFIER.appraise(evidence, chosen or policy(), now_ns)


def codes(appraisal: Appraisal) -> set[str]:
    """Return the codes of the reasons."""
    return {reason.code for reason in appraisal.reasons}
