"""The manifest of an environment: which software, model and configuration a stage runs, as deterministic CBOR.

Its SHA-256 is what evidence is bound to (Context.manifest) and what a measured launch extends into PCR 14. Two machines
with the same software have the same manifest, byte for byte: it holds no times and no paths of one machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import cbor2

from og_ros.attest import keys
from og_ros.attest.signer import Signer
from og_ros.errors import EvidenceError
from og_ros.evidence.signed_document import TAG, fields, read_cbor, read_document, sign_document

CONTENT_TYPE: Final = "application/vnd.og-ros.manifest+cbor"
MAX_SIZE: Final = 1 << 20
VERSION: Final = 1
MODEL: Final = "model"
CONFIG: Final = "config"
ADAPTER: Final = "adapter/"
OG_ROS: Final = "og_ros/"
_KINDS: Final[dict[str, type]] = {
    "version": int, "robot": str, "stage": str, "python": str, "image": str, "files": dict, "packages": dict,
    "environment": dict,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution; `digest` is SHA-256 over its files, and empty where they were not measured."""

    version: str
    digest: bytes = b""


@dataclass(frozen=True)
class Manifest:
    """What a stage's environment is made of.

    Attributes:
        robot, stage: whose environment it is.
        python: implementation, version and architecture.
        image: digest of the container image (sha256:…), or empty.
        files: SHA-256 by label: `model`, `config`, `adapter/NAME`, `og_ros/…` (its own files), `python` (the program).
        packages: every installed distribution by its normalised name, and `python-stdlib`.
        environment: the variables that change which code is loaded, where they are set.
    """

    robot: str
    stage: str
    python: str
    image: str
    files: Mapping[str, bytes]
    packages: Mapping[str, Package]
    environment: Mapping[str, str]

    @property
    def digest(self) -> bytes:
        """SHA-256 of the manifest's bytes."""
        return sha256(encode(self)).digest()

    @property
    def model(self) -> bytes:
        """SHA-256 of the model; empty for a stage without one."""
        return self.files.get(MODEL, b"")


def encode(manifest: Manifest) -> bytes:
    """Return the manifest's one encoding."""
    tree = {
        "version": VERSION,
        "robot": manifest.robot,
        "stage": manifest.stage,
        "python": manifest.python,
        "image": manifest.image,
        "files": dict(manifest.files),
        "packages": {name: [found.version, found.digest] for name, found in manifest.packages.items()},
        "environment": dict(manifest.environment),
    }
    return cbor2.dumps(tree, canonical=True)


def decode(data: bytes) -> Manifest:
    """Read a manifest back; raises EvidenceError for anything but the one encoding of it."""
    if len(data) > MAX_SIZE:
        raise EvidenceError(f"the manifest is {len(data)} bytes long; {MAX_SIZE} are allowed")
    tree = fields(read_cbor(data, "the manifest"), "the manifest", _KINDS)
    if tree["version"] != VERSION:
        raise EvidenceError(f"the manifest is of version {tree['version']}; this og_ros reads {VERSION}")
    for name, value in tree["files"].items():
        if type(name) is not str or type(value) is not bytes or len(value) != 32:
            raise EvidenceError(f"the manifest's file {name!a} has no SHA-256")
    for name, value in tree["environment"].items():
        if type(name) is not str or type(value) is not str:
            raise EvidenceError(f"the manifest's variable {name!a} is no text")
    return Manifest(
        robot=tree["robot"],
        stage=tree["stage"],
        python=tree["python"],
        image=tree["image"],
        files=tree["files"],
        packages={name: _package(name, value) for name, value in tree["packages"].items()},
        environment=tree["environment"],
    )


def _package(name: object, value: object) -> Package:
    if type(name) is not str or type(value) is not list or [type(part) for part in value] != [str, bytes]:
        raise EvidenceError(f"the manifest's package {name!a} is not [version, digest]")
    if len(value[1]) not in (0, 32):
        raise EvidenceError(f"the manifest's package {name!a} has no SHA-256")
    return Package(*value)


def sign(manifest: Manifest, signer: Signer) -> bytes:
    """Return the manifest signed, as a COSE_Sign1 object."""
    return sign_document(CONTENT_TYPE, encode(manifest), signer)


def is_signed(data: bytes) -> bool:
    """Whether bytes begin as a signed manifest does: with the tag of COSE_Sign1."""
    return data[:1] == TAG


def read_signed(data: bytes, key: keys.PublicKey | None = None) -> Manifest:
    """Read a signed manifest, and check it by the key if there is one; raises EvidenceError."""
    document = read_document(data, CONTENT_TYPE, "the manifest", MAX_SIZE)
    if key is not None:
        document.verify(key, "the manifest")
    return decode(document.payload)
