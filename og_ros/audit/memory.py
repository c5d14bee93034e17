"""What a join remembers: recorded messages and attested outputs by digest, while something may refer to them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Final

from og_ros.audit.records import Inference, Message

Key = tuple[str, bytes]
# When there are too many records, only those of this long are kept.
_CROWDED_NS: Final = 10**9
# So many records are looked at in one call, so that no call takes long.
_STEPS: Final = 20_000
NO_INFERENCES: Final[tuple[Inference, ...]] = ()


@dataclass(frozen=True)
class Retention:
    """How long a record is remembered after its arrival or its last use, ns, and how many are at most."""

    time_ns: int
    records: int


class Memory:
    """Recorded messages and inferences of the last while, by (topic, digest).

    The newest message of each topic, and whatever was used lately, outlives the retention: a map or a plan that was
    published once stays an input for hours.
    """

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._messages: deque[Message] = deque()
        self._inferences: deque[Inference] = deque()
        self._seen: Counter[Key] = Counter()
        self._used_ns: dict[Key, int] = {}
        self._by_stamp: dict[tuple[str, int], Message] = {}
        self._by_digest: dict[bytes, Inference] = {}
        self._producers: dict[Key, list[Inference]] = {}
        self._newest: dict[str, Message] = {}
        self._newest_output: dict[str, Inference] = {}

    def add_message(self, message: Message) -> None:
        """Remember a message."""
        topic = message.topic
        for name in message.names:
            self._seen[topic, name] += 1
        if message.stamp_ns and message.digest:
            self._by_stamp.setdefault((topic, message.stamp_ns), message)
        self._messages.append(message)
        self._newest[topic] = message

    def add_inference(self, inference: Inference) -> None:
        """Remember an inference, by its digest alone."""
        self._inferences.append(inference)
        self._by_digest[inference.attestation.digest] = inference

    def add_output(self, key: Key, inference: Inference) -> None:
        """Remember an inference as the maker of an output."""
        producers = self._producers.get(key)
        if producers is None:
            self._producers[key] = [inference]
        else:
            producers.append(inference)
        self._newest_output[key[0]] = inference

    def refer(self, key: Key, now_ns: int) -> None:
        """Note that an attestation names a message as its input."""
        self._used_ns.pop(key, None)  # so that the oldest come first
        self._used_ns[key] = now_ns

    def is_recorded(self, key: Key) -> bool:
        """Return whether a message was recorded."""
        return key in self._seen

    def is_accounted(self, key: Key) -> bool:
        """Return whether an attestation names a message, as an output or as an input."""
        return key in self._producers or key in self._used_ns

    def stamped(self, topic: str, stamp_ns: int) -> Message | None:
        """Return the first recorded message of a topic with a header stamp."""
        return self._by_stamp.get((topic, stamp_ns)) if stamp_ns else None

    def producers(self, key: Key) -> Sequence[Inference]:
        """Return the inferences that attest an output."""
        return self._producers.get(key, NO_INFERENCES)

    def attested_as(self, digest: bytes) -> Inference | None:
        """Return the inference whose attestation has a digest."""
        return self._by_digest.get(digest)

    def forget(self, judged_ns: int) -> list[Message]:
        """Forget what is older than the retention; only what arrived before `judged_ns`. Returns those messages."""
        gone = []
        before_ns = self._before(self._messages, judged_ns)
        self._forget_uses(before_ns)
        for _ in range(min(len(self._messages), _STEPS)):
            if self._messages[0].received_ns >= before_ns:
                break
            message = self._messages.popleft()
            used = [self._in_use((message.topic, name), before_ns) for name in message.names]
            if any(used) or self._newest[message.topic] is message:
                self._messages.append(message)
            else:
                self._drop_message(message)
                gone.append(message)
        before_ns = self._before(self._inferences, judged_ns)
        for _ in range(min(len(self._inferences), _STEPS)):
            if self._inferences[0].received_ns >= before_ns:
                break
            inference = self._inferences.popleft()
            # Cut the chain behind an old inference, so that a stage with feedback does not keep the whole run.
            inference.sources = []
            if self._is_source(inference, before_ns):
                self._inferences.append(inference)
            else:
                self._drop_inference(inference)
        return gone

    def _before(self, kept: Sized, judged_ns: int) -> int:
        """Return the time before which records are forgotten: later when there are too many."""
        time_ns = self._retention.time_ns
        return judged_ns - (time_ns if len(kept) <= self._retention.records else min(time_ns, _CROWDED_NS))

    def _forget_uses(self, before_ns: int) -> None:
        while self._used_ns:
            key = next(iter(self._used_ns))
            if self._used_ns[key] >= before_ns:
                break
            del self._used_ns[key]

    def _in_use(self, key: Key, before_ns: int) -> bool:
        return self._used_ns.get(key, before_ns - 1) >= before_ns

    def _is_source(self, inference: Inference, before_ns: int) -> bool:
        return any(
            self._newest_output.get(reference.topic) is inference
            or self._in_use((reference.topic, reference.digest), before_ns)
            for reference in inference.attestation.statement.outputs
        )

    def _drop_message(self, message: Message) -> None:
        for name in message.names:
            key = (message.topic, name)
            self._seen[key] -= 1
            if self._seen[key] <= 0:
                del self._seen[key]
        self._by_stamp.pop((message.topic, message.stamp_ns), None)

    def _drop_inference(self, inference: Inference) -> None:
        self._by_digest.pop(inference.attestation.digest, None)
        for reference in inference.attestation.statement.outputs:
            key = (reference.topic, reference.digest)
            producers = self._producers.get(key)
            if producers is not None and inference in producers:
                producers.remove(inference)
                if not producers:
                    del self._producers[key]
