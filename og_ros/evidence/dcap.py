"""Verifiers of `tdx` and `sgx`: quotes of Intel's DCAP, checked by dcap-qvl under a strict policy.

dcap-qvl's plain `verify` returns an outdated platform without raising; its `verify_with_policy` does not, and it alone
is used. Of a quote, header, body, keys and certificates are signed; what follows the root certificate is free, so
nothing here depends on it, and a quote's hash names nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates

from og_ros.errors import EvidenceError
from og_ros.evidence.appraisal import Appraisal, Tier
from og_ros.evidence.case import Case
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.reference import ReferenceValues
from og_ros.evidence.roots import cap_of

COLLATERAL: Final = "dcap"
"""Name of collateral: JSON with TCB info, QE identity and CRLs, as Intel's PCS gives them and dcap-qvl names them.

`dcap:<fmspc>`, in lower-case hex, is for one kind of platform.
"""

MAX_SIZE: Final = 65_536
# Intel's names; a revoked platform cannot be allowed.
STATUSES: Final = (
    "UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate",
    "OutOfDateConfigurationNeeded",
)  # fmt: skip
_TDX, _SGX = "tdx", "sgx"
_BODIES: Final = {_TDX: ("TD10", "TD15", "TD15Ex"), _SGX: ("SgxEnclave",)}
# What the claims call measurements, and what a body of dcap-qvl does: name, field, size in bytes.
_MEASURED: Final = {
    _TDX: {
        "mr_td": ("mr_td", 48), "rtmr0": ("rt_mr0", 48), "rtmr1": ("rt_mr1", 48), "rtmr2": ("rt_mr2", 48),
        "rtmr3": ("rt_mr3", 48), "mr_config_id": ("mr_config_id", 48), "mr_owner": ("mr_owner", 48),
        "mr_owner_config": ("mr_owner_config", 48), "td_attributes": ("td_attributes", 8),
    },
    _SGX: {"mr_enclave": ("mr_enclave", 32), "mr_signer": ("mr_signer", 32)},
}  # fmt: skip
# Without one of these, any code at all could be in the TEE: the others only add to them.
_IDENTITY: Final = {_TDX: ("mr_td",), _SGX: ("mr_enclave", "mr_signer")}


@dataclass(frozen=True)
class DcapReference:
    """What a policy expects of a TD or an enclave: measurements by name, and which platforms it takes."""

    measurements: Mapping[str, tuple[str, ...]]
    tcb_status: tuple[str, ...]
    grace_days: int
    min_tcb_evaluation: int
    rejected_advisories: tuple[str, ...]
    allow_debug: bool
    allow_smt: bool
    isv_prod_id: tuple[int, ...]
    min_isv_svn: int

    @classmethod
    def of(cls, policy: AppraisalPolicy, evidence_format: str) -> DcapReference:
        """Read it from a policy; raises PolicyError."""
        values = ReferenceValues(policy, evidence_format)
        named = {name: values.digests(name, size) for name, (_, size) in _MEASURED[evidence_format].items()}
        sgx = evidence_format == _SGX
        found = cls(
            measurements={name: allowed for name, allowed in named.items() if allowed},
            tcb_status=values.texts("tcb_status", ("UpToDate",), STATUSES),
            grace_days=values.numbers("grace_days", (3650,), 3650)[0],
            min_tcb_evaluation=values.numbers("min_tcb_evaluation", (0,), 10**6)[0],
            rejected_advisories=values.texts("rejected_advisories", ()),
            allow_debug=values.flag("allow_debug", False),
            allow_smt=values.flag("allow_smt", True),
            isv_prod_id=values.numbers("isv_prod_id", (), 65_535) if sgx else (),
            min_isv_svn=values.numbers("min_isv_svn", (0,), 65_535)[0] if sgx else 0,
        )
        values.end()
        return found


class DcapVerifier:
    """Appraises quotes of one kind, tdx or sgx."""

    def __init__(self, evidence_format: str) -> None:
        self._format = evidence_format

    @property
    def format(self) -> str:
        """Return the kind of its quotes."""
        return self._format

    def check_reference(self, policy: AppraisalPolicy) -> None:
        """Raise PolicyError when the policy's reference values for this format cannot be read."""
        DcapReference.of(policy, self._format)

    def appraise(self, evidence: Evidence, policy: AppraisalPolicy, now_ns: int) -> Appraisal:
        """Judge a quote; raises PolicyError for unreadable reference values, EvidenceError without dcap-qvl."""
        reference = DcapReference.of(policy, self._format)
        case = Case(evidence, policy, now_ns)
        case.check_format(self._format)
        library = _library()
        if len(evidence.document) > MAX_SIZE:
            return case.refused("malformed", f"the quote is over {MAX_SIZE} bytes long")
        try:
            quote = library.parse_quote(evidence.document)
            kind, fmspc = quote.quote_type().lower(), quote.fmspc().lower()
        except Exception as error:  # dcap-qvl raises ValueError, and for damaged certificates others
            return case.refused("malformed", f"the quote cannot be read: {_line(error)}")
        if kind != self._format:
            return case.refused("malformed", f"the quote is of {kind}")
        collateral = policy.collateral.get(f"{COLLATERAL}:{fmspc}") or policy.collateral.get(COLLATERAL)
        if collateral is None:
            return case.refused(
                "no_collateral", f"there is no collateral ({COLLATERAL}) for platforms of FMSPC {fmspc}"
            )
        try:
            parsed = library.QuoteCollateralV3.from_json(collateral.decode())
        except ValueError as error:
            return case.refused("malformed_collateral", f"the collateral cannot be read: {_line(error)}")
        root = _root_of(parsed, policy)
        if root is None:
            return case.refused("unknown_root", "the collateral's chain does not end at a trusted root")
        try:
            found = _verify(library, evidence.document, parsed, policy.roots.get(root), reference, now_ns)
        except EvidenceError as error:
            return case.refused(_code(str(error)), str(error))
        return _judge(case, self._format, found, root, fmspc, reference)


