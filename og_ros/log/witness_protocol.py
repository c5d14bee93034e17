"""The add-checkpoint call of C2SP tlog-witness (c2sp.org/tlog-witness): its request body, and what it may answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from og_ros.errors import LogError
from og_ros.log.checkpoint import parse_decimal
from og_ros.log.merkle import HASH_SIZE
from og_ros.log.note import NoteSignature, decode_base64, encode_base64, parse_note

ADD_CHECKPOINT = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
"""Content type of a 409 whose body is the size that the witness cosigned last."""

MAX_REQUEST = 64_000
"""Bytes of a request body: 63 hashes and a checkpoint with some hybrid signatures."""
MAX_ANSWER = 16_000
MAX_HASHES = 63


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: the size that the proof starts at, the consistency proof, the checkpoint's signed note."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: str

    def format(self) -> bytes:
        """The request's body."""
        hashes = "".join(f"{encode_base64(value)}\n" for value in self.proof)
        return f"old {self.old_size}\n{hashes}\n{self.checkpoint}".encode()


def parse_request(body: bytes) -> AddCheckpoint:
    """Read a request body, strictly; the checkpoint stays text. Raises LogError."""
    if len(body) > MAX_REQUEST:
        raise LogError(f"the request has more than {MAX_REQUEST} bytes")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise LogError("the request is not UTF-8") from None
    head, blank, checkpoint = text.partition("\n\n")
    if not blank:
        raise LogError("the request has no empty line before a checkpoint")
    old, *lines = head.split("\n")
    if not old.startswith("old "):
        raise LogError("the request does not begin with the old size")
    size = parse_decimal(old.removeprefix("old "), "the old size")
    if len(lines) > MAX_HASHES:
        raise LogError(f"the consistency proof has {len(lines)} hashes, more than {MAX_HASHES}")
    hashes = tuple(decode_base64(line, "a hash of the consistency proof") for line in lines)
    if any(len(value) != HASH_SIZE for value in hashes):
        raise LogError(f"a hash of the consistency proof has not {HASH_SIZE} bytes")
    return AddCheckpoint(size, hashes, checkpoint)


def parse_cosignatures(text: str, body: bytes) -> Sequence[NoteSignature]:
    """Read the body of a 200: signature lines for the checkpoint with this note text. Raises LogError."""
    if len(body) > MAX_ANSWER:
        raise LogError(f"the answer has more than {MAX_ANSWER} bytes")
    return parse_note(text.encode() + b"\n" + body).signatures


def parse_size(body: bytes) -> int:
    """Read the body of a 409 of content type SIZE_TYPE. Raises LogError."""
    try:
        text = body[:64].decode("ascii")
    except UnicodeDecodeError:
        raise LogError("the size is not ASCII") from None
    if not text.endswith("\n") or len(body) > 64:
        raise LogError("the size does not end in a newline")
    return parse_decimal(text[:-1], "the size")
