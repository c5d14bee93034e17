"""C2SP checkpoints (c2sp.org/tlog-checkpoint): the signed statement of a log's origin, size and root hash."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.errors import LogError
from og_ros.log.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE
from og_ros.log.note import VerifierKey, decode_base64, encode_base64, parse_note, sign_note


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the log's identity, its number of leaves, and the 32-byte RFC 6962 root over them."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or any(char < " " for char in self.origin):
            raise LogError(f"checkpoint origin {self.origin!r}: is empty or has control characters")
        if not 0 <= self.size <= MAX_SIZE:
            raise LogError(f"checkpoint size {self.size} is out of range")
        if len(self.root) != HASH_SIZE:
            raise LogError(f"checkpoint root has {len(self.root)} bytes, not {HASH_SIZE}")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise LogError("checkpoint of an empty log with another root than the empty one")
        if any(not line or any(char < " " for char in line) for line in self.extensions):
            raise LogError("checkpoint has an empty extension line or one with control characters")

    def text(self) -> str:
        """The note text that is signed."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse_decimal(text: str, what: str) -> int:
    """Read an ASCII decimal without sign or leading zeros, at most 2^63 - 1. Raises LogError."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(MAX_SIZE)) or (text[0] == "0" and text != "0"):
        raise LogError(f"{what} {text[:40]!r}: is not a decimal without leading zeros")
    value = int(text)
    if value > MAX_SIZE:
        raise LogError(f"{what} {value}: is out of range")
    return value


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the note text of a checkpoint, strictly; it carries no signature here. Raises LogError."""
    if not text.endswith("\n"):
        raise LogError("checkpoint does not end in a newline")
    lines = text[:-1].split("\n")
    if len(lines) < 3:
        raise LogError(f"checkpoint has {len(lines)} lines, fewer than origin, size and root")
    origin, size, root, *extensions = lines
    return Checkpoint(
        origin, parse_decimal(size, "checkpoint size"), decode_base64(root, "checkpoint root"), tuple(extensions)
    )


def sign_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey, name: str | None = None) -> str:
    """Sign a checkpoint; the key name is the origin unless given. Returns the note text with its signature."""
    return sign_note(checkpoint.text(), name or checkpoint.origin, key).format()


def open_checkpoint(note: str | bytes, key: VerifierKey | str, origin: str | None = None) -> Checkpoint:
    """Verify a checkpoint note with the log's known key (or vkey string) and return what it states.

    ``origin`` is the log that is expected; by default the key's name, as the specification recommends. Raises LogError
    when the note is malformed, not signed by the key, wrongly signed, or speaks for another log.
    """
    verifier = VerifierKey.parse(key) if isinstance(key, str) else key
    signed = parse_note(note)
    signed.verify(verifier)
    checkpoint = parse_checkpoint(signed.text)
    expected = verifier.name if origin is None else origin
    if checkpoint.origin != expected:
        raise LogError(f"checkpoint speaks for the log {checkpoint.origin!r}, not {expected!r}")
    return checkpoint
