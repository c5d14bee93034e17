"""Harnesses of evidence of TEEs, tokens and software, and of what is said of it; see harnesses.py."""

from __future__ import annotations

import contextlib
from pathlib import Path

from evidence_vectors import NITRO_AT, SNP_AT, bare

from og_ros.attest.pkcs11_signer import TokenKey
from og_ros.errors import OgError
from og_ros.evidence import ear, evidence_file, explain, snp_certificates, snp_report, software
from og_ros.evidence.interface import AppraisalPolicy, verifier
from og_ros.evidence.policy_digest import policy_digest
from og_ros.evidence.policy_file import parse_policy


def fuzz_evidence_file(data: bytes) -> None:
    """A file of evidence has one form."""
    evidence = evidence_file.decode(data)
    assert evidence_file.encode(evidence) == data
    with contextlib.suppress(OgError):
        explain.says(evidence)


def fuzz_nitro_document(data: bytes) -> None:
    """A Nitro document is judged, whatever it is, and tells what it claims where it can be read."""
    evidence = bare("aws-nitro", data)
    assert verifier("aws-nitro").appraise(evidence, AppraisalPolicy(), NITRO_AT).level() == "none"
    assert explain.says(evidence)


def fuzz_snp_report(data: bytes) -> None:
    """An SEV-SNP report, with the certificates that may follow it."""
    evidence = bare("sev-snp", data)
    assert verifier("sev-snp").appraise(evidence, AppraisalPolicy(), SNP_AT).level() == "none"
    with contextlib.suppress(OgError):
        assert all(snp_certificates.read_table(data[snp_report.SIZE :]).values())
    snp_report.parse(data[: snp_report.SIZE])


def fuzz_software_statement(data: bytes) -> None:
    """A key's statement about itself."""
    bound, made_ns, provenance, signature = software.read(data)
    assert len(bound) == 32
    assert made_ns >= 0
    assert provenance
    assert signature


def fuzz_ear(data: bytes) -> None:
    """The claims of an EAR as JSON: what is read is written again to what reads the same."""
    found = ear.from_claims(ear.load_json(data))
    assert ear.from_claims(ear.to_claims(found)) == found


def fuzz_appraisal_policy(data: bytes) -> None:
    """A policy names no file that is not there, and has a digest."""
    assert policy_digest(parse_policy(data, "it.yaml", Path("/nonexistent")))


def fuzz_pkcs11_uri(data: bytes) -> None:
    """A URI names one key, and holds no PIN."""
    found = TokenKey.parse(data.decode("utf-8", "replace"))
    assert found.token or found.serial
    assert found.label or found.id
