"""A small registry, who made it, and an attacker that can write its files."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from og_ros.attest import SoftwareSigner, keys
from og_ros.attest.statement import Algorithm
from og_ros.registry import Registry, RegistryWriter, dsse, entry

DIGEST = sha256(b"the bytes of a model").digest()
T0 = 1_700_000_000 * 10**9


@dataclass
class Attacker:
    """Writes into a registry's directory; with `signer` also signs what he writes, and a new index over it."""

    directory: Path
    signer: SoftwareSigner

    def payload(self, path: str) -> dict[str, Any]:
        envelope = json.loads((self.directory / path).read_bytes())
        tree: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
        return tree

    def write(
        self, path: str, kind: str, payload: bytes | dict[str, Any], signer: SoftwareSigner | None = None
    ) -> None:
        """Sign an entry, put it at a path and list it in a re-signed index."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.put(path, dsse.sign(entry.payload_type(kind), data, signer or self.signer))

    def put(self, path: str, data: bytes) -> None:
        """Put a file at a path and list it in a re-signed index."""
        (self.directory / path).parent.mkdir(exist_ok=True)
        (self.directory / path).write_bytes(data)
        self.index(lambda tree: tree["files"].__setitem__(path, "sha256:" + sha256(data).hexdigest()))

    def index(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the index and sign it."""
        tree = self.payload(entry.INDEX_PATH)
        change(tree)
        data = dsse.sign(entry.payload_type("index"), json.dumps(tree).encode(), self.signer)
        (self.directory / entry.INDEX_PATH).write_bytes(data)

    def envelope(self, path: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change a file's envelope, unsigned, and list the file as it is then."""
        tree = json.loads((self.directory / path).read_bytes())
        change(tree)
        self.put(path, json.dumps(tree).encode())


@dataclass
class Made:
    """A registry with a model, two stage keys (one revoked), and who made it."""

    directory: Path
    authority: SoftwareSigner
    models_authority: SoftwareSigner
    key: SoftwareSigner
    revoked: SoftwareSigner
    first_root: str

    @property
    def attacker(self) -> Attacker:
        """One without any key of the registry."""
        return Attacker(self.directory, SoftwareSigner(keys.generate()))

    @property
    def insider(self) -> Attacker:
        """One with the key of the index authority."""
        return Attacker(self.directory, self.authority)

    def open(self, **options: Any) -> Registry:
        return Registry.open(self.directory, **options)


def make(directory: Path) -> Made:
    """Make the registry."""
    authority = SoftwareSigner(keys.generate())
    models_authority = SoftwareSigner(keys.generate(Algorithm.EDDSA))
    key, revoked = SoftwareSigner(keys.generate()), SoftwareSigner(keys.generate(Algorithm.EDDSA))
    with RegistryWriter.create(directory, authority, "acme") as writer:
        first_root = writer.registry.fingerprint
        writer.add_authority("modeller", models_authority.public_key, ("models",))
        writer.certify_model("line", "1.0", DIGEST, stages=("perception",), not_before_ns=T0, not_after_ns=T0 + 100)
        writer.certify_key(key.public_key, robot="robot-7", stage="perception", not_before_ns=T0, not_after_ns=T0 + 100)
        writer.certify_key(revoked.public_key, robot="robot-7", stage="planning", not_before_ns=T0)
        writer.revoke_key(revoked.key_id, "stolen", at_ns=T0 + 50)
    return Made(directory, authority, models_authority, key, revoked, first_root)
