"""Attacks on the registry: another root, an older state, edited, added or removed files."""

from __future__ import annotations

import contextlib
import json
import shutil
from base64 import b64decode, b64encode
from dataclasses import replace

from attacker import Attacker

from attack_cases.case import Accused, Who, attack
from og_ros.attest import SoftwareSigner, keys
from og_ros.errors import RegistryError
from og_ros.registry import RegistryWriter, dsse, entry, strict_json


@attack(Who.REGISTRY, "root_not_trusted")
def registry_of_a_wrong_root(attacker: Attacker) -> Accused:
    """Another registry, which certifies the same models and keys, is signed by a root that nobody trusts."""
    own = SoftwareSigner(keys.generate())
    directory = attacker.directory / "registry"
    with RegistryWriter.create(directory, own, "demo-fleet") as writer:
        for model in attacker.runs.robot.registry.models:
            writer.certify_model(
                model.name, model.version, model.digest, stages=model.stages, not_before_ns=model.not_before_ns
            )
        for key in attacker.runs.robot.registry.keys.values():
            terms = {name: getattr(key, name) for name in ("role", "robot", "stage", "vendor", "origin")}
            writer.certify_key(key.public_key, not_before_ns=key.not_before_ns, **terms)
    attacker.use_registry(directory)
    return attacker.policy["registry_root"]


@attack(Who.REGISTRY, refused="altered or replaced")
def registry_entry_edited(attacker: Attacker) -> Accused:
    """A certificate is edited: the planner's model may run in any stage."""
    file = next((attacker.registry / "models").glob("line_planning*"))
    envelope = json.loads(file.read_text())
    payload = b64decode(envelope["payload"]).replace(b'["planning"]', b"[]")
    envelope["payload"] = b64encode(payload).decode()
    file.write_text(json.dumps(envelope))
    return None


@attack(Who.REGISTRY, refused="it was removed")
def revocation_removed(attacker: Attacker) -> Accused:
    """The file that revokes the planner's key is taken away."""
    with attacker.registry_writer() as writer:
        writer.revoke_key(attacker.keys["planning"].key_id, "stolen", at_ns=10**18)
    shutil.rmtree(attacker.registry / "revocations")
    return None


@attack(Who.REGISTRY, refused="added by another hand")
def certificate_added(attacker: Attacker) -> Accused:
    """A certificate that was signed for another registry is laid beside the others."""
    other = attacker.directory / "other"
    with RegistryWriter.create(other, attacker.runs.robot.authority, "other-fleet") as writer:
        writer.certify_key(keys.generate().public_key(), robot="demo", stage="planning", vendor="thief")
    file = next((other / "keys").iterdir())
    shutil.copy(file, attacker.registry / "keys" / file.name)
    return None


@attack(Who.REGISTRY, refused="has no authority for it")
def index_signed_by_a_stranger(attacker: Attacker) -> Accused:
    """The registry's index is signed anew by a key that its root does not name."""
    file = attacker.registry / "index.dsse.json"
    envelope = dsse.parse(file.read_bytes(), "the index", 10**7)
    file.write_bytes(dsse.sign(envelope.payload_type, envelope.payload, SoftwareSigner(keys.generate())))
    return None


@attack(Who.REGISTRY, refused="the signature does not hold")
def index_edited(attacker: Attacker) -> Accused:
    """The registry's index is made to have a higher number, so that it seems the newer one."""
    file = attacker.registry / "index.dsse.json"
    envelope = json.loads(file.read_text())
    payload = json.loads(b64decode(envelope["payload"]))
    payload["number"] += 100
    envelope["payload"] = b64encode(strict_json.dumps(payload)).decode()
    file.write_text(json.dumps(envelope))
    return None


@attack(
    Who.REGISTRY,
    refused="an old state was put back",
)
def registry_rolled_back(attacker: Attacker) -> Accused:
    """The planner's key was revoked before the run; the auditor is handed the registry of before that."""
    old = attacker.directory / "old"
    shutil.copytree(attacker.registry, old)
    with attacker.registry_writer() as writer:
        writer.revoke_key(attacker.keys["planning"].key_id, "stolen", at_ns=10**18)
        attacker.options = ["--minimum-number", str(writer.registry.number)]
    attacker.use_registry(old)
    return None


@attack(Who.AUTHORITY, refused="upper and lower case")
def two_models_of_one_name(attacker: Attacker) -> Accused:
    """A second model is certified as "Line_planning", which a reader takes for "line_planning"."""
    old = attacker.runs.robot.registry.find_models("line_planning@1.0.0")[0]
    kind, payload = entry.encode_model(replace(old, name="Line_planning", digest=bytes(31) + b"\1"))
    _publish(attacker, entry.model_path("Line_planning", "1.0.0"), kind, payload)
    return None


@attack(Who.AUTHORITY, refused="holds what belongs to")
def key_certified_twice(attacker: Attacker) -> Accused:
    """The planner's key is certified a second time, for all that its holder may like, under another file name."""
    old = attacker.runs.robot.registry.keys[attacker.keys["planning"].key_id]
    payload = entry.encode_key(replace(old, stage="control"))
    _publish(attacker, entry.key_path(bytes(32)), entry.payload_type("key"), payload)
    return None


def _publish(attacker: Attacker, path: str, kind: str, payload: bytes) -> None:
    """List a file in the registry that its own tools refuse to list."""
    authority = attacker.runs.robot.authority
    with attacker.registry_writer() as writer, contextlib.suppress(RegistryError):
        writer._commit({path: dsse.sign(kind, payload, authority)})
