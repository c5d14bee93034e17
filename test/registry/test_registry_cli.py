"""og-ros keys and og-ros registry as a person types them: output, JSON, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from og_ros.attest import keys
from og_ros.cli.main import main
from og_ros.registry import KEY_ROLES, ROLES, Registry, Status, entry
from og_ros.registry.entry import format_digest

DATA = Path(__file__).parent / "data"
MODEL = DATA / "model.bin"
DIGEST = sha256(MODEL.read_bytes()).digest()

Run = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def og(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in an empty directory: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> tuple[int, str, str]:
        try:
            code = main(line.split())
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


WRITE = "--registry registry --authority authority.pem"


@pytest.fixture
def root(og: Run) -> str:
    """The fingerprint of a registry `registry` with `authority.pem` beside it."""
    assert og("keys generate authority.pem")[0] == 0
    code, out, _ = og("registry init registry --authority authority.pem --name acme")
    assert code == 0
    return out.strip()


def read(og: Run, line: str) -> Any:
    code, out, _ = og(f"{line} --json")
    assert code == 0
    return json.loads(out)


@pytest.mark.parametrize(("algorithm", "name"), [("ES256", "ES256"), ("EdDSA", "EDDSA")])
def test_keys_generate_writes_a_private_file_and_its_public_half(og: Run, algorithm: str, name: str) -> None:
    made = read(og, f"keys generate k/robot.pem --algorithm {algorithm}")
    assert Path("k/robot.pem").stat().st_mode & 0o777 == 0o600
    assert made["algorithm"] == name
    assert made["key_id"] == keys.key_id(keys.load_public(Path("k/robot.pem.pub"))).hex()
    assert made == read(og, "keys show k/robot.pem") == read(og, "keys show k/robot.pem.pub")
    assert "PRIVATE" not in og("keys show k/robot.pem")[1]


def test_keys_generate_overwrites_nothing(og: Run) -> None:
    og("keys generate k.pem")
    before = Path("k.pem").read_bytes()
    code, out, err = og("keys generate k.pem")
    assert (code, out) == (2, "")
    assert err.startswith("og-ros keys: k.pem.pub exists already")
    Path("k.pem.pub").unlink()
    assert og("keys generate k.pem")[0] == 2
    assert Path("k.pem").read_bytes() == before


def test_keys_certify_list_and_revoke(og: Run, root: str) -> None:
    made = read(og, "keys generate p.pem")
    certified = read(og, f"keys certify p.pem.pub {WRITE} --robot robot-7 --stage perception --vendor maker --days 30")
    assert certified["key_id"] == made["key_id"]
    assert (certified["robot"], certified["vendor"], certified["status"]) == ("robot-7", "maker", "valid")
    assert read(og, f"keys list --registry registry --root {root}") == [certified]
    assert "perception" in og("keys list --registry registry")[1]

    since = certified["not_before"]
    revoked = read(og, f"keys revoke {made['key_id'][:8]} {WRITE} --reason lost --since {since}")
    assert (revoked["status"], revoked["revoked_at"], revoked["revocation_reason"]) == ("revoked", since, "lost")
    assert og("keys list --registry registry")[1].rstrip().endswith("revoked")
    key = Registry.open("registry").key(bytes.fromhex(made["key_id"]))
    assert key is not None
    assert key.not_after_ns is not None
    assert key.not_after_ns - key.not_before_ns == 30 * 86_400 * 10**9
    assert key.status(key.not_before_ns - 1) is Status.NOT_YET_VALID


def test_keys_certify_of_a_log(og: Run, root: str) -> None:
    og("keys generate log.pem --algorithm EdDSA")
    certified = read(og, f"keys certify log.pem {WRITE} --role log --origin example.com/robot-7")
    assert (certified["role"], certified["origin"]) == ("log", "example.com/robot-7")
    assert "example.com/robot-7" in og("keys list --registry registry")[1]


def test_registry_add_model_list_show_and_revoke(og: Run, root: str) -> None:
    line = f"registry add-model {MODEL} {WRITE} --name line --version 1.0 --stage perception --stage planning"
    (model,) = read(og, f"{line} --days 10 --processing {format_digest(DIGEST)}")
    assert model["digest"] == "sha256:" + DIGEST.hex() == model["processing_digest"]
    assert (model["stages"], model["vendor_signature"]) == (["perception", "planning"], None)
    assert read(og, "registry list registry") == {"models": [model], "keys": []}
    assert read(og, "registry show registry line@1.0") == [model]
    assert read(og, f"registry show registry {model['digest']}") == [model]
    assert "perception, planning" in og("registry list registry")[1]
    (revoked,) = read(og, f"registry revoke-model line@1.0 {WRITE} --reason backdoor")
    assert (revoked["status"], revoked["revocation_reason"]) == ("revoked", "backdoor")


def test_registry_import_signature(og: Run, root: str) -> None:
    vendor, signature = DATA / "vendor.pub", DATA / "model.sig"
    added = read(og, f"registry add-authority vendor {vendor} --role models {WRITE}")
    assert added["roles"] == ["models"]
    line = f"registry import-signature {MODEL} {signature} {WRITE} --vendor vendor --name detector --version 3.2"
    (model,) = read(og, line)
    assert model["certifier"] == "vendor"
    assert model["vendor_signature"]["signed_name"] == "model.bin"
    assert model["vendor_signature"]["named_here_by"] == "acme"
    assert "vendor (OpenSSF)" in og("registry list registry")[1]
    assert og(f"registry verify registry --root {root}")[0] == 0
    assert og(f"registry remove-authority vendor {WRITE}")[0] == 0
    assert "vendor" not in og("registry show registry")[1].split("AUTHORITY")[1]


def test_registry_show_says_who_may_sign(og: Run, root: str) -> None:
    code, out, _ = og("registry show registry")
    assert code == 0
    assert root in out
    assert "acme" in out
    assert "models, keys, index" in out
    shown = read(og, "registry show registry")
    assert (shown["root"], shown["number"], shown["pinned"]) == (root, 1, False)
    assert "not pinned" in out
    assert "not pinned" not in og(f"registry show registry --root {root}")[1]


def test_registry_verify_exits_0_when_it_holds(og: Run, root: str) -> None:
    code, out, _ = og(f"registry verify registry --root {root}")
    assert code == 0
    assert out.startswith("holds: registry acme, number 1")
    assert read(og, "registry verify registry")["holds"] is True


def test_registry_verify_exits_1_when_it_does_not(og: Run, root: str) -> None:
    og(f"registry add-model {MODEL} {WRITE} --name line --version 1.0")
    Path("registry", entry.model_path("line", "1.0")).unlink()
    code, out, _ = og("registry verify registry")
    assert code == 1
    assert out.startswith("does not hold: registry/models/line@1.0.dsse.json is missing")
    code, out, _ = og("registry verify registry --json")
    assert (code, json.loads(out)["holds"]) == (1, False)


def test_registry_verify_exits_1_for_another_root_or_an_older_state(og: Run, root: str) -> None:
    code, out, _ = og(f"registry verify registry --root sha256:{'0' * 64}")
    assert code == 1
    assert "not the registry that was pinned" in out
    code, out, _ = og("registry verify registry --minimum-number 2")
    assert code == 1
    assert "old state was put back" in out


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("registry verify nowhere", "is no registry"),
        ("registry list nowhere", "is no registry"),
        ("registry verify registry --root sha256:12", "64 lower-case hex digits"),
        ("registry show registry line@1", "has no model"),
        ("registry show registry 0123", "give the key id"),
        ("keys show nowhere.pem", "cannot read the key"),
        ("keys show model.bin", "is no public key"),
        (f"keys revoke 0123456789 {WRITE} --reason x", "og-ros keys list"),
        (f"keys revoke zz {WRITE} --reason x --since yesterday", "no time in UTC"),
        (f"keys certify authority.pem.pub {WRITE} --robot r", "needs a robot and a stage"),
        (f"keys certify authority.pem.pub {WRITE} --robot r --stage s --role king", "is not one of"),
        (f"registry add-model nowhere.onnx {WRITE} --name a --version 1", "cannot read nowhere.onnx"),
        (f"registry add-model model.bin {WRITE} --name lіne --version 1", "cannot be made to look like another"),
        (f"registry add-model model.bin {WRITE} --name a --version 1 --processing 12", "--processing"),
        (f"registry import-signature model.bin nowhere.sig {WRITE} --name a --version 1", "there is no signature"),
        (f"registry import-signature model.bin model.bin {WRITE} --name a --version 1", "malformed JSON"),
        (f"registry revoke-model line@1 {WRITE} --reason x", "has no model"),
        (f"registry remove-authority acme {WRITE}", "cannot remove itself"),
        ("registry init registry --authority authority.pem --name acme", "not empty"),
        ("keys list --registry registry --root x", "the pinned root"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(og: Run, root: str, line: str, reason: str) -> None:
    Path("model.bin").write_bytes(MODEL.read_bytes())
    code, out, err = og(line)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith(f"og-ros {line.split()[0]}: ")
    assert reason in err


@pytest.mark.parametrize("days", ["0", "-1", "1.5", "36501", "9" * 5000])
def test_a_validity_is_a_whole_number_of_days(og: Run, root: str, days: str) -> None:
    code, _, err = og(f"keys certify authority.pem.pub {WRITE} --robot r --stage s --days {days}")
    assert code == 2
    assert "--days" in err


def test_a_private_key_in_the_registry_is_refused(og: Run, root: str) -> None:
    og("keys generate registry/authority.pem")
    code, _, err = og("registry add-authority b authority.pem.pub --role index --registry registry "
                      "--authority registry/authority.pem")  # fmt: skip
    assert code == 2
    assert "keep it elsewhere" in err


def test_a_private_key_that_others_can_read_is_refused(og: Run, root: str) -> None:
    Path("authority.pem").chmod(0o644)
    code, _, err = og(f"registry add-model {MODEL} {WRITE} --name a --version 1")
    assert code == 2
    assert "chmod 600" in err


def test_a_key_of_another_curve_is_refused(og: Run) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    Path("p384.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    Path("p384.pem").chmod(0o600)
    code, _, err = og("keys show p384.pem")
    assert code == 2
    assert "P-256" in err


def test_two_authorities_are_given_together(og: Run, root: str) -> None:
    og("keys generate modeller.pem")
    og(f"registry add-authority modeller modeller.pem.pub --role models {WRITE}")
    line = f"registry add-model {MODEL} --registry registry --authority modeller.pem --name line --version 1.0"
    assert og(line)[0] == 2
    (model,) = read(og, f"{line} --authority authority.pem")
    assert model["certifier"] == "modeller"


def test_help_names_every_role(og: Run) -> None:
    assert all(role in og("keys certify --help")[1] for role in KEY_ROLES)
    assert all(role in og("registry add-authority --help")[1] for role in ROLES)
    assert "og-ros registry verify" in og("registry --help")[1]
    assert "og-ros keys certify" in og("keys --help")[1]


def test_the_parsers_import_nothing_heavy() -> None:
    """Every verb's parser is built for every command."""
    code = (
        "import argparse, sys; from og_ros.cli import keys, registry; s = argparse.ArgumentParser().add_subparsers(); "
        "keys.add_parser(s); registry.add_parser(s); print([m for m in sys.modules if m in ('cryptography', 'rich')])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    root = str(Path(__file__).resolve().parents[2])
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=environment
    )
    assert ran.stdout.strip() == "[]"
