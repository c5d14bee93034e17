"""og-ros log cosign, witness and receipt: as a user calls them, with their exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from witnesses import Served, witness_key, witness_name, witness_secret

from og_ros.attest import Algorithm, SoftwareSigner, keys
from og_ros.cli.main import main
from og_ros.log import Ledger, VerifierKey
from og_ros.log.cosigned import CosignedCheckpoints, sized_files
from og_ros.log.receipt import verify_receipt
from og_ros.log.witness_client import Endpoint, WitnessAhead
from og_ros.log.witness_protocol import AddCheckpoint
from og_ros.registry import RegistryWriter

ORIGIN = "example.com/robot-7"


@pytest.fixture
def log_key(tmp_path: Path) -> Path:
    return key_file(tmp_path / "log.pem", keys.generate(Algorithm.EDDSA))


def key_file(path: Path, key: keys.PrivateKey) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path


@pytest.fixture
def ledger(tmp_path: Path, log_key: Path) -> Iterator[Ledger]:
    with Ledger.create(tmp_path / "ledger", ORIGIN, keys.load_private(log_key)) as made:  # type: ignore[arg-type]
        made.append([b"leaf %d" % number for number in range(9)])
        made.checkpoint()
        yield made


def test_cosign_once_by_policy(ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    served = Served(1, [ledger.key], tmp_path / "w1")
    policy = tmp_path / "policy"
    lines = [f"witness w1 {witness_key(1).format()} {served.server.url}"]
    lines += [f"witness w2 {witness_key(2).format()} http://127.0.0.1:9", f"witness w3 {witness_key(3).format()}"]
    command = ["log", "cosign", str(ledger.directory), "--once", "--policy", str(policy)]
    for quorum, code, told in (("any", 0, "met"), ("2", 2, "not met")):
        policy.write_text("\n".join([*lines, f"group g {quorum} w1 w2 w3", "quorum g"]))
        assert main(command) == code
        assert f": {told}\n" in capsys.readouterr().err
    direct = ["--witness", witness_key(1).format(), served.server.url]
    assert main(["log", "cosign", str(ledger.directory), "--once", *direct]) == 0
    fork = tmp_path / "fork"
    with Ledger.create(fork, ORIGIN, ledger._signer.classical) as other:  # type: ignore[arg-type]
        other.append([b"another past"] * 9)
        other.checkpoint()
    assert main(["log", "cosign", str(fork), "--once", *direct]) == 1
    assert "forked" in capsys.readouterr().err
    served.close()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param([], "name a witness", id="nobody"),
        pytest.param(["--witness", "nonsense", "http://w"], "is not name+id+key", id="no key"),
        pytest.param(["--witness", witness_key(1).format(), "w.example"], "is no URL", id="no URL"),
        pytest.param(["--policy", "none"], "cannot read the witness policy", id="no policy"),
        pytest.param(["--tsa-root", "none"], "name a witness", id="root alone"),
        pytest.param(["--tsa", "http://t", "--tsa-root", "none"], "cannot read the time stamp roots", id="no root"),
        pytest.param(["--every", "0", "--tsa", "http://t"], "--every is 0", id="no time"),
        pytest.param(["--every", "nan", "--tsa", "http://t"], "--every is nan", id="not a number"),
    ],
)
def test_cosign_says_what_is_wrong(
    ledger: Ledger, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["log", "cosign", str(ledger.directory), "--once", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_witness_of_the_logs_of_a_registry_serves_until_it_is_stopped(ledger: Ledger, tmp_path: Path) -> None:
    key = key_file(tmp_path / "w.pem", witness_secret(1))
    command = [sys.executable, "-m", "og_ros.cli.main", "log", "witness", "--name", witness_name(1), "--key", key]
    with RegistryWriter.create(tmp_path / "registry", SoftwareSigner(keys.generate()), "fleet") as writer:
        public = Ed25519PublicKey.from_public_bytes(ledger.key.public_key)
        writer.certify_key(public, role="log", origin=ORIGIN)
        root = writer.registry.fingerprint
    command += ["--state", tmp_path / "state", "--registry", tmp_path / "registry", "--root", root]
    command += ["--port", "0", "--prefix", "/w1"]
    newest = ledger.latest_checkpoint()
    assert newest is not None
    first = AddCheckpoint(0, (), newest.note)
    with started(command) as (process, endpoint):
        assert endpoint.cosign(first)
        process.kill()
    with started(command) as (process, endpoint):
        with pytest.raises(WitnessAhead) as ahead:
            endpoint.cosign(first)
        assert ahead.value.size == 9, "what it answered was on the disk before"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@contextlib.contextmanager
def started(command: list[object]) -> Iterator[tuple[subprocess.Popen[str], Endpoint]]:
    """A witness in a process of its own, once it says where it serves."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"witness {witness_key(1).format()}\n"
        served = process.stdout.readline()
        assert served.startswith(f"cosigning for {ORIGIN} on http://127.0.0.1:")
        yield process, Endpoint(witness_key(1), served.rpartition(" ")[2].strip())
    finally:
        process.kill()
        process.wait()


