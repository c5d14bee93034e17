"""A stage that cheats, for the demo's attacks: it runs the real stage node and changes what leaves it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from og_ros.errors import ConfigError
from og_ros.nodes.stage import Stage, run_stage
from og_ros.stages.pipeline import StageConfig

# The attacker acts on every so many inferences, and leaves the beginning of the run honest.
EVERY: Final = 40


class DishonestStage(Stage):
    """The stage node with one lie, chosen by the parameter `attack`, one of _LIES."""

    def _configure(self, config: StageConfig) -> None:
        super()._configure(config)
        attack = str(self.get_parameter("attack").value)
        if attack not in _LIES:
            raise ConfigError(f"parameter attack is {attack!r}; it must be one of {', '.join(_LIES)}")
        _LIES[attack](self._work)

    def _stage_parameters(self) -> list[str]:
        return [name for name in super()._stage_parameters() if name != "attack"]


class _AlteringPublisher:
    """Publishes another message than it was given, now and then: the last byte that is not zero is changed."""

    def __init__(self, publisher: Any) -> None:
        self._publisher, self._count = publisher, 0

    def publish(self, payload: bytes) -> None:
        self._count += 1
        self._publisher.publish(_changed(payload) if self._count % EVERY == 0 else payload)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)


class _LyingInference:
    """Gives another output than the model did, now and then, so that the stage publishes it and signs for it."""

    def __init__(self, inference: Any) -> None:
        self._inference, self._count = inference, 0

    def run(self, *args: Any, **kwargs: Any) -> Any:
        result = self._inference.run(*args, **kwargs)
        self._count += 1
        if self._count % EVERY == 0:
            return replace(result, outputs=(_changed(result.outputs[0]), *result.outputs[1:]))
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inference, name)


def _changed(payload: bytes) -> bytes:
    """Return a message with one bit changed in its last byte that is not zero."""
    data = bytearray(payload)
    at = max((i for i, byte in enumerate(data) if byte), default=len(data) - 1)
    data[at] ^= 1
    return bytes(data)


def _lie_before_signing(work: Any) -> None:
    work.inference = _LyingInference(work.inference)


def _alter_outputs(work: Any) -> None:
    work.publishers[0] = _AlteringPublisher(work.publishers[0])


def _withhold_attestations(work: Any) -> None:
    honest: Callable[[Any], None] = work.attestations.submit
    count = 0

    def submit(inference: Any) -> None:
        nonlocal count
        count += 1
        if count % EVERY:
            honest(inference)

    work.attestations.submit = submit


def _replay(work: Any) -> None:
    """Publish an earlier output and its attestation again, as they were."""
    publishers, output = work.attestations, work.publishers[0]
    sign, publish = publishers._sign, publishers._publish
    newest: list[Any] = []
    kept: list[tuple[bytes, bytes]] = []

    def remember(inference: Any) -> None:
        newest[:] = [inference.outputs[0].payload]
        sign(inference)
        if publishers.published % EVERY == 0 and len(kept) > EVERY // 2:
            old_output, old_attestation = kept[-EVERY // 2]
            output.publish(old_output)
            publish(old_attestation)

    def keep(attestation: bytes) -> None:
        kept.append((newest[0], attestation))
        publish(attestation)

    publishers._sign, publishers._publish = remember, keep


_LIES: Final[dict[str, Callable[[Any], None]]] = {
    "altered-output": _alter_outputs,
    "signed-lie": _lie_before_signing,
    "withheld": _withhold_attestations,
    "replayed": _replay,
}


def main(args: Sequence[str] | None = None) -> int:
    """Run a dishonest stage as a process."""
    return run_stage(DishonestStage, args)


if __name__ == "__main__":
    sys.exit(main())