TDX: Final = DcapVerifier(_TDX)
SGX: Final = DcapVerifier(_SGX)


def _library() -> Any:
    try:
        import dcap_qvl
    except ImportError as error:
        raise EvidenceError("evidence of TDX and SGX needs dcap-qvl: pip install og_ros[dcap]") from error
    return dcap_qvl


def _root_of(collateral: Any, policy: AppraisalPolicy) -> str | None:
    """Return the name of the policy's root that the collateral's chain ends at, or None; `intel`: dcap-qvl's own."""
    if not policy.roots:
        return "intel"
    try:
        top = load_pem_x509_certificates(collateral.tcb_info_issuer_chain.encode())[-1].public_bytes(Encoding.DER)
    except ValueError:
        return None
    return next((name for name, root in policy.roots.items() if root == top), None)


def _verify(
    library: Any, quote: bytes, collateral: Any, root: bytes | None, reference: DcapReference, now_ns: int
) -> dict[str, Any]:
    """Return dcap-qvl's claims under a root, Intel's by default; raises EvidenceError with its reason."""
    now_s = now_ns // 10**9
    demands = library.QuotePolicy.strict(now_s)
    # Properties of every server with two processors, no faults; the claims show them.
    demands = demands.allow_dynamic_platform(True).allow_cached_keys(True).allow_smt(reference.allow_smt)
    demands = demands.accepted_sgx_types([0, 1, 2]).min_tcb_eval_data_number(reference.min_tcb_evaluation)
    # For statuses that are allowed and say "out of date": how long ago the platform's state was the newest.
    grace_s = reference.grace_days * 86_400
    demands = demands.platform_grace_period(grace_s).qe_grace_period(grace_s)
    for status in reference.tcb_status:
        demands = demands.allow_status(status)
    if reference.rejected_advisories:
        demands = demands.reject_advisories(list(reference.rejected_advisories))
    try:
        claims = library.QuoteVerifier(root).verify_with_policy(quote, collateral, now_s, demands).to_json()
    except Exception as error:  # dcap-qvl raises ValueError, and for damaged certificates others
        raise EvidenceError(_line(error)) from error
    found: dict[str, Any] = json.loads(claims)
    return found


