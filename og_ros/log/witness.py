"""A cosigning witness (c2sp.org/tlog-witness): cosigns a log's checkpoint once it was shown that the log only grew.

Not the ROS node of that name, which watches another node's messages: this one watches a log, and knows no ROS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.errors import LogError
from og_ros.log.checkpoint import Checkpoint, parse_checkpoint
from og_ros.log.cosignature import WitnessKey, cosign
from og_ros.log.merkle import EMPTY_ROOT, verify_consistency
from og_ros.log.note import NoteSignature, SignedNote, VerifierKey, parse_note
from og_ros.log.witness_protocol import SIZE_TYPE, AddCheckpoint, parse_request
from og_ros.log.witness_state import FORKS, UNPROVEN, WitnessState, origin_id

TEXT = "text/plain; charset=utf-8"
_MAX_LINES = 8  # of the log's own, in what is kept: classical and post-quantum, old and new key


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: status, body and its content type."""

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT


class Witness:
    """Cosigns for the logs that it knows, each by its key; a key's name is the log's origin.

    `tell(line)` hears of every refusal that concerns a log's honesty. May be called from any thread.
    """

    def __init__(
        self,
        name: str,
        key: Ed25519PrivateKey,
        logs: Iterable[VerifierKey],
        state: WitnessState,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Raises LogError when the name cannot name a key, or is the origin of one of its logs."""
        self.key = WitnessKey.of(name, key)
        self._signing_key, self._state, self._tell = key, state, tell
        self._logs: dict[str, list[VerifierKey]] = {}
        for log in logs:
            if log.public_key == self.key.public_key:
                raise LogError(f"witness {name}: has the key of the log {log.name}; nobody witnesses himself")
            self._logs.setdefault(log.name, []).append(log)

    @property
    def origins(self) -> list[str]:
        """The logs that it cosigns for."""
        return sorted(self._logs)

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer a request body as the specification has it. Raises LogError when the state cannot be kept."""
        try:
            request = parse_request(body)
            note = parse_note(request.checkpoint)
            checkpoint = parse_checkpoint(note.text)
        except LogError as error:
            return _refusal(HTTPStatus.BAD_REQUEST, str(error))
        keys = self._logs.get(checkpoint.origin)
        if keys is None:
            return _refusal(HTTPStatus.NOT_FOUND, "this witness does not know that log")
        if not any(_is_signed(note, key) for key in keys):
            return _refusal(HTTPStatus.FORBIDDEN, "no key that this witness knows of that log signed the checkpoint")
        if request.old_size > checkpoint.size:
            return _refusal(HTTPStatus.BAD_REQUEST, "the old size is above the checkpoint's")
        return self._advance(request, note, checkpoint)

    def latest(self, origin_hash: str) -> str | None:
        """The newest cosigned checkpoint of the log whose origin has this SHA-256 (hex), with our cosignature."""
        for origin in self._logs:
            if origin_id(origin) == origin_hash:
                head = self._state.head(origin)
                return head.note if head is not None else None
        return None

    def _advance(self, request: AddCheckpoint, note: SignedNote, new: Checkpoint) -> Answer:
        """Compare with what was cosigned last, and replace it, in one transaction."""
        with self._state.advancing(new.origin) as (head, advance):
            problem, kind = "", FORKS
            if request.old_size != head.size:
                answer = Answer(HTTPStatus.CONFLICT, f"{head.size}\n".encode(), SIZE_TYPE)
                if new.size == head.size and new.root != head.root:
                    problem = f"two roots at {new.size} leaves"
            elif new.size == head.size and head.size and new.root != head.root:
                problem = f"two roots at {new.size} leaves"
                answer = Answer(HTTPStatus.CONFLICT, f"{head.size}\n".encode(), SIZE_TYPE)
            else:
                try:
                    old_root = head.root if head.size else EMPTY_ROOT
                    verify_consistency(head.size, new.size, request.proof, old_root, new.root)
                except LogError as error:
                    problem, kind = str(error), UNPROVEN
                    answer = _refusal(HTTPStatus.UNPROCESSABLE_ENTITY, problem)
                else:
                    line = cosign(note.text, self.key.name, self._signing_key, int(time.time()))
                    kept = SignedNote(note.text, (*_own_lines(note, self._logs[new.origin]), line))
                    advance(new.size, new.root, kept.format())
                    answer = Answer(HTTPStatus.OK, line.format().encode())
        if problem:
            file = self._state.keep(kind, new, note.format())
            self._tell(f"log {new.origin}: refused: {problem}" + (f"; the signed checkpoint is {file}" if file else ""))
        return answer


def _own_lines(note: SignedNote, keys: Iterable[VerifierKey]) -> list[NoteSignature]:
    """The lines under the log's name, those of the known keys first, and few of those that nobody here can check."""
    known = {(key.name, key.key_id) for key in keys}
    own = [line for line in note.signatures if line.name == parse_checkpoint(note.text).origin]
    return sorted(own, key=lambda line: (line.name, line.key_id) not in known)[:_MAX_LINES]


def _is_signed(note: SignedNote, key: VerifierKey) -> bool:
    try:
        note.verify(key)
    except LogError:
        return False
    return True


def _refusal(status: HTTPStatus, problem: str) -> Answer:
    return Answer(status, f"{problem}\n".encode())
