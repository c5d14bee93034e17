"""og-ros chain as a fleet uses it: deploy, certify, bond, slash, snapshot; and bad input, which ends in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from anvil import KEYS
from attest_examples import statement_of
from evm_contracts import balance
from settlement_place import Place

from og_ros.attest import SoftwareSigner, cose, keys
from og_ros.cli.main import main
from og_ros.registry import Registry
from og_ros.settlement.checkpoints import NO_HEAD, ChainName, Entry
from og_ros.settlement.evm_chain import robot_id
from og_ros.settlement.receipt import Receipt, write_file

Command = Callable[..., tuple[int, str]]
OWNER, OPERATOR, STRANGER = KEYS


@pytest.fixture
def command(
    bare: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run og-ros chain as an account: its exit code, and what it printed."""

    def run(account: str, *arguments: str, rpc: str = bare.node.url) -> tuple[int, str]:
        monkeypatch.setenv("OG_ROS_SETTLEMENT_KEY", account)
        code = main(["chain", *arguments, *(["--rpc", rpc] if rpc else [])])
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


def test_a_fork_pays_its_reporter_and_a_false_proof_does_not(bare: Place, command: Command, tmp_path: Path) -> None:
    code, told = command(OWNER, "deploy")
    assert code == 0
    nodes, chain, models = re.findall(r"^\w+ +(0x[0-9a-f]{40})", told, re.MULTILINE)
    at = ["--registry-address", nodes]
    signer = SoftwareSigner(keys.generate())
    key, key_id = tmp_path / "control.pem", signer.key_id.hex()
    keys.save_private(signer._key, key)
    (tmp_path / "quote").write_bytes(b"a quote")
    assert command(
        OPERATOR, "propose", str(key), "--robot", "robot-7", "--stage", "control", "--measurement", "11" * 32,
        "--evidence", str(tmp_path / "quote"), *at,
    )[0] == 0  # fmt: skip
    assert command(OWNER, "approve", key_id, "--days", "9", "--max-silence", "3600", *at)[0] == 0
    assert command(OPERATOR, "bond", key_id, "--ether", "1.5", *at)[0] == 0
    assert "alive until" in command(OPERATOR, "heartbeat", key_id, *at)[1]
    shown = ["--key", key_id, "--contract", chain, "--models-address", models]
    assert "robot-8: NO" in command(OWNER, "show", *at, *shown, "--robot", "robot-8")[1]
    told = command(OWNER, "show", *at, *shown, "--robot", "robot-7")[1]
    texts = ("valid, stage control", f"bond           {15 * 10**17} wei", "11" * 32, "that of this og_ros")
    for text in (*texts, "robot-7: yes"):
        assert text in told

    base = statement_of(robot="robot-7", stage="control", key_id=signer.key_id)
    for name, changes in (("one", {}), ("other", {"duration_ns": 7}), ("next", {"sequence": 6})):
        record = cose.sign(statement_of(**{**vars_of(base), **changes}), signer)
        (tmp_path / f"{name}.cose").write_bytes(record.cose)

    def slash(second: str) -> tuple[int, str]:
        files = ["--first", str(tmp_path / "one.cose"), "--second", str(tmp_path / f"{second}.cose")]
        return command(STRANGER, "slash", *files, *at)

    before = balance(bare.node.rpc, bare.stranger.address)
    for second in ("one", "next"):
        code, told = slash(second)
        assert code == 2
        assert "no fork" in told
        assert len(told.splitlines()) == 1
    assert balance(bare.node.rpc, bare.stranger.address) == before, "a false proof costs nothing, and pays nothing"
    code, told = slash("other")
    assert code == 0, told
    assert f"{75 * 10**16} wei" in told
    gained = balance(bare.node.rpc, bare.stranger.address) - before
    assert 74 * 10**16 < gained < 75 * 10**16, "half of the bond, less gas"
    assert "revoked" in command(OWNER, "show", *at, "--key", key_id)[1]
    code, told = slash("other")
    assert (code, "nothing left to take" in told) == (2, True)


def vars_of(statement: object) -> dict[str, object]:
    return {name: getattr(statement, name) for name in statement.__slots__}  # type: ignore[attr-defined]


