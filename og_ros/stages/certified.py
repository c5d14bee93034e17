"""Whether a registry certifies a stage's model and key, before the stage starts."""

from __future__ import annotations

from og_ros.attest import ModelReference, Runtime
from og_ros.errors import RegistryError
from og_ros.registry import Registry
from og_ros.registry.rules import key_problems, model_problems


def require_certified(
    registry: Registry,
    *,
    robot: str,
    stage: str,
    model: ModelReference | None,
    runtime: Runtime,
    key_id: bytes,
    now_ns: int,
    source_of: tuple[str, ...] = (),
) -> None:
    """Raise RegistryError, saying what to do, unless key, model and processing are certified for this stage now.

    `model` is None for a source or a witness that names none; `source_of` are the topics that a source signs.
    """
    problems = list(key_problems(registry, key_id, robot=robot, stage=stage, at_ns=now_ns, source_of=source_of))
    if model is not None:
        processing = runtime.processing_digest
        problems += model_problems(registry, model, stage=stage, processing_digest=processing, at_ns=now_ns)
    if problems:
        first = problems[0]
        raise RegistryError(f"{first.sentence}; {first.remedy} (registry {registry.directory})")
