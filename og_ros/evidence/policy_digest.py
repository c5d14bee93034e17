"""The digest that names an appraisal policy in a result: equal policies have one digest, however they were written."""

from __future__ import annotations

import json
from hashlib import sha256

from og_ros.evidence.interface import AppraisalPolicy


def policy_digest(policy: AppraisalPolicy) -> str:
    """Return SHA-256 (hex) of what a policy demands, as JSON with sorted keys and without spaces.

    Roots count by their SHA-256. Nonce and collateral are no part of it: they belong to one question and to one day.
    """
    demands = {
        "version": 1,
        "roots": {name: sha256(root).hexdigest() for name, root in policy.roots.items()},
        "test_roots": sorted(policy.test_roots),
        "reference_values": policy.reference_values,
        "max_age_s": float(policy.max_age_s),
        "max_skew_s": float(policy.max_skew_s),
    }
    return sha256(json.dumps(demands, sort_keys=True, separators=(",", ":"), default=_plain).encode()).hexdigest()


def _plain(value: object) -> object:
    """Return what JSON has no word for: sets in order, bytes as hex, mappings that are no dict."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if hasattr(value, "items"):
        return dict(value.items())
    return str(value)
