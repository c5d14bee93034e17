"""Links: whether an inference can be traced, input by input, back to recorded sensor messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from og_ros.audit.records import Inference


def resolve(inferences: Iterable[Inference], is_attested: Callable[[str], bool]) -> None:
    """Set `linked` and `origin_ns` of inferences whose inputs were joined.

    Depth first with an explicit stack: a stage that reads its own last output makes a chain as long as the run. An
    inference that would rest on itself is not linked.
    """
    done: dict[int, bool] = {}
    for inference in inferences:
        stack = [inference]
        while stack:
            top = stack[-1]
            state = done.get(id(top))
            if state:
                stack.pop()
                continue
            if state is None:
                done[id(top)] = False
                pending = [s for s in top.sources if s is not None and not s.linked and id(s) not in done]
                if pending:
                    stack.extend(pending)
                    continue
            _conclude(top, is_attested)
            done[id(top)] = True
            stack.pop()


def _conclude(inference: Inference, is_attested: Callable[[str], bool]) -> None:
    statement = inference.attestation.statement
    linked = inference.signed is not False and len(inference.sources) == len(statement.inputs)
    stamps = []
    for reference, source, seen in zip(statement.inputs, inference.sources, inference.seen, strict=False):
        if source is not None:
            linked = linked and source.linked
            if source.origin_ns is not None and source.stage != inference.stage:
                stamps.append(source.origin_ns)
        else:
            linked = linked and seen and not is_attested(reference.topic)
            if reference.stamp_ns:
                stamps.append(reference.stamp_ns)
    inference.linked = linked
    inference.origin_ns = min(stamps) if stamps else None
