"""How configuration names a signing key: a PEM file, or a key in a PKCS#11 token by its URI (RFC 7512)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from og_ros.attest.signer import Signer, SoftwareSigner

SCHEME: Final = "pkcs11:"


def is_token(key: str | Path) -> bool:
    """Whether a key is named by the URI of a PKCS#11 token, and not by a file."""
    return str(key).startswith(SCHEME)


def beside(base: Path, key: Path) -> Path:
    """Return a key's path from the directory of the file that names it; a URI stays as it is."""
    return key if is_token(key) else base / key


def load_signer(key: str | Path) -> Signer:
    """Load the key that a file or a URI names; raises KeyFileError for one that cannot be had."""
    if is_token(key):
        from og_ros.attest.pkcs11_signer import Pkcs11Signer

        return Pkcs11Signer.open(str(key))
    return SoftwareSigner.load(Path(key))
