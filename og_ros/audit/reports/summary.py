"""Verification summaries: an auditor's signed word on a recording, which others can rely on without auditing it again.

An in-toto Statement v1 about the recording's files, with a SLSA Verification Summary Attestation v1 as its predicate
(https://slsa.dev/verification_summary/v1) in a DSSE envelope. What SLSA has no field for stands in one extension field,
whose name is a URI as SLSA asks. EAR and AR4SI (draft-ietf-rats-ear) are not used: their trustworthiness vector
describes an environment that evidence was appraised of, and an audit of a recording appraises none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from og_ros import __version__
from og_ros.attest import keys
from og_ros.attest.signer import Signer
from og_ros.audit.families import violations
from og_ros.audit.levels import AXES
from og_ros.audit.recording.recording_files import recording_digest
from og_ros.audit.reports.predicates import policy_digest
from og_ros.audit.reports.report_file import report_digest
from og_ros.errors import RegistryError, ReportError, SummaryRejected
from og_ros.registry import KeyCertificate, Registry, Status, dsse, strict_json
from og_ros.registry.openssf import IN_TOTO_TYPE, STATEMENT_TYPE
from og_ros.registry.timestamp import format_time, parse_time

PREDICATE_TYPE: Final = "https://slsa.dev/verification_summary/v1"
EXTENSION: Final = "urn:og-ros:audit-summary:v1"
NO_POLICY: Final = "urn:og-ros:policy:default"
ROLE: Final = "auditor"
MAX_SUMMARY: Final = 16 * 2**20
# A signer's clock may be a little ahead of the reader's.
CLOCK_SKEW_NS: Final = 300 * 10**9

_EXTENSION_FIELDS: Final[dict[str, type]] = {
    "recording": str,
    "verdict": str,
    "report": dict,
    "robots": list,
    "counts": dict,
    "levels": dict,
    "findings": dict,
    "violations": int,
    "notChecked": list,
}


@dataclass(frozen=True)
class Summary:
    """A verification summary whose signature holds.

    `files` are the recording's files with their SHA-256. `verdict` is the audit's own word: holds, violated or
    not_checked; `passed` is SLSA's, which knows no third. `audit` is the extension field as it was signed.
    `certificate` is what the registry says of the signer, None where a bare key was trusted.
    """

    key_id: bytes
    verified_at_ns: int
    files: Mapping[str, bytes]
    verdict: str
    report_sha256: str
    policy_uri: str
    policy_sha256: str
    audit: Mapping[str, Any]
    certificate: KeyCertificate | None

    @property
    def passed(self) -> bool:
        """Whether the recording held: SLSA's PASSED."""
        return self.verdict == "holds"

    @property
    def verifier(self) -> str:
        """The auditor, as a URI made of the key's id."""
        return verifier_uri(self.key_id)

    def check_report(self, report: Mapping[str, Any]) -> None:
        """Check that a report is the one that was summarised, and rightly; raises SummaryRejected."""
        digest = report_digest(report).hex()
        if digest != self.report_sha256:
            raise SummaryRejected(
                f"it summarises another report: sha256 {self.report_sha256}, and this one is {digest}"
            )
        if _audit(report) != self.audit or (policy_digest(report) or "") != self.policy_sha256:
            raise SummaryRejected("it says other things than the report that it summarises")

    def check_recording(self, files: Mapping[str, bytes]) -> None:
        """Check that a recording is the one that was audited, to the byte; raises SummaryRejected, naming the file."""
        for name in sorted(self.files.keys() | files.keys()):
            if name not in files:
                raise SummaryRejected(f"the recording lacks the file {name[:80]!a}, which was audited")
            if name not in self.files:
                raise SummaryRejected(f"the recording has the file {name[:80]!a}, which was not audited")
            if files[name] != self.files[name]:
                raise SummaryRejected(f"the file {name[:80]!a} is not the one that was audited: its digest differs")


def sign_summary(
    report: Mapping[str, Any],
    files: Mapping[str, bytes],
    signer: Signer,
    *,
    verified_at_ns: int,
    policy_uri: str = "",
) -> bytes:
    """Return the summary of an audit as a signed DSSE envelope (JSON).

    `report` is what `Report.as_json` gives, `files` what `digest_files` gives of the recording that was audited, and
    `policy_uri` where the policy can be found (default: a URN of its digest).
    """
    digest = policy_digest(report)
    policy: dict[str, Any] = {"uri": policy_uri or (f"urn:og-ros:policy:sha256:{digest}" if digest else NO_POLICY)}
    if digest:
        policy["digest"] = {"sha256": digest}
    audit = _audit(report)
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": files[name].hex()}} for name in sorted(files)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "verifier": {"id": verifier_uri(signer.key_id), "version": {"og_ros": __version__}},
            "timeVerified": format_time(verified_at_ns),
            "resourceUri": _resource_uri(files),
            "policy": policy,
            "verificationResult": "PASSED" if report["verdict"] == "holds" else "FAILED",
            "verifiedLevels": _verified_levels(audit),
            EXTENSION: audit,
        },
    }
    return dsse.sign(IN_TOTO_TYPE, strict_json.dumps(statement), signer)


