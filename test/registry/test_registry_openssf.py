"""A vendor's OpenSSF model signature as certificate: made by the real package, verified by ours, and every forgery."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from made_registry import DIGEST, Made

from og_ros.attest import SoftwareSigner, keys
from og_ros.attest.statement import Algorithm
from og_ros.errors import RegistryError
from og_ros.registry import RegistryWriter, dsse, entry, openssf
from og_ros.registry.openssf import verify_bundle

DATA = Path(__file__).parent / "data"
VENDOR = keys.load_public(DATA / "vendor.pub")
MODEL_DIGEST = sha256((DATA / "model.bin").read_bytes()).digest()


def forge(
    signer: SoftwareSigner,
    statement: Callable[[dict[str, Any]], object] = lambda tree: None,
    bundle: Callable[[dict[str, Any]], object] = lambda tree: None,
    payload_type: str = openssf.IN_TOTO_TYPE,
) -> bytes:
    """Make a bundle as model_signing does, with changes before the signature (statement) or after it (bundle)."""
    tree: dict[str, Any] = {
        "_type": openssf.STATEMENT_TYPE,
        "subject": [{"name": "model.bin", "digest": {"sha256": sha256(DIGEST).hexdigest()}}],
        "predicateType": openssf.PREDICATE_TYPE,
        "predicate": {
            "resources": [{"algorithm": "sha256", "name": ".", "digest": DIGEST.hex()}],
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []},
        },
    }
    statement(tree)
    envelope = json.loads(dsse.sign(payload_type, json.dumps(tree).encode(), signer))
    envelope["signatures"][0]["keyid"] = ""
    hint = sha256(keys.public_pem(signer.public_key).encode()).hexdigest()
    made = {
        "mediaType": openssf.BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": envelope,
    }
    bundle(made)
    return json.dumps(made).encode()


@pytest.fixture
def vendor() -> SoftwareSigner:
    return SoftwareSigner(keys.generate())


def test_a_signature_of_one_file_made_by_model_signing() -> None:
    signed = verify_bundle((DATA / "model.sig").read_bytes(), VENDOR, "it")
    assert (signed.subject, signed.resources) == ("model.bin", {".": MODEL_DIGEST})


def test_a_signature_of_a_directory_made_by_model_signing() -> None:
    signed = verify_bundle((DATA / "family.sig").read_bytes(), VENDOR, "it")
    assert signed.subject == "family"
    assert signed.resource_with(MODEL_DIGEST) == "model.bin"
    assert sorted(signed.resources) == ["README.md", "model.bin"]


def test_the_forgers_tool_makes_what_model_signing_makes(vendor: SoftwareSigner) -> None:
    """So that each refusal below is of its one change."""
    assert verify_bundle(forge(vendor), vendor.public_key, "it").resources == {".": DIGEST}
    real, ours = json.loads((DATA / "model.sig").read_bytes()), json.loads(forge(vendor))
    assert real.keys() == ours.keys()
    assert real["verificationMaterial"].keys() == ours["verificationMaterial"].keys()


def in_predicate(**change: Any) -> Callable[[dict[str, Any]], object]:
    return lambda tree: tree["predicate"].update(change)


def in_serialization(**change: Any) -> Callable[[dict[str, Any]], object]:
    return lambda tree: tree["predicate"]["serialization"].update(change)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (lambda t: t.update(_type="https://in-toto.io/Statement/v0.1"), "no model signature of version 1.0"),
        (lambda t: t.update(predicateType="https://slsa.dev/provenance/v1"), "no model signature of version 1.0"),
        (lambda t: t["subject"].append(t["subject"][0]), "2 subjects"),
        (lambda t: t["subject"][0]["digest"].update(sha256="0" * 64), "not that of its list of files"),
        (lambda t: t["predicate"]["resources"].append(t["predicate"]["resources"][0]), "twice"),
        (lambda t: t["predicate"]["resources"][0].update(algorithm="blake2b"), "no SHA-256"),
        (lambda t: t["predicate"]["resources"][0].update(digest=DIGEST.hex().upper()), "lower-case hex"),
        (lambda t: t["predicate"]["resources"][0].update(name="\x1b[2J"), "cannot be printed"),
        (in_predicate(resources=[]), "lists 0 files"),
        (in_serialization(method="shards"), "whole files"),
        (in_serialization(hash_type="blake3"), "whole files"),
    ],
)
def test_statement_that_is_refused(
    vendor: SoftwareSigner, statement: Callable[[dict[str, Any]], object], reason: str
) -> None:
    with pytest.raises(RegistryError, match=reason):
        verify_bundle(forge(vendor, statement), vendor.public_key, "it")


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [
        (lambda t: t.update(mediaType="application/vnd.dev.sigstore.bundle.v0.2+json"), "media type"),
        (lambda t: t["verificationMaterial"]["publicKey"].update(hint="0" * 64), "another key"),
        (lambda t: t.update(verificationMaterial={"certificate": {"rawBytes": ""}}), "key pair"),
        (lambda t: t["dsseEnvelope"].update(signatures=[]), "0 signatures"),
        (lambda t: t["dsseEnvelope"].update(payload="e30="), "signature does not hold"),
        (lambda t: t.update(extra=1), "unknown field"),
        (lambda t: t.pop("dsseEnvelope"), "lacks the field"),
    ],
)
def test_bundle_that_is_refused(
    vendor: SoftwareSigner, bundle: Callable[[dict[str, Any]], object], reason: str
) -> None:
    with pytest.raises(RegistryError, match=reason):
        verify_bundle(forge(vendor, bundle=bundle), vendor.public_key, "it")


def test_bundle_of_another_vendor(vendor: SoftwareSigner) -> None:
    data = forge(vendor, bundle=lambda tree: tree["verificationMaterial"]["publicKey"].pop("hint"))
    verify_bundle(data, vendor.public_key, "it")
    with pytest.raises(RegistryError, match="signature does not hold"):
        verify_bundle(data, VENDOR, "it")


def test_bundle_of_another_payload_type(vendor: SoftwareSigner) -> None:
    with pytest.raises(RegistryError, match="signs the type"):
        verify_bundle(forge(vendor, payload_type=entry.payload_type("model")), vendor.public_key, "it")


def test_bundle_of_an_ed25519_key() -> None:
    signer = SoftwareSigner(keys.generate(Algorithm.EDDSA))
    with pytest.raises(RegistryError, match="P-256"):
        verify_bundle(forge(signer), signer.public_key, "it")


def test_it_is_the_models_certificate(made: Made) -> None:
    with RegistryWriter.open(made.directory, made.authority) as writer:
        writer.add_authority("vendor", VENDOR, ("models",))
        one = writer.import_signature((DATA / "model.sig").read_bytes(), MODEL_DIGEST, "detector", "3.2", stages=("p",))
        again = writer.import_signature((DATA / "model.sig").read_bytes(), MODEL_DIGEST, "detector", "3.3")
        many = writer.import_signature((DATA / "family.sig").read_bytes(), MODEL_DIGEST, "detector", "3.4")
    registry = made.open(pinned_root=made.first_root)
    assert registry.models_with(MODEL_DIGEST) == (one, again, many)
    assert (one.certifier, one.stages) == ("vendor", ("p",))
    assert one.vendor_signature is not None
    assert many.vendor_signature is not None
    assert (one.vendor_signature.subject, one.vendor_signature.resource) == ("model.bin", ".")
    assert (many.vendor_signature.subject, many.vendor_signature.resource) == ("family", "model.bin")
    assert one.vendor_signature.registered_by == "acme"


def test_a_signature_is_refused_before_it_enters(made: Made) -> None:
    bundle = (DATA / "model.sig").read_bytes()
    with RegistryWriter.open(made.directory, made.authority) as writer:
        with pytest.raises(RegistryError, match=r"no authority of the registry made this signature.*modeller: .*P-256"):
            writer.import_signature(bundle, MODEL_DIGEST, "detector", "1")
        with pytest.raises(RegistryError, match="no authority vendor"):
            writer.import_signature(bundle, MODEL_DIGEST, "detector", "1", vendor="vendor")
        writer.add_authority("vendor", VENDOR, ("models",))
        with pytest.raises(RegistryError, match="has no file"):
            writer.import_signature(bundle, DIGEST, "detector", "1", vendor="vendor")
        assert not list(made.directory.glob("signatures/*"))


@pytest.fixture
def imported(made: Made) -> Made:
    with RegistryWriter.open(made.directory, made.authority) as writer:
        writer.add_authority("vendor", VENDOR, ("models",))
        writer.import_signature((DATA / "model.sig").read_bytes(), MODEL_DIGEST, "detector", "1")
    return made


PATH = entry.model_path("detector", "1")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"digest": entry.format_digest(DIGEST)}, "vendor did not sign a model of this digest"),
        ({"resource": "other"}, "vendor did not sign a model of this digest"),
        ({"subject": "other"}, "vendor calls the model 'model.bin'"),
        ({"certifier": "acme"}, "another key than the registered one"),
        ({"certifier": "nobody"}, "nobody is no authority"),
        ({"bundle": entry.format_digest(DIGEST)}, "not in the registry"),
        ({"registered_by": "modeller"}, "names modeller, but acme signed it"),
    ],
)
def test_wrapper_that_says_more_than_the_vendor_signed(imported: Made, change: dict[str, Any], reason: str) -> None:
    imported.insider.write(PATH, "imported-model", {**imported.insider.payload(PATH), **change})
    with pytest.raises(RegistryError, match=reason):
        imported.open()


def test_wrapper_signed_by_an_authority_for_models(imported: Made) -> None:
    tree = {**imported.insider.payload(PATH), "registered_by": "modeller"}
    imported.insider.write(PATH, "imported-model", tree, signer=imported.models_authority)
    with pytest.raises(RegistryError, match="modeller, which has not the role index"):
        imported.open()


def test_signature_without_a_certificate(imported: Made) -> None:
    (imported.directory / PATH).unlink()
    imported.insider.index(lambda tree: tree["files"].pop(PATH))
    with pytest.raises(RegistryError, match="no model certificate names"):
        imported.open()


def test_cross_check_with_the_real_package(made: Made, tmp_path: Path) -> None:
    """Their signer to our verifier, our forged bundle to theirs, and a tampered one refused by both."""
    signing = pytest.importorskip("model_signing.signing", reason="the extra model-signing is not installed")
    verifying = pytest.importorskip("model_signing.verifying")
    private, public = tmp_path / "vendor.pem", tmp_path / "vendor.pub"
    key = keys.generate()
    keys.save_private(key, private)
    public.write_text(keys.public_pem(key.public_key()))
    model = tmp_path / "models" / "line.onnx"
    model.parent.mkdir()
    model.write_bytes(b"weights")
    digest = sha256(b"weights").digest()
    signature = tmp_path / "line.sig"
    signing.Config().use_elliptic_key_signer(private_key=private).sign(model, signature)
    theirs = verifying.Config().use_elliptic_key_verifier(public_key=public)

    with RegistryWriter.open(made.directory, made.authority) as writer:
        writer.add_authority("vendor", key.public_key(), ("models",))
        writer.import_signature(signature.read_bytes(), digest, "line", "9.0")
    stored = tmp_path / "stored.sig"
    stored.write_bytes((made.directory / entry.bundle_path(sha256(signature.read_bytes()).digest())).read_bytes())
    theirs.verify(model, stored)

    def of_model(tree: dict[str, Any]) -> None:
        tree["subject"][0]["digest"]["sha256"] = sha256(digest).hexdigest()
        tree["predicate"]["resources"][0]["digest"] = digest.hex()

    ours = tmp_path / "ours.sig"
    ours.write_bytes(forge(SoftwareSigner(key), of_model))
    theirs.verify(model, ours)

    bad = tmp_path / "bad.sig"
    bad.write_bytes(forge(SoftwareSigner(keys.generate()), of_model))
    with pytest.raises(ValueError, match="mismatch"):
        theirs.verify(model, bad)
    with pytest.raises(RegistryError, match="another key"):
        verify_bundle(bad.read_bytes(), key.public_key(), "it")
    model.write_bytes(b"other weights")
    with pytest.raises(ValueError, match="mismatch"):
        theirs.verify(model, signature)
