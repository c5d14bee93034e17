"""Says which numbers of a command an envelope leaves without a bound: what nobody thought of must not move a robot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from og_ros.gate.envelope import Bound, TopicBounds
from og_ros.gate.message_fields import Layout, Leaf, Path, parse_path


def unbounded(topic: TopicBounds, layout: Layout) -> list[str]:
    """Return the patterns of the numbers that have no unconditional min and max, and are not listed as free.

    A time is no such number. A sequence is bounded by [*], or by its indices from 0 on when max_length leaves no more.
    """
    bounds = [b for b in topic.bounds if not b.when]
    free = [parse_path(text) for text in topic.free]
    return [
        leaf.pattern
        for leaf in layout.leaves
        if leaf.code and not leaf.time and not any(_under(leaf, path) for path in free) and not _bounded(leaf, bounds)
    ]


def _bounded(leaf: Leaf, bounds: Sequence[Bound]) -> bool:
    low, high = set(_covering(leaf, bounds, low=True)), set(_covering(leaf, bounds, low=False))
    if leaf.code in "BHIQ":
        low = high  # there is nothing below 0
    return _whole(leaf, low, bounds) and _whole(leaf, high, bounds)


def _covering(leaf: Leaf, bounds: Sequence[Bound], *, low: bool) -> Iterator[Path]:
    for bound in bounds:
        if len(bound.fields) > 1 or (bound.minimum if low else bound.maximum) is not None:
            yield from (path for path in map(parse_path, bound.fields) if _names(path) == _names(_steps(leaf)))


def _whole(leaf: Leaf, paths: set[Path], bounds: Sequence[Bound]) -> bool:
    """Whether paths to a leaf name each of its values."""
    steps = _steps(leaf)
    if not paths:
        return False
    if steps in paths:
        return True
    if steps[-1] is not None:
        return False
    indices = {p[-1] for p in paths if p[:-1] == steps[:-1] and isinstance(p[-1], int)}
    count = leaf.fixed if leaf.fixed is not None else _max_length(steps[:-1], bounds)
    return count is not None and indices >= set(range(count))


def _max_length(sequence: Path, bounds: Sequence[Bound]) -> int | None:
    found = [b.max_length for b in bounds if b.max_length is not None and parse_path(b.fields[0]) == sequence]
    return min(found, default=None)


def _under(leaf: Leaf, free: Path) -> bool:
    names = _names(_steps(leaf))
    return names[: len(_names(free))] == _names(free) and not any(isinstance(step, int) for step in free)


def _names(path: Path) -> list[str]:
    return [step for step in path if isinstance(step, str)]


def _steps(leaf: Leaf) -> Path:
    return parse_path(leaf.pattern.replace("[]", "[*]"))
