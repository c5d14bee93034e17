"""The manifest of a stage of a pipeline: what of it belongs to the stage, beside the environment that it runs in."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import packages_distributions
from typing import Final

import cbor2

from og_ros.evidence.manifest import ADAPTER, CONFIG, MODEL, Manifest
from og_ros.evidence.measurement import file_digest, measure
from og_ros.stages.adapters import adapter_for, create
from og_ros.stages.pipeline import StageConfig, to_parameters
from og_ros.stages.runtime import source_of

# Where a stage keeps and finds things; it changes from robot to robot, and not what the stage does.
_PLACES: Final = ("key", "journal", "registry", "disclosure_key", "disclosure_directory", "disclosure_recipients")


def stage_manifest(stage: StageConfig, *, image: str = "", packages: Iterable[str] = ()) -> Manifest:
    """Measure a stage: its model file, the source of its adapters, its configuration, and the environment.

    The distributions that its adapters come from are hashed, too. Raises EvidenceError for a file that cannot be read,
    ConfigError for an adapter that is not known.
    """
    files = {MODEL: file_digest(stage.model.path), CONFIG: config_digest(stage)}
    owners = packages_distributions()
    brought = list(packages)
    for side, ports in (("inputs", stage.inputs), ("outputs", stage.outputs)):
        for name, port in ports.items():
            adapter = create(port.adapter or adapter_for(port.type), port.options, f"{side}.{name}.options")
            files[f"{ADAPTER}{adapter.name}"] = sha256(source_of(type(adapter))).digest()
            brought += owners.get(type(adapter).__module__.partition(".")[0], [])
    return measure(stage.robot, stage.stage, files, image=image, packages=brought)


def config_digest(stage: StageConfig) -> bytes:
    """Return SHA-256 over the fields of a stage that decide what it does: no places of files, no key."""
    decisive = {
        name: value
        for name, value in to_parameters(stage).items()
        if name.partition(".")[0] not in _PLACES and name != "model.path" and not name.startswith("evidence")
    }
    return sha256(cbor2.dumps(decisive, canonical=True)).digest()
