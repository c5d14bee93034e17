"""TPMS_ATTEST of a TPM2_Quote, read strictly (TPM 2.0 Part 2, section 10.12.12), and the PCR digest that it signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from og_ros.errors import EvidenceError
from og_ros.evidence.tpm.wire import Reader

GENERATED: Final = 0xFF544347
"""TPM_GENERATED_VALUE: a restricted key signs nothing that begins with it, but what the TPM itself made."""

ATTEST_QUOTE: Final = 0x8018
ALG_SHA256: Final = 0x000B
PCR_COUNT: Final = 24
FIRST_RESETTABLE: Final = 16
"""From PCR 16 on, registers can be reset without a restart: 16 and 23 by anybody, the others by a higher locality."""

_MAX_NAME: Final = 68
_MAX_DATA: Final = 64


@dataclass(frozen=True, slots=True)
class Clock:
    """Times of the TPM: ms since it was cleared, its resets (restarts of the machine), and resumes since the last.

    `safe` is false when the clock may have gone back, after a loss of power.
    """

    clock_ms: int
    reset_count: int
    restart_count: int
    safe: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """What a TPM signed: who asked with what (`extra_data`), when, and the digest of which PCRs (SHA-256 bank)."""

    signer: bytes
    extra_data: bytes
    clock: Clock
    firmware: int
    pcrs: tuple[int, ...]
    pcr_digest: bytes


class NotGenerated(EvidenceError):
    """Signed data that no TPM made as a quote: a key that is not restricted signs such."""


def parse_quote(data: bytes) -> Quote:
    """Read a TPMS_ATTEST; raises NotGenerated for another magic or type, EvidenceError for what is malformed.

    One selection of the SHA-256 bank is allowed, of three bytes, with at least one PCR.
    """
    reader = Reader(data, "the TPM's attestation")
    magic, kind = reader.number(4), reader.number(2)
    if magic != GENERATED or kind != ATTEST_QUOTE:
        raise NotGenerated(f"magic {magic:#010x} and type {kind:#06x} are not those of a quote: no TPM quoted this")
    signer, extra_data = reader.sized(_MAX_NAME), reader.sized(_MAX_DATA)
    clock, resets, restarts, safe = reader.number(8), reader.number(4), reader.number(4), reader.number(1)
    if safe > 1:
        raise EvidenceError("the TPM's attestation is malformed: a yes-or-no of neither value")
    firmware = reader.number(8)
    if reader.number(4) != 1 or reader.number(2) != ALG_SHA256 or reader.number(1) != PCR_COUNT // 8:
        raise EvidenceError("the quote is not over one selection of the SHA-256 bank")
    selected = int.from_bytes(reader.take(PCR_COUNT // 8), "little")
    digest = reader.sized(_MAX_DATA)
    reader.end()
    pcrs = tuple(index for index in range(PCR_COUNT) if selected >> index & 1)
    if not pcrs or len(digest) != 32:
        raise EvidenceError("the quote selects no PCR, or its digest is not 32 bytes long")
    return Quote(signer, extra_data, Clock(clock, resets, restarts, bool(safe)), firmware, pcrs, digest)


def digest_of(pcrs: Sequence[int], values: Mapping[int, bytes]) -> bytes:
    """Return the digest that a quote over PCRs signs: SHA-256 of their values, in order."""
    return sha256(b"".join(values[index] for index in sorted(pcrs))).digest()
