"""Manifests: one encoding, signed, and every difference by its name."""

from __future__ import annotations

import contextlib
import dataclasses
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_tpm_quote import MANIFEST, RELEASE, key_of, manifest_of

from og_ros.attest import keys
from og_ros.attest.signer import SoftwareSigner
from og_ros.errors import EvidenceError
from og_ros.evidence import manifest as manifests
from og_ros.evidence import measurement
from og_ros.evidence.drift import drift
from og_ros.evidence.manifest import Manifest, Package
from og_ros.evidence.signed_document import read_document, sign_document

SIGNER = SoftwareSigner(RELEASE)


def test_a_manifest_has_one_encoding() -> None:
    data = manifests.encode(MANIFEST)
    assert manifests.decode(data) == MANIFEST
    shuffled = dataclasses.replace(MANIFEST, files=dict(reversed(MANIFEST.files.items())))
    assert manifests.encode(shuffled) == data
    assert MANIFEST.digest == sha256(data).digest()


def other(**changes: Any) -> Manifest:
    return dataclasses.replace(MANIFEST, **changes)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (manifest_of(model=b"x"), [("model_changed", "model")]),
        (manifest_of(adapter=b"x"), [("adapter_changed", "adapter/image")]),
        (other(files={**MANIFEST.files, "config": bytes(32)}), [("config_changed", "config")]),
        (other(files={**MANIFEST.files, "og_ros/new.py": bytes(32)}), [("og_ros_changed", "og_ros/new.py")]),
        (other(files={**MANIFEST.files, "site/evil.pth": bytes(32)}), [("file_changed", "site/evil.pth")]),
        (other(packages={**MANIFEST.packages, "numpy": Package("2.0.0", bytes(32))}), [("package_changed", "numpy")]),
        (other(packages={**MANIFEST.packages, "rich": Package("14.0")}), [("package_version", "rich")]),
        (other(packages={**MANIFEST.packages, "evil": Package("1")}), [("package_added", "evil")]),
        (other(packages={"numpy": MANIFEST.packages["numpy"]}), [("package_missing", "rich")]),
        (other(python="CPython 3.13.0 x86_64"), [("python_changed", "python")]),
        (other(image="sha256:" + "0" * 64), [("image_changed", "image")]),
        (other(environment={"LD_PRELOAD": "/tmp/x.so"}), [("environment_changed", "LD_PRELOAD")]),
        (other(stage="planning"), [("another_stage", "stage")]),
        (other(robot="amr-2"), [("another_robot", "robot")]),
        (MANIFEST, []),
    ],
)  # fmt: skip
def test_each_difference_has_its_name(found: Manifest, expected: list[tuple[str, str]]) -> None:
    differences = drift(MANIFEST, found)
    assert [(one.code, one.name) for one in differences] == expected
    assert all(one.message for one in differences)


def test_a_signed_manifest_is_read_by_its_signers_key_alone() -> None:
    data = manifests.sign(MANIFEST, SIGNER)
    assert manifests.read_signed(data, SIGNER.public_key) == MANIFEST
    with pytest.raises(EvidenceError, match="signature does not hold"):
        manifests.read_signed(data, key_of("other").public_key())
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    edwards = SoftwareSigner(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    assert manifests.read_signed(manifests.sign(MANIFEST, edwards), edwards.public_key) == MANIFEST
    with pytest.raises(EvidenceError, match="another algorithm"):
        manifests.read_signed(data, edwards.public_key)
    with pytest.raises(EvidenceError, match="is no application"):
        manifests.read_signed(sign_document("text/plain", manifests.encode(MANIFEST), SIGNER), SIGNER.public_key)


def test_every_bit_of_a_signed_manifest_counts() -> None:
    small = dataclasses.replace(MANIFEST, files={}, packages={})
    data = manifests.sign(small, SIGNER)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EvidenceError):
            manifests.read_signed(bytes(changed), SIGNER.public_key)


