"""Keys in a PKCS#11 token: URIs, and signatures of a real (software) token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import softhsm
from hypothesis import given
from hypothesis import strategies as st

from og_ros.attest import keys
from og_ros.attest.key_reference import beside, is_token, load_signer
from og_ros.attest.pkcs11_signer import Pkcs11Signer, TokenKey
from og_ros.attest.signer import P256_ORDER, SoftwareSigner
from og_ros.attest.statement import Algorithm
from og_ros.attest.verifier import verify_signature
from og_ros.errors import KeyFileError, OgError

URI = f"pkcs11:token={softhsm.TOKEN};object=planning"
needs_softhsm = pytest.mark.skipif(bool(softhsm.missing()), reason=softhsm.missing())


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in softhsm.environment(tmp_path_factory.mktemp("token")).items():
            patch.setenv(name, value)
        import pkcs11

        library = pkcs11.lib(softhsm.module())
        with library.get_token(token_label=softhsm.TOKEN).open(rw=True, user_pin=softhsm.PIN) as session:
            softhsm.generate(session, "planning", 1)
            softhsm.generate(session, "control", 2)
            softhsm.generate(session, "p384", 3, "secp384r1")
            softhsm.generate(session, "twice", 4)
            softhsm.generate(session, "twice", 5)
        yield


@needs_softhsm
def test_a_tokens_signatures_verify_and_are_low(token: None) -> None:
    signer = load_signer(URI)
    assert isinstance(signer, Pkcs11Signer)
    assert (signer.algorithm, signer.key_id) == (Algorithm.ES256, keys.key_id(signer.public_key))
    for number in range(16):  # half of a token's signatures have a high s
        signature = signer.sign(b"%d" % number)
        assert int.from_bytes(signature[32:], "big") <= P256_ORDER // 2
        verify_signature(signer.public_key, b"%d" % number, signature)


@needs_softhsm
def test_two_keys_of_one_token_share_its_login(token: None) -> None:
    planning, control = load_signer(URI), load_signer(f"pkcs11:token={softhsm.TOKEN};id=%02;type=private")
    assert planning.key_id != control.key_id
    verify_signature(control.public_key, b"m", control.sign(b"m"))
    verify_signature(planning.public_key, b"m", planning.sign(b"m"))
    by_serial = next(iter(_serials()))
    assert load_signer(f"pkcs11:serial={by_serial};object=control").key_id == control.key_id


def _serials() -> list[str]:
    import pkcs11

    found = pkcs11.lib(softhsm.module()).get_token(token_label=softhsm.TOKEN)
    return [found.serial.decode().strip()]


@needs_softhsm
@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("pkcs11:token=other;object=planning", "NoSuchToken"),
        (f"pkcs11:token={softhsm.TOKEN};object=none", "NoSuchKey"),
        (f"pkcs11:token={softhsm.TOKEN};object=p384", "P-256"),
        (f"pkcs11:token={softhsm.TOKEN};object=twice", "Multiple"),
        (f"pkcs11:token={softhsm.TOKEN};object=planning;id=%02", "NoSuchKey"),
        (f"{URI}?module-path=/none.so", "none.so"),
    ],
)
def test_a_key_that_cannot_be_had_is_named(token: None, uri: str, said: str) -> None:
    with pytest.raises(KeyFileError, match=said):
        load_signer(uri)


@needs_softhsm
def test_the_pin_comes_from_the_environment_and_a_wrong_one_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: None
) -> None:
    elsewhere = f"pkcs11:token={softhsm.TOKEN};object=planning;serial={_serials()[0]}"  # not logged in under this name
    monkeypatch.delenv("OG_ROS_PKCS11_PIN")
    with pytest.raises(KeyFileError, match="OG_ROS_PKCS11_PIN"):
        load_signer(elsewhere)
    monkeypatch.delenv("OG_ROS_PKCS11_MODULE")
    with pytest.raises(KeyFileError, match="module-path"):
        load_signer(elsewhere)


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:", "pkcs11:token=a", "pkcs11:object=a", "pkcs11:token=a;object=b?pin-value=1234",
        "pkcs11:token=a;object=b;pin-source=file:/pin", "pkcs11:token=a;token=b;object=c", "pkcs11:token;object=b",
        "pkcs11:token=a;object=b;slot-id=1", "pkcs11:token=a;object=b;type=public", "pkcs11:token=%ff;object=b",
        "pkcs11:token=a%0ab;object=b", "PKCS11:token=a;object=b", "pkcs11:token=a;object=b\n", "pkcs11:" + "a" * 2000,
        "pkcs11:token=a;object=b?module-name=x",
    ],
)  # fmt: skip
def test_uris_that_are_refused(uri: str) -> None:
    with pytest.raises(KeyFileError):
        TokenKey.parse(uri)


def test_what_a_uri_says() -> None:
    found = TokenKey.parse("pkcs11:token=My%20token;object=a%3bb;id=%00%ff?module-path=/usr/lib/x.so")
    assert found == TokenKey("My token", "", "a;b", b"\0\xff", "/usr/lib/x.so")


@given(st.text(alphabet="pkcs1:;?&=%token,object,id0aF-/ é\n", max_size=60))
def test_any_text_is_a_key_or_an_error(text: str) -> None:
    try:
        found = TokenKey.parse("pkcs11:" + text)
    except OgError:
        return
    assert found.token or found.serial
    assert found.label or found.id


def test_a_uri_is_no_path() -> None:
    uri = Path(f"{URI}?module-path=/usr/lib/x.so")
    assert is_token(uri)
    assert beside(Path("/robot"), uri) == uri
    assert str(uri) == f"{URI}?module-path=/usr/lib/x.so"
    assert beside(Path("/robot"), Path("keys/a.pem")) == Path("/robot/keys/a.pem")


def test_a_file_is_still_a_file(tmp_path: Path) -> None:
    key = keys.generate()
    keys.save_private(key, tmp_path / "a.pem")
    signer = load_signer(tmp_path / "a.pem")
    assert isinstance(signer, SoftwareSigner)
    assert signer.key_id == keys.key_id(key.public_key())


def test_a_pipeline_names_a_token(tmp_path: Path) -> None:
    from og_ros.stages.pipeline import from_parameters, load_pipeline, to_parameters

    (tmp_path / "p.yaml").write_text(
        f"""
robot: amr-1
stages:
  planning:
    model: {{path: m.onnx, name: m}}
    key: "{URI}"
    inputs: {{a: {{topic: /a, type: std_msgs/msg/Float32}}}}
    outputs: {{b: {{topic: /b, type: std_msgs/msg/Float32}}}}
"""
    )
    stage = load_pipeline(tmp_path / "p.yaml").stages["planning"]
    assert str(stage.key) == URI
    assert str(from_parameters(to_parameters(stage)).key) == URI
