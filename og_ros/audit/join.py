"""Joins messages and attestations by digest: which attested output was recorded, where each input came from.

Nothing is judged before its counterpart had time to arrive: `settle(before_ns)` decides about everything that arrived
earlier, so the same code serves a recording and a live stream.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from og_ros.attest import Clock, DataReference, Disclosure, Statement
from og_ros.attest.digest import is_computable
from og_ros.audit.attested_topic import EDGE_NS, NEAR_NS, AttestedTopic, Output, TopicTally
from og_ros.audit.findings import Finding
from og_ros.audit.memory import Key, Memory, Retention
from og_ros.audit.records import Inference, Message, SessionKey

# Nodes hear /clock at its own pace, and one may still be at an older tick than the node that wrote its input.
_SIM_CLOCK_LAG_NS: Final = 250_000_000
# So many messages of a topic wait for a later attestation; more are judged without one.
_MAX_WAITING: Final = 50_000
# Records that nobody signed have little room: so many are remembered, and so many of their topics are told from a
# sensor's.
_MAX_CLAIMS: Final = 10_000
_MAX_CLAIMED: Final = 1000


class Joiner:
    """Matches what was recorded with what was attested.

    `excuse(topic, place)` says that a message without attestation is one whose attestation is known to be missing, and
    uses that gap up; `place` gives the sequence numbers of a session between which the message lies. Where there is no
    gap, the message is a violation. `recorded(topic)` tells whether the topic's messages are seen at all, so that
    absence means something. A message is judged only once a later attestation of its topic came, so that a gap before
    it is known. Messages and inferences are to be added in the order of their arrival.
    """

    def __init__(
        self,
        excuse: Callable[[str, Callable[[SessionKey], tuple[int, int]]], bool],
        recorded: Callable[[str], bool],
        clock_skew_ns: int,
        retention: Retention,
    ) -> None:
        self._excuse, self._recorded, self._skew_ns = excuse, recorded, clock_skew_ns
        # Messages that a missing attestation excused, by name: it may still be recovered.
        self._excused_as: Counter[Key] = Counter()
        self._edges: Counter[str] = Counter()
        self._early: Counter[str] = Counter()
        self._unsigned: Counter[str] = Counter()
        self._attested: dict[str, AttestedTopic] = {}
        self._messages: deque[Message] = deque()
        self._waiting: dict[str, deque[Message]] = defaultdict(deque)
        self._unmatched: dict[Key, list[Message]] = {}
        self._inferences: deque[Inference] = deque()
        self._outputs: deque[Output] = deque()
        self._claims: dict[Key, Inference] = {}
        self._claimed: set[str] = set()
        self._memory = Memory(retention)
        self.tallies: dict[str, TopicTally] = defaultdict(TopicTally)
        self.consumers: dict[str, set[str]] = defaultdict(set)
        self.algorithms: dict[str, str] = {}
        self.end_ns = 0

    def is_attested(self, topic: str) -> bool:
        """Return whether a stage's attestation names the topic as an output, be it one whose signature does not hold.

        A topic that only sources attest stays a sensor's: a message that none of them signed is worth what it was.
        """
        attested = self._attested.get(topic)
        return (attested is not None and not attested.sensor) or topic in self._claimed

    @property
    def attested_topics(self) -> Collection[str]:
        """The topics that some attestation names as an output, be it one whose signature does not hold."""
        return self._attested.keys() | self._claimed

    def algorithm_of(self, topic: str) -> str:
        """Return the digest algorithm that a topic's messages are hashed with; SHA-256 unless it is named otherwise."""
        algorithm = self.algorithms.get(topic, "sha256")
        return algorithm if is_computable(algorithm) else "sha256"

    def announce(self, statement: Statement) -> None:
        """Learn from a statement how its topics are hashed, before their messages come."""
        for reference in (*statement.inputs, *statement.outputs):
            self.algorithms.setdefault(reference.topic, reference.digest_algorithm)

    def add_message(self, message: Message) -> None:
        """Take a message of a topic that some attestation names."""
        topic = message.topic
        if message.received_ns > self.end_ns:
            self.end_ns = message.received_ns
        tally = self.tallies[topic]
        tally.messages += 1
        message.number = tally.messages
        if tally.first_ns is None:
            tally.first_ns = message.received_ns
        self._memory.add_message(message)
        attested = self._attested.get(topic)
        names = message.names
        if attested is not None:
            for name in names:
                output = attested.take(name)
                if output is not None:
                    self._match(message, output)
                    return
        self._messages.append(message)
        for name in names:
            self._unmatched.setdefault((topic, name), []).append(message)

    def add_inference(self, inference: Inference, begins_late: bool) -> None:
        """Take an attestation; `begins_late`: its session's start was not recorded."""
        if inference.received_ns > self.end_ns:
            self.end_ns = inference.received_ns
        statement = inference.attestation.statement
        self._inferences.append(inference)
        self._memory.add_inference(inference)
        inference.outputs_seen = [False] * len(statement.outputs)
        for reference in statement.inputs:
            self.tallies[reference.topic].references += 1
            self._memory.refer((reference.topic, reference.digest), inference.received_ns)
            self.consumers[reference.topic].add(statement.stage)
        for index, reference in enumerate(statement.outputs):
            self.tallies[reference.topic].references += 1
            attested = self._attested.get(reference.topic)
            if attested is None:
                attested = AttestedTopic(inference.received_ns, begins_late, sensor=statement.is_source)
                self._attested[reference.topic] = attested
            attested.sensor = attested.sensor and statement.is_source
            if inference.received_ns > attested.last_ns:
                attested.last_ns = inference.received_ns
            attested.outputs += 1
            if not self._checkable(reference):
                attested.hidden.append(inference.received_ns)
                continue
            key = (reference.topic, reference.digest)
            self._memory.add_output(key, inference)
            output = Output(inference, index, attested.outputs)
            waiting = self._unmatched.get(key)
            if not inference.topic and self._excused_as[key]:
                self._was_excused(key, output)
            elif waiting:
                # The newest: where outputs repeat to the byte, an older one lacks an attestation of its own.
                self._match(waiting[-1], output)
            else:
                attested.add(output)
                self._outputs.append(output)

    def add_claim(self, inference: Inference) -> None:
        """Take an attestation that its key did not sign: it neither excuses nor accuses anything but itself.

        A message that it claims is not held against anybody else, its topics are no sensor's, and where nobody else
        attests an input, a chain goes on through it, as weak as that makes it. One that claims to be a source says
        nothing: a sensor's message is worth as much without it.
        """
        self._inferences.append(inference)
        statement = inference.attestation.statement
        if statement.is_source:
            return
        for reference in statement.inputs:
            if len(self.consumers) < _MAX_CLAIMED:
                self.consumers[reference.topic].add(statement.stage)
        for reference in statement.outputs:
            if len(self._claimed) < _MAX_CLAIMED:
                self._claimed.add(reference.topic)
            self._claims.pop((reference.topic, reference.digest), None)
            self._claims[reference.topic, reference.digest] = inference
        while len(self._claims) > _MAX_CLAIMS:
            del self._claims[next(iter(self._claims))]

    def settle(self, before_ns: int, final: bool, overdue_ns: int | None = None) -> Iterator[Finding]:
        """Decide about all that arrived before a time; yields findings. `final`: nothing more will arrive.

        With `overdue_ns` (a live stream) a message is judged once its attestation should have come before those that
        did, or if it arrived before that time: a stage that stands still between an output and its signature is no
        stage that withholds.
        """
        while self._messages and self._messages[0].received_ns < before_ns:
            message = self._messages.popleft()
            if message.attested:
                continue
            if final:
                yield from self._settle_message(message)
            else:
                self._waiting[message.topic].append(message)
        yield from self._unattested_before()
        for waiting in self._waiting.values():
            while waiting and (
                final or len(waiting) > _MAX_WAITING or self._can_be_judged(waiting[0], before_ns, overdue_ns)
            ):
                message = waiting.popleft()
                if not message.attested:
                    yield from self._settle_message(message)
        while self._outputs and self._outputs[0].inference.received_ns < before_ns:
            output = self._outputs.popleft()
            self._attested[output.reference.topic].forget(output)
            if not output.seen:
                yield from self._settle_output(output)
        while self._inferences and self._inferences[0].received_ns < before_ns:
            inference = self._inferences.popleft()
            if inference.signed is False:
                self._settle_claim(inference)
                continue
            yield from self._settle_inputs(inference)
            yield from self._hidden_outputs(inference)
        if final:
            yield from (_began_late(topic, count) for topic, count in sorted(self._unsigned.items()))
            for topic, count in sorted(self._edges.items()):
                yield Finding(
                    "recording_edge",
                    f"{count} messages or references at the start or end of the recording lack their counterpart",
                    topic=topic,
                )
            return
        for message in self._memory.forget(before_ns):
            attested = self._attested.get(message.topic)
            if attested is not None:
                for name in message.names:
                    attested.seen.pop(name, None)

    def _can_be_judged(self, message: Message, before_ns: int, overdue_ns: int | None) -> bool:
        attested = self._attested.get(message.topic)
        if attested is None:  # it may be attested later; its newest messages may be the first outputs
            return message.received_ns < before_ns
        if overdue_ns is None:
            return message.received_ns < attested.last_ns
        return message.received_ns < overdue_ns or attested.is_passed(message)

    def _was_excused(self, key: Key, output: Output) -> None:
        """Hold a recovered attestation against its message, which it excused by being missing."""
        self._excused_as[key] -= 1
        self.tallies[key[0]].missing -= 1
        output.seen = True
        output.inference.outputs_seen[output.index] = True

    def _match(self, message: Message, output: Output) -> None:
        message.attested = output.seen = True
        output.inference.outputs_seen[output.index] = True
        self._drop_unmatched(message)
        attested = self._attested[message.topic]
        attested.match(message, output)

    def _drop_unmatched(self, message: Message) -> None:
        for name in message.names:
            key = (message.topic, name)
            waiting = self._unmatched.get(key)
            if waiting is not None:
                for index, other in enumerate(waiting):
                    if other is message:
                        del waiting[index]
                        break
                if not waiting:
                    del self._unmatched[key]

    def _settle_message(self, message: Message) -> Iterator[Finding]:
        attested = self._attested.get(message.topic)
        self._drop_unmatched(message)
        if attested is None:
            self._early[message.topic] += 1
            return
        if any((message.topic, name) in self._claims for name in message.names):
            return
        if attested.before_signing(message.received_ns) and not attested.begins_late:
            message.excused = True
            self._unsigned[message.topic] += 1
        elif self._excuse(message.topic, lambda session: attested.place(session, message.received_ns)):
            message.excused = True
            self.tallies[message.topic].missing += 1
            self._excused_as[message.topic, message.names[0]] += 1
            if len(self._excused_as) > _MAX_WAITING:
                del self._excused_as[next(iter(self._excused_as))]
        elif attested.take_hidden(message.received_ns):
            message.excused = True
        elif attested.at_edge(message.received_ns, self.end_ns):
            message.excused = True
            self._edges[message.topic] += 1
        elif (altered := attested.twin_of(message)) is not None and not _comparable(message, altered):
            message.excused = altered.seen = True  # that the two cannot be compared is told of the inference
        elif altered is not None:
            # Only now: a message whose attestation was lost must not stand for an output that was lost itself.
            altered.seen = True
            yield altered.inference.finding(
                "output_altered",
                f"stage {altered.inference.stage}: the message recorded on {message.topic} is not what it attested",
            )
        elif attested.at_edge(message.received_ns, self.end_ns, NEAR_NS):
            message.excused = True
            self._edges[message.topic] += 1
        elif any(attested.seen[name] for name in message.names):
            yield _message_finding(
                message,
                "output_replayed",
                f"a message on {message.topic} that was attested once was published again without attestation",
            )
        else:
            yield _message_finding(
                message,
                "output_not_attested",
                f"a message on {message.topic} has no attestation and no sequence number is missing: withheld, or "
                "published by another node",
            )

    def _unattested_before(self) -> Iterator[Finding]:
        """Yield the topics that began to be attested long after messages had been published on them."""
        for topic in [topic for topic in self._early if topic in self._attested]:
            count, attested = self._early.pop(topic), self._attested[topic]
            if attested.begins_late:
                self._edges[topic] += count
            elif attested.sensor:
                yield _began_late(topic, count + self._unsigned.pop(topic, 0))
            else:
                yield Finding(
                    "output_not_attested",
                    f"{count} messages on {topic} came before any attestation of that topic",
                    topic=topic,
                    received_ns=attested.first_ns,
                )

    def _settle_output(self, output: Output) -> Iterator[Finding]:
        reference, inference = output.reference, output.inference
        if not self._recorded(reference.topic):
            return
        if self._input_edge(reference.topic, inference) or self.end_ns - inference.received_ns < EDGE_NS:
            self._edges[reference.topic] += 1
            return
        self.tallies[reference.topic].missing += 1
        yield inference.finding(
            "output_not_recorded",
            f"stage {inference.stage}: its attested output on {reference.topic} is not in the recording",
        )

    def _input_edge(self, topic: str, inference: Inference) -> bool:
        first = self.tallies[topic].first_ns
        return first is None or inference.received_ns < first + EDGE_NS

    def _settle_inputs(self, inference: Inference) -> Iterator[Finding]:
        statement = inference.attestation.statement
        for reference in statement.inputs:
            key = (reference.topic, reference.digest)
            source, problem = self._source(inference, reference)
            if problem is not None:
                yield problem
            inference.sources.append(source)
            seen = self._memory.is_recorded(key)
            inference.seen.append(seen)
            if seen or not self._recorded(reference.topic):
                continue
            if reference.disclosure is Disclosure.COMMITTED and source is not None:
                continue  # its maker committed to the same message
            if reference.disclosure is not Disclosure.CLEAR or not self._checkable(reference):
                yield inference.finding(
                    "digest_not_checked",
                    f"stage {inference.stage}: its input on {reference.topic} is {_how_hidden(reference)}",
                )
                continue
            twin = self._memory.stamped(reference.topic, reference.stamp_ns)
            if twin is not None and (not self._has_own_place(twin) or self._is_sources_own(twin, source)):
                yield inference.finding(
                    "input_altered",
                    f"stage {inference.stage}: read other bytes on {reference.topic} than the recorded message with "
                    "the same stamp",
                )
            elif self._input_edge(reference.topic, inference):
                self._edges[reference.topic] += 1
            else:
                self.tallies[reference.topic].missing += 1
                yield inference.finding(
                    "input_not_recorded",
                    f"stage {inference.stage}: the message that it read on {reference.topic} is not in the recording",
                )

    def _settle_claim(self, inference: Inference) -> None:
        """Join a record that its key did not sign, for who looks into it; nothing is said of what it names."""
        statement = inference.attestation.statement
        recorded = self._memory.is_recorded
        inference.sources = [self._source(inference, reference)[0] for reference in statement.inputs]
        inference.seen = [recorded((reference.topic, reference.digest)) for reference in statement.inputs]
        inference.outputs_seen = [recorded((reference.topic, reference.digest)) for reference in statement.outputs]

    def _has_own_place(self, message: Message) -> bool:
        """Return whether a message is known to be one of its own, and so no altered other one of the same stamp."""
        read = self._memory.is_accounted((message.topic, message.digest))
        return message.attested or message.excused or read

    def _is_sources_own(self, twin: Message, source: Inference | None) -> bool:
        """Return whether a source signed a message, did not sign the other of its stamp, and misses no record."""
        attested = self._attested.get(twin.topic)
        if attested is None or not attested.sensor or not twin.attested or source is not None:
            return False
        return not self._excuse(twin.topic, lambda session: attested.place(session, twin.received_ns))

    def _hidden_outputs(self, inference: Inference) -> Iterator[Finding]:
        outputs = inference.attestation.statement.outputs
        for reference, seen in zip(outputs, inference.outputs_seen, strict=True):
            hidden = reference.disclosure is not Disclosure.CLEAR or not self._checkable(reference)
            if hidden and not seen and self._recorded(reference.topic):
                yield inference.finding(
                    "digest_not_checked",
                    f"stage {inference.stage}: its output on {reference.topic} is {_how_hidden(reference)}",
                )

    def _source(self, inference: Inference, reference: DataReference) -> tuple[Inference | None, Finding | None]:
        """Return the inference that made an input (None: not attested), and what contradicts that link."""
        named = self._memory.attested_as(reference.attestation) if reference.attestation else None
        candidates: Sequence[Inference] = self._memory.producers((reference.topic, reference.digest))
        if named is not None:
            if named not in candidates:
                return None, inference.finding(
                    "input_attestation_wrong",
                    f"stage {inference.stage}: names an attestation as the source of its input on {reference.topic}, "
                    "which did not give that message",
                )
            candidates = (named,)
        if not candidates:
            claim = self._claims.get((reference.topic, reference.digest))
            return claim if claim is not inference else None, None
        causes = [c for c in candidates if self._before(c, inference)]
        if not causes:
            return None, inference.finding(
                "cause_after_effect",
                f"stage {inference.stage}: its input on {reference.topic} was made after its inference had begun",
            )
        source = max(causes, key=lambda c: _nearness(c, inference))
        if source.attestation.statement.robot != inference.attestation.statement.robot:
            return None, inference.finding(
                "robot_mixed",
                f"stage {inference.stage}: its input on {reference.topic} was attested by robot "
                f"{source.attestation.statement.robot}",
            )
        return source, None

    def _before(self, cause: Inference, effect: Inference) -> bool:
        first, then = cause.attestation.statement, effect.attestation.statement
        if first.clock != then.clock:
            return True
        tolerance = self._skew_ns if first.clock == Clock.SYSTEM else _SIM_CLOCK_LAG_NS
        return first.start_ns <= then.start_ns + tolerance

    def _checkable(self, reference: DataReference) -> bool:
        """Return whether a reference can be joined: it is not absent, and of the one known algorithm of its topic."""
        algorithm = reference.digest_algorithm
        return (
            reference.disclosure is not Disclosure.ABSENT
            and is_computable(algorithm)
            and self.algorithms.get(reference.topic) == algorithm
        )


def _nearness(cause: Inference, effect: Inference) -> tuple[bool, bool, int]:
    """Order the inferences that may have made an input: signed, begun before the effect, as late as possible.

    Outputs without a stamp can repeat to the byte; the newest one before the effect is the likely one.
    """
    ahead = cause.attestation.statement.start_ns - effect.attestation.statement.start_ns
    return cause.signed is True, ahead <= 0, -abs(ahead)


def _comparable(message: Message, output: Output) -> bool:
    """Return whether a recorded message can be held against an output: both by digest, or both by commitment."""
    revealed = ("outputs", output.index) in output.inference.disclosed
    committed = output.reference.disclosure is Disclosure.COMMITTED and not revealed
    return bool(message.commitment if committed else message.digest)


def _how_hidden(reference: DataReference) -> str:
    if reference.disclosure != Disclosure.CLEAR:
        return reference.disclosure.name.lower()
    return f"hashed with {reference.digest_algorithm}, which was not computed for that topic"


def _began_late(topic: str, count: int) -> Finding:
    return Finding("source_began_late", f"{count} messages on {topic} came before their source began to sign", topic)


def _message_finding(message: Message, kind: str, text: str) -> Finding:
    return Finding(kind, text, topic=message.topic, received_ns=message.received_ns)
