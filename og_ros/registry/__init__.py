"""Which models and which keys are certified, by whom, since when, revoked when: a directory of signed files.

    roots/N.dsse.json                        the authorities: names, keys, roles; its SHA-256 is what an auditor pins
    models/NAME@VERSION.dsse.json            a model's digest, where and when it may run
    keys/ID.dsse.json                        a key, for which robot, stage and role, from when to when
    revocations/KIND-ID-TIME.dsse.json       a key or model that is worth nothing from a time on
    signatures/DIGEST.sigstore.json          a vendor's OpenSSF model signature behind a model certificate
    index.dsse.json                          every file above with its SHA-256; replaced last, at one stroke

Every file but a vendor's is a DSSE envelope, signed by an authority with the role for it, and never changes.
"""

from og_ros.registry.certificate import (
    KEY_ROLES,
    ROBOT_ROLES,
    ROLES,
    Admission,
    Authority,
    KeyCertificate,
    ModelCertificate,
    Revocation,
    Status,
    VendorSignature,
)
from og_ros.registry.registry import Registry
from og_ros.registry.writer import RegistryWriter

__all__ = [
    "KEY_ROLES",
    "ROBOT_ROLES",
    "ROLES",
    "Admission",
    "Authority",
    "KeyCertificate",
    "ModelCertificate",
    "Registry",
    "RegistryWriter",
    "Revocation",
    "Status",
    "VendorSignature",
]
