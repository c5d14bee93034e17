"""Which inferences an audit runs again: a sample that a robot cannot predict and anybody can repeat."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import Final, NamedTuple

from og_ros.attest import Statement
from og_ros.errors import ConfigError

MAX_COUNT: Final = 100_000_000
MAX_BEACON: Final = 1024
FRESH_BEACON_SIZE: Final = 32
_DOMAIN: Final = b"og_ros re-execution v1"
_RANKS: Final = 2**256
_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d{1,18})?)\s*%", re.ASCII)
_DECIMAL: Final = re.compile(r"\d?\.\d{1,18}", re.ASCII)
_COUNT: Final = re.compile(r"\d{1,9}", re.ASCII)
_HEX: Final = re.compile(r"0x([0-9a-fA-F]{2})+|[0-9a-fA-F]{64}", re.ASCII)


class Identity(NamedTuple):
    """What names an inference: the key that signed, the session, and its number in it."""

    key_id: bytes
    session: bytes
    sequence: int


def identity(statement: Statement) -> Identity:
    """Return the identity of the inference that a statement is about."""
    return Identity(statement.key_id, statement.session, statement.sequence)


@dataclass(frozen=True)
class Beacon:
    """Randomness that became known after the robot had made its records.

    `given` says that the auditor named it (anybody can use it again); otherwise it was drawn fresh for this audit.
    `time_ns` is when it became public, as the auditor says; None: not said.
    """

    value: bytes
    given: bool = True
    time_ns: int | None = None

    @property
    def text(self) -> str:
        """The beacon in the form that `parse_beacon` reads back to the same bytes."""
        return f"0x{self.value.hex()}"


def fresh_beacon() -> Beacon:
    """Draw a beacon from this machine's random source."""
    return Beacon(os.urandom(FRESH_BEACON_SIZE), given=False)


def parse_beacon(text: str, time_ns: int | None = None) -> Beacon:
    """Read a beacon: hexadecimal behind 0x, or 64 hexadecimal digits (a drand round's randomness), or else text.

    Raises ConfigError for one that is empty or longer than 1024 bytes.
    """
    if _HEX.fullmatch(text):
        value = bytes.fromhex(text.removeprefix("0x"))
    else:
        try:
            value = text.encode()
        except UnicodeEncodeError as error:
            raise ConfigError("the beacon is not valid Unicode text") from error
    if not 1 <= len(value) <= MAX_BEACON:
        raise ConfigError(f"the beacon is {len(value)} bytes long; it must be from 1 to {MAX_BEACON}")
    return Beacon(value, True, time_ns)


@dataclass(frozen=True)
class Sample:
    """How many inferences are run again: a `fraction` of them (1: all), or else a `count` of the whole run."""

    text: str
    fraction: Fraction | None = None
    count: int | None = None


ALL: Final = Sample("all", Fraction(1))


def parse_sample(text: str) -> Sample:
    """Read `all`, a percentage ("2.5%"), a decimal above 0 and up to 1 ("0.025"), or a whole number ("500").

    Fractions are exact, so that everybody selects the same. Raises ConfigError for anything else.
    """
    given = text.strip()
    if given == "all":
        return ALL
    fraction = None
    if match := _PERCENT.fullmatch(given):
        fraction = Fraction(match[1]) / 100
    elif _DECIMAL.fullmatch(given):
        fraction = Fraction(given)
    if fraction is not None and 0 < fraction <= 1:
        return Sample(given, fraction)
    if _COUNT.fullmatch(given) and 1 <= int(given) <= MAX_COUNT:
        return Sample(given, count=int(given))
    raise ConfigError(f"the sample {text[:40]!a} is not understood; give all, a share such as 2% or 0.02, or a count")


def rank(beacon: bytes, inference: Identity) -> int:
    """Return an inference's place in a random order: SHA-256 over domain, beacon, key id, session, sequence.

    A whole number of 256 bits; the sequence is hashed as 8 bytes, big-endian. Who does not know the beacon cannot tell
    which inferences come first.
    """
    key_id, session, sequence = inference
    data = b"".join((_DOMAIN, beacon, key_id, session, sequence.to_bytes(8, "big")))
    return int.from_bytes(sha256(data).digest(), "big")


@dataclass(frozen=True)
class Selection:
    """A rule that says of each inference by itself whether it is run again, so that workers need not talk."""

    beacon: bytes
    threshold: int

    def takes(self, statement: Statement) -> bool:
        """Return whether an inference is in the sample."""
        return rank(self.beacon, identity(statement)) < self.threshold


def selection(sample: Sample, beacon: Beacon, run: Iterable[Identity] = ()) -> Selection:
    """Return the rule of a sample; `run` must give the identities of the whole run when the sample is a count."""
    if sample.fraction is not None:
        threshold = -(-_RANKS * sample.fraction.numerator // sample.fraction.denominator)
    else:
        assert sample.count is not None
        threshold = threshold_for(sample.count, beacon.value, run)
    return Selection(beacon.value, threshold)


def threshold_for(count: int, beacon: bytes, run: Iterable[Identity]) -> int:
    """Return the threshold that exactly `count` different inferences of a run are below; all, if there are fewer.

    Keeps `count` numbers in memory, however long the run is.
    """
    lowest: list[int] = []  # a heap of negated ranks: the highest of those kept is in front
    kept: set[int] = set()
    for inference in run:
        found = rank(beacon, inference)
        if found in kept or (len(lowest) == count and found > -lowest[0]):
            continue
        kept.add(found)
        if len(lowest) < count:
            heapq.heappush(lowest, -found)
        else:
            kept.discard(-heapq.heapreplace(lowest, -found))
    return -lowest[0] + 1 if len(lowest) == count else _RANKS
