"""C2SP log proofs (c2sp.org/tlog-proof): one leaf's inclusion, self-contained with its checkpoint, to check offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from og_ros.errors import LogError
from og_ros.log.checkpoint import Checkpoint, open_checkpoint, parse_decimal
from og_ros.log.merkle import HASH_SIZE, leaf_hash, verify_inclusion
from og_ros.log.note import MAX_NOTE_BYTES, VerifierKey, decode_base64, encode_base64

HEADER = "c2sp.org/tlog-proof@v1"
_MAX_HASHES = 63  # a tree of 2^63 - 1 leaves is 63 nodes high
_MAX_BYTES = 2 * MAX_NOTE_BYTES


@dataclass(frozen=True, slots=True)
class LogProof:
    """A parsed proof: leaf index, sibling hashes from the leaf up, the checkpoint note verbatim, and extra data.

    Nothing in it is to be trusted before `verify_proof`; ``extra`` is not authenticated even then.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None


def format_proof(index: int, hashes: Sequence[bytes], checkpoint: str, extra: bytes | None = None) -> str:
    """Write a proof; ``checkpoint`` is the signed note, cosignatures and all. The file name ends in ``.tlog-proof``."""
    lines = [HEADER]
    if extra is not None:
        lines.append(f"extra {encode_base64(extra)}")
    lines.append(f"index {index}")
    lines.extend(encode_base64(value) for value in hashes)
    return "\n".join(lines) + "\n\n" + checkpoint


def parse_proof(text: str | bytes) -> LogProof:
    """Read a proof, strictly. Raises LogError; checks neither signature nor hashes."""
    if len(text) > _MAX_BYTES:
        raise LogError(f"log proof is longer than {_MAX_BYTES} bytes")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise LogError(f"log proof is not UTF-8: {error}") from None
    head, blank, checkpoint = text.partition("\n\n")
    if not blank:
        raise LogError("log proof has no empty line before a checkpoint")
    lines = head.split("\n")
    if lines.pop(0) != HEADER:
        raise LogError(f"log proof does not start with {HEADER!r}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "), "log proof: extra data")
    if not lines or not lines[0].startswith("index "):
        raise LogError("log proof has no index line")
    index = parse_decimal(lines.pop(0).removeprefix("index "), "log proof: index")
    if len(lines) > _MAX_HASHES:
        raise LogError(f"log proof has {len(lines)} hashes, more than {_MAX_HASHES}")
    hashes = tuple(decode_base64(line, f"log proof: hash {n}") for n, line in enumerate(lines))
    for n, value in enumerate(hashes):
        if len(value) != HASH_SIZE:
            raise LogError(f"log proof: hash {n} has {len(value)} bytes, not {HASH_SIZE}")
    return LogProof(index, hashes, checkpoint, extra)


def verify_proof(
    leaf: bytes, proof: str | bytes | LogProof, key: VerifierKey | str, origin: str | None = None
) -> Checkpoint:
    """Check that ``leaf`` (the bytes as logged) is in the log that ``key`` signs; the checkpoint that covers it.

    The signature is checked before the hashes. ``origin``: see `open_checkpoint`. Raises LogError with the reason.
    """
    parsed = proof if isinstance(proof, LogProof) else parse_proof(proof)
    checkpoint = open_checkpoint(parsed.checkpoint, key, origin)
    verify_inclusion(leaf_hash(leaf), parsed.index, checkpoint.size, parsed.hashes, checkpoint.root)
    return checkpoint
