"""Whether the stages of a pipeline file would start: models, adapters, keys and certificates, before any node runs."""

from __future__ import annotations

from og_ros.attest import ModelReference
from og_ros.attest.key_reference import load_signer
from og_ros.errors import OgError
from og_ros.registry import Registry
from og_ros.stages.certified import require_certified
from og_ros.stages.inference import Inference
from og_ros.stages.pipeline import Pipeline, StageConfig


def check_stages(pipeline: Pipeline, now_ns: int) -> None:
    """Raise what the first stage that cannot start would raise, with the stage's name in front.

    Each node checks the same for itself; this is for whoever starts several of them and wants to know before.
    `now_ns` is wall time, for certificates.
    """
    for name, stage in pipeline.stages.items():
        try:
            _check(stage, now_ns)
        except OgError as error:
            raise type(error)(f"stage {name}: {error}") from error


def _check(stage: StageConfig, now_ns: int) -> None:
    inference = Inference.configure(stage)
    signer = load_signer(stage.key)
    if stage.registry is None or not stage.require_certified:
        return
    require_certified(
        Registry.open(stage.registry, pinned_root=stage.registry_root or None),
        robot=stage.robot,
        stage=stage.stage,
        model=ModelReference(stage.model.name, stage.model.version, inference.model.digest),
        runtime=inference.runtime,
        key_id=signer.key_id,
        now_ns=now_ns,
    )
