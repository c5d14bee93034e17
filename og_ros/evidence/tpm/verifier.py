"""Appraises `tpm2-quote` evidence: pure Python on `cryptography`, offline, without a TPM and without its software.

What it shows when it holds: a TPM that an enrolment service (or the relying party) knows as that of this robot signed,
for this nonce, that the launch which made this key measured this manifest and model first, and that nothing was
measured since. What it does not show is in `not_checked`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.serialization import load_der_public_key

from og_ros.attest import keys
from og_ros.errors import EvidenceError
from og_ros.evidence.appraisal import Appraisal, Provenance, Tier
from og_ros.evidence.case import Case
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.tpm import document as documents
from og_ros.evidence.tpm import ek_certificate, enrolment
from og_ros.evidence.tpm.document import FORMAT, Document
from og_ros.evidence.tpm.launch_rules import check_launch
from og_ros.evidence.tpm.public_area import attribute_problem, parse_public, signature_holds
from og_ros.evidence.tpm.quote import NotGenerated, Quote, parse_quote
from og_ros.evidence.tpm.references import References, read_references

NOT_CHECKED: Final = (
    "what ran before the launcher, beyond the PCRs that the policy has values for",
    "whether the launched process was altered in memory after its start",
    "revocation of endorsement certificates by the TPM's maker",
)


class TpmQuoteVerifier:
    """Verifier of the format tpm2-quote; `policy.reference_values["tpm2-quote"]` is read by `references`."""

    format: str = FORMAT

    def check_reference(self, policy: AppraisalPolicy) -> None:
        """Raise PolicyError for reference values that are malformed."""
        read_references(policy.reference_values.get(FORMAT, {}))

    def appraise(self, evidence: Evidence, policy: AppraisalPolicy, now_ns: int) -> Appraisal:
        """Judge; see og_ros.evidence.interface.Verifier. Raises PolicyError as `check_reference`."""
        references = read_references(policy.reference_values.get(FORMAT, {}))
        case = Case(evidence, policy, now_ns)
        case.level, case.provenance = "measured", Provenance.TPM_QUOTED
        case.not_checked += NOT_CHECKED
        case.check_format(FORMAT)
        if case.reasons:
            return case.close()
        try:
            document = documents.decode(evidence.document)
            key, quote = parse_public(document.key), parse_quote(document.quote)
            genuine = signature_holds(key, document.quote, document.signature)
        except NotGenerated as error:
            return case.refused("not_a_quote", str(error))
        except EvidenceError as error:
            return case.refused("malformed", str(error))
        if not genuine:
            return case.refused("bad_signature", "the quote's signature is not that of the attestation key")
        code, problem = attribute_problem(key)
        if problem:
            case.against(code, problem)
        _claim(case, key.name, quote)
        _check_identity(case, references, key.name, document)
        _check_freshness(case, references, key.name, quote)
        case.check_bound(quote.extra_data, case.expected_binding(), "the quote's qualifying data")
        check_launch(case, references, quote, document)
        return case.close()


VERIFIER: Final = TpmQuoteVerifier()


def _claim(case: Case, name: bytes, quote: Quote) -> None:
    case.claims |= {
        "attestation_key": name.hex(),
        "clock_ms": quote.clock.clock_ms,
        "reset_count": quote.clock.reset_count,
        "restart_count": quote.clock.restart_count,
        "clock_safe": quote.clock.safe,
        "firmware": f"{quote.firmware:016x}",
        "pcrs": list(quote.pcrs),
    }


def _check_identity(case: Case, references: References, name: bytes, document: Document) -> None:
    """Whose TPM it is: by an enrolment record, or because the relying party names the attestation key itself."""
    if name in references.revoked:
        case.against("attestation_key_revoked", "the policy lists the attestation key as revoked")
    if name in references.attestation_keys.get(case.evidence.context.robot, ()):
        case.platform |= {"instance_identity": Tier.AFFIRMING, "hardware": Tier.WARNING}
        case.not_checked.append("whether the attestation key is in a TPM: no maker vouches, the policy names it")
        case.cap = Tier.WARNING
    elif any(name in names for names in references.attestation_keys.values()):
        case.against("another_robot", "the policy names the attestation key as that of another robot")
    elif not document.enrolment:
        case.against("not_enrolled", "no enrolment record, and the policy does not name the attestation key")
    else:
        try:
            record = enrolment.read(document.enrolment)[0]
        except EvidenceError as error:
            case.against("malformed", str(error))
            return
        _check_enrolment(case, references, name, record, document)


def _check_enrolment(
    case: Case, references: References, name: bytes, record: enrolment.Enrolment, document: Document
) -> None:
    signers = [one for one, key in references.enrollers.items() if _signed(document.enrolment, keys.spki(key))]
    if not signers:
        known = ", ".join(references.enrollers) or "none"
        case.against("enrolment_untrusted", f"the record is signed by no enrolment service of the policy ({known})")
        return
    case.claims |= {"enroller": signers[0], "enrolled_at_ns": record.enrolled_at_ns}
    if record.key_name != name:
        case.against("enrolment_of_another_key", "the enrolment record is for another attestation key")
    if record.robot != case.evidence.context.robot:
        case.against("another_robot", f"the attestation key was enrolled for the robot {record.robot!a}")
    begin_ns = record.enrolled_at_ns - int(case.policy.max_skew_s * 1e9)
    if not begin_ns <= case.now_ns <= record.not_after_ns:
        case.against("enrolment_expired", "the enrolment record is not valid at this time")
    case.until(record.not_after_ns)
    case.platform |= {"instance_identity": Tier.AFFIRMING, "hardware": Tier.AFFIRMING}
    if record.test:
        case.cap = Tier.WARNING
    _check_endorsement(case, record, document.certificates)


def _check_endorsement(case: Case, record: enrolment.Enrolment, certificates: tuple[bytes, ...]) -> None:
    """Check the TPM maker's certificate once more, where the relying party has roots of its own."""
    if not case.policy.roots:
        case.not_checked.append("the endorsement certificate: the policy has no roots, the enrolment record counts")
        return
    if not certificates:
        case.against("endorsement_missing", "the policy has roots of TPM makers, and there is no certificate to check")
        return
    if ek_certificate.fingerprint(certificates[0]) != record.certificate:
        case.against("endorsement_of_another_tpm", "the endorsement certificate is not the one that was enrolled")
    try:
        found = ek_certificate.check_endorsement(certificates, case.policy.roots, case.now_ns)
    except EvidenceError as error:
        case.against("endorsement_untrusted", str(error))
        return
    case.claims |= {"tpm": dict(found.tpm), "root": found.root}
    case.until(found.end_ns)
    if found.root in case.policy.test_roots or found.simulated:
        case.cap = Tier.WARNING


