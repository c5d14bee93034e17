"""Key files: who may read them, what they may hold, and one clear line for each way to go wrong."""

from __future__ import annotations

import hashlib
import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from og_ros.attest import Algorithm, SoftwareSigner, keys
from og_ros.errors import KeyFileError


def pem(key: object, password: bytes | None = None) -> bytes:
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(  # type: ignore[attr-defined,no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
    )


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def refused(load: Callable[[Path], object], path: Path, reason: str) -> None:
    with pytest.raises(KeyFileError, match=reason) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_save_and_load(tmp_path: Path, algorithm: Algorithm) -> None:
    path = tmp_path / "new/folder/key.pem"
    key = keys.generate(algorithm)
    before = os.umask(0)
    try:
        keys.save_private(key, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pem(keys.load_private(path)) == pem(key) == path.read_bytes()
    signer = SoftwareSigner.load(path)
    assert (signer.algorithm, signer.key_id) == (algorithm, keys.key_id(key.public_key()))


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_public_keys_and_their_ids(tmp_path: Path, algorithm: Algorithm) -> None:
    public = keys.generate(algorithm).public_key()
    path = write(tmp_path / "key.pub", keys.public_pem(public).encode(), 0o644)
    assert keys.load_public(path) == keys.parse_public(path.read_text()) == public
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert keys.key_id(public) == hashlib.sha256(der).digest()
    assert keys.algorithm_of(public) == algorithm


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o666, 0o777, 0o601])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "key.pem", pem(keys.generate()), mode)
    refused(keys.load_private, path, f"mode {mode:04o}, so others can use the key: chmod 600")


def test_a_link_to_a_key_that_others_can_use_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link.pem"
    link.symlink_to(write(tmp_path / "key.pem", pem(keys.generate()), 0o644))
    refused(keys.load_private, link, "mode 0644")
    (tmp_path / "key.pem").chmod(0o600)
    keys.load_private(link)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_of_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    keys.load_private(write(tmp_path / "key.pem", pem(keys.generate()), mode))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "key.pem", pem(keys.generate()))
    os.chown(path, 12_345, 12_345)
    refused(keys.load_private, path, "belongs to user 12345")


OTHER_KINDS = {
    "secp384r1": lambda: ec.generate_private_key(ec.SECP384R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "RSA": lambda: rsa.generate_private_key(65_537, 2048),
    "Ed448": ed448.Ed448PrivateKey.generate,
    "X25519": x25519.X25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_key_of_another_kind_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    key = OTHER_KINDS[kind]()
    refused(keys.load_private, write(tmp_path / "key.pem", pem(key)), f"of the kind {kind}")
    public = key.public_key().public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    refused(keys.load_public, write(tmp_path / "key.pub", public), f"of the kind {kind}")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no key",
        pem(keys.generate(), b"password"),
        pem(keys.generate())[:100],
        pem(keys.generate()).replace(b"M", b"N"),
        keys.public_pem(keys.generate().public_key()).encode(),
        b"\n" * 20_000 + pem(keys.generate()),
        bytes(100),
    ],
    ids=["empty", "text", "encrypted", "cut off", "spoilt", "public", "too long", "zeros"],
)
def test_what_is_no_private_key_is_refused(tmp_path: Path, data: bytes) -> None:
    refused(keys.load_private, write(tmp_path / "key.pem", data), "holds no private key in unencrypted PEM")


@pytest.mark.parametrize(
    "data", [b"", b"no key", pem(keys.generate()), bytes(100)], ids=["empty", "text", "private", "zeros"]
)
def test_what_is_no_public_key_is_refused(tmp_path: Path, data: bytes) -> None:
    refused(keys.load_public, write(tmp_path / "key.pub", data), "is no public key in PEM")


@pytest.mark.parametrize("load", [keys.load_private, keys.load_public])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, load: Callable[[Path], object]) -> None:
    refused(load, tmp_path / "missing.pem", "cannot read the key .*No such file")
    refused(load, tmp_path, "is not a regular file")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    refused(load, pipe, "is not a regular file")  # and does not wait for a writer
    refused(load, Path("/dev/null"), "is not a regular file")
    (loop := tmp_path / "loop").symlink_to(loop)
    refused(load, loop, "cannot read the key")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "key.pem", b"precious")
    refused(lambda path: keys.save_private(keys.generate(), path), path, "exists already")
    (dangling := tmp_path / "link.pem").symlink_to(tmp_path / "elsewhere.pem")
    refused(lambda path: keys.save_private(keys.generate(), path), dangling, "exists already")
    assert path.read_bytes() == b"precious"
    assert not (tmp_path / "elsewhere.pem").exists()


def test_a_key_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    file = write(tmp_path / "file", b"")
    refused(lambda path: keys.save_private(keys.generate(), path), file / "key.pem", "cannot write the key|exists")


def test_a_write_that_fails_half_way_leaves_no_half_key(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # as a full disk: the key needs more
    try:
        refused(lambda path: keys.save_private(keys.generate(), path), path, "cannot write the key .*File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not path.exists()
    keys.save_private(keys.generate(), path)


@given(st.binary(max_size=300))
def test_any_bytes_as_a_public_key_raise_only_key_file_error(data: bytes) -> None:
    for candidate in (data, b"-----BEGIN PUBLIC KEY-----\n" + data + b"\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(KeyFileError):
            keys.parse_public(candidate)


def test_an_ed25519_key_is_named_eddsa() -> None:
    assert keys.algorithm_of(ed25519.Ed25519PrivateKey.generate()) == Algorithm.EDDSA


@pytest.mark.parametrize("sign", [0x00, 0x80])
@pytest.mark.parametrize("point", sorted(keys._SMALL_ORDER))
def test_an_ed25519_key_of_small_order_is_refused(point: bytes, sign: int) -> None:
    """Its owner could disown what it signed: a signature under it holds for many messages."""
    weak = ed25519.Ed25519PublicKey.from_public_bytes(point[:31] + bytes([point[31] | sign]))
    with pytest.raises(KeyFileError, match="weak Ed25519 key"):
        keys.parse_public(keys.public_pem(weak), "theirs.pem")
