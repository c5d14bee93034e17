"""Attacks that the demo can suffer: what the attacker changes, and the finding that must name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.attest import keys


@dataclass(frozen=True)
class Attack:
    """An attack on the demo.

    `finding` is what the audit must name. `prepare` changes the demo's directory after its owner certified it;
    `stage` runs as a dishonest node instead (og_ros.nodes.dishonest_stage), empty for none.
    """

    summary: str
    finding: str
    prepare: Callable[[Path], None]
    stage: str = ""


def _nothing(directory: Path) -> None:
    """Leave the directory as it is: the attack is the dishonest node."""


def _swap_model(directory: Path) -> None:
    """Put another model in the place of the certified planner, and stop the robot from checking."""
    model = directory / "models" / "line_planning.onnx"
    data = bytearray(model.read_bytes())
    # One bit in the middle of the weights: a model that runs as before, and is not the certified one.
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    _stop_checking(directory)


def _swap_key(directory: Path) -> None:
    """Put a key that nobody certified in the place of the planner's."""
    path = directory / "keys" / "planning.pem"
    path.unlink()
    keys.save_private(keys.generate(), path)
    _stop_checking(directory)


def _stop_checking(directory: Path) -> None:
    pipeline = directory / "pipeline.yaml"
    lines = pipeline.read_text().splitlines(keepends=True)
    at = lines.index("  planning:\n") + 1
    pipeline.write_text("".join([*lines[:at], "    require_certified: false\n", *lines[at:]]))


ATTACKS: Final[dict[str, Attack]] = {
    "swapped-model": Attack("another model runs than the certified one", "model_not_certified", _swap_model),
    "unregistered-key": Attack("a stage signs with a key that nobody certified", "unregistered_key", _swap_key),
    "altered-output": Attack(
        "a stage publishes other commands than it attests", "output_altered", _nothing, stage="control"
    ),
    "signed-lie": Attack(
        "a stage changes its model's output, then publishes and signs that", "reexecution_differs", _nothing, "control"
    ),
    "replayed": Attack(
        "an old command and its attestation are published again", "attestation_replayed", _nothing, stage="control"
    ),
    "withheld": Attack(
        "a stage publishes commands that it never attests", "output_not_attested", _nothing, stage="control"
    ),
}
