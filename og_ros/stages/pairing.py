"""Pairs the outputs of a node with its inputs from outside, by a rule that is stated: what a witness can know.

A witness sees messages pass. It does not see which inputs a node used, so the pairing is a rule and no fact.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from og_ros.errors import ConfigError

RuleName = Literal["stamp", "latest_before"]
RULES: Final = ("stamp", "latest_before")


@dataclass(frozen=True, slots=True)
class Rule:
    """How an output is paired; times in ns.

    Attributes:
        name: `stamp`: the first input is the one with the output's header stamp, and every other input its newest
            message when that one arrived. `latest_before`: every input is its newest message when the output arrived.
        max_age_ns: an input that arrived longer before the output is not paired with it.
        patience_ns: how long an output waits for the input with its stamp, as one may overtake the other.
    """

    name: RuleName
    max_age_ns: int = 1_000_000_000
    patience_ns: int = 100_000_000

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise ConfigError(f"rule is {self.name!r}; it must be one of {', '.join(RULES)}")

    def text(self, inputs: Sequence[str]) -> str:
        """Return the rule as a record states it."""
        first = f";first={inputs[0]}" if self.name == "stamp" else ""
        return f"rule={self.name}{first};max_age_ms={self.max_age_ns / 1e6:g}"


@dataclass(frozen=True, slots=True)
class Seen:
    """A message that passed: its header stamp (0: none), when it arrived (monotonic, ns), and whatever goes with it."""

    stamp_ns: int
    at_ns: int
    message: Any = None


@dataclass(frozen=True, slots=True)
class Pair:
    """An output and the inputs that the rule gives it, one a topic; `why` says why there are none."""

    output: Seen
    inputs: tuple[Seen, ...]
    why: str = ""


class Pairing:
    """Takes what passes in order of arrival; gives each output once, with its inputs or with why it has none."""

    def __init__(self, inputs: Sequence[str], rule: Rule, memory: int = 512) -> None:
        """Pair outputs with inputs of these topics; of each so many messages are remembered."""
        if not inputs:
            raise ConfigError("inputs is empty: name the topics that the observed node reads")
        self._inputs, self._rule = tuple(inputs), rule
        self._seen: dict[str, deque[Seen]] = {topic: deque(maxlen=memory) for topic in inputs}
        self._waiting: deque[Seen] = deque()
        self._memory = memory

    def add_input(self, topic: str, seen: Seen) -> None:
        """Take a message of an input topic."""
        self._seen[topic].append(seen)

    def add_output(self, seen: Seen) -> None:
        """Take a message of an output topic."""
        self._waiting.append(seen)

    def take(self, now_ns: int) -> Iterator[Pair]:
        """Yield the outputs that are decided by now: paired, or given up."""
        kept: deque[Seen] = deque()
        while self._waiting:
            output = self._waiting.popleft()
            pair = self._pair(output)
            waits = self._rule.name == "stamp" and now_ns - output.at_ns < self._rule.patience_ns
            if pair.why and waits and len(kept) < self._memory:
                kept.append(output)
            else:
                yield pair
        self._waiting = kept

    def _pair(self, output: Seen) -> Pair:
        found: list[Seen] = []
        before_ns = output.at_ns
        for index, topic in enumerate(self._inputs):
            if index == 0 and self._rule.name == "stamp":
                one = self._stamped(topic, output.stamp_ns)
                if one is None:
                    return Pair(output, (), f"no message on {topic} had its stamp, {output.stamp_ns} ns")
                before_ns = one.at_ns
            else:
                one = self._latest(topic, before_ns)
                if one is None:
                    return Pair(output, (), f"no message on {topic} came before it")
            if output.at_ns - one.at_ns > self._rule.max_age_ns:
                age = (output.at_ns - one.at_ns) / 1e6
                return Pair(output, (), f"the message on {topic} had come {age:.0f} ms before it")
            found.append(one)
        return Pair(output, tuple(found))

    def _stamped(self, topic: str, stamp_ns: int) -> Seen | None:
        if not stamp_ns:
            return None
        return next((one for one in reversed(self._seen[topic]) if one.stamp_ns == stamp_ns), None)

    def _latest(self, topic: str, at_ns: int) -> Seen | None:
        return next((one for one in reversed(self._seen[topic]) if one.at_ns <= at_ns), None)
