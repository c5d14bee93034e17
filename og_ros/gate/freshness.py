"""Freshness: whether an attestation is of now, by its session's monotonic clock and by the wall clock."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from og_ros.attest import Statement

# How far the clocks of two machines drift apart, at most: 200 parts per million.
_DRIFT: Final = 2e-4
# So many ended sessions of a stage are remembered; older ones are held off by the wall clock.
_MAX_ENDED: Final = 256
_MAX_STAGES: Final = 256


@dataclass(slots=True)
class _Current:
    """The session that a stage signs in: `offset_ns` is the least time from an inference's end to its arrival here,
    the two clocks' difference included; `newest_ns` is the newest wall time of signing."""

    session: bytes
    offset_ns: int
    at_ns: int
    newest_ns: int


class Freshness:
    """Knows the present session of each stage, and how late its attestations are.

    The stage's monotonic clock and the gate's differ by an unknown constant. The least difference that was seen in a
    session is taken for it, so an attestation that was held back shows by as much as it was held back longer than the
    fastest one. Wall clocks may jump; they only bound what a whole session could be late.
    """

    def __init__(self, clock_tolerance_ns: int) -> None:
        self._tolerance_ns = clock_tolerance_ns
        self._current: OrderedDict[tuple[bytes, str, str], _Current] = OrderedDict()
        self._ended: OrderedDict[tuple[bytes, bytes], None] = OrderedDict()

    def wall_problem(self, statement: Statement, wall_ns: int) -> str:
        """Return why an attestation that arrives at a wall time was not signed just now; empty when it was."""
        apart_ns = wall_ns - statement.signed_at_ns
        if abs(apart_ns) <= self._tolerance_ns:
            return ""
        side = "before" if apart_ns > 0 else "after"
        return f"was signed {abs(apart_ns) / 1e9:.3f} s {side} it arrived"

    def session_problem(self, statement: Statement, now_ns: int) -> str:
        """Take note of a verified attestation that arrives; returns why its session cannot be the present one."""
        key = (statement.key_id, statement.robot, statement.stage)
        end_ns = statement.start_monotonic_ns + statement.duration_ns
        current = self._current.get(key)
        if current is not None and current.session == statement.session:
            offset = now_ns - end_ns
            drifted = current.offset_ns + int((now_ns - current.at_ns) * _DRIFT)
            if offset <= drifted:
                current.offset_ns, current.at_ns = offset, now_ns
            current.newest_ns = max(current.newest_ns, statement.signed_at_ns)
            return ""
        if (statement.key_id, statement.session) in self._ended:
            return "belongs to a session that ended: a newer one of the stage has begun"
        if current is not None:
            if statement.sequence and statement.signed_at_ns < current.newest_ns:
                return "belongs to another session than the stage signs in, and is older"
            self._ended[statement.key_id, current.session] = None
            while len(self._ended) > _MAX_ENDED:
                self._ended.popitem(last=False)
        self._current[key] = _Current(statement.session, now_ns - end_ns, now_ns, statement.signed_at_ns)
        while len(self._current) > _MAX_STAGES:
            self._current.popitem(last=False)
        return ""

    def age_ns(self, statement: Statement, now_ns: int) -> int:
        """Return how long ago an inference ended, beyond the shortest way that its session's attestations took."""
        current = self._current.get((statement.key_id, statement.robot, statement.stage))
        if current is None or current.session != statement.session:
            return 2**62
        return now_ns - statement.start_monotonic_ns - statement.duration_ns - current.offset_ns
