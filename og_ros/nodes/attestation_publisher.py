"""Signs what a stage did and publishes the attestations, on a thread of its own, in order, losing none."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from og_ros.attest import Clock, DataReference, Disclosure, Mode, Session, digest
from og_ros.attest.commitment import conceal, salt_of
from og_ros.attest.digest import covered_size
from og_ros.attest.side_file import SideRecord
from og_ros.attest.statement import NO_DIGEST, Attestation
from og_ros.attest.template import AttestationReader
from og_ros.errors import AttestationError
from og_ros.log.journal import Journal
from og_ros.nodes.signing_queue import LAG_MS, SigningQueue

# Below this size, handing a message to the hashing thread costs more than hashing it.
HASH_BESIDE_BYTES: Final = 16_384
UPSTREAM_MEMORY: Final = 4096


class Message:
    """A message that was read or written: its bytes, when it was taken, and, once somebody needs it, its digest.

    `disclosure` is how an attestation is to name it, `algorithm` that of its digest.
    """

    __slots__ = (
        "_digest", "_future", "algorithm", "disclosure", "payload", "sample", "stamp_ns", "taken_ns", "topic", "type",
    )  # fmt: skip

    def __init__(
        self,
        topic: str,
        type: str,
        payload: bytes,
        stamp_ns: int = 0,
        sample: Any = None,
        disclosure: Disclosure = Disclosure.CLEAR,
        algorithm: str = "sha256",
    ) -> None:
        self.topic, self.type, self.payload, self.stamp_ns = topic, type, payload, stamp_ns
        self.sample, self.disclosure, self.algorithm = sample, disclosure, algorithm
        self.taken_ns = time.monotonic_ns()
        self._digest: bytes | None = None
        self._future: Future[bytes] | None = None

    def hash_beside(self, pool: ThreadPoolExecutor) -> None:
        """Begin to hash a large message on another thread; hashlib releases the GIL."""
        needed = self._digest is None and self._future is None and self.disclosure != Disclosure.ABSENT
        if needed and len(self.payload) >= HASH_BESIDE_BYTES:
            self._future = pool.submit(digest, self.payload, self.algorithm)

    def reference(self, attestation: bytes = b"") -> DataReference:
        """Return the message's reference in clear (without a digest where it is to be absent); waits for its digest."""
        if self.disclosure == Disclosure.ABSENT:
            self._digest = NO_DIGEST
        if self._digest is None:
            future, self._future = self._future, None
            self._digest = future.result() if future is not None else digest(self.payload, self.algorithm)
        size = covered_size(self.payload)
        return DataReference(self.topic, self.type, self._digest, size, self.stamp_ns, attestation, self.algorithm)


@dataclass(frozen=True, slots=True)
class Inference:
    """One inference that waits for its signature; times as in msg/Attestation.msg."""

    inputs: tuple[Message, ...]
    outputs: tuple[Message, ...]
    start_ns: int
    clock: Clock
    start_monotonic_ns: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class Disclosing:
    """What a stage needs to commit to messages: the robot's secret, and who keeps what was committed to, if anyone."""

    secret: bytes
    keep: Callable[[SideRecord], None] | None = None


