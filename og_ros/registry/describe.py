"""A registry as plain data for JSON: what the commands print and a program may read."""

from __future__ import annotations

from typing import Any

from og_ros.registry.certificate import Authority, KeyCertificate, ModelCertificate
from og_ros.registry.entry import encode_admission, format_digest
from og_ros.registry.registry import Registry
from og_ros.registry.timestamp import format_time


def describe_registry(registry: Registry, at_ns: int) -> dict[str, Any]:
    """Return the whole registry; `status` of its certificates is that at a time in ns since 1970."""
    return {
        "registry": registry.name,
        "root": registry.fingerprint,
        "pinned": registry.pinned,
        "number": registry.number,
        "issued_at": format_time(registry.issued_at_ns),
        "authorities": [describe_authority(authority) for authority in registry.authorities],
        "models": [describe_model(model, at_ns) for model in registry.models],
        "keys": [describe_key(key, at_ns) for key in registry.keys.values()],
    }


def describe_authority(authority: Authority) -> dict[str, Any]:
    """Return an authority."""
    return {
        "name": authority.name,
        "key_id": authority.key_id.hex(),
        "roles": list(authority.roles),
        "public_key": authority.public_key_pem,
    }


def describe_model(model: ModelCertificate, at_ns: int) -> dict[str, Any]:
    """Return a model certificate with its status at a time; `vendor_signature` says what a vendor signed, or null."""
    vendor = model.vendor_signature
    return {
        "name": model.name,
        "version": model.version,
        "digest": format_digest(model.digest),
        "status": model.status(at_ns).value,
        "stages": list(model.stages),
        "not_before": format_time(model.not_before_ns),
        "not_after": _time(model.not_after_ns),
        "certifier": model.certifier,
        "processing_digest": None if model.processing_digest is None else format_digest(model.processing_digest),
        "notes": model.notes,
        "vendor_signature": vendor
        and {
            "signed_by": model.certifier,
            "signed_name": vendor.subject,
            "signed_file": vendor.resource,
            "named_here_by": vendor.registered_by,
            "bundle": format_digest(vendor.bundle_digest),
        },
        "revoked_at": _time(model.revoked_at_ns),
        "revocation_reason": model.revocation_reason,
    }


def describe_key(key: KeyCertificate, at_ns: int) -> dict[str, Any]:
    """Return a key certificate with its status at a time; `evidence` is what its certifier found, or null."""
    return {
        "key_id": key.key_id.hex(),
        "algorithm": key.algorithm.name,
        "status": key.status(at_ns).value,
        "role": key.role,
        "robot": key.robot,
        "stage": key.stage,
        "vendor": key.vendor,
        "origin": key.origin,
        "topics": list(key.topics),
        "post_quantum": key.post_quantum_pem or None,
        "not_before": format_time(key.not_before_ns),
        "not_after": _time(key.not_after_ns),
        "certifier": key.certifier,
        "public_key": key.public_key_pem,
        "evidence": None if key.admission is None else encode_admission(key.admission),
        "revoked_at": _time(key.revoked_at_ns),
        "revocation_reason": key.revocation_reason,
    }


def _time(nanoseconds: int | None) -> str | None:
    return None if nanoseconds is None else format_time(nanoseconds)
