"""Counts how each field of each stage is shown: clear, committed, revealed or absent."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from og_ros.attest import Disclosure
from og_ros.audit.records import Inference

_WORDS: Final = {Disclosure.CLEAR: "clear", Disclosure.COMMITTED: "committed", Disclosure.ABSENT: "absent"}


class DisclosureTally:
    """Counts data references by stage, side, topic and how they are shown; a revealed commitment counts as revealed."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str, str]] = Counter()

    def add(self, inference: Inference) -> None:
        """Count the inputs and outputs of one inference."""
        statement = inference.attestation.statement
        for side, references in (("inputs", statement.inputs), ("outputs", statement.outputs)):
            for index, reference in enumerate(references):
                revealed = bool(inference.disclosed) and (side, index) in inference.disclosed
                word = "revealed" if revealed else _WORDS[reference.disclosure]
                self._counts[statement.stage, side, reference.topic, word] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the counts as {stage: {side: {topic: {how: count}}}}."""
        found: dict[str, Any] = {}
        for (stage, side, topic, word), count in sorted(self._counts.items()):
            found.setdefault(stage, {"inputs": {}, "outputs": {}})[side].setdefault(topic, {})[word] = count
        return found
