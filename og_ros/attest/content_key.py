"""Content keys: who seals makes them and forgets them; only a recipient's private key opens them again.

A content key is 32 random bytes for AES-256-GCM, wrapped for each recipient with HPKE (RFC 9180, base mode, single
shot: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM). The nonce is the deterministic construction of NIST
SP 800-38D, section 8.2.1: 4 bytes of key number, 8 bytes of counter, both big-endian. A content key lives in one
object of one process and never leaves it, and its counter only rises, so no nonce can come twice, whatever restarts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from og_ros.attest import keys
from og_ros.attest.sealed_wire import MAX_RECIPIENTS, SEAL_SIZE, Seal, WrappedKey
from og_ros.errors import KeyFileError, SealError

PERIOD_S: Final = 600.0
# SP 800-38D allows 2^32 messages under one key; a new key long before that costs nothing.
MAX_MESSAGES: Final = 2**24
_KEY_SIZE: Final = 32
_CONTEXT: Final = b"og_ros content key v1\0"
_SUITE: Final = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
# Seals of one name and number that are tried. An honest recording has one.
_MAX_CANDIDATES: Final = 8


def load_recipients(paths: Iterable[Path]) -> tuple[ec.EllipticCurvePublicKey, ...]:
    """Read recipients' public keys from PEM files; raises KeyFileError unless they are 1 to 64 keys on P-256."""
    found = []
    for path in paths:
        key = keys.load_public(path)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise KeyFileError(f"{path} is an Ed25519 key, which only signs; a recipient has one on P-256")
        found.append(key)
    if not 1 <= len(found) <= MAX_RECIPIENTS:
        raise KeyFileError(f"there are {len(found)} recipients; 1 to {MAX_RECIPIENTS} are allowed")
    return tuple(found)


def load_recipient_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a recipient's private key, which opens; raises KeyFileError unless it is on P-256 and its owner's alone."""
    key = keys.load_private(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"{path} is an Ed25519 key, which only signs; what is sealed opens with a key on P-256")
    return key


class ContentKey:
    """One content key while it seals. Not thread-safe: one thread seals."""

    def __init__(self, seal: bytes, number: int) -> None:
        self.seal, self.number, self.counter = seal, number, 0
        self.made_ns = time.time_ns()
        self.began_ns = time.monotonic_ns()
        self._key = os.urandom(_KEY_SIZE)
        self._cipher = AESGCM(self._key)

    def wrap(self, recipients: Iterable[ec.EllipticCurvePublicKey]) -> Seal:
        """Return the key, wrapped for its recipients."""
        info = _info(self.seal, self.number, self.made_ns)
        wrapped = tuple(WrappedKey(keys.key_id(r), _SUITE.encrypt(self._key, r, info)) for r in recipients)
        return Seal(self.seal, self.number, self.made_ns, wrapped)

    def encrypt(self, data: bytes | bytearray | memoryview, associated: bytes) -> bytes:
        """Return ciphertext and tag under the nonce of `counter`, which is then used up."""
        nonce = _nonce(self.number, self.counter)
        self.counter += 1
        return self._cipher.encrypt(nonce, data, associated)


class ContentKeys:
    """The content keys of one seal, one after the other. Not thread-safe."""

    def __init__(self, recipients: Sequence[ec.EllipticCurvePublicKey], period_s: float = PERIOD_S) -> None:
        """`period_s`: after so much time there is a new key, s."""
        self.seal = os.urandom(SEAL_SIZE)
        self._recipients = tuple(recipients)
        self._period_ns = int(period_s * 1e9)
        self._key: ContentKey | None = None

    def current(self) -> tuple[ContentKey, Seal | None]:
        """Return the key to seal the next message with, and, when it is new, its Seal, which is to be stored first."""
        key = self._key
        if key is not None and key.counter < MAX_MESSAGES and time.monotonic_ns() - key.began_ns < self._period_ns:
            return key, None
        return self.renew()

    def renew(self) -> tuple[ContentKey, Seal]:
        """Make a new key, and return it with its Seal."""
        self._key = ContentKey(self.seal, self._key.number + 1 if self._key is not None else 0)
        return self._key, self._key.wrap(self._recipients)


class KeyRing:
    """What one recipient can open: learns Seals, opens ciphertexts."""

    def __init__(self, private_key: ec.EllipticCurvePrivateKey) -> None:
        self._private_key = private_key
        self.recipient = keys.key_id(private_key.public_key())
        self._candidates: dict[tuple[bytes, int], list[tuple[int, bytes]]] = {}
        self._ciphers: dict[tuple[bytes, int], list[AESGCM]] = {}

    def learn(self, seal: Seal) -> bool:
        """Take note of a Seal; returns whether it names this recipient."""
        mine = [key.wrapped for key in seal.keys if key.recipient == self.recipient]
        known = self._candidates.setdefault((seal.seal, seal.key_number), [])
        for wrapped in mine:
            candidate = (seal.made_ns, wrapped)
            if candidate not in known and len(known) < _MAX_CANDIDATES:
                known.append(candidate)
                self._ciphers.pop((seal.seal, seal.key_number), None)
        return bool(mine)

    @property
    def is_recipient(self) -> bool:
        """Whether any Seal so far names this recipient."""
        return any(self._candidates.values())

    def decrypt(
        self, seal: bytes, number: int, counter: int, ciphertext: bytes | memoryview, associated: bytes
    ) -> bytes:
        """Return what a ciphertext hides; raises SealError, saying why, when it does not open."""
        nonce = _nonce(number, counter)
        for cipher in self._open(seal, number):
            try:
                return cipher.decrypt(nonce, ciphertext, associated)
            except InvalidTag:
                continue
        raise SealError("it does not open: its bytes, its name, its time or its place were altered")

    def _open(self, seal: bytes, number: int) -> list[AESGCM]:
        found = self._ciphers.get((seal, number))
        if found is None:
            candidates = self._candidates.get((seal, number))
            if candidates is None:
                raise SealError(f"the Seal with its content key {number} is missing")
            if not candidates:
                raise SealError(f"its content key {number} is for other recipients than this key")
            found = []
            for made_ns, wrapped in candidates:
                try:
                    found.append(AESGCM(_SUITE.decrypt(wrapped, self._private_key, _info(seal, number, made_ns))))
                except (InvalidTag, ValueError):
                    continue
            self._ciphers[seal, number] = found
        if not found:
            raise SealError(f"the Seal with its content key {number} names this key but does not open with it: altered")
        return found


def _info(seal: bytes, number: int, made_ns: int) -> bytes:
    return _CONTEXT + seal + number.to_bytes(4, "big") + made_ns.to_bytes(8, "big")


def _nonce(number: int, counter: int) -> bytes:
    return number.to_bytes(4, "big") + counter.to_bytes(8, "big")
