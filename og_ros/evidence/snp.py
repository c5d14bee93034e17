"""Verifier of `sev-snp`: a report that an AMD processor's firmware signed for a virtual machine.

It proves the launch digest of the guest and that somebody in it, at the VMPL given, asked to have REPORT_DATA signed.
What was loaded after launch is not measured: with a plain disk image, the launch digest names the firmware alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from og_ros.errors import EvidenceError
from og_ros.evidence.appraisal import Appraisal, Tier
from og_ros.evidence.case import Case
from og_ros.evidence.certificate_chain import ChainError
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.reference import ReferenceValues
from og_ros.evidence.roots import cap_of, trusted
from og_ros.evidence.snp_certificates import EndorsementKey, read_table, to_der, verify_chain
from og_ros.evidence.snp_report import SIZE, SnpReport, parse, tcb_parts

FORMAT: Final = "sev-snp"
COLLATERAL: Final = ("sev-snp/vcek", "sev-snp/ask")
"""Names of collateral: certificate of the VCEK or VLEK, and of what issued it, DER or PEM."""

_TCB_PARTS: Final = ("bootloader", "tee", "snp", "microcode", "fmc")
_KEYS: Final = {0: "vcek", 1: "vlek"}


@dataclass(frozen=True)
class SnpReference:
    """What a policy expects of a guest; empty values expect nothing, but for `vmpl` and `allow_migration`."""

    measurement: tuple[str, ...]
    host_data: tuple[str, ...]
    id_key_digest: tuple[str, ...]
    vmpl: tuple[int, ...]
    min_tcb: Mapping[str, int]
    allow_migration: bool
    allow_smt: bool
    allow_debug: bool
    chip_id: tuple[str, ...]

    @classmethod
    def of(cls, policy: AppraisalPolicy) -> SnpReference:
        """Read it from a policy; raises PolicyError."""
        values = ReferenceValues(policy, FORMAT)
        found = cls(
            measurement=values.digests("measurement", 48),
            host_data=values.digests("host_data", 32),
            id_key_digest=values.digests("id_key_digest", 48),
            vmpl=values.numbers("vmpl", (0,), 3),
            min_tcb=values.least("min_tcb", _TCB_PARTS),
            allow_migration=values.flag("allow_migration", False),
            allow_smt=values.flag("allow_smt", True),
            allow_debug=values.flag("allow_debug", False),
            chip_id=values.digests("chip_id", 64),
        )
        values.end()
        return found


class SnpVerifier:
    """Appraises SEV-SNP reports; behind one, a document may hold the host's certificate table."""

    format: str = FORMAT

    def check_reference(self, policy: AppraisalPolicy) -> None:
        """Raise PolicyError when the policy's reference values for this format cannot be read."""
        SnpReference.of(policy)

    def appraise(self, evidence: Evidence, policy: AppraisalPolicy, now_ns: int) -> Appraisal:
        """Judge a report; raises PolicyError for reference values that cannot be read, and nothing else."""
        reference = SnpReference.of(policy)
        case = Case(evidence, policy, now_ns)
        case.check_format(FORMAT)
        try:
            report = parse(evidence.document[:SIZE])
            table = read_table(evidence.document[SIZE:])
        except EvidenceError as error:
            return case.refused("malformed", str(error))
        try:
            endorsement = _endorsement(case, report, table)
        except ChainError as error:
            return case.refused(error.code, str(error))
        try:
            report.verify_signature(endorsement.key)
        except EvidenceError as error:
            return case.refused("bad_signature", str(error))
        case.platform["hardware"] = Tier.AFFIRMING
        case.claims |= _claims(report, endorsement)
        _check_firmware(case, report, endorsement, reference)
        _check_policy(case, report, reference)
        expected = {"measurement": reference.measurement} if reference.measurement else {}
        case.check_measurements({"measurement": report.measurement.hex()}, expected)
        _check_owner(case, report, reference)
        if not case.check_nonce():
            case.not_checked.append("when the report was made: nobody asked with a nonce, and a report holds no time")
        bound = case.expected_binding()
        case.check_bound(report.report_data, bound + bytes(32) if bound else None, "REPORT_DATA")
        case.not_checked.append("whether AMD revoked the chip's key or its issuer: no revocation list is read")
        return case.close()


VERIFIER: Final = SnpVerifier()


