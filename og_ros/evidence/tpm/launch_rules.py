"""What a quote shows of a measured launch: PCRs, the replayed event log, the manifest against what is allowed."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.serialization import load_der_public_key

from og_ros.attest import keys
from og_ros.errors import EvidenceError
from og_ros.evidence import manifest as manifests
from og_ros.evidence.appraisal import Tier
from og_ros.evidence.case import Case
from og_ros.evidence.drift import drift
from og_ros.evidence.signed_document import read_document
from og_ros.evidence.tpm import event_log
from og_ros.evidence.tpm.document import Document
from og_ros.evidence.tpm.quote import FIRST_RESETTABLE, Quote, digest_of
from og_ros.evidence.tpm.references import References

MANIFEST_COLLATERAL: Final = "manifest:"
"""Names in the policy's collateral that begin so are signed manifests."""

_MOST_DIFFERENCES: Final = 20


def check_launch(case: Case, references: References, quote: Quote, document: Document) -> None:
    """Hold a quote and its document against the reference values; what is found goes into the case."""
    if not _check_pcrs(case, references, quote, document):
        return
    code, problem = event_log.order_problem(document.log)
    if problem:
        case.against(code, problem)
    if document.log_start not in references.log_start:
        case.against("log_start", "PCR 14 did not begin as the policy allows: something was measured before the launch")
    if event_log.replay(document.log, document.log_start) != document.pcrs[event_log.PCR]:
        case.against("pcr14_mismatch", "PCR 14 is not what the event log gives: it was extended after the cap")
        return
    _check_log(case, references, document)
    _check_manifest(case, references, document.manifest)


def _check_pcrs(case: Case, references: References, quote: Quote, document: Document) -> bool:
    """Whether the values are those that were quoted, PCR 14 among them, and none that can be reset."""
    resettable = [number for number in (*quote.pcrs, *references.pcrs) if number >= FIRST_RESETTABLE]
    if resettable:
        case.against("resettable_pcr", f"PCR {resettable[0]} can be reset without a restart: it measures nothing")
        return False
    if event_log.PCR not in quote.pcrs:
        case.against("pcr14_not_quoted", "the quote is not over PCR 14, which holds the launch")
        return False
    values = document.pcrs
    if values.keys() != set(quote.pcrs) or digest_of(quote.pcrs, values) != quote.pcr_digest:
        case.against("pcr_digest_mismatch", "the PCR values are not those that the quote was made over")
        return False
    for number, allowed in references.pcrs.items():
        if number not in values:
            case.against("pcr_missing", f"the policy has values for PCR {number}, which the quote is not over")
        elif values[number] not in allowed:
            case.against("pcr_mismatch", f"PCR {number} is {values[number].hex()}, which the policy does not allow")
        else:
            case.platform["configuration"] = Tier.AFFIRMING
    unknown = [str(number) for number in quote.pcrs if number != event_log.PCR and number not in references.pcrs]
    if unknown:
        case.not_checked.append(f"PCR {', '.join(unknown)}: quoted, and the policy has no values for it")
    return True


def _check_log(case: Case, references: References, document: Document) -> None:
    """Whether the launch is this robot's, and measured this key, this manifest and an allowed model for the stage."""
    context, log = case.evidence.context, document.log
    case.claims["launch"] = [f"{event.kind} {event.robot}/{event.stage} {event.value.hex()}" for event in log]
    if others := [event.robot for event in log if event.robot != context.robot]:
        case.against("another_robot", f"the launch was that of the robot {others[0]!a}")
    measured = {
        kind: [event.value for event in log if (event.kind, event.stage) == (kind, context.stage)]
        for kind in (event_log.MANIFEST, event_log.MODEL, event_log.KEY)
    }
    case.claims["models"] = [value.hex() for value in measured[event_log.MODEL]]
    if sha256(case.evidence.key).digest() not in measured[event_log.KEY]:
        case.against("key_not_measured", "the launch did not measure this key: somebody else had it quoted")
    if measured[event_log.MANIFEST] != [context.manifest]:
        case.against("manifest_not_measured", "the launch did not measure this manifest, and no other, for the stage")
    if references.models and not references.models.issuperset(measured[event_log.MODEL]):
        case.against("model_not_allowed", "the launch measured a model that the policy does not allow")


def _check_manifest(case: Case, references: References, carried: bytes) -> None:
    """Whether the manifest is allowed; where it is not, how it differs from the one that is."""
    digest = case.evidence.context.manifest
    if carried and sha256(carried).digest() != digest:
        case.against("manifest_altered", "the manifest in the document is not the one that was measured")
        return
    signed = _signed_manifests(case, references)
    if digest in references.manifests or digest in signed:
        case.platform["executables"] = Tier.AFFIRMING
        case.measured = True
        _check_stage(case, carried or signed.get(digest, b""))
        return
    if not references.manifests and not signed:
        case.platform["executables"] = Tier.NONE
        case.not_checked.append("which software was launched: the policy has no manifests to hold it against")
        return
    case.platform["executables"] = Tier.CONTRAINDICATED
    if not _name_drift(case, carried, signed):
        case.against("manifest_not_allowed", f"the manifest {digest.hex()} is none that the policy allows")


def _check_stage(case: Case, manifest: bytes) -> None:
    context = case.evidence.context
    if not manifest:
        case.not_checked.append("for which stage the manifest was made: the document does not carry it")
        return
    found = _decoded(manifest)
    if found is None or (found.robot, found.stage) != (context.robot, context.stage):
        case.against("manifest_of_another_stage", "the manifest was made for another robot or stage")


def _name_drift(case: Case, carried: bytes, signed: dict[bytes, bytes]) -> bool:
    """Say how the manifest differs from the nearest one that is allowed for its stage; whether there was one."""
    found = _decoded(carried) if carried else None
    if found is None:
        return False
    allowed = [one for data in signed.values() if (one := _decoded(data)) is not None]
    same = [drift(one, found) for one in allowed if (one.robot, one.stage) == (found.robot, found.stage)]
    differences = min(same, key=len, default=())
    for difference in differences[:_MOST_DIFFERENCES]:
        case.against(difference.code, difference.message)
    return bool(differences)


def _signed_manifests(case: Case, references: References) -> dict[bytes, bytes]:
    """Return the manifests of the policy's collateral that a manifest signer of it signed, by their digests."""
    found = {}
    for name, data in case.policy.collateral.items():
        if not name.startswith(MANIFEST_COLLATERAL):
            continue
        payloads = [_payload(data, keys.spki(key)) for key in references.manifest_signers.values()]
        found.update({sha256(payload).digest(): payload for payload in payloads if payload})
    return found


@lru_cache(maxsize=32)
def _payload(data: bytes, spki: bytes) -> bytes:
    """Return the bytes of a manifest that a key signed, empty when it did not."""
    key = load_der_public_key(spki)
    keys.algorithm_of(key)  # type: ignore[arg-type]  # one that `references` has read
    try:
        read = read_document(data, manifests.CONTENT_TYPE, "the manifest", manifests.MAX_SIZE)
        read.verify(key, "the manifest")  # type: ignore[arg-type]
    except EvidenceError:
        return b""
    return read.payload


@lru_cache(maxsize=32)
def _decoded(data: bytes) -> manifests.Manifest | None:
    """Return a manifest, and None for bytes that are none; hundreds of entries take longer than all other checks."""
    try:
        return manifests.decode(data)
    except EvidenceError:
        return None
