"""Times the appraisal of evidence: each format's real document, beside the signatures alone that it rests on.

    python bench/evidence.py

Floor: as many verifications of the same kind of signature as the format has, by `cryptography`. The best of 50 runs
each, milliseconds, so with the vendor's certificates known from the run before: they are verified once a process. An
appraisal happens once a key and renewal, on no hot path.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "support"))

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from evidence_vectors import DATA, DCAP_AT, NITRO_AT, SNP_AT, bare, dcap_policy, nitro_document, snp_policy

from og_ros.evidence.interface import AppraisalPolicy, verifier


def best(action: Callable[[], object], runs: int = 50) -> float:
    """Return the shortest of some runs, ms."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times) * 1e3


def p384() -> Callable[[], None]:
    """Return a verification of ECDSA P-384."""
    key = ec.generate_private_key(ec.SECP384R1())
    signature = key.sign(b"it", ec.ECDSA(hashes.SHA384()))
    public = key.public_key()
    return lambda: public.verify(signature, b"it", ec.ECDSA(hashes.SHA384()))


def p256() -> Callable[[], None]:
    """Return a verification of ECDSA P-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    signature = key.sign(b"it", ec.ECDSA(hashes.SHA256()))
    public = key.public_key()
    return lambda: public.verify(signature, b"it", ec.ECDSA(hashes.SHA256()))


def rsa4096() -> Callable[[], None]:
    """Return a verification of RSASSA-PSS with 4096 bits."""
    key = rsa.generate_private_key(65537, 4096)
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
    signature = key.sign(b"it", pss, hashes.SHA384())
    public = key.public_key()
    return lambda: public.verify(signature, b"it", pss, hashes.SHA384())


def main() -> int:
    """Print a row a format."""
    report = (DATA / "attestation.bin").read_bytes()
    rows: list[tuple[str, bytes, AppraisalPolicy, int, list[tuple[int, Callable[[], None]]]]] = [
        ("aws-nitro", nitro_document(), AppraisalPolicy(), NITRO_AT, [(6, p384())]),
        ("sev-snp", report, snp_policy(), SNP_AT, [(1, p384()), (3, rsa4096())]),
        ("tdx", (DATA / "tdx_quote").read_bytes(), dcap_policy("tdx"), DCAP_AT, [(9, p256())]),
        ("sgx", (DATA / "sgx_quote").read_bytes(), dcap_policy("sgx"), DCAP_AT, [(9, p256())]),
    ]
    print(f"{'format':<10} {'appraisal ms':>13} {'signatures ms':>14} {'ratio':>6}")
    for name, document, policy, at_ns, signatures in rows:
        judge = verifier(name)
        took = best(partial(judge.appraise, bare(name, document), policy, at_ns))
        floor = sum(count * best(verify) for count, verify in signatures)
        print(f"{name:<10} {took:>13.2f} {floor:>14.2f} {took / floor:>6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
