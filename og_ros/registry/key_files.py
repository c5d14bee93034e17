"""Key files around a registry: the private keys of authorities, which never lie in it, and any key's public half."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from og_ros.attest import keys
from og_ros.attest.signer import SoftwareSigner
from og_ros.attest.statement import Algorithm
from og_ros.errors import KeyFileError

MAX_KEY_FILE = 16_384


def load_signers(directory: Path, key_files: Iterable[Path]) -> tuple[SoftwareSigner, ...]:
    """Read the private keys of authorities; raises KeyFileError, also for one that lies in the registry itself.

    A registry is copied to robots and handed to auditors; a private key in it would go along.
    """
    inside = directory.resolve()
    signers = []
    for file in key_files:
        if inside in file.resolve().parents:
            raise KeyFileError(f"{file} lies in the registry {directory}, which is handed around; keep it elsewhere")
        signers.append(SoftwareSigner.load(file))
    return tuple(signers)


def load_public_half(file: Path) -> keys.PublicKey:
    """Read the public key from the PEM file of a public or of a private key; raises KeyFileError."""
    try:
        with file.open("rb") as stream:
            private = b"PRIVATE KEY" in stream.read(MAX_KEY_FILE)
    except OSError as error:
        raise KeyFileError(f"cannot read the key {file}: {error.strerror}") from error
    return keys.load_private(file).public_key() if private else keys.load_public(file)


def generate(file: Path, algorithm: Algorithm) -> keys.PublicKey:
    """Make a private key in a new file and its public half beside it as FILE.pub; raises KeyFileError."""
    public_file = file.with_name(file.name + ".pub")
    if public_file.exists():
        raise KeyFileError(f"{public_file} exists already; a key is never overwritten")
    key = keys.generate(algorithm)
    keys.save_private(key, file)
    try:
        with public_file.open("x", encoding="ascii") as stream:
            stream.write(keys.public_pem(key.public_key()))
    except OSError as error:
        raise KeyFileError(f"cannot write {public_file}: {error.strerror}") from error
    return key.public_key()