def test_another_cose_library_verifies_it() -> None:
    scitt = pytest.importorskip("scitt_cose", reason="the PyPI package scitt-cose is not installed")
    data = manifests.sign(MANIFEST, SIGNER)
    scitt.verify_sign1(data, public_key_pem=keys.public_pem(SIGNER.public_key))
    with pytest.raises(scitt.CoseError):
        scitt.verify_sign1(data[:-1] + bytes([data[-1] ^ 1]), public_key_pem=keys.public_pem(SIGNER.public_key))


@given(st.binary(max_size=60), st.integers(0, 400))
def test_damaged_manifests_raise_nothing_else(noise: bytes, at: int) -> None:
    data = manifests.encode(MANIFEST)
    damaged = data[:at] + noise + data[at + len(noise) :]
    with contextlib.suppress(EvidenceError):
        assert manifests.encode(manifests.decode(damaged)) == damaged
    with pytest.raises(EvidenceError):
        read_document(noise, "text/plain", "the document", 40)


def test_this_environment_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one, with all packages that a stage loads; and again with a package that somebody changed."""
    package = tmp_path / "victim"
    package.mkdir()
    (package / "__init__.py").write_text("answer = 42\n")
    info = tmp_path / "victim-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: victim\nVersion: 1.0\n")
    (info / "RECORD").write_text("victim/__init__.py,sha256=nobody-believes-it,12\nvictim-1.0.dist-info/METADATA,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    before = measurement.measure("r", "s", {"model": bytes(32)}, packages=["victim"])
    for name in ("og-ros", "numpy", "cryptography", "python-stdlib", "victim"):
        assert name in before.packages
    assert all(before.packages[name].digest for name in ("numpy", "cryptography", "python-stdlib", "victim"))
    assert before.files["og_ros/attest/cbor.py"]
    assert before.python.startswith("CPython 3.")
    assert manifests.decode(manifests.encode(before)) == before
    # From here on without what does not change and takes long.
    monkeypatch.setattr(measurement, "MEASURED", ())
    monkeypatch.setattr(measurement, "_tree_digest", lambda _: before.packages["python-stdlib"].digest)
    quick = measurement.measure("r", "s", {"model": bytes(32)}, packages=["victim"])
    assert drift(quick, measurement.measure("r", "s", {"model": bytes(32)}, packages=["victim"])) == ()
    (package / "__init__.py").write_text("answer = 43\n")
    monkeypatch.setenv("LD_PRELOAD", "/tmp/evil.so")
    after = measurement.measure("r", "s", {"model": bytes(32)}, packages=["victim"])
    assert [(one.code, one.name) for one in drift(quick, after)] == [
        ("package_changed", "victim"), ("environment_changed", "LD_PRELOAD"),
    ]  # fmt: skip
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "evil.pth").write_text("import os")
    monkeypatch.syspath_prepend(str(site))
    planted = drift(after, measurement.measure("r", "s", {"model": bytes(32)}, packages=["victim"]))
    assert "file_changed" in {one.code for one in planted}
    assert any("evil.pth" in one.name for one in planted)
    with pytest.raises(EvidenceError, match="no digest"):
        measurement.measure("r", "s", {}, image="latest")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"cannot measure .*missing: No such file"):
        measurement.file_digest(tmp_path / "missing")


def test_malformed_manifests_say_what() -> None:
    import cbor2

    tree = cbor2.loads(manifests.encode(MANIFEST))
    for name, value, message in (
        ("version", 2, "version 2"), ("files", {"model": b"short"}, "no SHA-256"),
        ("packages", {"x": ["1"]}, "version, digest"),
        ("packages", {"x": ["1", b"short"]}, "no SHA-256"), ("environment", {"X": 1}, "no text"),
        ("robot", 5, "no str"),
    ):  # fmt: skip
        with pytest.raises(EvidenceError, match=message):
            manifests.decode(cbor2.dumps({**tree, name: value}, canonical=True))
    with pytest.raises(EvidenceError, match="no map of"):
        manifests.decode(cbor2.dumps({**tree, "extra": 1}, canonical=True))