def _judge(case: Case, kind: str, found: dict[str, Any], root: str, fmspc: str, reference: DcapReference) -> Appraisal:
    body = next((found["report"][name] for name in _BODIES[kind] if name in found["report"]), None)
    if body is None:
        return case.refused("malformed", "the quote's body is of a kind that is not known here")
    body = {**body.get("base", {}), **body}  # newer bodies hold the older one in a field
    case.cap = cap_of(case.policy, root)
    case.until(min(found["earliest_expiration_date"], found["qe_iden_earliest_expiration_date"]) * 10**9 - 1)
    status = found["tcb"]["status"]
    case.platform["hardware"] = Tier.AFFIRMING
    if status != "UpToDate":
        case.platform["hardware"] = Tier.WARNING
        advisories = ", ".join(found["tcb"]["advisory_ids"]) or "none"
        case.against(
            "tcb_status", f"the platform is {status}, which the policy allows; advisories: {advisories}", Tier.WARNING
        )
    attributes = bytes.fromhex(body["td_attributes" if kind == _TDX else "attributes"])
    debug = bool(attributes[0]) if kind == _TDX else bool(attributes[0] & 0x02)
    case.tee["runtime_opaque"] = Tier.AFFIRMING
    if debug:
        case.allowed_debug(reference.allow_debug, f"the {kind.upper()} runs in debug mode: the host may use its memory")
    measured = {name: body[field] for name, (field, _) in _MEASURED[kind].items()}
    case.claims |= {
        "root": root,
        "fmspc": fmspc,
        "tcb_status": status,
        "advisories": found["tcb"]["advisory_ids"],
        "tcb_evaluation": found["tcb"]["eval_data_number"],
        "debug": debug,
        "attributes": attributes.hex(),
        "report_data": body["report_data"],
        **measured,
    }
    if kind == _SGX:
        _check_enclave(case, body, reference)
    else:
        case.claims["tee_tcb_svn"] = body["tee_tcb_svn"]
    _check_software(case, kind, measured, reference)
    if not case.check_nonce():
        case.not_checked.append("when the quote was made: nobody asked with a nonce, and a quote holds no time")
    bound = case.expected_binding()
    case.check_bound(bytes.fromhex(body["report_data"]), bound + bytes(32) if bound else None, "REPORTDATA")
    return case.close()


def _check_enclave(case: Case, body: Mapping[str, Any], reference: DcapReference) -> None:
    product, version = body["isv_prod_id"], body["isv_svn"]
    case.claims |= {"isv_prod_id": product, "isv_svn": version}
    if reference.isv_prod_id and product not in reference.isv_prod_id:
        case.against("measurement_mismatch", f"isv_prod_id is {product}, which the policy does not allow")
    if version < reference.min_isv_svn:
        case.against("out_of_date", f"isv_svn is {version}, below what the policy allows")
    if "mr_enclave" not in reference.measurements and not reference.isv_prod_id:
        case.not_checked.append("which of the signer's enclaves it is: the policy has no mr_enclave or isv_prod_id")


def _check_software(case: Case, kind: str, measured: dict[str, str], reference: DcapReference) -> None:
    case.check_measurements(measured, dict(reference.measurements))
    if case.measured and not any(name in reference.measurements for name in _IDENTITY[kind]):
        case.measured = False
        case.tee["executables"] = Tier.NONE
        case.not_checked.append(f"which software runs: the policy has no {' or '.join(_IDENTITY[kind])}")
    registers = [f"rtmr{number}" for number in range(4)] if kind == _TDX else []
    free = [name for name in registers if name not in reference.measurements]
    if case.measured and free:
        case.not_checked.append(f"what was started after the firmware: the policy leaves {', '.join(free)} open")


def _code(problem: str) -> str:
    """Return the reason's code for what dcap-qvl says."""
    text = problem.lower()
    codes = {
        "certificate_expired": ("expired", "in the future", "not yet valid", "notvalidyet"),
        "tcb_status": ("tcb status", "not acceptable", "advisory", "tcb evaluation", "eval data number", "too old"),
        "debug": ("debug",),
        "revoked": ("revoked",),
        "unknown_root": ("unknown issuer", "unknownissuer", "root ca"),
        "certificate_invalid": ("certificate chain",),
        "bad_signature": ("signature",),
    }
    return next((code for code, words in codes.items() if any(word in text for word in words)), "malformed")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200].removeprefix("Verification failed: ")
