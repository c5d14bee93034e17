"""Evidence in words: what a document says before anything is checked, what its format proves, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from og_ros.errors import EvidenceError
from og_ros.evidence import nitro_document, snp_report, software
from og_ros.evidence.case import utc
from og_ros.evidence.interface import Evidence


@dataclass(frozen=True)
class Worth:
    """What evidence of a format is, what it proves once a verifier accepts it, and what it never does."""

    what: str
    proves: tuple[str, ...]
    does_not: tuple[str, ...]


_MODEL: Final = "that the model's answers are right, or that the sensors told the truth"

WORTH: Final[Mapping[str, Worth]] = {
    "software": Worth(
        "a statement that the key signed about itself",
        ("whoever holds the key named this robot, stage and manifest at this time",),
        (
            "where the key lives: a copy elsewhere makes the same statement, and so does one that says it is a token's",
            "which software runs: the manifest is the key's word",
            _MODEL,
        ),
    ),
    "aws-nitro": Worth(
        "an attestation document that AWS's Nitro hypervisor signed for an enclave",
        (
            "the enclave was started from the image whose PCRs it shows",
            "software in that enclave asked to have this key, nonce, robot, stage and manifest signed, at this time",
        ),
        (
            "that the image keeps its key to itself: read the image, or trust whoever built it",
            "whose account runs it, and what the host feeds it",
            _MODEL,
        ),
    ),
    "tdx": Worth(
        "a quote that an Intel processor's TDX module made for a virtual machine",
        (
            "the virtual machine began with the firmware of MRTD, and extended what followed into its RTMRs",
            "software in it asked to have this key, nonce, robot, stage and manifest signed",
        ),
        (
            "what was started after the firmware, unless the policy expects values of the RTMRs",
            "that the guest keeps its key to itself; and when, unless somebody asked with a nonce",
            "anything against who can open the processor, or knows of a flaw that Intel does not",
            _MODEL,
        ),
    ),
    "sgx": Worth(
        "a quote that an Intel processor made for an SGX enclave",
        (
            "the enclave is the one that MRENCLAVE names, signed by MRSIGNER",
            "code in it asked to have this key, nonce, robot, stage and manifest signed",
        ),
        (
            "that the enclave keeps its key to itself; and when, unless somebody asked with a nonce",
            "anything against who can open the processor, or knows of a flaw that Intel does not",
            _MODEL,
        ),
    ),
    "sev-snp": Worth(
        "a report that an AMD processor's firmware signed for a virtual machine",
        (
            "the virtual machine began with the memory that MEASUREMENT is the digest of",
            "software in it, at the VMPL given, asked to have this key, nonce, robot, stage and manifest signed",
        ),
        (
            "what was loaded after launch: with a plain disk image, MEASUREMENT names the firmware alone",
            "that the guest keeps its key to itself; and when, unless somebody asked with a nonce",
            "anything against who can open the processor, or knows of a flaw that AMD does not",
            _MODEL,
        ),
    ),
}


def says(evidence: Evidence) -> dict[str, Any]:
    """Return what a document says of itself, unchecked; raises EvidenceError when it cannot be read.

    Empty for a format that is not known here.
    """
    readers = {
        "software": _software, "aws-nitro": _nitro, "sev-snp": _snp, "tdx": _dcap, "sgx": _dcap,
    }  # fmt: skip
    reader = readers.get(evidence.format)
    return reader(evidence.document) if reader else {}


def _software(document: bytes) -> dict[str, Any]:
    bound, made_ns, provenance, _ = software.read(document)
    return {"time": utc(made_ns), "key_provenance_claimed": provenance, "binding": bound.hex()}


def _nitro(document: bytes) -> dict[str, Any]:
    found = nitro_document.parse(document)
    said: dict[str, Any] = {"module_id": found.module_id, "time": utc(found.time_ns), "debug": found.debug}
    said |= {f"PCR{number}": value.hex() for number, value in sorted(found.pcrs.items()) if any(value)}
    for name in ("user_data", "nonce", "public_key"):
        if value := getattr(found, name):
            said[name] = value.hex()
    return said


def _snp(document: bytes) -> dict[str, Any]:
    found = snp_report.parse(document[: snp_report.SIZE])
    return {
        "version": found.version,
        "measurement": found.measurement.hex(),
        "report_data": found.report_data.hex(),
        "host_data": found.host_data.hex(),
        "vmpl": found.vmpl,
        "debug": found.debug,
        "migratable": found.migratable,
        "reported_tcb": found.reported_tcb.hex(),
        "certificates_with_it": len(document) > snp_report.SIZE,
    }


def _dcap(document: bytes) -> dict[str, Any]:
    try:
        import dcap_qvl
    except ImportError as error:
        raise EvidenceError("quotes of TDX and SGX are read by dcap-qvl: pip install og_ros[dcap]") from error
    try:
        quote = dcap_qvl.parse_quote(document)
        said: dict[str, Any] = {"kind": quote.quote_type(), "fmspc": quote.fmspc().lower()}
    except Exception as error:  # dcap-qvl raises ValueError, and for damaged certificates others
        raise EvidenceError(f"the quote cannot be read: {' '.join(str(error).split())[:100]}") from error
    names = ("mr_td", "rt_mr0", "rt_mr1", "rt_mr2", "rt_mr3", "td_attributes", "mr_enclave", "mr_signer", "attributes")
    for name in (*names, "report_data"):
        value = getattr(quote.report, name, None)
        if isinstance(value, bytes):
            said[name] = value.hex()
    return said