def _endorsement(case: Case, report: SnpReport, table: Mapping[str, bytes]) -> EndorsementKey:
    kind = _KEYS.get(report.signing_key)
    if kind is None:
        raise ChainError("malformed", "the report says that no key signed it")
    collateral = case.policy.collateral
    leaf = table.get(kind) or collateral.get(COLLATERAL[0])
    issuer = collateral.get(COLLATERAL[1]) or table.get("ask")
    if leaf is None or issuer is None:
        missing = f"{kind.upper()} ({COLLATERAL[0]})" if leaf is None else f"its issuer ({COLLATERAL[1]})"
        raise ChainError("no_collateral", f"the certificate of the {missing} is neither in the document nor at hand")
    roots = trusted(case.policy, "amd-milan", "amd-genoa", "amd-turin")
    endorsement = verify_chain(to_der(leaf), to_der(issuer), roots, case.now_ns)
    case.until(endorsement.end_ns)
    case.cap = cap_of(case.policy, endorsement.root)
    case.claims["root"] = endorsement.root
    return endorsement


def _claims(report: SnpReport, endorsement: EndorsementKey) -> dict[str, object]:
    turin = endorsement.turin
    return {
        "product": endorsement.product,
        "signed_by": _KEYS[report.signing_key],
        "measurement": report.measurement.hex(),
        "host_data": report.host_data.hex(),
        "id_key_digest": report.id_key_digest.hex(),
        "report_data": report.report_data.hex(),
        "chip_id": "" if report.chip_id_masked else report.chip_id.hex(),
        "debug": report.debug,
        "migratable": report.migratable,
        "smt": report.smt,
        "vmpl": report.vmpl,
        "guest_svn": report.guest_svn,
        "tcb": {
            "reported": tcb_parts(report.reported_tcb, turin),
            "current": tcb_parts(report.current_tcb, turin),
            "committed": tcb_parts(report.committed_tcb, turin),
        },
    }


def _check_firmware(case: Case, report: SnpReport, endorsement: EndorsementKey, reference: SnpReference) -> None:
    reported = tcb_parts(report.reported_tcb, endorsement.turin)
    wrong = [name for name, version in reported.items() if endorsement.tcb.get(name) != version]
    if wrong:
        case.against("tcb_mismatch", f"firmware {wrong[0]} of the report is not that of the key that signed it")
    masked = report.chip_id_masked or report.signing_key != 0
    if not masked and endorsement.chip_id != report.chip_id[: len(endorsement.chip_id) or None]:
        case.against("tcb_mismatch", "the report is of another chip than the key that signed it")
    low = [name for name, least in reference.min_tcb.items() if reported.get(name, -1) < least]
    if low:
        case.platform["hardware"] = Tier.CONTRAINDICATED
        version = reported.get(low[0], "absent")
        case.against("out_of_date", f"firmware {low[0]} is {version}, below what the policy allows")
    if not reference.min_tcb:
        case.not_checked.append("whether the firmware is up to date: the policy has no min_tcb, and AMD signs no list")


def _check_policy(case: Case, report: SnpReport, reference: SnpReference) -> None:
    case.platform["configuration"] = case.tee["runtime_opaque"] = Tier.AFFIRMING
    if report.debug:
        case.allowed_debug(reference.allow_debug, "the guest's policy allows debugging: the host may use its memory")
    refused = {
        "its policy lets a migration agent move it": report.migratable and not reference.allow_migration,
        "its policy lets others run on the same core": report.smt and not reference.allow_smt,
        f"it was asked for at VMPL {report.vmpl}": report.vmpl not in reference.vmpl,
    }
    for problem in (problem for problem, holds in refused.items() if holds):
        case.platform["configuration"] = Tier.CONTRAINDICATED
        case.against("configuration", f"the guest is not set up as the policy demands: {problem}")


def _check_owner(case: Case, report: SnpReport, reference: SnpReference) -> None:
    found = {
        "host_data": (report.host_data.hex(), reference.host_data),
        "id_key_digest": (report.id_key_digest.hex(), reference.id_key_digest),
        "chip_id": (report.chip_id.hex(), reference.chip_id),
    }
    for name, (value, allowed) in found.items():
        if allowed and value not in allowed:
            case.against("measurement_mismatch", f"{name} is {value}, which the policy does not allow")
    if reference.chip_id:
        good = found["chip_id"][0] in reference.chip_id
        case.platform["instance_identity"] = Tier.AFFIRMING if good else Tier.CONTRAINDICATED