def test_receipts_of_two_faces_of_a_log_are_a_fork(place: Place, command: Command, tmp_path: Path) -> None:
    at = ["--registry-address", place.registry]
    assert command(OPERATOR, "bond", place.signer.key_id.hex(), "--ether", "2", *at)[0] == 0
    name = ChainName(place.chain.chain_id, place.contract, place.operator.address, robot_id("robot-7"))
    files = []
    for face in (1, 2):
        entries = [Entry(name, 0, 5, b"\0" * 32, NO_HEAD), Entry(name, 0, 9, bytes([face]) * 32, NO_HEAD)]
        receipts = [Receipt(entry, place.signer.sign(entry.message()), bytes(32)) for entry in entries]
        files.append(tmp_path / f"{face}.json")
        write_file(files[-1], "robot-7", receipts)
    code, told = command(STRANGER, "slash", "--first", str(files[0]), "--second", str(files[0]), *at)
    assert (code, "no two of these" in told) == (2, True)
    code, told = command(STRANGER, "slash", "--first", str(files[0]), "--second", str(files[1]), *at)
    assert (code, f"{10**18} wei" in told) == (0, True)


def test_models_roles_and_ownership(bare: Place, command: Command, tmp_path: Path) -> None:
    told = command(OWNER, "deploy")[1]
    nodes, _, models = re.findall(r"^\w+ +(0x[0-9a-f]{40})", told, re.MULTILINE)
    model = tmp_path / "model.onnx"
    model.write_bytes(b"weights")
    certify = ["certify-model", str(model), "--name", "line", "--version", "1.0", "--models-address", models]
    code, told = command(STRANGER, *certify)
    assert (code, "not a certifier" in told) == (2, True)
    assert command(OWNER, "role", "certifier", bare.stranger.address, "--models-address", models)[0] == 0
    assert command(STRANGER, *certify, "--stage", "control", "--stage", "planning", "--parameters", "22" * 32)[0] == 0
    out = tmp_path / "chain.json"
    both = ["--registry-address", nodes, "--models-address", models]
    code, told = command(OWNER, "snapshot", str(out), *both, "--block", "latest", "--max-age-hours", "48")
    assert code == 0
    registry = Registry.open(out)
    assert registry.fingerprint in told
    assert registry.model("line", "1.0").stages == ("control", "planning")  # type: ignore[union-attr]
    digest = registry.model("line", "1.0").digest.hex()  # type: ignore[union-attr]
    pin = re.findall(r"^contracts +(sha256:[0-9a-f]{64})$", told, re.MULTILINE)[0]
    assert command("", "verify", str(out), "--chain", bare.node.url, "--contracts", pin, rpc="")[0] == 0
    assert command("", "verify", str(out), "--chain", bare.node.url, rpc="")[0] == 2, "whose contracts, nobody said"
    assert command("", "verify", str(out), rpc="")[0] == 2
    out.write_bytes(out.read_bytes().replace(b'"control,planning"', b'"control,braking"'))
    code, told = command("", "verify", str(out), "--chain", bare.node.url, rpc="")
    assert (code, "registry_proof_invalid" in told) == (1, True)
    revoke = ["revoke-model", f"sha256:{digest}", "--reason", "unsafe", "--models-address", models]
    assert command(STRANGER, *revoke)[0] == 0
    assert command(OWNER, "role", "aggregator", bare.stranger.address, "--registry-address", nodes)[0] == 0
    assert command(OWNER, "role", "aggregator", bare.stranger.address, "--registry-address", nodes, "--remove")[0] == 0
    assert command(OWNER, "owner", "--offer", bare.operator.address, "--registry-address", nodes)[0] == 0
    assert command(OPERATOR, "owner", "--registry-address", nodes)[0] == 0
    assert bare.operator.address in command(OWNER, "show", "--registry-address", nodes)[1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["bond", "11" * 32, "--ether", "nan", "--registry-address", "0x" + "1" * 40], "--ether"),
        (["bond", "11" * 32, "--ether", "-1", "--registry-address", "0x" + "1" * 40], "--ether"),
        (["bond", "11", "--ether", "1", "--registry-address", "0x" + "1" * 40], "no key id"),
        (["bond", "11" * 32, "--ether", "1", "--registry-address", "0x1"], "not an address"),
        (["unbond", "11" * 32, "--registry-address", "0x" + "1" * 40], "not that of NodeRegistry"),
        (["slash", "--first", "a", "--second", "b", "--registry-address", "0x" + "1" * 40], "cannot read"),
        (["snapshot", "x", "--max-age-hours", "0"], "--max-age-hours"),
        (["snapshot", "x", "--block", "soon"], "--block"),
        (["snapshot", "x"], "no registry is named"),
        (["show"], "name a contract"),
        (["role", "certifier", "0x" + "1" * 40], "--models-address is missing"),
        (["owner"], "name one of"),
    ],
    ids=lambda value: " ".join(value[:4])[:40] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(command: Command, arguments: list[str], why: str) -> None:
    code, told = command(OPERATOR, *arguments)
    assert code == 2
    assert why in told
    assert len(told.splitlines()) == 1
