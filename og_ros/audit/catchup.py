"""Catch-up: which attestations to ask stages for, whom, when, how often, and what it means when they do not come.

Pure: it is told what was heard (the session chains), which services are there, what came back and what time it is, and
it says what to ask next and which ranges are given up. An auditor or a gate does the asking.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from og_ros.attest import Attestation, Statement
from og_ros.attest.statement import SESSION_SIZE
from og_ros.audit.findings import Finding
from og_ros.audit.records import SessionKey
from og_ros.audit.sessions import KNOWN_AGAIN, Forgotten, SessionChain, joined_late
from og_ros.log.journal import KeptSession

NO_SESSION: Final = bytes(SESSION_SIZE)
# After so many time-outs in a row so many are asked for at once: a lossy network brings a small answer more easily.
SMALLER: Final = (0, 32, 8, 1)
Range = tuple[int, int]
# A node's answer names at most so many sessions; more are not read.
MAX_SESSIONS: Final = 1024


@dataclass(frozen=True)
class Request:
    """What to ask a node's journal: a range of a session, both ends included; or, without session, its list.

    `limit` bounds the attestations in one answer; 0: as many as fit.
    """

    node: str
    session: bytes = NO_SESSION
    first: int = 0
    last: int = 0
    limit: int = 0


@dataclass(frozen=True)
class Answer:
    """What a journal answered: sessions that it has, how many attestations it states to keep, and some of those.

    `present` is the session that the stage signs in now.
    """

    kept: tuple[KeptSession, ...]
    keeps: int
    present: bytes = NO_SESSION
    attestations: tuple[Attestation, ...] = ()
    complete: bool = False


@dataclass(frozen=True)
class Pace:
    """How patient a catch-up is, seconds: before it asks, for an answer, between lists, and for a stage that is gone.

    After `attempts` without answer a range is given up; the pause between two doubles from `timeout`, up to a minute.
    """

    patience: float = 0.5
    timeout: float = 3.0
    poll: float = 5.0
    gone: float = 30.0
    attempts: int = 5
    outstanding: int = 4


@dataclass
class _Node:
    """A node with a journal: when its list is due, the sessions that it had last, what is asked of it now."""

    list_at: float = 0.0
    kept: dict[bytes, KeptSession] = field(default_factory=dict)
    keeps: int = 0
    present: bytes = NO_SESSION
    asked: Request | None = None
    asked_at: float = 0.0
    timeouts: int = 0


@dataclass
class _Wanted:
    """What is missing of one session: since when, when to ask (again), and the ranges that were given up.

    `silent` are those of them that nobody answered for, to be asked for again when their node speaks.
    """

    since: float | None
    ask_at: float
    attempts: int = 0
    heard_at_first: int = -1
    given_up: list[Range] = field(default_factory=list)
    silent: list[Range] = field(default_factory=list)


class CatchUp:
    """The state of a catch-up over all stages; times are monotonic seconds."""

    def __init__(self, pace: Pace | None = None, *, earlier_sessions: bool = True) -> None:
        """`earlier_sessions`: also ask for sessions that ended before anything of them was heard."""
        self._pace = pace or Pace()
        self._earlier = earlier_sessions
        self._nodes: dict[str, _Node] = {}
        self._wanted: dict[bytes, _Wanted] = {}
        self._findings: list[Finding] = []
        self._late_told: set[SessionKey] = set()
        self._deferred: dict[bytes, Range] = {}
        self._ended: dict[bytes, None] = {}
        self.recovered = 0
        self.log_works = True
        """Whether what was deferred is to be asked for now."""

    def defer(self, statement: Statement) -> None:
        """Note an attestation that was heard and found no room on its way into the log: its stage is asked for it.

        Of a session one range is noted, from the first to the last; what of it was logged is asked for in vain.
        """
        first, last = self._deferred.get(statement.session, (statement.sequence, statement.sequence))
        self._deferred[statement.session] = (min(first, statement.sequence), max(last, statement.sequence))

    def is_deferred(self, session: bytes, sequence: int) -> bool:
        """Return whether an attestation is one that found no room, or lies between such."""
        first, last = self._deferred.get(session, (0, -1))
        return first <= sequence <= last

    def requests(
        self, now: float, chains: Mapping[SessionKey, SessionChain], reachable: Collection[str]
    ) -> list[Request]:
        """Return what to ask now; `reachable` are the nodes whose service is there."""
        due: list[Request] = []
        by_id = _by_id(chains)
        for name in reachable:
            self._nodes.setdefault(name, _Node())
        for node in self._nodes.values():
            if node.asked is not None and now - node.asked_at >= self._pace.timeout:
                self._unanswered(node.asked, now, by_id)
        self._give_up(now, by_id, reachable)
        outstanding = sum(node.asked is not None for node in self._nodes.values())
        for name in sorted(reachable):
            node = self._nodes[name]
            if node.asked is not None or outstanding >= self._pace.outstanding:
                continue
            request = self._next(name, node, now, by_id)
            if request is not None:
                node.asked, node.asked_at = request, now
                outstanding += 1
                due.append(request)
        return due

    def answered(self, request: Request, answer: Answer, now: float) -> list[Attestation]:
        """Take an answer; returns the attestations in it that were asked for, which are still to be verified.

        Call it before they are taken; then call `judged`.
        """
        node = self._nodes.setdefault(request.node, _Node())
        if node.asked == request:
            node.asked = None
        if request.session != NO_SESSION:
            node.timeouts = max(0, node.timeouts - 1)
        node.kept = {kept.session: kept for kept in answer.kept[-MAX_SESSIONS:]}
        node.keeps, node.present = answer.keeps, answer.present
        node.list_at = now + self._pace.poll
        for wanted in self._wanted.values():
            wanted.given_up = [r for r in wanted.given_up if r not in wanted.silent]
            wanted.silent = []
        if request.session == NO_SESSION:
            return []
        return [
            attestation
            for attestation in answer.attestations
            if attestation.statement.session == request.session
            and request.first <= attestation.statement.sequence <= request.last
        ]

    def judged(
        self,
        request: Request,
        answer: Answer,
        given: Mapping[int, bool],
        now: float,
        chains: Mapping[SessionKey, SessionChain],
    ) -> None:
        """Conclude what an answer means; `given`: which signed ones it held, and whether each is new."""
        if request.session == NO_SESSION:
            return
        wanted = self._wanted.setdefault(request.session, _Wanted(now, now))
        wanted.attempts = 0
        got = sorted(given)
        new = [sequence for sequence in got if given[sequence]]
        wanted.ask_at = now if got and not answer.complete else now + self._pace.patience
        chain = _by_id(chains).get(request.session)
        if new:
            self.recovered += len(new)
            what = self._what_of(request.session, new[0])
            text = f"{_sequences(new[0], new[-1])} ({len(new)}) {what}; recovered from its journal"
            self._findings.append(_finding("attestation_recovered", chain, request, new[0], text))
        # What an answer cut short does not reach is asked for next.
        last = got[-1] if got and not answer.complete else request.last
        node = self._nodes[request.node]
        kept = node.kept.get(request.session)
        known = chain.newest.sequence if chain is not None else -1
        last = min(last, max(known, kept.newest if kept is not None else -1))
        for first, end in _left([(request.first, last)], ((s, s) for s in got)):
            self._explain(request, node, kept, chain, first, end)
            wanted.given_up.append((first, end))
        self._settle_deferred(request, last)

    def forget(self, gone: Forgotten) -> None:
        """Ask no more for what the audit does not follow any more; what of it nobody answered for is lost."""
        session = gone.chain.statement.session
        wanted = self._wanted.get(session, _Wanted(0.0, 0.0))
        for first, last in _left(((gap.first, gap.last) for gap in gone.gaps), wanted.given_up):
            self._lost(gone.chain, None, first, last, "so much came since that nobody asks for them any more")
        if not gone.ended:
            wanted.given_up = [part for part in wanted.given_up if part[1] > gone.gaps[-1].last]
            return
        self._wanted.pop(session, None)
        self._tell_late(gone.chain)
        self._late_told.discard((gone.chain.statement.key_id, session))
        self._ended[session] = None
        if len(self._ended) > KNOWN_AGAIN:
            del self._ended[next(iter(self._ended))]

    def findings(self) -> list[Finding]:
        """Return what was found since the last call."""
        found, self._findings = self._findings, []
        return found

    def finish(self, chains: Mapping[SessionKey, SessionChain]) -> list[Finding]:
        """Nothing more can be asked: return what is still missing."""
        for (_, session), chain in chains.items():
            wanted = self._wanted.get(session, _Wanted(0.0, 0.0))
            for first, last in _left(((gap.first, gap.last) for gap in chain.gaps), wanted.given_up):
                self._lost(chain, None, first, last, "its stage could not be asked before the end")
            if session in self._deferred:
                self._lost(chain, None, *self._deferred[session], "the next start asks its stage for them")
            self._tell_late(chain)
        return self.findings()

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _settle_deferred(self, request: Request, last: int) -> None:
        """Forget what was deferred as far as an answer reached."""
        if request.session not in self._deferred:
            return
        begin, end = self._deferred[request.session]
        if request.first <= begin <= last:
            if last >= end:
                del self._deferred[request.session]
            else:
                self._deferred[request.session] = (last + 1, end)

    def _what_of(self, session: bytes, sequence: int) -> str:
        if self.is_deferred(session, sequence):
            return "found no room while the log could not be written"
        return "did not arrive"

    def _next(self, name: str, node: _Node, now: float, by_id: Mapping[bytes, SessionChain]) -> Request | None:
        if not node.kept and now >= node.list_at:
            return self._list(name, node, now)
        sessions = [chain.statement.session for chain in by_id.values() if chain.statement.node == name]
        if self._earlier:
            sessions += [session for session in node.kept if session not in by_id]
        elif node.kept:
            newest = list(node.kept)[-1]
            sessions += [newest] if newest not in by_id else []
        for session in sessions:
            ranges = self._missing(session, by_id.get(session), node.kept.get(session))
            if not ranges:
                self._settled(session)
                continue
            wanted = self._wanted.setdefault(session, _Wanted(now, now + self._pace.patience))
            if wanted.ask_at <= now:
                if wanted.attempts == 0 and session in by_id:
                    wanted.heard_at_first = by_id[session].newest.sequence
                return Request(name, session, *ranges[0], limit=SMALLER[min(node.timeouts, len(SMALLER) - 1)])
        return self._list(name, node, now) if now >= node.list_at else None

    def _list(self, name: str, node: _Node, now: float) -> Request:
        node.list_at = now + self._pace.poll
        return Request(name)

    def _missing(self, session: bytes, chain: SessionChain | None, kept: KeptSession | None) -> list[Range]:
        """Return the ranges of a session to ask for, in order."""
        ranges: list[Range] = []
        followed = session not in self._ended
        if chain is None:
            if kept is not None and followed:
                ranges.append((0, kept.newest))
        else:
            if chain.first.sequence > 0 and followed:
                ranges.append((0, chain.first.sequence - 1))
            ranges += [(gap.first, gap.last) for gap in chain.gaps]
            if kept is not None and kept.newest > chain.newest.sequence:
                ranges.append((chain.newest.sequence + 1, kept.newest))
        deferred = [self._deferred[session]] if self.log_works and session in self._deferred else []
        wanted = self._wanted.get(session)
        if wanted is None or not wanted.given_up:
            return [*ranges, *deferred]
        return [*_left(ranges, wanted.given_up), *_left(deferred, wanted.given_up)]

    def _settled(self, session: bytes) -> None:
        wanted = self._wanted.get(session)
        if wanted is not None and not wanted.given_up:
            del self._wanted[session]
        elif wanted is not None:  # the next gap is a matter of its own
            wanted.since, wanted.ask_at = None, 0.0
            wanted.attempts = 0

    def _unanswered(self, request: Request, now: float, by_id: Mapping[bytes, SessionChain]) -> None:
        node = self._nodes[request.node]
        node.asked = None
        node.timeouts += 1
        wanted = self._wanted.get(request.session)
        if wanted is None:
            return
        wanted.attempts += 1
        wanted.ask_at = now + min(60.0, self._pace.timeout * 2 ** (wanted.attempts - 1))
        if wanted.attempts < self._pace.attempts:
            return
        chain = by_id.get(request.session)
        if _signed(chain) and chain is not None and chain.newest.sequence > wanted.heard_at_first >= 0:
            reason = "it goes on, and does not answer"
            self._withheld(chain, request, request.first, request.last, reason)
            wanted.given_up.append((request.first, request.last))
        else:
            self._silent(wanted, chain, request, request.first, request.last, "its stage does not answer")
        wanted.attempts = 0

    def _give_up(self, now: float, by_id: Mapping[bytes, SessionChain], reachable: Collection[str]) -> None:
        """Give up what no service is there for."""
        for session, chain in by_id.items():
            if chain.statement.node in reachable:
                continue
            ranges = self._missing(session, chain, None)
            if not ranges:
                continue
            wanted = self._wanted.setdefault(session, _Wanted(now, now + self._pace.patience))
            wanted.since = now if wanted.since is None else wanted.since
            if now - wanted.since >= self._pace.gone:
                for first, last in ranges:
                    self._silent(wanted, chain, None, first, last, "its stage is gone, or has no journal")

    def _silent(
        self, wanted: _Wanted, chain: SessionChain | None, request: Request | None, first: int, last: int, reason: str
    ) -> None:
        self._lost(chain, request, first, last, reason)
        wanted.given_up.append((first, last))
        wanted.silent.append((first, last))

    def _explain(
        self,
        request: Request,
        node: _Node,
        kept: KeptSession | None,
        chain: SessionChain | None,
        first: int,
        last: int,
    ) -> None:
        """Find what it means that a node answered and did not give a range."""
        if kept is None:
            self._lost(chain, request, first, last, "its stage has no journal of that session")
            return
        stated = _stated(node, kept)
        present = kept.session == node.present
        bounds = (
            (first, min(last, stated - 1), False, "its stage no longer keeps them"),
            (max(first, stated), min(last, kept.oldest - 1), True, "it states that it keeps so many, and does not"),
            (
                max(first, kept.oldest),
                min(last, kept.newest),
                True,
                "it states that it has them, and does not give them",
            ),
            (
                max(first, kept.newest + 1),
                last,
                present or kept.ended,
                "it signed them and denies it"
                if present or kept.ended
                else "they are not in what a crash left of them",
            ),
        )
        for begin, end, accused, reason in bounds:
            if begin > end:
                continue
            if accused and (chain is None or _signed(chain)):
                self._withheld(chain, request, begin, end, reason)
            else:
                self._lost(chain, request, begin, end, reason)

    def _withheld(self, chain: SessionChain | None, request: Request, first: int, last: int, reason: str) -> None:
        text = f"{_sequences(first, last)} ({last - first + 1}) are held back: {reason}"
        self._findings.append(_finding("attestation_withheld", chain, request, first, text))

    def _lost(self, chain: SessionChain | None, request: Request | None, first: int, last: int, reason: str) -> None:
        if chain is None:
            return  # nobody heard anything of that session
        if last < chain.first.sequence:
            self._tell_late(chain)
            return
        what = self._what_of(chain.statement.session, first)
        text = f"{_sequences(first, last)} ({last - first + 1}) were signed and {what}: {reason}"
        self._findings.append(_finding("attestation_lost", chain, request, first, text))

    def _tell_late(self, chain: SessionChain) -> None:
        key = (chain.statement.key_id, chain.statement.session)
        if chain.first.sequence > 0 and key not in self._late_told:
            self._late_told.add(key)
            self._findings.append(joined_late(chain.first))


def _stated(node: _Node, kept: KeptSession) -> int:
    """Return the first sequence of a session that the node's statement of how many it keeps covers."""
    later = 0
    for other in reversed(node.kept.values()):
        if other is kept:
            break
        later += other.newest + 1
    return max(0, kept.newest + 1 - max(0, node.keeps - later))


