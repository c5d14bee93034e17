"""Documents that somebody vouches for (manifests, enrolment records): a payload in a COSE_Sign1 object (RFC 9052).

The protected header has the algorithm (1), the content type (3) and the key id (4); the unprotected one is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from og_ros.attest import cbor_reader, keys
from og_ros.attest.signer import Signer
from og_ros.errors import AttestationError, EvidenceError

_ALG, _CONTENT_TYPE, _KID = 1, 3, 4
TAG: Final = b"\xd2"  # 18, COSE_Sign1
_ECDSA: Final = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """A document as it was read: its payload, and who is said to have signed it. `verify` checks that."""

    payload: bytes
    key_id: bytes
    protected: bytes
    signature: bytes

    def verify(self, key: keys.PublicKey, what: str) -> None:
        """Check the signature by a key, which fixes the algorithm; raises EvidenceError, naming `what`."""
        message = _to_be_signed(self.protected, self.payload)
        try:
            if cbor_reader.read(self.protected)[_ALG] != keys.algorithm_of(key):  # type: ignore[index]
                raise EvidenceError(f"{what} was signed with another algorithm than its key's")
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(self.signature, message)
            else:
                r, s = (int.from_bytes(half, "big") for half in (self.signature[:32], self.signature[32:]))
                key.verify(encode_dss_signature(r, s), message, _ECDSA)
        except InvalidSignature as error:
            raise EvidenceError(f"{what}: the signature does not hold") from error


def sign_document(content_type: str, payload: bytes, signer: Signer) -> bytes:
    """Return the COSE_Sign1 object of a payload."""
    header: dict[int, object] = {_ALG: int(signer.algorithm), _CONTENT_TYPE: content_type, _KID: signer.key_id}
    protected = cbor2.dumps(header)
    signature = signer.sign(_to_be_signed(protected, payload))
    return TAG + cbor2.dumps([protected, {}, payload, signature])


def read_document(data: bytes, content_type: str, what: str, limit: int) -> SignedDocument:
    """Read a document of at most `limit` bytes; its signature is not checked. Raises EvidenceError, naming `what`."""
    if len(data) > limit:
        raise EvidenceError(f"{what} is {len(data)} bytes long; {limit} are allowed")
    if data[:1] != TAG:
        raise EvidenceError(f"{what} is no COSE_Sign1 object")
    parts = read_cbor(data[1:], what)
    if type(parts) is not list or len(parts) != 4 or parts[1] != {}:
        raise EvidenceError(f"{what} is no COSE_Sign1 object with an empty unprotected header")
    protected, _, payload, signature = parts
    if not all(type(part) is bytes for part in (protected, payload, signature)) or len(signature) != 64:
        raise EvidenceError(f"{what} is a COSE_Sign1 object with parts of the wrong kind")
    header = read_cbor(protected, what)
    if type(header) is not dict or header.keys() != {_ALG, _CONTENT_TYPE, _KID} or type(header[_KID]) is not bytes:
        raise EvidenceError(f"{what} has a protected header with other fields than algorithm, content type and key id")
    if header[_CONTENT_TYPE] != content_type:
        raise EvidenceError(f"{what} is no {content_type}")
    return SignedDocument(payload, header[_KID], protected, signature)


def read_cbor(data: bytes, what: str) -> Any:
    """Read deterministic CBOR (og_ros.attest.cbor_reader); raises EvidenceError, naming `what`."""
    try:
        return cbor_reader.read(data)
    except AttestationError as error:
        raise EvidenceError(f"{what}: {error}") from error


def fields(tree: Any, what: str, kinds: dict[str, type]) -> dict[str, Any]:
    """Return a map that has exactly the fields of `kinds`, each of its very type; raises EvidenceError."""
    if type(tree) is not dict or tree.keys() != kinds.keys():
        raise EvidenceError(f"{what} is no map of {', '.join(sorted(kinds))}")
    for name, kind in kinds.items():
        if type(tree[name]) is not kind:
            raise EvidenceError(f"{what}: the field {name} is no {kind.__name__}")
    return tree


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    return cbor2.dumps(["Signature1", protected, b"", payload])
