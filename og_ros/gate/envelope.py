"""A physical envelope: what a robot's commands may be, where and when; plain data, with its numbers' units.

Speeds, efforts and positions are in the units of the message's own fields (m/s, rad/s, N m by REP 103), zones in metres
in the frame of the pose, times in seconds, hours in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from og_ros.attest import keys
from og_ros.gate.hours import Hours
from og_ros.gate.zones import Point

ANY_ROBOT: Final = "*"
AGGREGATES: Final = ("min", "max", "count")
ZONE_KINDS: Final = ("allowed", "forbidden", "slow")


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit on a field of a command, or on the magnitude of the vector that several fields make.

    `max_rate` is the greatest change per second either way, `max_rise` the greatest change per second away from zero,
    so that braking stays free. Both are measured between forwarded commands: over any span of T s, a change of at most
    rate * (T + jitter_s). Silence counts for `longest_gap_s` at most. `max_length` limits a sequence, `one_of` a text.
    `when` names a condition or a slow zone: the bound holds while that does, or while it cannot be known.
    """

    fields: tuple[str, ...]
    minimum: float | None = None
    maximum: float | None = None
    max_rate: float | None = None
    max_rise: float | None = None
    jitter_s: float = 0.0
    longest_gap_s: float = 0.1
    max_length: int | None = None
    one_of: tuple[str, ...] = ()
    when: str = ""

    @property
    def has_rate(self) -> bool:
        """Whether it looks at the command before."""
        return self.max_rate is not None or self.max_rise is not None


@dataclass(frozen=True, slots=True)
class TopicBounds:
    """The bounds of a topic of commands, its type, and its fields that carry no bound on purpose."""

    topic: str
    type: str
    bounds: tuple[Bound, ...]
    free: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known from another topic: it holds while the least (min), greatest (max) or number (count) of the field's
    values is below or above a threshold, and also when nothing newer than `stale_after_s` is known."""

    name: str
    topic: str
    type: str
    field: str
    of: str
    below: float | None
    above: float | None
    stale_after_s: float


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the robot is: a topic with a pose (x, y in m) in a frame; not known once older than `stale_after_s`."""

    topic: str
    type: str
    frame: str
    stale_after_s: float


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon (m, in the pose's frame): the robot must be in one of those allowed, in none forbidden; slow ones are
    conditions for bounds."""

    name: str
    kind: str
    polygon: tuple[Point, ...]


@dataclass(frozen=True)
class Holder:
    """A key by name: a delegate, who may narrow the envelope and let others narrow it `depth` times more, or somebody
    who may stop or release the robot (`depth` is 0)."""

    name: str
    public_key_pem: str
    depth: int = 0

    @cached_property
    def public_key(self) -> keys.PublicKey:
        """The key; it was checked when the envelope was read."""
        return keys.parse_public(self.public_key_pem, f"the key of {self.name}")

    @cached_property
    def key_id(self) -> bytes:
        """The 32-byte id of the key."""
        return keys.key_id(self.public_key)


@dataclass(frozen=True)
class Envelope:
    """One signed document of a chain. `parent` is the digest of its parent's payload, "" for the owner's own.

    `release` and `release_needs` say who may release an emergency stop, and how many of them it takes; `stop` lists who
    may stop beside them.
    """

    name: str
    version: int
    parent: str
    issued_at_ns: int
    not_before_ns: int
    not_after_ns: int
    robots: tuple[str, ...]
    topics: tuple[TopicBounds, ...]
    hours: tuple[Hours, ...] = ()
    conditions: tuple[Condition, ...] = ()
    pose: Pose | None = None
    zones: tuple[Zone, ...] = ()
    delegates: tuple[Holder, ...] = ()
    stop: tuple[Holder, ...] = ()
    release: tuple[Holder, ...] = ()
    release_needs: int = 0
    definitions: tuple[tuple[str, str], ...] = ()
    notes: str = ""

    def topic(self, name: str) -> TopicBounds | None:
        """Return the bounds of a topic, None where it has none and so may carry nothing."""
        return next((t for t in self.topics if t.topic == name), None)

    def covers_robot(self, robot: str) -> bool:
        """Say whether the envelope is for a robot."""
        return ANY_ROBOT in self.robots or robot in self.robots
