"""DSSE envelopes (github.com/secure-systems-lab/dsse, version 1): one signed payload with its type, as JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from og_ros.attest import keys
from og_ros.attest.signer import Signer
from og_ros.attest.statement import Algorithm
from og_ros.errors import RegistryError
from og_ros.registry import strict_json

_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_MAX_TYPE: Final = 128


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed envelope with its one signature; `key_id` is the hint that it carries. Nothing in it is verified."""

    payload_type: str
    payload: bytes
    key_id: str
    signature: bytes


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the Pre-Authentication Encoding: the bytes that a DSSE signature covers."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, signer: Signer) -> bytes:
    """Return the envelope of a payload as JSON; the key id hint is the signer's key id in hex."""
    signature = signer.sign(pae(payload_type, payload))
    if signer.algorithm == Algorithm.ES256:
        signature = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    tree = {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode("ascii"),
        "signatures": [{"keyid": signer.key_id.hex(), "sig": base64.b64encode(signature).decode("ascii")}],
    }
    return json.dumps(tree, indent=1).encode("ascii") + b"\n"


def parse(data: bytes, what: str, limit: int) -> Envelope:
    """Read an envelope of at most `limit` bytes; raises RegistryError, naming `what`, for anything but one."""
    return from_tree(strict_json.loads(data, what, limit), what)


def from_tree(tree: Any, what: str) -> Envelope:
    """Read an envelope from its JSON tree, as a Sigstore bundle holds it; raises RegistryError."""
    strict_json.fields(tree, what, {"payloadType": str, "payload": str, "signatures": list})
    if len(tree["signatures"]) != 1:
        raise RegistryError(f"{what} has {len(tree['signatures'])} signatures; it must have one")
    signature = strict_json.fields(tree["signatures"][0], f"{what}: the signature", {"keyid": str, "sig": str})
    if len(tree["payloadType"]) > _MAX_TYPE or not tree["payloadType"].isascii():
        raise RegistryError(f"{what} has an impossible payload type")
    return Envelope(
        payload_type=tree["payloadType"],
        payload=_base64(tree["payload"], f"{what}: the payload"),
        key_id=signature["keyid"],
        signature=_base64(signature["sig"], f"{what}: the signature"),
    )


def verify(envelope: Envelope, public_key: keys.PublicKey, what: str) -> None:
    """Check the signature; the key alone decides the algorithm. Raises RegistryError, naming `what`."""
    message = pae(envelope.payload_type, envelope.payload)
    try:
        if isinstance(public_key, ed25519.Ed25519PublicKey):
            public_key.verify(envelope.signature, message)
        else:
            public_key.verify(envelope.signature, message, _ECDSA)
    except InvalidSignature as error:
        raise RegistryError(f"{what}: the signature does not hold") from error


def _base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RegistryError(f"{what} is not base64") from error
    if base64.b64encode(data).decode("ascii") != text:
        raise RegistryError(f"{what} is not in the one canonical base64")
    return data
