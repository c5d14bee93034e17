"""Whether a registry certifies a stage's model and key, before the stage starts."""

from __future__ import annotations

from og_ros.attest import ModelReference, Runtime
from og_ros.errors import RegistryError
from og_ros.registry import Registry, Status


def require_certified(
    registry: Registry, *, robot: str, stage: str, model: ModelReference, runtime: Runtime, key_id: bytes, now_ns: int
) -> None:
    """Raise RegistryError, saying what to do, unless key, model and processing are certified for this stage now."""
    _require_key(registry, robot, stage, key_id, now_ns)
    where = f"the registry {registry.directory}"
    name = f"model {model.name}@{model.version} ({model.digest.hex()[:16]})"
    certificates = registry.models_with(model.digest)
    if not certificates:
        raise RegistryError(f"{name} is not in {where}: its bytes were never certified (og-ros registry)")
    certificate = next((c for c in certificates if (c.name, c.version) == (model.name, model.version)), None)
    if certificate is None:
        known = ", ".join(f"{c.name}@{c.version}" for c in certificates)
        raise RegistryError(f"{name} is certified in {where} as {known}; set model.name and model.version so")
    if not certificate.allows_stage(stage):
        raise RegistryError(f"{name} is certified in {where} for {', '.join(certificate.stages)}, not for {stage}")
    status = certificate.status(now_ns)
    if status is not Status.VALID:
        raise RegistryError(f"the certificate of {name} in {where} is {status.value}")
    if certificate.processing_digest not in (None, runtime.processing_digest):
        raise RegistryError(f"{name} is certified in {where} with other pre- or post-processing")


def _require_key(registry: Registry, robot: str, stage: str, key_id: bytes, now_ns: int) -> None:
    where = f"the registry {registry.directory}"
    name = f"key {key_id.hex()[:16]}"
    key = registry.key(key_id)
    if key is None:
        raise RegistryError(f"{name} is not in {where}: certify it for stage {stage} (og-ros keys)")
    if (key.role, key.robot, key.stage) != ("stage", robot, stage):
        held = f"stage {key.stage} of robot {key.robot}" if key.role == "stage" else f"the role {key.role}"
        raise RegistryError(f"{name} is certified in {where} for {held}, not for stage {stage} of robot {robot}")
    status = key.status(now_ns)
    if status is not Status.VALID:
        raise RegistryError(f"the certificate of {name} in {where} is {status.value}")