class AttestationPublisher:
    """A queue, and a thread that signs what is in it.

    The queue is bounded in number and in age: `submit` waits while it is full, or while its oldest inference has waited
    for too long. The stage slows down, and no attestation is dropped.
    """

    def __init__(
        self,
        session: Session,
        publish: Callable[[bytes], None],
        report: Callable[[str, Exception | str], None],
        capacity: int,
        disclosing: Disclosing | None = None,
        journal: Journal | None = None,
        lag_ms: int = LAG_MS,
        mode: Mode = Mode.SIGNED,
    ) -> None:
        """`publish` gets serialised attestations; `report` gets a kind of failure and the error, from any thread.

        Without `disclosing` no message can be committed to. Each attestation is in `journal` before it is published.
        `mode` is what the records say of themselves: SIGNED by who did it, or OBSERVED by who looked on.
        """
        self.session = session
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hash")
        self.published = 0
        self._publish, self._report = publish, report
        self._disclosing = disclosing
        self._journal, self._mode = journal, mode
        self._queue: SigningQueue[Inference] = SigningQueue(capacity, lag_ms * 10**6)
        self._arrived: deque[tuple[str, bytes, int]] = deque(maxlen=UPSTREAM_MEMORY)
        self._upstream: OrderedDict[tuple[str, bytes], tuple[bytes, int]] = OrderedDict()
        self._reader = AttestationReader()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="signer", daemon=True)
        self._thread.start()

    def submit(self, inference: Inference) -> None:
        """Queue an inference; waits while signatures lag behind. Raises AttestationError after `close`."""
        if self._closed:
            raise AttestationError("an inference was made after the session ended; it has no attestation")
        late_ns = self._queue.put(inference)
        if late_ns:
            self._report("signing", f"signatures lag behind outputs: waited {late_ns / 1e6:.0f} ms for them")

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
            self._queue.close()
            self._thread.join()
            self.pool.shutdown()

    def _work(self) -> None:
        while (inference := self._queue.first()) is not None:
            try:
                self._sign(inference)
            except Exception as error:
                # Whatever it was, the thread must go on: the sequence is used up only by what was signed.
                self._report("signing", error)
            finally:
                self._queue.done()

    def _sign(self, inference: Inference) -> None:
        self._read_arrived()
        inputs = []
        for message in inference.inputs:
            shown = self._shown(message)
            source, at = self._upstream.get((message.topic, shown.digest), (b"", 0))
            # An output leaves its stage before its attestation. One that was here before the message belongs to an
            # earlier message of the same bytes.
            if source and at >= message.taken_ns:
                shown = DataReference(
                    shown.topic, shown.type, shown.digest, shown.size, shown.stamp_ns, source,
                    shown.digest_algorithm, shown.disclosure,
                )  # fmt: skip
            inputs.append(shown)
        attestation = self.session.attest(
            inputs,
            [self._shown(message) for message in inference.outputs],
            start_ns=inference.start_ns,
            clock=inference.clock,
            start_monotonic_ns=inference.start_monotonic_ns,
            duration_ns=inference.duration_ns,
            mode_requested=self._mode,
            mode_used=self._mode,
        )
        if self._journal is not None:
            self._journal.append(attestation.statement.sequence, attestation.cose)
        self._publish(self.session.serialised(attestation))
        self.published += 1
        if self._disclosing is not None and self._disclosing.keep is not None:
            self._keep(attestation, "input", inference.inputs, self._disclosing.keep)
            self._keep(attestation, "output", inference.outputs, self._disclosing.keep)

    def _shown(self, message: Message) -> DataReference:
        """Return a message's reference as the attestation shows it."""
        secret = self._disclosing.secret if self._disclosing is not None else b""
        return conceal(message.reference(), message.disclosure, secret)

    def _keep(
        self, attestation: Attestation, side: str, messages: Sequence[Message], keep: Callable[[SideRecord], None]
    ) -> None:
        """Hand over what an attestation commits to, so that it can be revealed."""
        statement = attestation.statement
        references = statement.inputs if side == "input" else statement.outputs
        for index, (message, shown) in enumerate(zip(messages, references, strict=True)):
            if message.disclosure != Disclosure.COMMITTED or self._disclosing is None:
                continue
            digest, algorithm = message.reference().digest, shown.digest_algorithm
            salt = salt_of(self._disclosing.secret, digest, algorithm)
            keep(
                SideRecord(
                    attestation.digest, side, index, shown.topic, shown.type, shown.stamp_ns, statement.signed_at_ns,
                    algorithm, salt, shown.digest, message.payload,
                )
            )  # fmt: skip

    def _read_arrived(self) -> None:
        while self._arrived:
            topic, payload, at = self._arrived.popleft()
            try:
                attestation = self._reader.read(payload, topic)
            except AttestationError as error:
                self._report(f"attestation of {topic}", error)
                continue
            for output in attestation.statement.outputs:
                if output.topic == topic and output.disclosure != Disclosure.ABSENT:
                    self._upstream[topic, output.digest] = (attestation.digest, at)
                    self._upstream.move_to_end((topic, output.digest))
        while len(self._upstream) > UPSTREAM_MEMORY:
            self._upstream.popitem(last=False)
