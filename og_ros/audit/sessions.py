"""Session chains: sequence without gaps, each attestation naming the one before, one model and key throughout."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from og_ros.attest import Statement
from og_ros.audit.findings import Finding
from og_ros.audit.records import Inference, SessionKey

# So many of a session's newest sequence numbers are remembered with their digests, so that a week's run stays small.
WINDOW: Final = 8192
# What a live stream's sessions may be and have, so that stages that start again and again, or networks that lose much,
# do not fill the memory: so many of one key, so many in all, and so many gaps in one; the oldest are forgotten.
LIVE_OF_A_KEY: Final = 32
LIVE_SESSIONS: Final = 2048
LIVE_GAPS: Final = 4096
# Gaps are forgotten so many at once, and so many forgotten sessions are known again.
_GAPS_AT_ONCE: Final = 256
KNOWN_AGAIN: Final = 10_000


@dataclass(slots=True)
class Gap:
    """Missing sequence numbers; `excused` counts, by topic, the messages that they stand for."""

    first: int
    last: int
    excused: Counter[str] = field(default_factory=Counter)

    @property
    def size(self) -> int:
        """How many numbers are missing."""
        return self.last - self.first + 1


@dataclass
class SessionChain:
    """What has been seen of one session; `gaps` are its missing sequence numbers, in order."""

    first: Inference
    newest: Inference
    count: int = 0
    gaps: list[Gap] = field(default_factory=list)
    digests: dict[int, bytes] = field(default_factory=dict)
    previous: dict[int, bytes] = field(default_factory=dict)
    lost: int = 0
    begin: Gap | None = None
    """What may still be asked for of the numbers before the first one seen; None where nobody can be asked."""

    @property
    def statement(self) -> Statement:
        """The statement of the first attestation seen."""
        return self.first.attestation.statement

    def has(self, sequence: int) -> bool:
        """Return whether an attestation with a sequence number was seen, however long ago."""
        if not self.count or not self.first.sequence <= sequence <= self.newest.sequence:
            return False
        return self._gap_of(sequence) is None

    def take(self, inference: Inference) -> None:
        """Count an attestation in, opening or closing gaps."""
        statement, sequence = inference.attestation.statement, inference.sequence
        if self.has(sequence):
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
            self._open(len(self.gaps), self.newest, inference)
            self.newest = inference
        elif sequence < self.first.sequence:
            self._open(0, inference, self.first)
            if self.begin is not None and sequence + 1 < self.first.sequence:
                self.gaps[0].excused.update(self.begin.excused)
            if self.begin is not None:
                self.begin = Gap(0, sequence - 1)
            self.first = inference
        else:
            self._close(sequence)

    def excuse(self, topic: str, after: int, before: int) -> bool:
        """Return whether an attestation between two sequence numbers is missing, and use one up for a topic's message.

        An attestation has one message on each topic that its stage writes.
        """
        start = max(0, bisect_right(self.gaps, after, key=lambda gap: gap.first) - 1)
        begin = [self.begin] if self.begin is not None and self.first.sequence > 0 else []
        for gap in (*begin, *self.gaps[start:]):
            if gap.first >= before:
                break
            if gap.last > after and gap.excused[topic] < gap.size:
                gap.excused[topic] += 1
                return True
        return False

    def forget_gaps(self, keep: int) -> tuple[Gap, ...]:
        """Forget all but the newest gaps, and return those.

        A number in a forgotten gap counts as seen: what comes for it later is a replay.
        """
        forgotten = tuple(self.gaps[:-keep])
        del self.gaps[:-keep]
        return forgotten

    def _open(self, at: int, before: Inference, after: Inference) -> None:
        if before.sequence + 1 < after.sequence:
            gap = Gap(before.sequence + 1, after.sequence - 1)
            self.gaps.insert(at, gap)
            self.lost += gap.size

    def _close(self, sequence: int) -> None:
        index = self._gap_of(sequence)
        assert index is not None
        gap = self.gaps[index]
        for topic, count in gap.excused.items():  # the rest may excuse as many messages as it has numbers
            gap.excused[topic] = max(0, count - 1)
        rest = (replace(gap, last=sequence - 1), replace(gap, first=sequence + 1))
        self.gaps[index : index + 1] = [part for part in rest if part.first <= part.last]
        self.lost -= 1

    def _gap_of(self, sequence: int) -> int | None:
        index = bisect_right(self.gaps, sequence, key=lambda gap: gap.first) - 1
        return index if index >= 0 and sequence <= self.gaps[index].last else None


@dataclass(frozen=True)
class Forgotten:
    """Gaps of a session that a live stream forgot; `ended`: the session as well."""

    chain: SessionChain
    gaps: tuple[Gap, ...]
    ended: bool


class SessionChecker:
    """Checks attestations against their session as they arrive.

    A session is known by its key and its random id, so that a stranger cannot spoil another's session by its id.
    """

    def __init__(self, catch_up: bool = False, live: bool = False) -> None:
        """With `catch_up` a session's start may still be asked for, so that a late one is no finding yet.

        A `live` stream has no end, so it forgets sessions and gaps; whoever reports them takes them from `forgotten`.
        """
        self.sessions: dict[SessionKey, SessionChain] = {}
        self.forgotten: list[Forgotten] = []
        self._catch_up, self._live = catch_up, live
        self._ended: dict[SessionKey, int] = {}

    def find(self, statement: Statement) -> SessionChain | None:
        """Return what has been seen of a statement's session."""
        return self.sessions.get((statement.key_id, statement.session))

    def oldest(self, among: Iterable[SessionKey]) -> SessionKey:
        """Return the session that was heard of longest ago."""
        return min(among, key=lambda key: self.sessions[key].newest.received_ns)

    def replayed(self, inference: Inference) -> bool:
        """Return whether the very attestation was seen, or one of its sequence so long ago that nobody can tell."""
        statement = inference.attestation.statement
        chain = self.find(statement)
        if chain is None and inference.topic:  # what a journal serves was asked for
            return statement.sequence <= self._ended.get((statement.key_id, statement.session), -1)
        if chain is None or not chain.has(inference.sequence):
            return False
        return chain.digests.get(inference.sequence) in (None, inference.attestation.digest)

    def add(self, inference: Inference) -> Iterator[Finding]:
        """Take the next attestation; yields what contradicts its session."""
        statement = inference.attestation.statement
        chain = self.find(statement)
        if chain is None:
            key = (statement.key_id, statement.session)
            chain = self.sessions[key] = SessionChain(inference, inference)
            forgotten = self._ended.pop(key, None) is not None  # then what came before was checked
            self._forget_sessions(key)
            if statement.sequence > 0 and not forgotten:
                if self._catch_up:
                    chain.begin = Gap(0, statement.sequence - 1)
                else:
                    yield joined_late(inference)
        else:
            yield from _continuity(chain, inference)
        yield from _neighbours(chain, inference)
        chain.take(inference)
        if self._live and len(chain.gaps) > LIVE_GAPS + _GAPS_AT_ONCE:
            self.forgotten.append(Forgotten(chain, chain.forget_gaps(LIVE_GAPS), ended=False))

    def _forget_sessions(self, new: SessionKey) -> None:
        """Forget the sessions that were heard of longest ago, where a new one makes them too many."""
        while self._live:
            others = [key for key in self.sessions if key != new]
            of_key = [key for key in others if key[0] == new[0]]
            if len(of_key) >= LIVE_OF_A_KEY:
                others = of_key
            elif len(others) < LIVE_SESSIONS:
                return
            oldest = self.oldest(others)
            chain = self.sessions.pop(oldest)
            self.forgotten.append(Forgotten(chain, tuple(chain.gaps), ended=True))
            self._ended[oldest] = chain.newest.sequence
            if len(self._ended) > KNOWN_AGAIN:
                del self._ended[next(iter(self._ended))]


