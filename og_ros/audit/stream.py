"""Streams a recording through an examination, stretch by stretch, in this process or in several."""

from __future__ import annotations

import atexit
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.attest import ATTESTATION_TYPE
from og_ros.attest.template import AttestationReader
from og_ros.audit.examine import CLAIMED_ALGORITHM, Checked, Examiner, Item, Stretch, message_of
from og_ros.audit.packed import PackedStretch
from og_ros.audit.processes import rare_collection, worker_context
from og_ros.audit.recording.bag import Bag, open_bag
from og_ros.audit.recording.sealed_records import SEALED_TYPES, SealedRecords
from og_ros.audit.records import Message
from og_ros.errors import BagError, RegistryError
from og_ros.registry import Registry

# A stretch has about so many messages, and so many bytes.
STRETCH_MESSAGES: Final = 4096
STRETCH_BYTES: Final = 32_000_000
# The first stretch reads every topic, since no attestation has named any yet; it is this share of the others.
_FIRST_SHARE: Final = 0.25


@dataclass(frozen=True)
class Span:
    """A span of time of a recording, ns: from `start_ns` on (None: its beginning), before `stop_ns` (None: its end)."""

    start_ns: int | None
    stop_ns: int | None


def spans_of(bag: Bag, jobs: int) -> list[Span]:
    """Cut a recording into spans of about a stretch each."""
    # A message takes more than a byte of the files, whatever number of them metadata.yaml states.
    messages = min(bag.count, bag.size)
    wanted = math.ceil(max(messages / STRETCH_MESSAGES, bag.size / STRETCH_BYTES, 4 * jobs if jobs > 1 else 1))
    cuts = bag.cuts([_FIRST_SHARE, *([1.0] * (wanted - 1))])
    return [Span(a, b) for a, b in zip([None, *cuts], [*cuts, None], strict=True)]


class Stream:
    """The stretches of a recording in order, each complete: whatever its attestations or any others name is hashed.

    A topic that a later stretch is the first to name is then read from the earlier ones, and its messages come with
    that stretch. Where messages are `sealed`, all of them are read, in this process, since their numbers are checked.
    """

    def __init__(self, bag: Bag, registry: Registry | None, jobs: int = 1, sealed: SealedRecords | None = None) -> None:
        self._bag, self._registry, self._sealed = bag, registry, sealed
        self._jobs = 1 if sealed is not None else jobs
        self._attestations = {t.name for t in bag.topics.values() if t.type == ATTESTATION_TYPE}
        self._known: dict[str, str] = {}
        self._claimed: set[str] = set()
        self.counts: Counter[str] = Counter()

    @property
    def topics(self) -> set[str]:
        """The recorded topics that were read whole: those with attestations, and those that these name."""
        return {topic for topic in (*self._attestations, *self._known) if topic in self._bag.topics}

    def __iter__(self) -> Iterator[Stretch]:
        """Yield the stretches; raises BagError where the recording cannot be read."""
        spans = spans_of(self._bag, self._jobs)
        examined = self._in_processes(spans) if self._jobs > 1 and len(spans) > 1 else self._here(spans)
        for span, stretch in zip(spans, examined, strict=True):
            yield self._complete(span, stretch)

    def _here(self, spans: list[Span]) -> Iterator[Stretch]:
        examiner = Examiner(self._registry, self._sealed)
        for span in spans:
            yield _examine(self._bag, examiner, span, self._known, self._sealed is not None)

    def _in_processes(self, spans: list[Span]) -> Iterator[Stretch]:
        """Examine spans in worker processes, a few ahead of the one that is wanted."""
        registry = self._registry
        trusted = None
        if registry is not None:
            snapshot = None if registry.snapshot is None else registry.snapshot.absolute()
            state = (registry.number, registry.snapshot_digest)
            trusted = (registry.directory.absolute(), registry.fingerprint, snapshot, state)
        reader = AttestationReader()
        start = (self._bag.path.absolute(), self._bag.unpacked, trusted)
        with ProcessPoolExecutor(self._jobs, worker_context(), _begin_worker, start) as pool:
            waiting: deque[Future[PackedStretch]] = deque()
            rest = iter(spans[1:])
            try:
                for _ in range(self._jobs):
                    pool.submit(_begun)  # they start while the first stretch is read
                # The first stretch shows which topics the others are to hash.
                yield _examine(self._bag, Examiner(registry), spans[0], {})
                for _ in range(len(spans) - 1):
                    while len(waiting) < self._jobs + 2 and (span := next(rest, None)) is not None:
                        waiting.append(pool.submit(_work, span, dict(self._known)))
                    yield waiting.popleft().result().unpack(reader)
            except BrokenProcessPool as error:
                raise BagError(f"a process that read {self._bag.path} died; is there enough memory?") from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _complete(self, span: Span, stretch: Stretch) -> Stretch:
        """Add what the examination did not know to be wanted, from this span and from the ones before it."""
        late = {t for t in (*stretch.named, *stretch.claimed) if t not in self._known}
        for topic in stretch.claimed:
            if topic not in self._known:
                self._known[topic] = CLAIMED_ALGORITHM
                self._claimed.add(topic)
        for topic, algorithm in stretch.named.items():
            if topic not in self._known or topic in self._claimed:
                self._known[topic] = algorithm
                self._claimed.discard(topic)
        wrong = {t for t, a in stretch.hashed.items() if self._known.get(t, a) != a}
        if wrong:
            stretch.items = [i for i in stretch.items if not (isinstance(i, Message) and i.topic in wrong)]
        for topic, count in stretch.counts.items():
            if topic not in wrong:
                self.counts[topic] += count
        lacking = [t for t in self._known if t not in stretch.hashed or t in wrong]
        missed = list(self._hash(span, lacking))
        if span.start_ns is not None:
            missed += self._hash(Span(None, span.start_ns), late)
        if missed:
            stretch.items = sorted([*missed, *stretch.items], key=arrival)
        return stretch

    def _hash(self, span: Span, topics: Iterable[str]) -> Iterator[Message]:
        recorded = [t for t in topics if t in self._bag.topics and self._bag.topics[t].type not in SEALED_TYPES]
        if recorded:
            for record in self._bag.records(recorded, span.start_ns, span.stop_ns):
                self.counts[record.topic] += 1
                yield message_of(record, self._known[record.topic], self._bag.topics[record.topic].stamped)


