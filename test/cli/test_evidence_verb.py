"""og-ros evidence: collect, show, verify, in words and by exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evidence_vectors import DATA
from made_nitro import MADE_AT, NitroMaker

from og_ros.attest import keys
from og_ros.attest.keys import load_public
from og_ros.cli.main import main
from og_ros.evidence import ear
from og_ros.evidence.binding import Context, binding
from og_ros.evidence.evidence_file import decode, encode
from og_ros.evidence.interface import Evidence

NITRO = str(DATA / "opengradient_attestation_doc.b64")
NITRO_AT = ["--format", "aws-nitro", "--at", "2026-02-12T18:00:00Z"]
NONCE = "00112233445566778899aabbccddeeff"


@pytest.fixture
def collected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["keys", "generate", str(tmp_path / "key.pem")]) == 0
    command = ["evidence", "collect", "--key", str(tmp_path / "key.pem"), "--robot", "amr-1", "--stage", "planning"]
    out = tmp_path / "it.evidence"
    assert main([*command, "--nonce", NONCE, "--manifest", "ab" * 32, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "bytes of software" in said
    assert "does not prove" in said
    return out


def test_collected_evidence_is_verified(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evidence = decode(collected.read_bytes())
    assert (evidence.nonce.hex(), evidence.context) == (NONCE, Context("amr-1", "planning", bytes.fromhex("ab" * 32)))
    public = str(collected.parent / "key.pem.pub")
    command = ["evidence", "verify", str(collected)]
    assert main([*command, "--nonce", NONCE, "--robot", "amr-1", "--stage", "planning", "--key", public]) == 0
    assert "HOLDS  software, supports level software_key" in capsys.readouterr().out
    assert main([*command, "--require", "software_key"]) == 0
    assert main([*command, "--require", "tee"]) == 1
    assert "too little: level tee was required" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--robot", "amr-2"], "not_bound"), (["--stage", "control"], "not_bound"),
        (["--nonce", "00" * 16], "wrong_nonce"), (["--at", "2020-01-01T00:00:00Z"], "from_the_future"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)  # fmt: skip
def test_what_is_refused_exits_1(
    collected: Path, options: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evidence", "verify", str(collected), *options]) == 1
    said = capsys.readouterr().out
    assert said.startswith("REFUSED  software, supports level none")
    assert f"contraindicated: {reason}:" in said


def test_another_key_is_refused(collected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.pub").write_text(keys.public_pem(keys.generate().public_key()))
    assert main(["evidence", "verify", str(collected), "--key", str(tmp_path / "other.pub")]) == 1
    assert "bad_signature" in capsys.readouterr().out


def test_show_judges_nothing(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "show", str(collected)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("nothing is checked here")
    assert "amr-1" in said
    assert main(["evidence", "show", str(collected), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert (tree["robot"], tree["says"]["key_provenance_claimed"]) == ("amr-1", "software")


@pytest.mark.parametrize(
    ("file", "evidence_format", "field"),
    [
        ("opengradient_attestation_doc.b64", "aws-nitro", "PCR0"), ("attestation.bin", "sev-snp", "measurement"),
        ("tdx_quote", "tdx", "mr_td"), ("sgx_quote", "sgx", "mr_enclave"),
    ],
)  # fmt: skip
def test_a_vendors_document_is_shown(
    file: str, evidence_format: str, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if evidence_format in ("tdx", "sgx"):
        pytest.importorskip("dcap_qvl", reason="dcap-qvl is not installed")
    assert main(["evidence", "show", str(DATA / file), "--format", evidence_format]) == 0
    said = capsys.readouterr().out
    assert f"\n  {field} " in said
    assert "does not prove" in said


def test_a_vendors_document_is_verified_at_its_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "verify", NITRO, *NITRO_AT]) == 0
    said = capsys.readouterr().out
    assert "HOLDS  aws-nitro, supports level none" in said
    assert "which key it vouches for: no key was given" in said
    assert main(["evidence", "verify", NITRO, "--format", "aws-nitro"]) == 1
    assert "certificate_expired" in capsys.readouterr().out


def test_collateral_is_given_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("dcap_qvl", reason="dcap-qvl is not installed")
    command = ["evidence", "verify", str(DATA / "tdx_quote"), "--format", "tdx", "--at", "2025-06-20T00:00:00Z"]
    assert main(command) == 1
    assert "no_collateral" in capsys.readouterr().out
    assert main([*command, "--collateral", f"dcap={DATA / 'tdx_quote_collateral.json'}", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["submods"]["platform"]["ear_status"] == "affirming"


def test_a_policy_and_a_signed_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maker, key = NitroMaker(), keys.spki(keys.generate().public_key())
    context = Context("amr-1", "planning")
    document = maker.document(user_data=binding("aws-nitro", bytes(16), key, context))
    (tmp_path / "it").write_bytes(encode(Evidence("aws-nitro", document, key, bytes(16), context, MADE_AT)))
    (tmp_path / "root.der").write_bytes(maker.der[0])
    pcr0 = "01" * 48
    (tmp_path / "policy.yaml").write_text(
        f"version: 1\nroots: {{made: root.der}}\ntest_roots: [made]\n"
        f"reference_values:\n  aws-nitro:\n    pcrs: {{0: '{pcr0}'}}\n"
    )
    main(["keys", "generate", str(tmp_path / "verifier.pem")])
    command = ["evidence", "verify", str(tmp_path / "it"), "--policy", str(tmp_path / "policy.yaml")]
    command += ["--at", "2026-02-02T02:40:01Z", "--require", "tee"]
    result = ["--ear", str(tmp_path / "it.jwt"), "--sign-key", str(tmp_path / "verifier.pem")]
    assert main([*command, *result]) == 0
    assert "supports level tee" in capsys.readouterr().out
    appraisal = ear.verify((tmp_path / "it.jwt").read_text(), load_public(tmp_path / "verifier.pem.pub"))
    assert (appraisal.level(), appraisal.status("platform").name) == ("tee", "WARNING")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "none"], "cannot read"), (["show", "none"], "cannot read"), (["verify", NITRO], "give --format"),
        (["verify", NITRO, "--format", "foo"], "no verifier"),
        (["verify", NITRO, *NITRO_AT, "--nonce", "xy"], "in hex"),
        (["verify", NITRO, *NITRO_AT[:2], "--at", "now"], "--at"),
        (["show", str(DATA), "--format", "tdx"], "cannot read"),
        (["verify", NITRO, *NITRO_AT, "--collateral", "dcap"], "NAME=FILE"),
        (["verify", NITRO, *NITRO_AT, "--key", NITRO], "no public key"),
        (["verify", NITRO, *NITRO_AT, "--ear", "x"], "go together"),
        (["verify", NITRO, *NITRO_AT, "--policy", "none"], "cannot read"),
        (["show", NITRO, "--format", "sev-snp"], "of version"),
        (["collect", "--key", "none", "--robot", "a", "--stage", "b", "-o", "x"], "cannot read the key"),
        (["collect", "--key", "pkcs11:token=a", "--robot", "a", "--stage", "b", "-o", "x"], "must name"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[-2:])[-30:],
)  # fmt: skip
def test_what_cannot_be_judged_exits_2_with_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evidence", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert said in captured.err


def test_evidence_of_another_format_than_asked_for(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "verify", str(collected), "--format", "tdx"]) == 2
    assert "is evidence of format software" in capsys.readouterr().err
