"""Commitments: equal on both ends of a link, silent about the message, and bound to it."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from attest_strategies import references
from hypothesis import given
from hypothesis import strategies as st

from og_ros.attest.commitment import commitment_of, conceal, load_secret, make_secret, salt_of
from og_ros.attest.statement import NO_DIGEST, DataReference, Disclosure
from og_ros.errors import AttestationError, KeyFileError

SECRETS = st.binary(min_size=32, max_size=32)


@given(SECRETS, st.binary(min_size=32, max_size=32), st.sampled_from(["sha256", "blake3"]))
def test_the_formula_of_the_page(secret: bytes, digest: bytes, algorithm: str) -> None:
    salt = hmac.new(secret, algorithm.encode() + b"\0" + digest, hashlib.sha256).digest()
    assert salt_of(secret, digest, algorithm) == salt
    assert commitment_of(salt, digest) == hashlib.sha256(b"og_ros commitment v1\0" + salt + digest).digest()


@given(references(output=True), SECRETS, SECRETS)
def test_producer_and_consumer_agree_and_a_stranger_does_not(
    reference: DataReference, secret: bytes, other: bytes
) -> None:
    clear = DataReference("/t", "a/msg/B", b"\1" * 32, 8, reference.stamp_ns)
    hidden = conceal(clear, Disclosure.COMMITTED, secret)
    assert hidden == conceal(clear, Disclosure.COMMITTED, secret)
    strange = conceal(clear, Disclosure.COMMITTED, bytes(byte ^ 1 for byte in secret))
    assert hidden.digest not in (clear.digest, strange.digest)
    assert (hidden.size, hidden.stamp_ns, hidden.disclosure) == (clear.size, clear.stamp_ns, Disclosure.COMMITTED)
    absent = conceal(clear, Disclosure.ABSENT)
    assert (absent.digest, absent.size, absent.disclosure) == (NO_DIGEST, 0, Disclosure.ABSENT)
    assert conceal(clear, Disclosure.CLEAR, other) is clear


def test_secret_files(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    make_secret(path)
    assert len(load_secret(path)) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyFileError, match="exists already"):
        make_secret(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="others can use the key"):
        load_secret(path)
    path.chmod(0o600)
    path.write_bytes(bytes(31))
    with pytest.raises(KeyFileError, match="31 bytes"):
        load_secret(path)
    with pytest.raises(AttestationError, match="32 bytes"):
        salt_of(b"short", bytes(32))
    with pytest.raises(AttestationError, match="32 bytes"):
        commitment_of(b"short", bytes(32))
