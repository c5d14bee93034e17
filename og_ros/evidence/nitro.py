"""Verifier of `aws-nitro`: an attestation document that AWS's hypervisor signed for an enclave.

It proves which image the enclave was started from (PCRs), and that the software in it asked to have `user_data` signed,
at the time given. It does not prove that the software keeps its key in the enclave: that is for the image to ensure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from og_ros.errors import EvidenceError
from og_ros.evidence.appraisal import Appraisal, Tier
from og_ros.evidence.case import Case, utc
from og_ros.evidence.certificate_chain import ChainError, verify_chain
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.nitro_document import PCR_SIZE, NitroDocument, parse
from og_ros.evidence.reference import ReferenceValues
from og_ros.evidence.roots import cap_of, trusted

FORMAT: Final = "aws-nitro"
BINDINGS: Final = ("og_ros", "nitriding")
_MULTIHASH: Final = b"\x12\x20"  # SHA-256, 32 bytes


@dataclass(frozen=True)
class NitroReference:
    """What a policy expects of an enclave: PCRs (hex), OpenGradient's hash of them, and the form of user_data."""

    pcrs: Mapping[int, tuple[str, ...]]
    pcr_hash: tuple[str, ...]
    binding: str

    @classmethod
    def of(cls, policy: AppraisalPolicy) -> NitroReference:
        """Read it from a policy; raises PolicyError."""
        values = ReferenceValues(policy, FORMAT)
        pcrs = values.registers("pcrs", 32, PCR_SIZE)
        pcr_hash = values.digests("pcr_hash", 32)
        form = values.texts("binding", ("og_ros",), BINDINGS)[0]
        values.end()
        return cls(pcrs, pcr_hash, form)


class NitroVerifier:
    """Appraises Nitro attestation documents."""

    format: str = FORMAT

    def check_reference(self, policy: AppraisalPolicy) -> None:
        """Raise PolicyError when the policy's reference values for this format cannot be read."""
        NitroReference.of(policy)

    def appraise(self, evidence: Evidence, policy: AppraisalPolicy, now_ns: int) -> Appraisal:
        """Judge a document; raises PolicyError for reference values that cannot be read, and nothing else."""
        reference = NitroReference.of(policy)
        case = Case(evidence, policy, now_ns)
        case.check_format(FORMAT)
        try:
            document = parse(evidence.document)
        except EvidenceError as error:
            return case.refused("malformed", str(error))
        case.claims |= _claims(document)
        try:
            _check_chain(case, document)
        except ChainError as error:
            return case.refused(error.code, str(error))
        try:
            document.verify_signature()
        except EvidenceError as error:
            return case.refused("bad_signature", str(error))
        case.platform["hardware"] = Tier.AFFIRMING
        _check_time(case, document)
        if document.debug:
            case.against("debug", "the enclave runs in debug mode: its console is open, and its PCRs are zero")
        case.tee["runtime_opaque"] = Tier.CONTRAINDICATED if document.debug else Tier.AFFIRMING
        _check_pcrs(case, document, reference)
        _check_binding(case, document, reference)
        case.not_checked.append("whether AWS revoked one of its certificates: no revocation list is read")
        return case.close()


VERIFIER: Final = NitroVerifier()


def _claims(document: NitroDocument) -> dict[str, object]:
    fields = {name: value.hex() for name in ("public_key", "user_data", "nonce") if (value := getattr(document, name))}
    return {
        "module_id": document.module_id,
        "document_time": utc(document.time_ns),
        "pcrs": {str(number): value.hex() for number, value in sorted(document.pcrs.items()) if any(value)},
        "debug": document.debug,
        **fields,
    }


def _check_chain(case: Case, document: NitroDocument) -> None:
    roots = trusted(case.policy, FORMAT)
    top = document.cabundle[0]
    name = next((name for name, root in roots.items() if root == top), None)
    if name is None:
        raise ChainError("unknown_root", "the document's chain does not begin at a trusted root")
    case.claims["root"] = name
    case.cap = cap_of(case.policy, name)
    case.until(verify_chain((document.certificate, *reversed(document.cabundle)), top, case.now_ns))


def _check_time(case: Case, document: NitroDocument) -> None:
    asked = case.check_nonce()
    age_s = (case.now_ns - document.time_ns) / 1e9
    if age_s > case.policy.max_age_s:
        case.against("too_old", f"the document is {age_s:.0f} s old; {case.policy.max_age_s:g} s are allowed")
    if -age_s > case.policy.max_skew_s:
        case.against("from_the_future", f"the document is from {-age_s:.0f} s ahead of the time judged")
    if not asked:
        case.not_checked.append("that it was made for one question: nobody asked with a nonce, its own time counts")


def _check_pcrs(case: Case, document: NitroDocument, reference: NitroReference) -> None:
    found = {f"PCR{number}": value.hex() for number, value in document.pcrs.items()}
    expected = {f"PCR{number}": values for number, values in reference.pcrs.items()}
    if reference.pcr_hash:
        found["pcr_hash"] = pcr_hash(document) or "not computed (pip install og_ros[evm])"
        expected["pcr_hash"] = reference.pcr_hash
    case.check_measurements(found, expected)


def pcr_hash(document: NitroDocument) -> str:
    """Return keccak256(PCR0 || PCR1 || PCR2), hex, as OpenGradient's registry approves images; empty without keccak."""
    try:
        from eth_hash.auto import keccak
    except ImportError:
        return ""
    digest: bytes = keccak(b"".join(document.pcrs[number] for number in (0, 1, 2)))
    return digest.hex()


def _check_binding(case: Case, document: NitroDocument, reference: NitroReference) -> None:
    user_data = document.user_data or b""
    if reference.binding == "og_ros":
        expected = case.expected_binding()
        case.check_bound(user_data, expected, "user_data")
        if expected is not None and document.public_key not in (None, case.evidence.key):
            case.against("not_bound", "public_key of the document is another key")
        return
    # nitriding: 0x1220 || sha256(TLS certificate) || 0x1220 || sha256(SPKI of the key that signs responses).
    if len(user_data) != 68 or user_data[:2] != _MULTIHASH or user_data[34:36] != _MULTIHASH:
        case.against("malformed", "user_data is not in nitriding's form of two SHA-256 multihashes")
        return
    case.claims["tls_certificate_sha256"] = user_data[2:34].hex()
    case.claims["key_sha256"] = user_data[36:].hex()
    case.not_checked.append("whose enclave it is: nitriding's form binds a key, no robot, stage or manifest")
    if not case.evidence.key:
        case.expected_binding()  # notes that there is no key
        return
    case.claims["key_bound"] = user_data[36:] == sha256(case.evidence.key).digest()
    if not case.claims["key_bound"]:
        case.against("not_bound", "user_data holds the hash of another key")
    if case.evidence.nonce and document.nonce != case.evidence.nonce:
        case.against("wrong_nonce", "the document's nonce is not the one that the evidence names")
