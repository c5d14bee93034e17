"""A vendor's OpenSSF model signature (github.com/sigstore/model-transparency), verified with a registered key.

`model_signing sign key` writes a Sigstore bundle (version 0.3): a DSSE envelope around an in-toto statement
(predicate https://model_signing/signature/v1.0) that lists the SHA-256 of every file of the model; the subject's digest
is the SHA-256 of those digests one after the other. A model of one file lists the one resource ".".

Signed by the vendor are the files' digests and the vendor's own name of the model, nothing else: not the name and
version in this registry, not the stages, not the validity. Signatures by certificate or by Sigstore identity need a
certificate chain or a transparency log to check; they are refused here.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from og_ros.attest import keys
from og_ros.attest.statement import Algorithm
from og_ros.errors import RegistryError
from og_ros.registry import dsse, strict_json
from og_ros.registry.names import check_text

MAX_BUNDLE: Final = 8 * 2**20
MAX_RESOURCES: Final = 100_000
BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"


@dataclass(frozen=True, slots=True)
class SignedModel:
    """What a vendor signed: the vendor's name of the model, and the SHA-256 of each of its files by relative path."""

    subject: str
    resources: dict[str, bytes]

    def resource_with(self, digest: bytes) -> str | None:
        """Return the path of the file with a digest ("." for a model of one file), or None."""
        return next((name for name, value in self.resources.items() if value == digest), None)


def verify_bundle(data: bytes, public_key: keys.PublicKey, what: str) -> SignedModel:
    """Check a bundle made with a P-256 key and return what it signs; raises RegistryError, naming `what`.

    Besides the signature: the bundle's key hint is this key's, every digest is a SHA-256 of a whole file, no file is
    listed twice, and the subject's digest is that of the list.
    """
    if keys.algorithm_of(public_key) != Algorithm.ES256:
        raise RegistryError(f"{what}: an OpenSSF model signature is checked with a P-256 key, not with Ed25519")
    bundle = strict_json.loads(data, what, MAX_BUNDLE)
    kinds: dict[str, type] = {"mediaType": str, "verificationMaterial": dict, "dsseEnvelope": dict}
    strict_json.fields(bundle, what, kinds)
    if bundle["mediaType"] != BUNDLE_TYPE:
        raise RegistryError(f"{what} has the media type {bundle['mediaType'][:80]!a}; {BUNDLE_TYPE} is needed")
    _check_hint(bundle["verificationMaterial"], public_key, what)
    envelope = dsse.from_tree(bundle["dsseEnvelope"], what)
    if envelope.payload_type != IN_TOTO_TYPE:
        raise RegistryError(f"{what} signs the type {envelope.payload_type!a}; {IN_TOTO_TYPE} is needed")
    dsse.verify(envelope, public_key, what)
    return _read_statement(strict_json.loads(envelope.payload, f"{what}: the statement", MAX_BUNDLE), what)


def _check_hint(material: dict[str, Any], public_key: keys.PublicKey, what: str) -> None:
    hint = material.get("publicKey")
    if not isinstance(hint, dict):
        raise RegistryError(
            f"{what} was not made with a key pair (model_signing sign key), so it cannot be checked here"
        )
    expected = sha256(keys.public_pem(public_key).encode()).hexdigest()
    if hint.get("hint") not in (None, "", expected):
        raise RegistryError(f"{what} was made with another key than the registered one of its vendor")


def _read_statement(tree: Any, what: str) -> SignedModel:
    kinds: dict[str, type] = {"_type": str, "subject": list, "predicateType": str, "predicate": dict}
    strict_json.fields(tree, f"{what}: the statement", kinds)
    if tree["_type"] != STATEMENT_TYPE or tree["predicateType"] != PREDICATE_TYPE:
        raise RegistryError(f"{what} is no model signature of version 1.0; sign again with model_signing 1.0 or later")
    if len(tree["subject"]) != 1:
        raise RegistryError(f"{what} has {len(tree['subject'])} subjects; it must have one")
    subject = strict_json.fields(tree["subject"][0], f"{what}: the subject", {"name": str, "digest": dict})
    predicate = strict_json.fields(
        tree["predicate"], f"{what}: the predicate", {"serialization": dict, "resources": list}, open_ended=True
    )
    serialization = predicate["serialization"]
    if serialization.get("method") != "files" or serialization.get("hash_type") != "sha256":
        raise RegistryError(
            f"{what} does not hash whole files with SHA-256; sign with model_signing's default settings"
        )
    if not 1 <= len(predicate["resources"]) <= MAX_RESOURCES:
        raise RegistryError(f"{what} lists {len(predicate['resources'])} files; 1 to {MAX_RESOURCES} are allowed")
    resources: dict[str, bytes] = {}
    for item in predicate["resources"]:
        entry = strict_json.fields(item, f"{what}: a resource", {"name": str, "algorithm": str, "digest": str})
        name = check_text(f"{what}: a resource's name", entry["name"])
        if name in resources:
            raise RegistryError(f"{what} lists the file {name!r} twice")
        if entry["algorithm"] != "sha256":
            raise RegistryError(f"{what}: the file {name!r} has a digest that is no SHA-256")
        resources[name] = _digest(entry["digest"], f"{what}: the file {name!r}")
    if subject["digest"] != {"sha256": sha256(b"".join(resources.values())).hexdigest()}:
        raise RegistryError(f"{what}: the digest of the model is not that of its list of files")
    return SignedModel(check_text(f"{what}: the subject", subject["name"]), resources)


def _digest(text: str, what: str) -> bytes:
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise RegistryError(f"{what} has a digest that is not 64 lower-case hex digits")
    return bytes.fromhex(text)
