"""The real evidence in test/data/evidence, each with the policy that it needs and the time that it is judged at."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

from og_ros.evidence.binding import Context
from og_ros.evidence.interface import AppraisalPolicy, Evidence

DATA = Path(__file__).resolve().parents[1] / "data" / "evidence"
SECOND = 10**9
DAY = 86_400 * SECOND
NITRO_AT = 1_770_918_962_724 * 10**6 + 60 * SECOND
DCAP_AT = 1_750_332_747 * SECOND
SNP_AT = 1_700_000_000 * SECOND
NONCE = bytes(range(32))
CONTEXT = Context("amr-1", "planning", bytes(range(32)))


def nitro_document() -> bytes:
    return base64.b64decode((DATA / "opengradient_attestation_doc.b64").read_bytes())


def bare(evidence_format: str, document: bytes) -> Evidence:
    """A vendor's document, with no key to look for."""
    return Evidence(evidence_format, document, b"", b"", Context("", ""), 0)


def dcap_policy(kind: str, **values: Any) -> AppraisalPolicy:
    collateral = {"dcap": (DATA / f"{kind}_quote_collateral.json").read_bytes()}
    return AppraisalPolicy(collateral=collateral, reference_values={kind: values})


def snp_policy(**values: Any) -> AppraisalPolicy:
    vcek, ask = (DATA / "vcek.testcer").read_bytes(), (DATA / "ask_ark_milan.pem").read_bytes()
    return AppraisalPolicy(collateral={"sev-snp/vcek": vcek, "sev-snp/ask": ask}, reference_values={"sev-snp": values})


def under(policy: AppraisalPolicy, root: bytes, test: bool = True) -> AppraisalPolicy:
    """A policy that trusts one root, as a test root unless it says otherwise."""
    return replace(policy, roots={"made": root}, test_roots=frozenset({"made"} if test else ()))


def codes(appraisal: Any) -> list[str]:
    return [reason.code for reason in appraisal.reasons]


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
