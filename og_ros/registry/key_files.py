"""Key files around a registry: the private keys of authorities, which never lie in it, and any key's public half."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from og_ros.attest import keys, ml_dsa
from og_ros.attest.signer import SoftwareSigner
from og_ros.attest.statement import Algorithm
from og_ros.errors import KeyFileError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

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
    private = b"PRIVATE KEY" in _read(file)
    return keys.load_private(file).public_key() if private else keys.load_public(file)


def generate(file: Path, algorithm: Algorithm) -> keys.PublicKey:
    """Make a private key in a new file and its public half beside it as FILE.pub; raises KeyFileError."""
    public_file = _public_file(file)
    key = keys.generate(algorithm)
    keys.save_private(key, file)
    _write_public(public_file, keys.public_pem(key.public_key()))
    return key.public_key()


def generate_ml_dsa(file: Path) -> MLDSA65PublicKey:
    """Make an ML-DSA-65 key, as `generate` makes others."""
    public_file = _public_file(file)
    key = ml_dsa.generate()
    ml_dsa.save_private(key, file)
    _write_public(public_file, ml_dsa.public_pem(key.public_key()))
    return key.public_key()


def load_ml_dsa_half(file: Path) -> MLDSA65PublicKey:
    """Read the ML-DSA-65 key from the PEM file of a public or of a private key; raises KeyFileError."""
    data = _read(file)
    return ml_dsa.load_private(file).public_key() if b"PRIVATE KEY" in data else ml_dsa.parse_public(data, str(file))


def holds_ml_dsa(file: Path) -> bool:
    """Return whether a PEM file holds an ML-DSA-65 key, by trying; raises KeyFileError where it cannot be read."""
    _read(file)
    try:
        load_ml_dsa_half(file)
    except KeyFileError:
        return False
    return True


def _public_file(file: Path) -> Path:
    public_file = file.with_name(file.name + ".pub")
    if public_file.exists():
        raise KeyFileError(f"{public_file} exists already; a key is never overwritten")
    return public_file


def _write_public(file: Path, pem: str) -> None:
    try:
        with file.open("x", encoding="ascii") as stream:
            stream.write(pem)
    except OSError as error:
        raise KeyFileError(f"cannot write {file}: {error.strerror}") from error


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_KEY_FILE)
    except OSError as error:
        raise KeyFileError(f"cannot read the key {file}: {error.strerror}") from error