def _check_freshness(case: Case, references: References, name: bytes, quote: Quote) -> None:
    if not case.check_nonce():
        case.not_checked.append("when the quote was made: no nonce was asked with, and a TPM's clock tells no date")
        age_s = (case.now_ns - case.evidence.collected_at_ns) / 1e9
        if age_s > case.policy.max_age_s:
            case.against("too_old", f"the evidence is {age_s:.0f} s old; {case.policy.max_age_s:g} s are allowed")
        if -age_s > case.policy.max_skew_s:
            case.against("from_the_future", f"the evidence is from {-age_s:.0f} s ahead of the time judged")
    if (seen := references.last_seen.get(name)) is not None:
        was, now = ((one.reset_count, one.restart_count, one.clock_ms) for one in (seen, quote.clock))
        if now <= was:
            case.against("replayed", "a quote of this TPM from the same time or later was seen already")


@lru_cache(maxsize=256)
def _signed(record: bytes, spki: bytes) -> bool:
    """Whether a key signed a record: a pure function, and the same for every renewal."""
    key = load_der_public_key(spki)
    keys.algorithm_of(key)  # type: ignore[arg-type]  # one that `references` has read
    try:
        enrolment.read(record)[1].verify(key, "the enrolment record")  # type: ignore[arg-type]
    except EvidenceError:
        return False
    return True