def _by_id(chains: Mapping[SessionKey, SessionChain]) -> dict[bytes, SessionChain]:
    """Return chains by their session; where a stranger uses an id too, the one whose key is registered."""
    found: dict[bytes, SessionChain] = {}
    for (_, session), chain in chains.items():
        if session not in found or (chain.first.signed and not found[session].first.signed):
            found[session] = chain
    return found


def _signed(chain: SessionChain | None) -> bool:
    """Return whether a chain is known to be its stage's: only then can the stage be accused of holding back."""
    return chain is not None and chain.first.signed is True


def _left(wholes: Iterable[Range], parts: Iterable[Range]) -> Iterator[Range]:
    """Yield what is left of ranges, given in order, without some others; in one pass, as there may be thousands."""
    taken = sorted(parts)
    at = 0
    for first, last in wholes:
        while at < len(taken) and taken[at][1] < first:
            at += 1
        index = at
        while first <= last and index < len(taken) and taken[index][0] <= last:
            begin, end = taken[index]
            if begin > first:
                yield first, begin - 1
            first = max(first, end + 1)
            index += 1
        if first <= last:
            yield first, last


def _sequences(first: int, last: int) -> str:
    return f"sequence {first}" if first == last else f"sequences {first} to {last}"


def _finding(kind: str, chain: SessionChain | None, request: Request | None, sequence: int, text: str) -> Finding:
    who = f"stage {chain.statement.stage}" if chain is not None else f"node {request.node if request else '?'}"
    return Finding(
        kind,
        f"{who}: {text}",
        topic=chain.newest.topic or chain.first.topic if chain is not None else "",
        sequence=sequence,
        stage=chain.statement.stage if chain is not None else "",
    )
