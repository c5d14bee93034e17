"""Appraises `tpm2-quote` evidence: pure Python on `cryptography`, offline, without a TPM and without its software.

What it shows when it holds: a TPM that an enrolment service (or the relying party) knows as that of this robot signed, for
this nonce, that the launch which made this key measured this manifest and model first, and that nothing was measured
since. What it does not show is in `not_checked`.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import load_der_public_key

from og_ros import __version__
from og_ros.attest import keys
from og_ros.errors import EvidenceError
from og_ros.evidence import manifest as manifests
from og_ros.evidence.appraisal import Appraisal, Provenance, Reason, Tier
from og_ros.evidence.binding import binding
from og_ros.evidence.drift import drift
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.policy_digest import policy_digest
from og_ros.evidence.signed_document import read_document
from og_ros.evidence.tpm import document as documents
from og_ros.evidence.tpm import ek_certificate, enrolment, event_log
from og_ros.evidence.tpm.document import FORMAT, Document
from og_ros.evidence.tpm.public_area import PublicArea, attribute_problem, parse_public, signature_holds
from og_ros.evidence.tpm.quote import FIRST_RESETTABLE, NotGenerated, Quote, digest_of, parse_quote
from og_ros.evidence.tpm.references import References, read_references

VALIDITY_NS: Final = 24 * 3600 * 10**9
MANIFEST_COLLATERAL: Final = "manifest:"
"""Names in the policy's collateral that begin so are signed manifests."""

_MOST_DIFFERENCES: Final = 20
NOT_CHECKED: Final = (
    "what ran before the launcher, beyond the PCRs that the policy has values for",
    "whether the launched process was altered in memory after its start",
    "revocation of endorsement certificates by the TPM's maker",
)


class TpmQuoteVerifier:
    """Verifier of the format tpm2-quote; `policy.reference_values["tpm2-quote"]` is read by `references`."""

    format: Final = FORMAT

    def appraise(self, evidence: Evidence, policy: AppraisalPolicy, now_ns: int) -> Appraisal:
        """Judge; see og_ros.evidence.interface.Verifier. Raises EvidenceError for a policy that is malformed."""
        return _Case(evidence, policy, now_ns, read_references(policy.reference_values.get(FORMAT, {}))).judge()


