"""Fetches the messages of chosen inferences from a recording; only those are kept, and no longer than needed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from og_ros.attest import DataReference, Disclosure, digest
from og_ros.attest.cdr import CdrReader
from og_ros.attest.digest import covered_size
from og_ros.audit.recording.bag import Bag
from og_ros.audit.records import Inference, Record
from og_ros.errors import AttestationError

# A message by topic and digest.
Key: TypeAlias = tuple[str, bytes]

# Where an inference's messages mostly are, beside the arrival of its attestation. What is not there is looked for in
# the whole recording before it, such as a map that was published once.
BEFORE_NS: Final = 3 * 10**9
AFTER_NS: Final = 10**9
HELD_BYTES: Final = 256 * 2**20
_SEARCHED_AT_ONCE: Final = 1000


def fetch(bag: Bag, chosen: Iterable[Inference]) -> Iterator[tuple[Inference, Mapping[Key, bytes]]]:
    """Yield each chosen inference once, with those of its inputs' and outputs' messages that were recorded.

    Memory holds the chosen, and of messages only what waits for others of its inference: at most 256 MiB, beyond which
    the oldest inference is given up with what it has. Raises BagError where the recording cannot be read.
    """
    lost: list[Inference] = []
    for span in _spans(sorted(chosen, key=lambda inference: inference.received_ns)):
        for inference, payloads in _Search(bag, span.chosen, nearby=True).run(span.start_ns, span.stop_ns):
            missing = [r for r in inference.attestation.statement.inputs if _key(r) not in payloads]
            if any(r.disclosure is Disclosure.CLEAR and r.topic in bag.topics for r in missing):
                lost.append(inference)
            else:
                yield inference, payloads
    for at in range(0, len(lost), _SEARCHED_AT_ONCE):
        some = lost[at : at + _SEARCHED_AT_ONCE]
        yield from _Search(bag, some, nearby=False).run(None, some[-1].received_ns + AFTER_NS)


@dataclass
class _Span:
    """A part of the recording's time, and the inferences whose messages are looked for in it."""

    start_ns: int
    stop_ns: int
    chosen: list[Inference]


def _spans(chosen: Sequence[Inference]) -> list[_Span]:
    spans: list[_Span] = []
    for inference in chosen:
        start_ns, stop_ns = inference.received_ns - BEFORE_NS, inference.received_ns + AFTER_NS
        if spans and start_ns <= spans[-1].stop_ns:
            spans[-1].stop_ns = stop_ns
            spans[-1].chosen.append(inference)
        else:
            spans.append(_Span(max(start_ns, 0), stop_ns, [inference]))
    return spans


class _Search:
    """One reading of a part of a recording, for inferences in the order of their arrival.

    `nearby`: only messages of the size and stamp that the statements name are hashed. Else all of their topics are, so
    that a stage cannot hide a message by naming them wrongly.
    """

    def __init__(self, bag: Bag, chosen: Sequence[Inference], nearby: bool) -> None:
        self._bag, self._chosen = bag, chosen
        self._missing: list[set[Key]] = []
        self._waiting: defaultdict[Key, list[int]] = defaultdict(list)
        self._algorithms: defaultdict[str, set[str]] = defaultdict(set)
        self._expected: defaultdict[str, set[tuple[int, int]]] | None = defaultdict(set) if nearby else None
        for index, inference in enumerate(chosen):
            statement = inference.attestation.statement
            wanted = [r for r in (*statement.inputs, *statement.outputs) if _is_recorded(r, bag)]
            self._missing.append({_key(reference) for reference in wanted})
            for reference in wanted:
                self._algorithms[reference.topic].add(reference.digest_algorithm)
                if self._expected is not None:
                    self._expected[reference.topic].add((reference.size, reference.stamp_ns))
            for key in self._missing[index]:
                self._waiting[key].append(index)
        self._found: dict[Key, bytes] = {}
        self._users: Counter[Key] = Counter({key: len(users) for key, users in self._waiting.items()})
        self._held = self._done = 0
        self._finished = [False] * len(chosen)

    def run(self, start_ns: int | None, stop_ns: int) -> Iterator[tuple[Inference, Mapping[Key, bytes]]]:
        """Read, and yield each inference when all of it was found, or nothing more can come."""
        if self._waiting:
            for record in self._bag.records(list(self._algorithms), start_ns, stop_ns):
                for index in self._complete(record):
                    yield self._finish(index)
                while self._done < len(self._chosen) and (
                    self._finished[self._done]
                    or self._chosen[self._done].received_ns + AFTER_NS < record.received_ns
                    or self._held > HELD_BYTES
                ):
                    if not self._finished[self._done]:
                        yield self._finish(self._done)
                    self._done += 1
                if self._done == len(self._chosen):
                    return
        for index, finished in enumerate(self._finished):
            if not finished:
                yield self._finish(index)

    def _complete(self, record: Record) -> list[int]:
        """Take a message; return the inferences that lack nothing any more."""
        complete = []
        for key in self._keys(record):
            if key not in self._users or key in self._found:
                continue
            self._found[key] = bytes(record.payload)
            self._held += len(record.payload)
            for index in self._waiting.pop(key, ()):
                self._missing[index].discard(key)
                if not self._missing[index] and not self._finished[index]:
                    complete.append(index)
        return complete

    def _keys(self, record: Record) -> Iterator[Key]:
        if self._expected is not None:
            expected = self._expected[record.topic]
            size = covered_size(record.payload)
            if (size, 0) not in expected and (size, _stamp(record, self._bag)) not in expected:
                return
        for algorithm in self._algorithms[record.topic]:
            try:
                yield record.topic, digest(record.payload, algorithm)
            except AttestationError:
                continue  # too short to be a message, or an algorithm that is not installed: found nowhere

    def _finish(self, index: int) -> tuple[Inference, Mapping[Key, bytes]]:
        """Give out an inference's messages, and forget those that no other one waits for."""
        self._finished[index] = True
        inference = self._chosen[index]
        statement = inference.attestation.statement
        payloads = {}
        for key in {_key(reference) for reference in (*statement.inputs, *statement.outputs)}:
            payload = self._found.get(key)
            if payload is not None:
                payloads[key] = payload
            if key in self._users:
                self._users[key] -= 1
                if not self._users[key]:
                    del self._users[key]
                    if payload is not None:
                        del self._found[key]
                        self._held -= len(payload)
        return inference, payloads


def _key(reference: DataReference) -> Key:
    return reference.topic, reference.digest


def _is_recorded(reference: DataReference, bag: Bag) -> bool:
    return reference.disclosure is Disclosure.CLEAR and reference.topic in bag.topics


def _stamp(record: Record, bag: Bag) -> int:
    if not bag.topics[record.topic].stamped:
        return 0
    try:
        return CdrReader(record.payload).time()
    except AttestationError:
        return 0
