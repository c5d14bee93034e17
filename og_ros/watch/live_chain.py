"""Keeps the newest attestations in bounded memory, and finds the chain behind the newest command among them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from og_ros.attest import Attestation, decode_attestation
from og_ros.errors import AttestationError

MAX_RECORDS: Final = 2048
MAX_CHAIN: Final = 24
# A stage that has been silent for so long no longer says what the robot's chain looks like.
_STALE_NS: Final = 30 * 10**9


class LiveChain:
    """Newest attestations by digest, and by the messages that they say they wrote. For one thread at a time."""

    def __init__(self) -> None:
        self._payloads: OrderedDict[bytes, bytes] = OrderedDict()
        self._records: dict[bytes, Attestation] = {}
        self._outputs: dict[tuple[str, bytes], bytes] = {}
        self._newest: dict[str, tuple[bytes, int]] = {}

    def add(self, topic: str, payload: bytes, now_ns: int) -> bool:
        """Take a serialised attestation; returns False when it cannot be read as one."""
        try:
            attestation = decode_attestation(payload)
        except AttestationError:
            return False
        digest = attestation.digest
        if digest in self._records:
            return True
        self._payloads[digest] = payload
        self._records[digest] = attestation
        for output in attestation.statement.outputs:
            self._outputs[output.topic, output.digest] = digest
        self._newest[topic] = (digest, now_ns)
        while len(self._payloads) > MAX_RECORDS:
            old, _ = self._payloads.popitem(last=False)
            for output in self._records.pop(old).statement.outputs:
                if self._outputs.get((output.topic, output.digest)) == old:
                    del self._outputs[output.topic, output.digest]
        return True

    def newest_chain(self, now_ns: int) -> list[tuple[str, bytes]]:
        """Return (attestation topic, payload) of the newest decision of every command, and of what they rest on."""
        live = {
            topic: digest
            for topic, (digest, at_ns) in self._newest.items()
            if now_ns - at_ns < _STALE_NS and digest in self._records
        }
        topics = {digest: topic for topic, digest in live.items()}
        read = {r.topic for digest in live.values() for r in self._records[digest].statement.inputs}
        order: OrderedDict[bytes, None] = OrderedDict()
        ends = [d for d in live.values() if not any(o.topic in read for o in self._records[d].statement.outputs)]
        for digest in ends or list(live.values()):
            for behind in self._behind(digest):
                if len(order) < MAX_CHAIN:
                    order[behind] = None
        return [(topics.get(digest, ""), self._payloads[digest]) for digest in order]

    def _behind(self, digest: bytes) -> Iterator[bytes]:
        waiting = [digest]
        seen: set[bytes] = set()
        while waiting and len(seen) < MAX_CHAIN:
            here = waiting.pop(0)
            if here in seen or here not in self._records:
                continue
            seen.add(here)
            yield here
            for reference in self._records[here].statement.inputs:
                named = reference.attestation or self._outputs.get((reference.topic, reference.digest))
                if named:
                    waiting.append(named)
