"""Which keys sign a log's checkpoints, and since which leaf: each change of them is a leaf that the keys before signed.

A change is a C2SP signed note: a first line that is no log's name, then origin, index of the leaf, time, and the vkeys
of the new keys. It is signed by the keys before, whose word it is, and by the new ones, who thereby show that they are
in the log's hands. The checkpoints that cover the leaf are signed by the new keys.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.errors import KeyChangeError, LogError
from og_ros.log.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, parse_decimal
from og_ros.log.note import SignedNote, VerifierKey, parse_note, sign_note
from og_ros.log.post_quantum import PostQuantumKey, sign_line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

HEADER: Final = "og-ros log keys"
PREFIX: Final = f"{HEADER}\n".encode()
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class LogKeys:
    """The keys that a checkpoint must be signed with: the Ed25519 one, and the ML-DSA-65 one where the log has it."""

    classical: VerifierKey
    post_quantum: PostQuantumKey | None = None

    def verify(self, note: SignedNote) -> None:
        """Check that both have signed a note.

        Raises SignatureMissing where the classical signature holds and the other is not there, KeyChangeError where
        only an unknown key of the log's name has signed, LogError for a wrong signature.
        """
        if not any(s.name == self.classical.name and s.key_id == self.classical.key_id for s in note.signatures):
            others = [s for s in note.signatures if s.name == self.classical.name]
            if self.post_quantum is not None:
                others = [s for s in others if s.key_id != self.post_quantum.key_id]
            if others:
                raise KeyChangeError(
                    f"note is by {others[0].name}+{others[0].key_id.hex()}, and the log records no change to that key "
                    f"from {self.classical.name}+{self.classical.key_id.hex()}"
                )
        note.verify(self.classical)
        if self.post_quantum is not None:
            self.post_quantum.verify(note)


@dataclass(frozen=True, slots=True)
class LogSigner:
    """The private halves of a log's keys."""

    classical: Ed25519PrivateKey
    post_quantum: MLDSA65PrivateKey | None = None

    def keys(self, origin: str) -> LogKeys:
        """Their public halves, under the log's name."""
        pq = self.post_quantum
        return LogKeys(
            VerifierKey.of(origin, self.classical), PostQuantumKey.of(origin, pq.public_key()) if pq else None
        )

    def sign(self, text: str, origin: str) -> SignedNote:
        """Sign the text of a note with all of them. Raises LogError."""
        note = sign_note(text, origin, self.classical)
        if self.post_quantum is None:
            return note
        return note.with_signature(sign_line(text, origin, self.post_quantum))


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A leaf that gives a log new keys: the log, the leaf's index, when (ns since 1970, whole seconds), the keys."""

    origin: str
    index: int
    changed_ns: int
    keys: LogKeys

    def text(self) -> str:
        """The note text that is signed."""
        stamp = datetime.fromtimestamp(self.changed_ns // 10**9, timezone.utc).strftime(_TIME)
        vkeys = [self.keys.classical.format()]
        if self.keys.post_quantum is not None:
            vkeys.append(self.keys.post_quantum.format())
        return "".join(f"{line}\n" for line in (HEADER, self.origin, str(self.index), stamp, *vkeys))


def sign_change(change: KeyChange, before: LogSigner, after: LogSigner) -> bytes:
    """Return the leaf: the change, signed by the keys before and by the new ones."""
    text = change.text()
    note = before.sign(text, change.origin)
    for signature in after.sign(text, change.origin).signatures:
        note = note.with_signature(signature)
    return note.format().encode()


def parse_change(leaf: bytes) -> tuple[KeyChange, SignedNote]:
    """Read a leaf that changes keys; its signatures are not checked here. Raises LogError."""
    note = parse_note(leaf)
    lines = note.text[:-1].split("\n")
    if lines[0] != HEADER or not 5 <= len(lines) <= 6:
        raise LogError("is no change of a log's keys: header, origin, index, time, one or two vkeys")
    try:
        stamp = datetime.strptime(lines[3], _TIME).replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise LogError(f"time {lines[3][:40]!a} is not as 2026-01-31T12:00:00Z") from error
    keys = LogKeys(VerifierKey.parse(lines[4]), PostQuantumKey.parse(lines[5]) if len(lines) == 6 else None)
    change = KeyChange(lines[1], parse_decimal(lines[2], "index"), int(stamp.timestamp()) * 10**9, keys)
    if change.text() != note.text:
        raise LogError("is not written as such a change is")
    return change, note


@dataclass(frozen=True, slots=True)
class Epoch:
    """A stretch of a log's life: checkpoints of `first_size` leaves or more are signed by `keys`; `change` began it."""

    first_size: int
    keys: LogKeys
    change: KeyChange | None = None


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """Every epoch of a log, oldest first."""

    origin: str
    epochs: tuple[Epoch, ...]

    @property
    def newest(self) -> LogKeys:
        """The keys now."""
        return self.epochs[-1].keys

    def at(self, size: int) -> LogKeys:
        """The keys that sign a checkpoint of a size."""
        return self.epochs[bisect_right(self.epochs, size, key=lambda epoch: epoch.first_size) - 1].keys

    def open_checkpoint(self, note: str | bytes) -> Checkpoint:
        """Verify a checkpoint of this log with the keys of its size. Raises LogError as `LogKeys.verify` does."""
        signed = parse_note(note)
        checkpoint = parse_checkpoint(signed.text)
        if checkpoint.origin != self.origin:
            raise LogError(f"checkpoint speaks for the log {checkpoint.origin!r}, not {self.origin!r}")
        self.at(checkpoint.size).verify(signed)
        return checkpoint

    def open_classically(self, note: str | bytes) -> Checkpoint:
        """Verify a checkpoint with the Ed25519 key of its size alone, as others do who know no other. Raises LogError.

        That the log's second signature is missing or wrong is no way out for who signed two histories with the first.
        """
        size = parse_checkpoint(parse_note(note).text).size
        return open_checkpoint(note, self.at(size).classical, self.origin)

    def bound(self, post_quantum: Mapping[VerifierKey, PostQuantumKey]) -> KeyHistory:
        """The same with ML-DSA-65 keys that somebody else, such as a registry, binds to classical ones."""
        return replace(
            self,
            epochs=tuple(
                replace(epoch, keys=LogKeys(epoch.keys.classical, post_quantum[epoch.keys.classical]))
                if epoch.keys.post_quantum is None and epoch.keys.classical in post_quantum
                else epoch
                for epoch in self.epochs
            ),
        )


def read_history(
    origin: str,
    first: VerifierKey,
    leaves: Iterable[tuple[int, bytes]],
    post_quantum: Mapping[VerifierKey, PostQuantumKey] | None = None,
) -> KeyHistory:
    """Follow the changes of a log's keys from its first one on; `leaves` are those that begin with PREFIX, by index.

    `post_quantum` binds ML-DSA-65 keys to classical ones, as `KeyHistory.bound` takes them: where the keys before are
    hybrid, both must have signed. Raises KeyChangeError naming the leaf.
    """
    history = KeyHistory(origin, (Epoch(0, LogKeys(first)),)).bound(post_quantum or {})
    for index, data in leaves:
        try:
            change, note = parse_change(data)
            if (change.origin, change.index) != (origin, index):
                raise LogError(f"speaks of leaf {change.index} of the log {change.origin!r}")
            if change.keys.classical.name != origin or getattr(change.keys.post_quantum, "name", origin) != origin:
                raise LogError("gives the log a key under another name")
            if any(epoch.keys.classical == change.keys.classical for epoch in history.epochs):
                raise LogError("gives the log a classical key that it had before")
            for keys, which in ((history.newest, "before"), (change.keys, "new")):
                _verify(keys, note, which)
        except LogError as error:
            raise KeyChangeError(f"leaf {index} changes the log's keys and does not hold: {error}") from error
        history = replace(history, epochs=(*history.epochs, Epoch(index + 1, change.keys, change))).bound(
            post_quantum or {}
        )
    return history


def _verify(keys: LogKeys, note: SignedNote, which: str) -> None:
    try:
        note.verify(keys.classical)
        if keys.post_quantum is not None:
            keys.post_quantum.verify(note)
    except LogError as error:
        raise LogError(f"not signed by the key {which}: {error}") from error