def joined_late(first: Inference) -> Finding:
    """Return what there is to say of a session whose first known attestation is not its first."""
    return first.finding(
        "session_joined_late",
        f"stage {first.stage}: the first attestation of the session that was recorded has sequence {first.sequence}; "
        "the ones before it cannot be checked",
    )


def lost(chain: SessionChain, gaps: Iterable[Gap]) -> Iterator[Finding]:
    """Yield what there is to say of gaps for which nobody was asked."""
    for gap in gaps:
        which = f"sequence {gap.first}" if gap.size == 1 else f"sequences {gap.first} to {gap.last}"
        yield Finding(
            "attestation_lost",
            f"stage {chain.statement.stage}: {which} of a session ({gap.size}) were signed and are not in the "
            "recording: dropped on the way, or held back",
            topic=chain.first.topic,
            sequence=gap.first,
            stage=chain.statement.stage,
        )


def _continuity(chain: SessionChain, inference: Inference) -> Iterator[Finding]:
    statement, old = inference.attestation.statement, chain.statement
    name = _changed(old, statement)
    if name:
        yield inference.finding(
            "session_changed",
            f"stage {old.stage}: {name} changed within one session; a session keeps the {name} that it began with",
        )
    if chain.has(statement.sequence):
        if chain.digests.get(statement.sequence) != inference.attestation.digest:
            yield inference.finding(
                "session_forked",
                f"stage {statement.stage}: two attestations of one session have sequence {statement.sequence}",
            )
        return
    newest = chain.newest
    if statement.sequence < newest.sequence:
        if not inference.topic:
            return  # taken from the log or a stage's journal to fill a gap
        yield inference.finding(
            "attestation_reordered",
            f"stage {statement.stage}: sequence {statement.sequence} arrived after {newest.sequence}",
        )
        return
    if statement.start_monotonic_ns < newest.attestation.statement.start_monotonic_ns:
        yield inference.finding(
            "clock_went_back",
            f"stage {statement.stage}: sequence {statement.sequence} began before sequence {newest.sequence} "
            "by the session's monotonic clock",
        )


def _changed(old: Statement, new: Statement) -> str:
    """Return the first of the fields that a session keeps which differs; empty when none does."""
    if old.model is new.model and old.runtime is new.runtime and old.robot is new.robot and old.node is new.node:
        return "stage" if old.stage != new.stage else ""
    for name in ("robot", "stage", "node", "model", "runtime"):
        if getattr(old, name) != getattr(new, name):
            return name
    return ""


def _neighbours(chain: SessionChain, inference: Inference) -> Iterator[Finding]:
    statement = inference.attestation.statement
    before = chain.digests.get(statement.sequence - 1)
    after = chain.previous.get(statement.sequence + 1)
    if before not in (None, statement.previous) or after not in (None, inference.attestation.digest):
        yield inference.finding(
            "chain_broken",
            f"stage {statement.stage}: sequence {statement.sequence} does not fit its neighbour in the session's chain",
        )