def verify_summary(
    data: bytes,
    trust: keys.PublicKey | Registry,
    *,
    now_ns: int,
    max_age_ns: int | None = None,
    name: str = "the summary",
) -> Summary:
    """Check a summary's signature and signer, and return what it says.

    `trust` is the auditor's public key, or a registry that certifies keys for the role auditor: then the certificate
    must have been valid when the summary says that it was signed. The key alone decides the algorithm. A summary from
    the future, or older than `max_age_ns`, is refused. Fields of SLSA that are not known here are ignored, as SLSA
    asks; an unknown field anywhere else is refused.

    Raises ReportError where it cannot be read, SummaryRejected where it does not hold. It says nothing yet about the
    report and the recording that you have: see `Summary.check_report` and `Summary.check_recording`.
    """
    try:
        envelope = dsse.parse(data, name, 2 * MAX_SUMMARY)
    except RegistryError as error:
        raise ReportError(str(error)) from error
    if envelope.payload_type != IN_TOTO_TYPE:
        raise ReportError(f"{name} signs the type {envelope.payload_type!a}; {IN_TOTO_TYPE} is needed")
    certificate = None
    if isinstance(trust, Registry):
        certificate = _certificate(envelope.key_id, trust)
        public_key = certificate.public_key
    else:
        public_key = trust
    try:
        dsse.verify(envelope, public_key, name)
    except RegistryError as error:
        raise SummaryRejected("its signature does not hold under the auditor's key") from error
    try:
        summary = _read(_statement(envelope, name), keys.key_id(public_key), certificate, name)
    except RegistryError as error:
        raise ReportError(str(error)) from error
    _check_time(summary, now_ns, max_age_ns)
    return summary


def verifier_uri(key_id: bytes) -> str:
    """Return the URI of an auditor: it names the key, so that no key can sign for another's name."""
    return f"urn:og-ros:auditor:sha256:{key_id.hex()}"


