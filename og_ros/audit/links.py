"""Links: whether an inference can be traced, input by input, back to recorded sensor messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from og_ros.audit.levels import LOWEST, chain_levels, levels_of
from og_ros.audit.records import Inference


def resolve(inferences: Iterable[Inference], is_attested: Callable[[str], bool]) -> None:
    """Set `linked`, `origin_ns`, `chain_levels` and `resolved` of inferences whose inputs were joined.

    Depth first with an explicit stack: a stage that reads its own last output makes a chain as long as the run. An
    inference that would rest on itself is not linked.
    """
    begun: set[int] = set()
    for inference in inferences:
        stack = [inference]
        while stack:
            top = stack[-1]
            if top.resolved:
                stack.pop()
                continue
            if id(top) not in begun:
                begun.add(id(top))
                pending = [s for s in top.sources if s is not None and not s.resolved and id(s) not in begun]
                if pending:
                    stack.extend(pending)
                    continue
            _conclude(top, is_attested)
            stack.pop()


def _conclude(inference: Inference, is_attested: Callable[[str], bool]) -> None:
    statement = inference.attestation.statement
    joined = len(inference.sources) == len(statement.inputs)
    linked = inference.signed is not False and joined
    sourced = linked and (inference.signed is True or not statement.is_source)
    if statement.is_source:
        # Its key was checked against the topic: see og_ros.registry.rules.key_problems.
        linked = linked and all(inference.outputs_seen)
    stamps = [reference.stamp_ns for reference in statement.outputs if reference.stamp_ns and statement.is_source]
    for reference, source, seen in zip(statement.inputs, inference.sources, inference.seen, strict=False):
        if source is not None:
            # What a source signed must have been recorded, as any sensor message; between stages, digests join.
            linked = linked and source.linked and (seen or not source.attestation.statement.is_source)
            sourced = sourced and source.sourced
            if source.origin_ns is not None and source.stage != inference.stage:
                stamps.append(source.origin_ns)
        else:
            linked = linked and seen and not is_attested(reference.topic)
            sourced = False
            if reference.stamp_ns:
                stamps.append(reference.stamp_ns)
    inference.linked, inference.sourced = linked, linked and sourced
    inference.origin_ns = min(stamps) if stamps else None
    # An input that a stage attests, and whose attestation is not known, has no level at all.
    behind = [
        (source.chain_levels or LOWEST) if source is not None else LOWEST
        for reference, source in zip(statement.inputs, inference.sources, strict=False)
        # A source runs no model: what it is worth is in `data_provenance` of who read it, and nowhere else.
        if (not source.attestation.statement.is_source if source is not None else is_attested(reference.topic))
    ]
    inference.chain_levels = chain_levels(levels_of(inference), behind)
    inference.resolved = joined