class _Case:
    """One appraisal in the making."""

    def __init__(self, evidence: Evidence, policy: AppraisalPolicy, now_ns: int, references: References) -> None:
        self.evidence, self.policy, self.now_ns, self.references = evidence, policy, now_ns, references
        self.reasons: list[Reason] = []
        self.platform: dict[str, Tier] = {}
        self.claims: dict[str, Any] = {}
        self.not_checked = list(NOT_CHECKED)
        self.valid_until_ns = now_ns + VALIDITY_NS
        self.cap = Tier.AFFIRMING

    def against(self, code: str, message: str, tier: Tier = Tier.CONTRAINDICATED) -> None:
        self.reasons.append(Reason(code, message, tier))

    def judge(self) -> Appraisal:
        """Check all that can be checked, in the order in which one thing rests on another."""
        evidence = self.evidence
        if evidence.format != FORMAT:
            self.against("wrong_format", f"the evidence is of format {evidence.format!a}, not {FORMAT}")
            return self.close()
        try:
            document = documents.decode(evidence.document)
            key, quote = parse_public(document.key), parse_quote(document.quote)
            genuine = signature_holds(key, document.quote, document.signature)
        except NotGenerated as error:
            self.against("not_a_quote", str(error))
            return self.close()
        except EvidenceError as error:
            self.against("malformed", str(error))
            return self.close()
        if not genuine:
            self.against("signature_invalid", "the quote's signature is not that of the attestation key")
            return self.close()
        code, problem = attribute_problem(key)
        if problem:
            self.against(code, problem)
        self.claim(key, quote)
        self.check_identity(key, document)
        self.check_freshness(key, quote)
        self.check_binding(quote)
        if self.check_pcrs(quote, document):
            self.check_log(document)
        return self.close()

    def claim(self, key: PublicArea, quote: Quote) -> None:
        clock = quote.clock
        self.claims |= {
            "attestation_key": key.name.hex(),
            "clock_ms": clock.clock_ms,
            "reset_count": clock.reset_count,
            "restart_count": clock.restart_count,
            "clock_safe": clock.safe,
            "firmware": f"{quote.firmware:016x}",
            "pcrs": list(quote.pcrs),
        }

    # Whose TPM it is.

    def check_identity(self, key: PublicArea, document: Document) -> None:
        robot, references = self.evidence.context.robot, self.references
        if key.name in references.revoked:
            self.against("attestation_key_revoked", "the policy lists the attestation key as revoked")
        if key.name in references.attestation_keys.get(robot, ()):
            self.platform |= {"instance_identity": Tier.AFFIRMING, "hardware": Tier.WARNING}
            self.not_checked.append("whether the attestation key is in a TPM: the policy names it, no maker vouches for it")
            self.cap = Tier.WARNING
        elif any(key.name in names for names in references.attestation_keys.values()):
            self.against("another_robot", "the policy names the attestation key as that of another robot")
        elif not document.enrolment:
            self.against("not_enrolled", "no enrolment record, and the policy does not name the attestation key")
        else:
            try:
                self.check_enrolment(key, document)
            except EvidenceError as error:
                self.against("malformed", str(error))

    def check_enrolment(self, key: PublicArea, document: Document) -> None:
        record, signed = enrolment.read(document.enrolment)
        if not (enroller := self.signer_of(document.enrolment)):
            known = ", ".join(self.references.enrollers) or "none"
            self.against("enrolment_untrusted", f"no enrolment service that the policy names ({known}) signed the record")
            return
        self.claims |= {"enroller": enroller, "enrolled_at_ns": record.enrolled_at_ns}
        if record.key_name != key.name:
            self.against("enrolment_of_another_key", "the enrolment record is for another attestation key")
        if record.robot != self.evidence.context.robot:
            self.against("another_robot", f"the attestation key was enrolled for the robot {record.robot!a}")
        if not record.enrolled_at_ns - int(self.policy.max_skew_s * 1e9) <= self.now_ns <= record.not_after_ns:
            self.against("enrolment_expired", "the enrolment record is not valid at this time")
        self.valid_until_ns = min(self.valid_until_ns, record.not_after_ns)
        self.platform |= {"instance_identity": Tier.AFFIRMING, "hardware": Tier.AFFIRMING}
        if record.test:
            self.cap = Tier.WARNING
        self.check_endorsement(record, document)

    def signer_of(self, record: bytes) -> str:
        for name, key in self.references.enrollers.items():
            if not _enrolment_problem(record, keys.spki(key)):
                return name
        return ""

    def check_endorsement(self, record: enrolment.Enrolment, document: Document) -> None:
        if not self.policy.roots:
            self.not_checked.append("the endorsement certificate: the policy has no roots, the enrolment service's word counts")
            return
        if not document.certificates:
            self.against("endorsement_missing", "the policy has roots of TPM makers, and there is no certificate to check")
            return
        if ek_certificate.fingerprint(document.certificates[0]) != record.certificate:
            self.against("endorsement_of_another_tpm", "the endorsement certificate is not the one that was enrolled")
        try:
            found = ek_certificate.check_endorsement(document.certificates, self.policy.roots, self.now_ns)
        except EvidenceError as error:
            self.against("endorsement_untrusted", str(error))
            return
        self.claims |= {"tpm": dict(found.tpm), "root": found.root}
        self.valid_until_ns = min(self.valid_until_ns, found.end_ns)
        if found.root in self.policy.test_roots or found.simulated:
            self.cap = Tier.WARNING

    # For whom, and when.

    def check_freshness(self, key: PublicArea, quote: Quote) -> None:
        if self.policy.nonce is not None:
            if self.policy.nonce != self.evidence.nonce:
                self.against("wrong_nonce", "the evidence was made for another nonce than the one that was asked with")
        else:
            self.not_checked.append("when the quote was made: no nonce was asked for, and a TPM's clock tells no date")
            age_s = (self.now_ns - self.evidence.collected_at_ns) / 1e9
            if age_s > self.policy.max_age_s:
                self.against("too_old", f"the evidence is {age_s:.0f} s old; {self.policy.max_age_s:.0f} s are allowed")
            elif age_s < -self.policy.max_skew_s:
                self.against("from_the_future", f"the evidence was made {-age_s:.0f} s ahead of this clock")
        seen = self.references.last_seen.get(key.name)
        if seen is not None:
            was, now = ((c.reset_count, c.restart_count, c.clock_ms) for c in (seen, quote.clock))
            if now <= was:
                self.against("replayed", "a quote of this TPM from the same time or later was seen already")

    def check_binding(self, quote: Quote) -> None:
        evidence = self.evidence
        try:
            expected = binding(FORMAT, evidence.nonce, evidence.key, evidence.context)
        except EvidenceError as error:
            self.against("malformed", str(error))
            return
        if quote.extra_data != expected:
            self.against("not_bound", "the quote was not made for this key, nonce, robot, stage and manifest")

    # What was measured.

    def check_pcrs(self, quote: Quote, document: Document) -> bool:
        if resettable := sorted({n for n in (*quote.pcrs, *self.references.pcrs) if n >= FIRST_RESETTABLE}):
            self.against("resettable_pcr", f"PCR {resettable[0]} can be reset without a restart: it measures nothing")
            return False
        if event_log.PCR not in quote.pcrs:
            self.against("pcr14_not_quoted", "the quote is not over PCR 14, which holds the launch")
            return False
        if document.pcrs.keys() != set(quote.pcrs) or digest_of(quote.pcrs, document.pcrs) != quote.pcr_digest:
            self.against("pcr_digest_mismatch", "the PCR values are not those that the quote was made over")
            return False
        for index, allowed in self.references.pcrs.items():
            if index not in document.pcrs:
                self.against("pcr_missing", f"the policy has values for PCR {index}, which the quote is not over")
            elif document.pcrs[index] not in allowed:
                self.against("pcr_mismatch", f"PCR {index} is {document.pcrs[index].hex()}, which the policy does not allow")
            else:
                self.platform["configuration"] = Tier.AFFIRMING
        if unknown := [n for n in quote.pcrs if n != event_log.PCR and n not in self.references.pcrs]:
            self.not_checked.append(f"PCR {', '.join(map(str, unknown))}: quoted, and the policy has no values for it")
        return True

    def check_log(self, document: Document) -> None:
        context, log = self.evidence.context, document.log
        self.claims["launch"] = [f"{e.kind} {e.robot}/{e.stage} {e.value.hex()}" for e in log]
        code, problem = event_log.order_problem(log)
        if problem:
            self.against(code, problem)
        if document.log_start not in self.references.log_start:
            self.against("log_start", "PCR 14 did not begin as the policy allows: something was measured before the launch")
        if event_log.replay(log, document.log_start) != document.pcrs[event_log.PCR]:
            self.against("pcr14_mismatch", "PCR 14 is not what the event log gives: it was extended after the cap, or before")
            return
        own = [event for event in log if event.stage == context.stage]
        if any(event.robot != context.robot for event in log):
            self.against("another_robot", f"the launch was that of the robot {log[0].robot!a}")
        measured = {kind: [e.value for e in own if e.kind == kind] for kind in ("manifest", "model", "key")}
        if sha256(self.evidence.key).digest() not in measured["key"]:
            self.against("key_not_measured", "the launch did not measure this key: somebody else asked for the quote")
        if measured["manifest"] != [context.manifest]:
            self.against("manifest_not_measured", "the launch did not measure this manifest, and no other, for the stage")
        if self.references.models and not self.references.models.issuperset(measured["model"]):
            self.against("model_not_allowed", "the launch measured a model that the policy does not allow")
        self.check_manifest(document)

    def check_manifest(self, document: Document) -> None:
        digest = self.evidence.context.manifest
        if document.manifest and sha256(document.manifest).digest() != digest:
            self.against("manifest_altered", "the manifest in the document is not the one that was measured")
            return
        references = self.signed_manifests()
        if digest in self.references.manifests or digest in references:
            self.platform["executables"] = Tier.AFFIRMING
            return
        if not self.references.manifests and not references:
            self.platform["executables"] = Tier.NONE
            self.not_checked.append("which software was launched: the policy has no manifests to hold it against")
            return
        self.platform["executables"] = Tier.CONTRAINDICATED
        if not self.name_drift(document, references):
            self.against("manifest_not_allowed", f"the manifest {digest.hex()} is none that the policy allows")

    def signed_manifests(self) -> dict[bytes, bytes]:
        """Return the manifests of the collateral that a manifest signer of the policy signed, by their digest."""
        found = {}
        for name, data in self.policy.collateral.items():
            if name.startswith(MANIFEST_COLLATERAL):
                for key in self.references.manifest_signers.values():
                    if payload := _signed_manifest(data, keys.spki(key)):
                        found[sha256(payload).digest()] = payload
        return found

    def name_drift(self, document: Document, references: dict[bytes, bytes]) -> bool:
        """Say how the manifest differs from the one that is allowed for its stage and nearest to it."""
        try:
            found = manifests.decode(document.manifest) if document.manifest else None
            allowed = [manifests.decode(data) for data in references.values()]
        except EvidenceError as error:
            self.against("malformed", str(error))
            return True
        if found is None:
            return False
        same = [drift(one, found) for one in allowed if (one.robot, one.stage) == (found.robot, found.stage)]
        differences = min(same, key=len, default=())
        for one in differences[:_MOST_DIFFERENCES]:
            self.against(one.code, one.message)
        return bool(differences)

    def close(self) -> Appraisal:
        """Return the appraisal; the level follows only where a known TPM measured a known manifest with this key."""
        refused = any(reason.tier is Tier.CONTRAINDICATED for reason in self.reasons)
        known = {"instance_identity", "executables"} <= self.platform.keys()
        holds = known and not refused and self.platform["executables"] is Tier.AFFIRMING
        if refused:
            self.platform.setdefault("hardware", Tier.NONE)
        self.claims["key_provenance"] = Provenance.TPM_QUOTED if holds else Provenance.SOFTWARE
        self.claims["level"] = "measured" if holds else "none"
        return Appraisal(
            format=self.evidence.format,
            key=self.evidence.key,
            submodules={"platform": self.platform} if self.platform else {},
            claims=self.claims,
            reasons=tuple(self.reasons),
            not_checked=tuple(self.not_checked),
            verified_at_ns=self.now_ns,
            valid_until_ns=max(self.now_ns, self.valid_until_ns),
            policy=policy_digest(self.policy),
            verifier=f"og_ros {__version__}",
            cap=self.cap,
        )


@lru_cache(maxsize=256)
def _enrolment_problem(record: bytes, spki: bytes) -> str:
    """Return why a record was not signed by a key: a pure function, and the same for every renewal."""
    try:
        enrolment.read(record)[1].verify(_key(spki), "the enrolment record")
    except EvidenceError as error:
        return str(error)
    return ""


@lru_cache(maxsize=32)
def _signed_manifest(data: bytes, spki: bytes) -> bytes:
    """Return the bytes of a manifest that a key signed, empty when it did not."""
    try:
        read = read_document(data, manifests.CONTENT_TYPE, "the manifest", manifests.MAX_SIZE)
        read.verify(_key(spki), "the manifest")
    except EvidenceError:
        return b""
    return read.payload


def _key(spki: bytes) -> keys.PublicKey:
    key = load_der_public_key(spki)
    keys.algorithm_of(key)  # type: ignore[arg-type]  # one that `references` has read
    return key  # type: ignore[return-value]
