"""Whether a robot is stopped by a signed emergency stop: who stopped it, and who has released it so far.

To stop is easy, to release is not. A stop counts from any one listed authority, whatever any clock says, however late
it comes, and whatever its sequence number: only a stop that this gate has taken before is not taken again. A release
counts when enough listed authorities signed for the challenge that this gate drew at random for this very stop. No
clock is used at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Final

from og_ros.attest import keys
from og_ros.attest.verifier import Verifier
from og_ros.errors import EnvelopeError, StopError
from og_ros.gate import estop
from og_ros.gate.envelope_memory import write_durably
from og_ros.gate.estop import StopKind, StopMessage
from og_ros.gate.strict_tree import Fields, from_json
from og_ros.gate.verdict import Reason
from og_ros.registry import strict_json

MAX_REMEMBERED: Final = 200
"""Stops remembered of each authority; of more, those with the lowest sequence are taken as old without a look."""
_MAX_FILE: Final = 10_000_000


class Outcome(Enum):
    """What a message did."""

    STOPPED = "stopped"
    ALREADY_STOPPED = "already stopped"
    REPLAYED = "replayed"
    COUNTED = "release counted"
    RELEASED = "released"
    OTHER_ROBOT = "other robot"


@dataclass(frozen=True)
class StopRules:
    """Who may stop, who may release, and how many of those it takes; keys by id."""

    stop: Mapping[bytes, keys.PublicKey]
    release: Mapping[bytes, keys.PublicKey]
    release_needs: int
    revoked: Callable[[bytes], bool] = lambda key_id: False


class StopState:
    """The emergency stop of one robot. Give it every message of estop.TOPIC; ask `stopped` before each command.

    `challenge` is what a release must be signed for: drawn at random at the start and with every new stop. Save
    `as_json` after each change (`changed`), so that neither a restart nor a replay undoes a stop.
    """

    def __init__(self, robot: str, rules: StopRules, saved: bytes | None = None) -> None:
        """`saved` is what `as_json` gave before; a state that cannot be read counts as stopped, with the reason why."""
        self._robot, self._rules = robot, rules
        self._verifiers = {k: Verifier(key) for k, key in {**rules.release, **rules.stop}.items()}
        self._taken: dict[bytes, dict[bytes, int]] = {}
        self._floor: dict[bytes, int] = {}
        self._highest: dict[bytes, int] = {}
        self._released_by: set[bytes] = set()
        self.challenge = os.urandom(16)
        self.reason: str | None = None
        self.changed = False
        if saved is not None:
            try:
                self._restore(from_json(saved, "the saved stop"))
            except (EnvelopeError, ValueError) as error:
                self.reason = f"whether the robot was stopped cannot be known: {error}"

    @property
    def stopped(self) -> bool:
        """Whether no command may pass."""
        return self.reason is not None

    @property
    def missing(self) -> int:
        """How many more authorities must release; 0 while nothing is stopped."""
        return max(self._rules.release_needs, 1) - len(self._released_by) if self.stopped else 0

    def __call__(self, topic: str, type: str, payload: bytes, now_ns: int) -> Reason | None:
        """Refuse every command while the robot is stopped: a check of the gate."""
        if self.reason is None:
            return None
        how = f"{self.missing} to release it, for the challenge {self.challenge.hex()}"
        return Reason("emergency_stop", f"{self.reason} ({how})")

    def take(self, payload: bytes) -> Outcome:
        """Take a message; raises StopError, saying why, when it changes nothing because it is not valid."""
        message = estop.decode(payload)
        if message.robot not in (self._robot, estop.EVERY_ROBOT):
            return Outcome.OTHER_ROBOT
        listed = self._rules.stop if message.kind is StopKind.STOP else self._rules.release
        verifier = self._verifiers.get(message.key_id) if message.key_id in listed else None
        name = f"key {message.key_id.hex()[:16]}"
        if verifier is None:
            raise StopError(f"{name} is not listed as one who may {message.kind.name.lower()}")
        if message.kind is StopKind.RELEASE and message.challenge != self.challenge:
            raise StopError("the release is for another challenge than the gate shows now: old, replayed, or mistyped")
        estop.verify(message, verifier)
        if self._rules.revoked(message.key_id):
            raise StopError(f"{name} was revoked")
        return self._stop(message) if message.kind is StopKind.STOP else self._release(message)

    def _stop(self, message: StopMessage) -> Outcome:
        digest = sha256(message.signed_bytes()).digest()
        taken = self._taken.setdefault(message.key_id, {})
        if digest in taken or message.sequence < self._floor.get(message.key_id, 0):
            return Outcome.REPLAYED
        taken[digest] = message.sequence
        self.changed = True
        if len(taken) > MAX_REMEMBERED:
            oldest = min(taken, key=lambda d: taken[d])
            self._floor[message.key_id] = taken.pop(oldest) + 1
        # An old stop that turns up late stops a robot that moves, but cannot disturb a release under way.
        new = message.sequence > self._highest.get(message.key_id, -1)
        self._highest[message.key_id] = max(message.sequence, self._highest.get(message.key_id, -1))
        if self.stopped and not new:
            return Outcome.ALREADY_STOPPED
        was_stopped = self.stopped
        self.reason = f"stopped by key {message.key_id.hex()[:16]}: {message.reason or 'no reason given'}"
        self._draw()
        return Outcome.ALREADY_STOPPED if was_stopped else Outcome.STOPPED

    def _release(self, message: StopMessage) -> Outcome:
        if not self.stopped:
            raise StopError("there is nothing to release")
        self._released_by.add(message.key_id)
        if self._rules.release_needs < 1 or len(self._released_by) < self._rules.release_needs:
            return Outcome.COUNTED
        self.reason = None
        self.changed = True
        self._draw()
        return Outcome.RELEASED

    def _draw(self) -> None:
        self.challenge = os.urandom(16)
        self._released_by.clear()

    def as_json(self) -> bytes:
        """Return the state to be saved. The challenge and the releases counted so far end with this run."""
        self.changed = False
        authorities = {
            key_id.hex(): {
                "taken": {digest.hex(): {"sequence": number} for digest, number in taken.items()},
                "floor": self._floor.get(key_id, 0),
                "highest": self._highest.get(key_id, 0),
            }
            for key_id, taken in self._taken.items()
        }
        return strict_json.dumps({"robot": self._robot, "stopped": self.reason or "", "authorities": authorities})

    def _restore(self, f: Fields) -> None:
        if f.text("robot") != self._robot:
            raise EnvelopeError("the saved stop is of another robot")
        self.reason = f.text("stopped", limit=1000) or None
        for name, authority in f.named("authorities", 1000):
            key_id = bytes.fromhex(name)
            self._floor[key_id] = authority.integer("floor", 0, 2**64)
            self._highest[key_id] = authority.integer("highest", 0, 2**64)
            taken = authority.named("taken", MAX_REMEMBERED)
            self._taken[key_id] = {bytes.fromhex(d): item.integer("sequence", 0, 2**64) for d, item in taken}
            authority.end()
        f.end()


def load(file: Path) -> bytes | None:
    """Return what was saved; None when there is no file. What cannot be read is returned as an unreadable state."""
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_FILE)
    except FileNotFoundError:
        return None
    except OSError:
        return b""


def save(file: Path, state: StopState) -> None:
    """Save a state durably; raises EnvelopeError when the disk does not take it. The robot stays stopped meanwhile."""
    write_durably(file, state.as_json())
