"""What the signed statements of one run say against each other, apart from their sessions' chains and their data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from og_ros.audit.findings import Finding
from og_ros.audit.records import Inference, SessionKey

# A stage that was started again signs in its old session no longer than this.
_HANDOVER_NS: Final = 10**9
# So many sessions of a stage are remembered.
_MAX_SESSIONS: Final = 16
# So many types of one topic are told apart; who names more has been found already.
_MAX_TYPES: Final = 8


@dataclass
class _Signing:
    """When a session signed: its first and its newest time, ns, by its own wall clock."""

    first_ns: int
    last_ns: int
    reported: bool = False


class Contradictions:
    """Holds statements against each other as they arrive; give it those whose signature was not found wrong.

    Found are: one topic attested by two robots, two sessions of one stage at once, a session whose monotonic clock runs
    ahead of the world's, and (at the end) a topic that is recorded as another type than was attested.
    """

    def __init__(self, clock_skew_ns: int) -> None:
        self._skew_ns = clock_skew_ns
        self._robots: dict[str, str] = {}
        self._signing: dict[tuple[str, str], dict[SessionKey, _Signing]] = {}
        self._clocks: dict[SessionKey, int] = {}
        self._types: dict[str, dict[str, str]] = {}

    def take(self, inference: Inference) -> Iterator[Finding]:
        """Take an inference; yields what contradicts the ones before it."""
        statement = inference.attestation.statement
        for reference in (*statement.inputs, *statement.outputs):
            types = self._types.setdefault(reference.topic, {})
            if reference.type not in types and len(types) < _MAX_TYPES:
                types[reference.type] = statement.stage
        for reference in statement.outputs:
            robot = self._robots.setdefault(reference.topic, statement.robot)
            if robot != statement.robot:
                yield inference.finding(
                    "robot_mixed",
                    f"stage {statement.stage}: robot {statement.robot} attests an output on {reference.topic}, which "
                    f"robot {robot} writes",
                )
                break
        yield from self._at_once(inference)
        yield from self._clock(inference)

    def forget(self, session: SessionKey) -> None:
        """Forget a session that is not followed any more."""
        self._clocks.pop(session, None)

    def finish(self, recorded_types: Mapping[str, str]) -> Iterator[Finding]:
        """Yield what contradicts the recording's word on its topics' types (topic to full type name)."""
        for topic, types in sorted(self._types.items()):
            recorded = recorded_types.get(topic)
            for name, stage in types.items():
                if recorded is not None and name != recorded:
                    yield Finding(
                        "type_differs",
                        f"{topic} is recorded as {recorded}; stage {stage} attested it as {name}",
                        topic=topic,
                        stage=stage,
                    )

    def _at_once(self, inference: Inference) -> Iterator[Finding]:
        statement = inference.attestation.statement
        sessions = self._signing.setdefault((statement.robot, statement.stage), {})
        key, now = (statement.key_id, statement.session), statement.signed_at_ns
        own = sessions.get(key)
        if own is None:
            if len(sessions) >= _MAX_SESSIONS:
                del sessions[min(sessions, key=lambda k: sessions[k].last_ns)]
            own = sessions[key] = _Signing(now, now)
        own.first_ns, own.last_ns = min(own.first_ns, now), max(own.last_ns, now)
        if len(sessions) == 1 or own.reported:
            return
        for other in sessions.values():
            shared = min(own.last_ns, other.last_ns) - max(own.first_ns, other.first_ns)
            if other is not own and not other.reported and shared > _HANDOVER_NS:
                own.reported = True
                yield inference.finding(
                    "sessions_overlap",
                    f"stage {statement.stage}: two of its sessions sign at the same time: it runs twice, or its key is "
                    "used elsewhere",
                )
                return

    def _clock(self, inference: Inference) -> Iterator[Finding]:
        """By its session's monotonic clock an inference may have ended long before its record came; not after it."""
        statement = inference.attestation.statement
        ahead = statement.start_monotonic_ns + statement.duration_ns - inference.received_ns
        most = self._clocks.setdefault((statement.key_id, statement.session), ahead)
        if ahead > most + self._skew_ns:
            yield inference.finding(
                "clock_disagrees",
                f"stage {statement.stage}: by its start and duration this inference ended {(ahead - most) / 1e9:g} s "
                "after its record arrived",
            )
        elif ahead > most:
            self._clocks[statement.key_id, statement.session] = ahead
