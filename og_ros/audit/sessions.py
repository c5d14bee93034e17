"""Session chains: sequence without gaps, each attestation naming the one before, one model and key throughout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from og_ros.attest import Statement
from og_ros.audit.findings import Finding
from og_ros.audit.records import Inference

# So many of a session's newest sequence numbers are remembered, so that a week's run stays small.
WINDOW: Final = 65_536


@dataclass
class SessionChain:
    """What has been seen of one session; `gaps` are its missing sequence numbers, as (first, last)."""

    first: Inference
    newest: Inference
    count: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)
    digests: dict[int, bytes] = field(default_factory=dict)
    previous: dict[int, bytes] = field(default_factory=dict)

    @property
    def statement(self) -> Statement:
        """The statement of the first attestation seen."""
        return self.first.attestation.statement

    @property
    def lost(self) -> int:
        """How many sequence numbers between the first and the newest are missing."""
        return sum(last - first + 1 for first, last in self.gaps)

    def take(self, inference: Inference) -> None:
        """Count an attestation in, opening or closing gaps."""
        statement, sequence = inference.attestation.statement, inference.sequence
        if sequence in self.digests:
            return
        self.digests[sequence] = inference.attestation.digest
        self.previous[sequence] = statement.previous
        if len(self.digests) > WINDOW:
            oldest = next(iter(self.digests))
            del self.digests[oldest], self.previous[oldest]
        self.count += 1
        if self.count == 1:
            return
        if sequence > self.newest.sequence:
            if sequence > self.newest.sequence + 1:
                self.gaps.append((self.newest.sequence + 1, sequence - 1))
            self.newest = inference
        elif sequence < self.first.sequence:
            if sequence < self.first.sequence - 1:
                self.gaps.append((sequence + 1, self.first.sequence - 1))
            self.first = inference
        else:
            self._close(sequence)

    def _close(self, sequence: int) -> None:
        for index, (first, last) in enumerate(self.gaps):
            if first <= sequence <= last:
                rest = [(first, sequence - 1), (sequence + 1, last)]
                self.gaps[index : index + 1] = [(a, b) for a, b in rest if a <= b]
                return


class SessionChecker:
    """Checks attestations against their session as they arrive.

    A session is known by its key and its random id, so that a stranger cannot spoil another's session by its id.
    """

    def __init__(self) -> None:
        self.sessions: dict[tuple[bytes, bytes], SessionChain] = {}

    def add(self, inference: Inference) -> Iterator[Finding]:
        """Take the next attestation; yields what contradicts its session."""
        statement = inference.attestation.statement
        key = (statement.key_id, statement.session)
        chain = self.sessions.get(key)
        if chain is None:
            chain = self.sessions[key] = SessionChain(inference, inference)
            if statement.sequence > 0:
                yield inference.finding(
                    "session_joined_late",
                    f"stage {statement.stage}: the first attestation of the session that was recorded has sequence "
                    f"{statement.sequence}; the ones before it cannot be checked",
                )
        else:
            yield from _continuity(chain, inference)
        yield from _neighbours(chain, inference)
        chain.take(inference)


def _continuity(chain: SessionChain, inference: Inference) -> Iterator[Finding]:
    statement, old = inference.attestation.statement, chain.statement
    for name in ("robot", "stage", "node", "model", "runtime"):
        if getattr(statement, name) != getattr(old, name):
            yield inference.finding(
                "session_changed",
                f"stage {old.stage}: {name} changed within one session; a session keeps the {name} that it began with",
            )
            break
    if statement.sequence in chain.digests:
        if chain.digests[statement.sequence] != inference.attestation.digest:
            yield inference.finding(
                "session_forked",
                f"stage {statement.stage}: two attestations of one session have sequence {statement.sequence}",
            )
        return
    if statement.sequence < chain.newest.sequence:
        if not inference.topic:
            return  # taken from the log to fill a gap of the recording
        yield inference.finding(
            "attestation_reordered",
            f"stage {statement.stage}: sequence {statement.sequence} arrived after {chain.newest.sequence}",
        )
        return
    if statement.start_monotonic_ns < chain.newest.attestation.statement.start_monotonic_ns:
        yield inference.finding(
            "clock_went_back",
            f"stage {statement.stage}: sequence {statement.sequence} began before sequence {chain.newest.sequence} "
            "by the session's monotonic clock",
        )


def _neighbours(chain: SessionChain, inference: Inference) -> Iterator[Finding]:
    statement = inference.attestation.statement
    before = chain.digests.get(statement.sequence - 1)
    after = chain.previous.get(statement.sequence + 1)
    if before not in (None, statement.previous) or after not in (None, inference.attestation.digest):
        yield inference.finding(
            "chain_broken",
            f"stage {statement.stage}: sequence {statement.sequence} does not fit its neighbour in the session's chain",
        )
