"""An attested topic: its recorded messages, its attested outputs, and which of them still wait for each other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import Final

from og_ros.attest import DataReference
from og_ros.audit.records import Inference, Message, SessionKey

# Around the start and the end of a recording a message may lack its counterpart without anyone's fault.
EDGE_NS: Final = 10**9
# An output and its attestation leave their stage within this time of each other.
NEAR_NS: Final = 500_000_000


# So many matched messages of a topic and session are remembered, to tell the place of one that is not.
_PLACES: Final = 8192


@dataclass(slots=True, eq=False)
class Output:
    """One output of an inference, the so-manieth of its topic; `seen` once its message was recorded, or is accused."""

    inference: Inference
    index: int
    number: int = 0
    seen: bool = False

    @property
    def reference(self) -> DataReference:
        """What the inference says of it."""
        return self.inference.attestation.statement.outputs[self.index]


def session_of(inference: Inference) -> SessionKey:
    """Return the session of an inference: its key and its random id."""
    statement = inference.attestation.statement
    return statement.key_id, statement.session


@dataclass
class TopicTally:
    """Counts of one topic: messages recorded, references to it, and how many of each lack their counterpart."""

    messages: int = 0
    references: int = 0
    missing: int = 0
    first_ns: int | None = None


@dataclass
class AttestedTopic:
    """The outputs on one topic.

    `first_ns` and `last_ns` are the arrival of its first and last attestation, `begins_late` says that the first was
    not the first of its session, `sensor` that only sources attest it. `outputs` counts the attested outputs, and
    `newest` is the newest message that was found attested, with the number of its output. `seen` counts the digests
    that were attested and recorded, and `hidden` has the arrivals of outputs whose digest cannot be compared and which
    do not stand for a message yet.
    """

    first_ns: int
    begins_late: bool
    sensor: bool = False
    last_ns: int = 0
    outputs: int = 0
    newest: tuple[int, int, int] = (0, 0, 0)
    hidden: deque[int] = field(default_factory=deque)
    seen: Counter[bytes] = field(default_factory=Counter)
    _matched: dict[SessionKey, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    _waiting: dict[bytes, deque[Output]] = field(default_factory=lambda: defaultdict(deque))
    _in_order: deque[Output] = field(default_factory=deque)
    _by_stamp: dict[int, Output] = field(default_factory=dict)

    def add(self, output: Output) -> None:
        """Let an output wait for its message."""
        self._waiting[output.reference.digest].append(output)
        self._in_order.append(output)
        if output.reference.stamp_ns:
            self._by_stamp[output.reference.stamp_ns] = output

    def take(self, digest: bytes) -> Output | None:
        """Return the first waiting output with a digest, which then waits no more; None when there is none."""
        queue = self._waiting.get(digest)
        output = None
        while queue and (output is None or output.seen):
            output = queue.popleft()
        if queue is not None and not queue:
            del self._waiting[digest]
        return None if output is None or output.seen else output

    def match(self, message: Message, output: Output) -> None:
        """Note that a message is an attested output."""
        self.seen[output.reference.digest] += 1
        self.newest = max(self.newest, (message.received_ns, message.number, output.number))
        matched = self._matched[session_of(output.inference)]
        place = (message.received_ns, output.inference.sequence)
        if not matched or place > matched[-1]:
            matched.append(place)
        else:
            insort(matched, place)
        if len(matched) > 2 * _PLACES:
            del matched[:_PLACES]

    def is_passed(self, message: Message) -> bool:
        """Return whether a message's attestation must have come by now if there is one, in a stream without losses.

        Outputs are attested in their order. So it must if a later message was found attested; or if, since the newest
        one that was, as many outputs were attested as messages came.
        """
        received_ns, number, output = self.newest
        return message.received_ns < received_ns or message.number - number <= self.outputs - output

    def place(self, session: SessionKey, received_ns: int) -> tuple[int, int]:
        """Return the sequence numbers of a session between which an unattested message lies.

        A publisher's messages arrive in the order in which it published them (DDS 1.4, 2.2.3.18), so they are those of
        the messages before and after it that were found attested.
        """
        matched = self._matched.get(session, [])
        first, last = bisect_left(matched, (received_ns, -1)), bisect_right(matched, (received_ns, 2**64))
        after = matched[first - 1][1] if first else -1
        return after, matched[last][1] if last < len(matched) else 2**64

    def forget(self, output: Output) -> None:
        """Let an output wait no more."""
        digest = output.reference.digest
        queue = self._waiting.get(digest)
        if queue and queue[0] is output:
            queue.popleft()
            if not queue:
                del self._waiting[digest]
        if self._by_stamp.get(output.reference.stamp_ns) is output:
            del self._by_stamp[output.reference.stamp_ns]
        while self._in_order and (self._in_order[0].seen or self._in_order[0] is output):
            self._in_order.popleft()

    def twin_of(self, message: Message) -> Output | None:
        """Return the waiting output that a message stands in for: the same stamp, or else about the same time."""
        stamped = self._by_stamp.get(message.stamp_ns) if message.stamp_ns else None
        if stamped is not None and not stamped.seen:
            return stamped
        while self._in_order and (
            self._in_order[0].seen or self._in_order[0].inference.received_ns < message.received_ns - NEAR_NS
        ):
            self._in_order.popleft()
        for output in self._in_order:
            if output.inference.received_ns > message.received_ns + NEAR_NS:
                break
            after, before = self.place(session_of(output.inference), message.received_ns)
            if not output.seen and after < output.inference.sequence < before:
                return output
        return None

    def take_hidden(self, received_ns: int) -> bool:
        """Return whether a hidden output may be a message that arrived at a time; each stands for one message."""
        while self.hidden and self.hidden[0] < received_ns - NEAR_NS:
            self.hidden.popleft()
        if not self.hidden or self.hidden[0] > received_ns + NEAR_NS:
            return False
        self.hidden.popleft()
        return True

    def at_edge(self, received_ns: int, end_ns: int, slack_ns: int = 0) -> bool:
        """Return whether a message came before a late-heard session's first attestation, or at the recording's end.

        With slack, as one may overtake the other on its way: by so much inside the attestations that were recorded. A
        message with attested ones on its outer side is not at the edge.
        """
        if received_ns < self.first_ns + slack_ns and self.begins_late:
            return self._outermost(received_ns, 0)
        if received_ns >= self.last_ns - slack_ns and end_ns - received_ns < EDGE_NS:
            return self._outermost(received_ns, -1)
        return False

    def before_signing(self, received_ns: int) -> bool:
        """Return whether a sensor's message came before the first that its source signed, in any session."""
        return self.sensor and all(received_ns < matched[0][0] for matched in self._matched.values())

    def _outermost(self, received_ns: int, end: int) -> bool:
        """Return whether a message lies beyond the first (0) or last (-1) attested message of some session."""
        ends = [matched[end][0] for matched in self._matched.values()]
        return not ends or any(received_ns <= ns if end == 0 else received_ns >= ns for ns in ends)