def arrival(item: Item) -> int:
    """Return when an item arrived, ns."""
    return item.inference.received_ns if isinstance(item, Checked) else item.received_ns


def _examine(bag: Bag, examiner: Examiner, span: Span, known: Mapping[str, str], every_topic: bool = False) -> Stretch:
    """Examine a span: every topic where nothing is known yet, else the attestations and what they have named."""
    topics = None
    if known and not every_topic:
        topics = [t.name for t in bag.topics.values() if t.type == ATTESTATION_TYPE or t.name in known]
    stretch = examiner.examine(bag.records(topics, span.start_ns, span.stop_ns), bag.topics, known)
    if topics is not None:  # what was named here for the first time was not read
        stretch.hashed = {t: a for t, a in stretch.hashed.items() if t in known}
    return stretch


_worker: tuple[Bag, Examiner] | None = None


def _begin_worker(path: Path, unpacked: Path, trusted: tuple[Path, str, Path | None, tuple[int, bytes]] | None) -> None:
    """Open the recording and the registry in a worker, for as long as it lives."""
    global _worker
    registry = None
    if trusted is not None:
        directory, fingerprint, snapshot, state = trusted
        registry = Registry.open(directory, pinned_root=fingerprint, snapshot=snapshot)
        if (registry.number, registry.snapshot_digest) != state:
            raise RegistryError(f"the registry {directory} changed while the audit ran; run it again")
    stack = ExitStack()
    stack.enter_context(rare_collection())
    bag = stack.enter_context(open_bag(path, unpacked))
    atexit.register(stack.close)
    _worker = bag, Examiner(registry)


def _begun() -> None:
    """Do nothing, in a worker: it has begun once this is done."""


def _work(span: Span, known: Mapping[str, str]) -> PackedStretch:
    assert _worker is not None
    bag, examiner = _worker
    return PackedStretch.of(_examine(bag, examiner, span, known))
