"""Every single bit of what is signed, turned: each document is refused.

A bit costs a check on P-384, or three on P-256, and there are 64,000: so `make every-bit` (OG_ROS_EVERY_BIT=1) puts
every bit of all four documents to the whole verifier, and every bit of the certificates in quotes. Each other run puts
one bit of each byte to it, another bit in the next byte, and checks for every bit of the Nitro document what its
signature rests on: that the document is malformed, or that the bytes to be signed are others.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from evidence_vectors import (
    DATA,
    DCAP_AT,
    NITRO_AT,
    SNP_AT,
    bare,
    codes,
    dcap_policy,
    flipped,
    nitro_document,
    snp_policy,
)

from og_ros.errors import EvidenceError
from og_ros.evidence.appraisal import Tier
from og_ros.evidence.interface import AppraisalPolicy, verifier
from og_ros.evidence.nitro_document import parse

EVERY = os.environ.get("OG_ROS_EVERY_BIT") == "1"
needs_time = pytest.mark.skipif(not EVERY, reason="takes minutes: make every-bit")
REFUSALS = {"malformed", "bad_signature", "certificate_invalid", "certificate_expired", "unknown_root"}
LAX = {"tdx": {}, "sgx": {"tcb_status": ["UpToDate", "ConfigurationAndSWHardeningNeeded"]}}
# Spans of bytes that are signed, in the two kinds of quote: header and body; signature and attestation key; QE report,
# its signature, length of the QE's data, and those. Between them lie sizes, which the parser takes as they come.
SPANS = {"tdx": ((0, 632), (636, 764), (770, 1252)), "sgx": ((0, 432), (436, 1046))}
COUNTS = {"tdx": 9936, "sgx": 8336}
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")  # of a certificate with a bit turned


def bits(*spans: tuple[int, int]) -> Iterable[int]:
    """Every bit of some spans of bytes."""
    return (bit for begin, end in spans for bit in range(8 * begin, 8 * end))


def one_of_each_byte(*spans: tuple[int, int]) -> Iterable[int]:
    return (8 * at + at % 8 for begin, end in spans for at in range(begin, end))


def whole(kind: str, policy: AppraisalPolicy, at: int) -> Callable[[bytes], bool]:
    """Whether the whole verifier refuses a document, for a reason that damage gives."""

    judge = verifier(kind)

    def refused(document: bytes) -> bool:
        found = judge.appraise(bare(kind, document), policy, at)
        return bool(set(codes(found)) & REFUSALS) and found.status("platform") == Tier.CONTRAINDICATED

    return refused


def check(document: bytes, refused: Callable[[bytes], bool], which: Iterable[int]) -> int:
    """Check that a document is refused with each of some bits turned, and is not as it is; returns their number."""
    assert not refused(document)
    turned = list(which)
    assert [bit for bit in turned if not refused(flipped(document, bit))] == []
    return len(turned)


def test_sev_snp_one_bit_of_each_byte() -> None:
    """Of the signed 672 bytes and the signature; what follows must be zero."""
    refused = whole("sev-snp", snp_policy(allow_debug=True), SNP_AT)
    assert check((DATA / "attestation.bin").read_bytes(), refused, one_of_each_byte((0, 1184))) == 1184


@pytest.mark.parametrize("kind", ["tdx", "sgx"])
def test_quotes_one_bit_of_each_byte(kind: str) -> None:
    pytest.importorskip("dcap_qvl", reason="dcap-qvl is not installed")
    refused = whole(kind, dcap_policy(kind, **LAX[kind]), DCAP_AT)
    assert check((DATA / f"{kind}_quote").read_bytes(), refused, one_of_each_byte(*SPANS[kind])) == COUNTS[kind] // 8


def test_the_nitro_document_one_bit_of_each_byte() -> None:
    refused = whole("aws-nitro", AppraisalPolicy(), NITRO_AT)
    assert check(nitro_document(), refused, one_of_each_byte((0, 4556))) == 4556


def test_the_nitro_document_every_bit_changes_what_is_signed() -> None:
    document = nitro_document()
    good = parse(document)
    signed, signature = hashlib.sha384(good.signed_bytes()).digest(), good.signature
    kept = []
    for bit in bits((0, len(document))):
        try:
            other = parse(flipped(document, bit))
        except EvidenceError:
            continue
        same = hashlib.sha384(other.signed_bytes()).digest() == signed
        if same and other.signature == signature:
            kept.append(bit)
    assert kept == []


@needs_time
def test_the_nitro_document_every_bit() -> None:
    assert check(nitro_document(), whole("aws-nitro", AppraisalPolicy(), NITRO_AT), bits((0, 4556))) == 36_448


@needs_time
@pytest.mark.parametrize("kind", ["tdx", "sgx"])
def test_quotes_every_bit(kind: str) -> None:
    pytest.importorskip("dcap_qvl", reason="dcap-qvl is not installed")
    refused = whole(kind, dcap_policy(kind, **LAX[kind]), DCAP_AT)
    assert check((DATA / f"{kind}_quote").read_bytes(), refused, bits(*SPANS[kind])) == COUNTS[kind]


@needs_time
def test_sev_snp_every_bit() -> None:
    refused = whole("sev-snp", snp_policy(allow_debug=True), SNP_AT)
    assert check((DATA / "attestation.bin").read_bytes(), refused, bits((0, 1184))) == 9472


@needs_time
@pytest.mark.parametrize("kind", ["tdx", "sgx"])
def test_the_certificates_of_quotes(kind: str) -> None:
    """Of their DER: the PEM around it has line ends and words that are free."""
    pytest.importorskip("dcap_qvl", reason="dcap-qvl is not installed")
    quote = (DATA / f"{kind}_quote").read_bytes()
    refused = whole(kind, dcap_policy(kind, **LAX[kind]), DCAP_AT)
    leaf, issuer, _ = x509.load_pem_x509_certificates(quote[quote.index(b"-----BEGIN") :])
    for certificate in (leaf, issuer):  # the root's own is free: it is trusted for being the root
        pem = certificate.public_bytes(Encoding.PEM)
        der = certificate.public_bytes(Encoding.DER)
        assert quote.count(pem) == 1

        def inside(der: bytes, pem: bytes = pem) -> bytes:
            text = base64.b64encode(der)
            lines = b"".join(text[at : at + 64] + b"\n" for at in range(0, len(text), 64))
            return quote.replace(pem, b"-----BEGIN CERTIFICATE-----\n" + lines + b"-----END CERTIFICATE-----\n")

        assert inside(der) == quote
        assert check(der, lambda changed, inside=inside: refused(inside(changed)), bits((0, len(der)))) == 8 * len(der)
