"""Signs what a stage did and publishes the attestations, on a thread of its own, in order, losing none."""

from __future__ import annotations

import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from og_ros.attest import Clock, DataReference, Session, decode_attestation, digest, encode_attestation
from og_ros.attest.digest import covered_size
from og_ros.errors import AttestationError

# Below this size, handing a message to the hashing thread costs more than hashing it.
HASH_BESIDE_BYTES: Final = 16_384
UPSTREAM_MEMORY: Final = 4096


class Message:
    """A message that was read or written: its bytes, when it was taken, and, once somebody needs it, its digest."""

    __slots__ = ("_digest", "_future", "payload", "sample", "stamp_ns", "taken_ns", "topic", "type")

    def __init__(self, topic: str, type: str, payload: bytes, stamp_ns: int = 0, sample: Any = None) -> None:
        self.topic, self.type, self.payload, self.stamp_ns = topic, type, payload, stamp_ns
        self.sample = sample
        self.taken_ns = time.monotonic_ns()
        self._digest: bytes | None = None
        self._future: Future[bytes] | None = None

    def hash_beside(self, pool: ThreadPoolExecutor) -> None:
        """Begin to hash a large message on another thread; hashlib releases the GIL."""
        if self._digest is None and self._future is None and len(self.payload) >= HASH_BESIDE_BYTES:
            self._future = pool.submit(digest, self.payload)

    def reference(self, attestation: bytes = b"") -> DataReference:
        """Return the message's reference; waits for its digest."""
        if self._digest is None:
            self._digest = self._future.result() if self._future is not None else digest(self.payload)
            self._future = None
        size = covered_size(self.payload)
        return DataReference(self.topic, self.type, self._digest, size, self.stamp_ns, attestation)


@dataclass(frozen=True, slots=True)
class Inference:
    """One inference that waits for its signature; times as in msg/Attestation.msg."""

    inputs: tuple[Message, ...]
    outputs: tuple[Message, ...]
    start_ns: int
    clock: Clock
    start_monotonic_ns: int
    duration_ns: int


class AttestationPublisher:
    """A queue, and a thread that signs what is in it.

    The queue is bounded. When it is full, `submit` waits: the stage slows down, and no attestation is dropped.
    """

    def __init__(
        self,
        session: Session,
        publish: Callable[[bytes], None],
        report: Callable[[str, Exception], None],
        capacity: int,
    ) -> None:
        """`publish` gets serialised attestations; `report` gets a kind of failure and the error. Both on the thread."""
        self.session = session
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hash")
        self.published = 0
        self._publish, self._report = publish, report
        self._queue: queue.Queue[Inference | None] = queue.Queue(maxsize=capacity)
        self._arrived: deque[tuple[str, bytes, int]] = deque(maxlen=UPSTREAM_MEMORY)
        self._upstream: OrderedDict[tuple[str, bytes], tuple[bytes, int]] = OrderedDict()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="signer", daemon=True)
        self._thread.start()

    def submit(self, inference: Inference) -> None:
        """Queue an inference; waits while the queue is full. Raises AttestationError after `close`."""
        if self._closed:
            raise AttestationError("an inference was made after the session ended; it has no attestation")
        self._queue.put(inference)

    def arrived(self, topic: str, payload: bytes) -> None:
        """Take note of an attestation, serialised, of what publishes on `topic`; it is read when somebody signs.

        It is not verified here: it only tells an auditor where to look, and an auditor joins by digest anyway.
        """
        self._arrived.append((topic, payload, time.monotonic_ns()))

    def drain(self) -> None:
        """Wait until everything that was submitted has been published."""
        self._queue.join()

    def close(self) -> None:
        """Drain, and end the thread. May be called twice."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()
            self.pool.shutdown()

    def _work(self) -> None:
        while True:
            inference = self._queue.get()
            try:
                if inference is None:
                    return
                self._sign(inference)
            except Exception as error:
                # Whatever it was, the thread must go on: the sequence is used up only by what was signed.
                self._report("signing", error)
            finally:
                self._queue.task_done()

    def _sign(self, inference: Inference) -> None:
        self._read_arrived()
        inputs = []
        for message in inference.inputs:
            reference = message.reference()
            source, at = self._upstream.get((message.topic, reference.digest), (b"", 0))
            # An output leaves its stage before its attestation. One that was here before the message belongs to an
            # earlier message of the same bytes.
            inputs.append(message.reference(source) if source and at >= message.taken_ns else reference)
        attestation = self.session.attest(
            inputs,
            [message.reference() for message in inference.outputs],
            start_ns=inference.start_ns,
            clock=inference.clock,
            start_monotonic_ns=inference.start_monotonic_ns,
            duration_ns=inference.duration_ns,
        )
        self._publish(encode_attestation(attestation))
        self.published += 1

    def _read_arrived(self) -> None:
        while self._arrived:
            topic, payload, at = self._arrived.popleft()
            try:
                attestation = decode_attestation(payload)
            except AttestationError as error:
                self._report(f"attestation of {topic}", error)
                continue
            for output in attestation.statement.outputs:
                if output.topic == topic:
                    self._upstream[topic, output.digest] = (attestation.digest, at)
                    self._upstream.move_to_end((topic, output.digest))
        while len(self._upstream) > UPSTREAM_MEMORY:
            self._upstream.popitem(last=False)
