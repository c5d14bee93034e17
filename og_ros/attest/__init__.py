"""Attestation: statement, digest rule, keys, signer, verifier, session chain, COSE and CDR forms. Needs no ROS."""

from og_ros.attest.digest import digest
from og_ros.attest.session import Session
from og_ros.attest.signer import Signer, SoftwareSigner
from og_ros.attest.statement import (
    Algorithm,
    Attestation,
    Clock,
    DataReference,
    Disclosure,
    Mode,
    ModelReference,
    Runtime,
    Statement,
)
from og_ros.attest.verifier import verify, verify_signature
from og_ros.attest.wire import ATTESTATION_TYPE, decode_attestation, encode_attestation

__all__ = [
    "ATTESTATION_TYPE",
    "Algorithm",
    "Attestation",
    "Clock",
    "DataReference",
    "Disclosure",
    "Mode",
    "ModelReference",
    "Runtime",
    "Session",
    "Signer",
    "SoftwareSigner",
    "Statement",
    "decode_attestation",
    "digest",
    "encode_attestation",
    "verify",
    "verify_signature",
]
