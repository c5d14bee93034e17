"""What evidence is bound to: one digest of nonce, key and context, the same for every format."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import cbor2

from og_ros.errors import EvidenceError

DOMAIN: Final = b"og_ros/evidence/v1\x00"
NONCE_SIZES: Final = range(16, 65)


@dataclass(frozen=True, slots=True)
class Context:
    """Whose key it is: names as in the registry, and the SHA-256 of the environment's manifest (32 zeros: none)."""

    robot: str
    stage: str
    manifest: bytes = bytes(32)


def binding(evidence_format: str, nonce: bytes, key: bytes, context: Context) -> bytes:
    """Return the 32 bytes that evidence of a format must carry for a key (SPKI DER), in the field its platform signs.

    It goes into qualifyingData of a TPM quote, user_data of a Nitro document, and the first half of REPORTDATA of TDX,
    SGX and SEV-SNP, whose second half is zero. Raises EvidenceError for a nonce or a manifest digest of another size.
    """
    if len(nonce) not in NONCE_SIZES:
        raise EvidenceError(f"the nonce is {len(nonce)} bytes long; it must be {NONCE_SIZES[0]} to {NONCE_SIZES[-1]}")
    if len(context.manifest) != 32:
        raise EvidenceError("the manifest's digest must be 32 bytes long")
    item = [evidence_format, nonce, sha256(key).digest(), context.robot, context.stage, context.manifest]
    return sha256(DOMAIN + cbor2.dumps(item, canonical=True)).digest()
