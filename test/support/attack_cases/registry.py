"""Attacks on the registry: another root, an older state, edited, added or removed files."""

from __future__ import annotations

import json
import shutil
from base64 import b64decode, b64encode

from attacker import Attacker

from attack_cases.case import Accused, Who, attack
from og_ros.attest import SoftwareSigner, keys
from og_ros.registry import RegistryWriter


@attack(Who.REGISTRY, "root_not_trusted")
def registry_of_a_wrong_root(attacker: Attacker) -> Accused:
    """Another registry, which certifies the same models and keys, is signed by a root that nobody trusts."""
    pinned = attacker.policy["registry_root"]
    attacker.runs.robot.__dict__.setdefault("authority", attacker.runs.robot.authority)
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
    attacker.__dict__["registry"] = directory
    assert pinned
    return pinned


@attack(Who.REGISTRY, refused="altered or replaced")
def registry_entry_edited(attacker: Attacker) -> Accused:
    """A certificate is edited: the planner's model may run in any stage."""
    file = next((attacker.registry / "models").glob("line_planning*"))
    envelope = json.loads(file.read_text())
    payload = b64decode(envelope["payload"]).replace(b'["planning"]', b"[]")
    envelope["payload"] = b64encode(payload).decode()
    file.write_text(json.dumps(envelope))
    return None


@attack(Who.REGISTRY, refused="removed")
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
