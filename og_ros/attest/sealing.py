"""Sealing a recording's messages and opening them again: what is encrypted, and what its tag covers.

The tag covers, beside the ciphertext: "og_ros sealed message v1" || 0x00, the time of arrival (8 bytes, ns,
big-endian), the length of the topic's name (2 bytes, big-endian) and the name in UTF-8, and the record's own bytes
up to the ciphertext (og_ros.attest.sealed_wire.Sealed.head).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from og_ros.attest.commitment import SALT_SIZE, commitment_of, salt_of
from og_ros.attest.content_key import PERIOD_S, ContentKeys, KeyRing
from og_ros.attest.digest import covered_size, digest
from og_ros.attest.sealed_wire import Seal, Sealed
from og_ros.attest.statement import Disclosure
from og_ros.errors import AttestationError, SealError

_CONTEXT: Final = b"og_ros sealed message v1\0"


class Sealer:
    """Seals the messages of one recording for its recipients. Not thread-safe: one thread seals."""

    def __init__(self, recipients: Sequence[ec.EllipticCurvePublicKey], period_s: float = PERIOD_S) -> None:
        """`period_s`: after so much time there is a new content key, s."""
        self._keys = ContentKeys(recipients, period_s)

    def seal(
        self, topic: str, type: str, payload: bytes, received_ns: int, stamp_ns: int = 0, secret: bytes | None = None
    ) -> tuple[Sealed, Seal | None]:
        """Seal a message; returns it, and the Seal that must stand before it when its content key is new.

        `secret` is the robot's disclosure secret for a topic that its stages commit to: the record then shows the
        commitment, and the salt is sealed with the message. Raises AttestationError for what is no CDR payload.
        """
        found = digest(payload)
        hidden: bytes = payload
        disclosure = Disclosure.CLEAR
        if secret is not None:
            salt = salt_of(secret, found)
            found, hidden, disclosure = commitment_of(salt, found), salt + payload, Disclosure.COMMITTED
        key, new = self._keys.current()
        sealed = Sealed(
            key.seal, key.number, key.counter, type, found, covered_size(payload), b"", stamp_ns, "sha256", disclosure
        )
        return replace(sealed, ciphertext=key.encrypt(hidden, _associated(topic, received_ns, sealed))), new


def open_sealed(ring: KeyRing, topic: str, received_ns: int, sealed: Sealed) -> bytes:
    """Return the message that a record seals, its digest or commitment checked.

    Raises SealError, saying why, when it does not open or is not what the record says.
    """
    associated = _associated(topic, received_ns, sealed)
    payload = ring.decrypt(sealed.seal, sealed.key_number, sealed.counter, sealed.ciphertext, associated)
    salt = b""
    if sealed.disclosure == Disclosure.COMMITTED:
        salt, payload = payload[:SALT_SIZE], payload[SALT_SIZE:]
    try:
        found = digest(payload, sealed.digest_algorithm)
        if sealed.disclosure == Disclosure.COMMITTED:
            found = commitment_of(salt, found)
    except AttestationError as error:
        raise SealError(f"it opens to what is no message: {error}") from error
    if found != sealed.digest or covered_size(payload) != sealed.size:
        raise SealError("it opens to another message than the one whose digest it shows: the recorder sealed a lie")
    return payload


def _associated(topic: str, received_ns: int, sealed: Sealed) -> bytes:
    try:
        name = topic.encode()
        place = received_ns.to_bytes(8, "big") + len(name).to_bytes(2, "big") + name
    except (OverflowError, UnicodeEncodeError) as error:
        raise SealError(f"no message has the time {received_ns} ns and the topic {topic[:80]!a}") from error
    return _CONTEXT + place + sealed.head()