def test_cosign_waits_for_a_ledger_and_runs_until_it_is_stopped(
    tmp_path: Path, log_key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = keys.load_private(log_key)
    assert isinstance(key, Ed25519PrivateKey)
    log = VerifierKey.of(ORIGIN, key)
    served = Served(1, [log], tmp_path / "w1")

    def later() -> None:
        time.sleep(0.3)  # long enough to find that there is none
        with Ledger.create(tmp_path / "ledger", ORIGIN, key) as made:
            for size in (1, 2):
                made.append([b"leaf"])
                made.checkpoint()
                deadline = time.monotonic() + 30
                while CosignedCheckpoints(made.directory).at(size) is None and time.monotonic() < deadline:
                    time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    helper = threading.Thread(target=later)
    helper.start()
    command = ["log", "cosign", str(tmp_path / "ledger"), "--every", "0.1"]
    assert main([*command, "--witness", witness_key(1).format(), served.server.url]) == 0
    helper.join()
    served.close()
    assert "there is no ledger here; waiting" in capsys.readouterr().err
    assert [size for size, _ in sized_files(tmp_path / "ledger" / "cosigned")] == [1, 2]


def test_a_witness_says_what_is_wrong(
    ledger: Ledger, tmp_path: Path, log_key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = key_file(tmp_path / "w.pem", witness_secret(1))
    p256 = key_file(tmp_path / "p.pem", keys.generate())
    command = ["log", "witness", "--name", "w", "--state", str(tmp_path / "state")]
    for more, told in (
        (["--key", str(p256), "--log", ledger.vkey], "is not an Ed25519 key"),
        (["--key", str(good)], "no log to cosign for"),
        (["--key", str(good), "--root", "sha256:00"], "--root without --registry"),
        (["--key", str(good), "--log", "x"], "is not name+id+key"),
        (["--key", str(log_key), "--log", ledger.vkey], "nobody witnesses himself"),
        (["--key", str(good), "--log", ledger.vkey, "--port", "70000"], "--port is 70000"),
        (["--key", str(good), "--log", ledger.vkey, "--name", "a b"], "must not contain a space"),
    ):
        assert main([*command, *more]) == 2
        assert told in capsys.readouterr().err


def test_a_receipt_is_written(ledger: Ledger, tmp_path: Path, log_key: Path) -> None:
    out = tmp_path / "leaf.receipt"
    command = ["log", "receipt", str(ledger.directory), "4", "--signing-key", str(log_key), "--out", str(out)]
    assert main(command) == 0
    assert verify_receipt(b"leaf 4", out.read_bytes(), VerifierKey.parse(ledger.vkey)) == ledger.root()
    command[3] = "9"
    assert main(command) == 2
