"""A signer whose P-256 key lies in a PKCS#11 token: an HSM, a smart card, a TPM or TEE behind such an interface.

The key is named by a URI (RFC 7512), `pkcs11:token=robot7;object=planning?module-path=/usr/lib/…so`. The PIN comes from
the environment, never from a file of parameters or a URI. The token chooses the nonces of its signatures, so they are
as good as its random numbers; s is brought to its low half here.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from og_ros.attest import keys
from og_ros.attest.key_reference import SCHEME
from og_ros.attest.signer import P256_ORDER
from og_ros.attest.statement import Algorithm
from og_ros.attest.verifier import verify_signature
from og_ros.errors import KeyFileError, SignatureError

PIN_VARIABLE: Final = "OG_ROS_PKCS11_PIN"
MODULE_VARIABLE: Final = "OG_ROS_PKCS11_MODULE"
_MAX_URI: Final = 1024
_PATH: Final = {"token", "object", "id", "serial", "type"}
_QUERY: Final = {"module-path"}


@dataclass(frozen=True)
class TokenKey:
    """Which key of which token: label and serial number of the token, label and id of the key, the token's library."""

    token: str
    serial: str
    label: str
    id: bytes
    module: str

    @classmethod
    def parse(cls, uri: str) -> TokenKey:
        """Read a PKCS#11 URI; raises KeyFileError for one that names no single key, or that holds a PIN."""
        if len(uri) > _MAX_URI or not uri.startswith(SCHEME) or not uri.isascii() or not uri.isprintable():
            raise KeyFileError(f"a PKCS#11 URI begins with {SCHEME} and has at most {_MAX_URI} ASCII characters")
        path, _, query = uri[len(SCHEME) :].partition("?")
        given = _attributes(path, ";", _PATH) | _attributes(query, "&", _QUERY)
        if given.pop("type", b"private") != b"private":
            raise KeyFileError("the PKCS#11 URI must name a private key: type=private, or no type")
        texts = {name: _text(name, given.get(name, b"")) for name in ("token", "serial", "object", "module-path")}
        found = cls(texts["token"], texts["serial"], texts["object"], given.get("id", b""), texts["module-path"])
        if not (found.token or found.serial) or not (found.label or found.id):
            raise KeyFileError("the PKCS#11 URI must name the token (token or serial) and the key (object or id)")
        return found


def _attributes(text: str, separator: str, known: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for item in filter(None, text.split(separator)):
        name, equals, value = item.partition("=")
        if name in ("pin-value", "pin-source"):
            raise KeyFileError(f"the PKCS#11 URI has {name}: the PIN belongs into the environment, {PIN_VARIABLE}")
        if name not in known or not equals or name in found:
            raise KeyFileError(f"the PKCS#11 URI has {name[:40]!a} twice, without a value, or where it is not known")
        found[name] = unquote_to_bytes(value)
    return found


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{name} of the PKCS#11 URI is not UTF-8") from error
    if not text.isprintable():
        raise KeyFileError(f"{name} of the PKCS#11 URI cannot be shown")
    return text


@dataclass(frozen=True)
class _Login:
    """A session in which we are logged in, and the lock that its uses take: a session does one thing at a time."""

    session: Any
    lock: threading.Lock


_LOGINS: Final[dict[tuple[str, str, str], _Login]] = {}
_LOGINS_LOCK: Final = threading.Lock()


def _login(named: TokenKey) -> _Login:
    """Return the session with a token, made at the first call: PKCS#11 logs in a process, and once."""
    import pkcs11

    module = named.module or os.environ.get(MODULE_VARIABLE, "")
    if not module:
        raise KeyFileError(f"no PKCS#11 library: give module-path in the URI, or {MODULE_VARIABLE}")
    with _LOGINS_LOCK:
        known = _LOGINS.get((module, named.token, named.serial))
        if known is not None:
            return known
        pin = os.environ.get(PIN_VARIABLE)
        if not pin:
            raise KeyFileError(f"no PIN for the PKCS#11 token: set {PIN_VARIABLE} in the environment")
        serial = named.serial.encode() if named.serial else None
        token = pkcs11.lib(module).get_token(token_label=named.token or None, token_serial=serial)
        try:
            session = token.open(user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:  # by another name of the same token
            session = token.open()
        return _LOGINS.setdefault((module, named.token, named.serial), _Login(session, threading.Lock()))


class Pkcs11Signer:
    """Signs with a token's key; all keys of a token share a session, and sign one after the other."""

    algorithm: Algorithm = Algorithm.ES256

    def __init__(self, login: _Login, key: Any, public_key: ec.EllipticCurvePublicKey, name: str) -> None:
        """Take an open session and its private key; `open` does this from a URI."""
        self._login, self._key, self._name = login, key, name
        self.public_key: keys.PublicKey = public_key
        self.key_id = keys.key_id(public_key)

    @classmethod
    def open(cls, uri: str) -> Pkcs11Signer:
        """Log in to the token that a URI names; raises KeyFileError, naming what is missing or what the token said."""
        named = TokenKey.parse(uri)
        try:
            import pkcs11
            from pkcs11.util.ec import encode_ec_public_key
        except ImportError as error:
            raise KeyFileError("keys in PKCS#11 tokens need python-pkcs11: pip install og_ros[pkcs11]") from error
        name = f"PKCS#11 key {named.label or named.id.hex()!r} of token {named.token or named.serial!r}"
        wanted = {"label": named.label or None, "id": named.id or None}
        try:
            login = _login(named)
            with login.lock:
                private = login.session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, **wanted)
                public = login.session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, **wanted)
                spki = encode_ec_public_key(public)
        except (pkcs11.PKCS11Error, RuntimeError, OSError, LookupError) as error:
            raise KeyFileError(f"cannot use the {name}: {_reason(error)}") from error
        signer = cls(login, private, _p256(spki, name), name)
        signer._try()
        return signer

    def sign(self, message: bytes) -> bytes:
        """Sign a message; see Signer.sign. Raises KeyFileError when the token does not."""
        import pkcs11

        try:
            with self._login.lock:
                raw = self._key.sign(sha256(message).digest(), mechanism=pkcs11.Mechanism.ECDSA)
        except pkcs11.PKCS11Error as error:
            raise KeyFileError(f"the {self._name} did not sign: {_reason(error)}") from error
        if len(raw) != 64:
            raise KeyFileError(f"the {self._name} gave a signature of {len(raw)} bytes")
        s = int.from_bytes(raw[32:], "big")
        return bytes(raw) if s <= P256_ORDER // 2 else bytes(raw[:32]) + (P256_ORDER - s).to_bytes(32, "big")

    def _try(self) -> None:
        """Sign once and verify: a public key that only has the private one's name must be found at the start."""
        message = b"og_ros: does this private key belong to this public key?"
        try:
            verify_signature(self.public_key, message, self.sign(message))
        except SignatureError as error:
            raise KeyFileError(f"the {self._name}: private and public key of that name are no pair") from error


def _p256(spki: bytes, name: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"the {name} has a public key that cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError(f"the {name} is not on P-256; make one there (ES256)")
    return key


def _reason(error: BaseException) -> str:
    """Return what python-pkcs11 says, or, since its errors mostly say nothing but their kind, that."""
    words = " ".join(str(error).split())[:160]
    return f"{type(error).__name__}{f' ({words})' if words else ''}"