def _audit(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the extension field says of a report."""
    log, registry = report["log"], report["registry"]
    audit: dict[str, Any] = {
        "recording": report["recording"],
        "verdict": report["verdict"],
        "report": {"sha256": report_digest(report).hex()},
        "robots": sorted({stage["robot"] for stage in report["stages"].values()}),
        "counts": {name: report[name] for name in ("messages", "attestations", "decisions", "linked")},
        "levels": {axis: report["levels"][axis]["lowest"] for axis in AXES if axis in report["levels"]},
        "findings": dict(sorted(report["finding_counts"].items())),
        "violations": sum(violations(report).values()),
        "notChecked": list(report["not_checked"]),
    }
    if registry is not None:
        audit["registry"] = {name: registry[name] for name in ("root", "pinned", "number")}
    if log is not None:
        audit["log"] = {name: log[name] for name in ("origin", "size", "root", "checkpointed")}
    return audit


def _verified_levels(audit: Mapping[str, Any]) -> list[str]:
    """Return SLSA's list of levels: the lowest of each axis under our own names, or FAILED."""
    if audit["verdict"] != "holds":
        return ["FAILED"]
    levels = [(axis, level) for axis, level in sorted(audit["levels"].items()) if level is not None]
    return [f"OG_ROS_{axis}_{level}".upper().replace("-", "_") for axis, level in levels]


def _resource_uri(files: Mapping[str, bytes]) -> str:
    return f"urn:og-ros:recording:sha256:{recording_digest(files).hex()}"


def _statement(envelope: dsse.Envelope, name: str) -> dict[str, Any]:
    tree = strict_json.loads(envelope.payload, f"{name}: the statement", MAX_SUMMARY)
    kinds: dict[str, type] = {"_type": str, "subject": list, "predicateType": str, "predicate": dict}
    statement = strict_json.fields(tree, f"{name}: the statement", kinds)
    if statement["_type"] != STATEMENT_TYPE or statement["predicateType"] != PREDICATE_TYPE:
        raise ReportError(f"{name} is no verification summary of version 1, but {statement['predicateType'][:120]!a}")
    return statement


def _certificate(key_id: str, registry: Registry) -> KeyCertificate:
    """Return the certificate of the key that an envelope hints at; the signature must then hold under that key."""
    certificate = next((key for identity, key in registry.keys.items() if identity.hex() == key_id), None)
    if certificate is None:
        raise SummaryRejected(f"its key {key_id[:64]!a} is not in the registry {registry.name}")
    if certificate.role != ROLE:
        raise SummaryRejected(f"its key {key_id[:16]} is registered for the role {certificate.role}, not for {ROLE}")
    return certificate


def _read(statement: Mapping[str, Any], key_id: bytes, certificate: KeyCertificate | None, name: str) -> Summary:
    files = _subject(statement["subject"], name)
    what = f"{name}: the predicate"
    kinds: dict[str, type] = {
        "verifier": dict, "timeVerified": str, "resourceUri": str, "policy": dict, "verificationResult": str,
        "verifiedLevels": list, EXTENSION: dict,
    }  # fmt: skip
    predicate = strict_json.fields(statement["predicate"], what, kinds, open_ended=True)
    verifier = strict_json.fields(predicate["verifier"], f"{what}: verifier", {"id": str}, open_ended=True)
    policy = strict_json.fields(predicate["policy"], f"{what}: policy", {"uri": str}, open_ended=True)
    digests = policy.get("digest", {"sha256": ""})
    policy_sha256 = str(digests.get("sha256")) if type(digests) is dict else ""
    if "digest" in policy and not _is_sha256(policy_sha256):
        raise ReportError(f"{what}: the policy's digest is no SHA-256 in hex")
    audit = _extension(predicate[EXTENSION], f"{what}: {EXTENSION}")
    result = predicate["verificationResult"]
    if (
        result != ("PASSED" if audit["verdict"] == "holds" else "FAILED")
        or predicate["verifiedLevels"] != _verified_levels(audit)
        or (audit["violations"] > 0) != (audit["verdict"] == "violated")
    ):
        raise SummaryRejected(f"it contradicts itself: result {result!a}, verdict {audit['verdict']!a}")
    if verifier["id"] != verifier_uri(key_id):
        raise SummaryRejected(f"it names the auditor {verifier['id'][:120]!a}, and another key signed it")
    if predicate["resourceUri"] != _resource_uri(files):
        raise SummaryRejected("its resourceUri is not that of the files that it lists")
    if certificate is not None and certificate.robot and audit["robots"] != [certificate.robot]:
        raise SummaryRejected(f"its key may speak of the robot {certificate.robot} only")
    return Summary(
        key_id=key_id,
        verified_at_ns=parse_time(predicate["timeVerified"], f"{what}: timeVerified"),
        files=files,
        verdict=audit["verdict"],
        report_sha256=audit["report"]["sha256"],
        policy_uri=policy["uri"],
        policy_sha256=policy_sha256,
        audit=audit,
        certificate=certificate,
    )


def _subject(subject: list[Any], name: str) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for item in subject:
        entry = strict_json.fields(item, f"{name}: a subject", {"name": str, "digest": dict})
        digest = entry["digest"].get("sha256")
        if len(entry["digest"]) != 1 or not _is_sha256(digest):
            raise ReportError(f"{name}: the subject {entry['name'][:80]!a} has no SHA-256, or another digest beside it")
        if entry["name"] in files:
            raise ReportError(f"{name} lists the file {entry['name'][:80]!a} twice")
        files[entry["name"]] = bytes.fromhex(digest)
    if not files:
        raise ReportError(f"{name} is about no file")
    return files


def _extension(tree: Any, what: str) -> dict[str, Any]:
    optional: dict[str, type] = {field: dict for field in ("registry", "log") if field in tree}
    audit = strict_json.fields(tree, what, {**_EXTENSION_FIELDS, **optional})
    report = strict_json.fields(audit["report"], f"{what}: report", {"sha256": str})
    if not _is_sha256(report["sha256"]):
        raise ReportError(f"{what}: the report's digest is no SHA-256 in hex")
    if not all(type(level) is str or level is None for level in audit["levels"].values()):
        raise ReportError(f"{what}: a level is no text")
    if not all(type(count) is int for count in (*audit["counts"].values(), *audit["findings"].values())):
        raise ReportError(f"{what}: a count is no number")
    if not all(type(text) is str for text in (*audit["robots"], *audit["notChecked"])):
        raise ReportError(f"{what}: a robot or a note is no text")
    return audit


def _is_sha256(value: Any) -> bool:
    return type(value) is str and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _check_time(summary: Summary, now_ns: int, max_age_ns: int | None) -> None:
    at, certificate = summary.verified_at_ns, summary.certificate
    if at > now_ns + CLOCK_SKEW_NS:
        raise SummaryRejected(f"it was signed at {format_time(at)}, which is in the future")
    if max_age_ns is not None and now_ns - at > max_age_ns:
        raise SummaryRejected(f"it was signed at {format_time(at)}, which is longer ago than you allow")
    if certificate is not None and certificate.status(at) is not Status.VALID:
        state = certificate.status(at).value
        raise SummaryRejected(
            f"its key {summary.key_id.hex()[:16]} was {state} when it was signed, at {format_time(at)}"
        )
