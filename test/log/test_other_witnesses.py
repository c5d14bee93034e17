"""Programs that others wrote: litewitness cosigns our log, Sigsum's log takes our witness's word, spicy our proofs."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from log_tools import log_tool
from witnesses import Served, witness_key

from og_ros.log import Ledger, VerifierKey, open_checkpoint, parse_note
from og_ros.log.cosignature import WitnessKey, cosignatures
from og_ros.log.cosigned import CosignedCheckpoints
from og_ros.log.cosigner import Cosigner
from og_ros.log.witness_client import Endpoint
from og_ros.log.witness_state import origin_id

ORIGIN = "example.com/robot-7"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def litewitness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Filippo Valsorda's witness, whose key is in an ssh-agent; it knows our log."""
    program, control = log_tool("litewitness"), log_tool("witnessctl")
    if not shutil.which("ssh-agent"):
        pytest.skip("litewitness needs an ssh-agent")
    home = tmp_path_factory.mktemp("lite")  # a short path: a socket's has at most 107 characters
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", "agent.sock"], cwd=home, stdout=subprocess.DEVNULL)
    served = None
    try:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"], cwd=home, check=True)
        wait_until((home / "agent.sock").exists, "the agent")
        environment = {**os.environ, "SSH_AUTH_SOCK": str(home / "agent.sock")}
        subprocess.run(["ssh-add", "-q", "key"], cwd=home, env=environment, check=True)
        told = subprocess.run(["ssh-keygen", "-lf", "key.pub"], cwd=home, check=True, capture_output=True, text=True)
        log = VerifierKey.of(ORIGIN, KEY)
        for more in (["add-log"], ["add-key", "-key", log.format()]):
            command = [control, more[0], "-db", "lite.db", "-origin", ORIGIN, *more[1:]]
            subprocess.run(command, cwd=home, check=True, capture_output=True)
        port = free_port()
        command = [program, "-db", "lite.db", "-name", "lite.example/w", "-ssh-agent", "agent.sock"]
        command += ["-key", told.stdout.split()[1], "-listen", f"127.0.0.1:{port}"]
        served = subprocess.Popen(command, cwd=home, stderr=subprocess.DEVNULL)
        wait_until(lambda: listens(port), "litewitness")
        public = load_ssh_public_key((home / "key.pub").read_bytes())
        assert isinstance(public, Ed25519PublicKey)
        yield Endpoint(WitnessKey.of("lite.example/w", public), f"http://127.0.0.1:{port}")
    finally:
        for process in (served, agent):
            if process is not None:
                process.terminate()
                process.wait()


def test_litewitness_cosigns_our_log_and_refuses_a_fork_and_a_rewind(litewitness: Endpoint, tmp_path: Path) -> None:
    leaves = [b"leaf %d" % number for number in range(330)]
    with Ledger.create(tmp_path / "ledger", ORIGIN, KEY) as ledger:
        one = Cosigner(ledger.directory, [litewitness], lambda line: None)
        for part in (leaves[:300], leaves[300:]):
            ledger.append(part)
            ledger.checkpoint()
            one.step()
            assert not one.missing()
        note = CosignedCheckpoints(ledger.directory).at(330)
        assert note is not None
        good, bad = cosignatures(parse_note(note), [litewitness.key])
        assert len(good) == 1
        assert not bad
        again = Cosigner(ledger.directory, [litewitness], lambda line: None)
        again._courses[0].size = 17  # a size that it has not now: it answers 409 with the one that it has
        ledger.append([b"one more"])
        ledger.checkpoint()
        again.step()
        assert not again.missing()
    for name, content, told in (
        ("forked", [b"another past"] * 400, "the log was forked"),
        ("forked-there", [b"another past"] * 331, "the log was forked"),
        ("rewound", leaves[:200], "the log was rewound"),
    ):
        with Ledger.create(tmp_path / name, ORIGIN, KEY) as ledger:
            ledger.append(content)
            ledger.checkpoint()
            one = Cosigner(ledger.directory, [litewitness], lambda line: None)
            one.step()
            assert one.refused
            assert told in one.missing()[0]


def test_a_sigsum_log_takes_our_witness_and_its_proof_verifies_elsewhere(tmp_path: Path) -> None:
    """Sigsum's log asks our witness, and Sigsum's verifier finds its quorum in our cosignature."""
    program, key, submit, verify = (
        log_tool(name) for name in ("sigsum-log-primary", "sigsum-key", "sigsum-submit", "sigsum-verify")
    )
    for name in ("log", "submitter"):
        subprocess.run([key, "generate", "-o", name], cwd=tmp_path, check=True)
    told = subprocess.run([key, "to-hex", "-k", "log.pub"], cwd=tmp_path, check=True, capture_output=True, text=True)
    public = bytes.fromhex(told.stdout.strip())
    log = VerifierKey(f"sigsum.org/v1/tree/{hashlib.sha256(public).hexdigest()}", public)
    served = Served(1, [log], tmp_path / "state")
    external, internal = free_port(), free_port()
    # This release of Sigsum has keys in hex where C2SP's policy has vkeys.
    (tmp_path / "policy").write_text(
        f"log {public.hex()} http://127.0.0.1:{external}/log\n"
        f"witness W1 {witness_key(1).public_key.hex()} {served.server.url}\nquorum W1\n"
    )
    (tmp_path / "sth.startup").write_text("startup=empty\n")
    command = [program, "--backend", "ephemeral", "--key-file", "log", "--policy-file", "policy", "--sth-file", "sth"]
    command += ["--external-endpoint", f"127.0.0.1:{external}", "--internal-endpoint", f"127.0.0.1:{internal}"]
    # Debian builds it with a go.mod from before Go 1.22, and then its routes (POST /add-leaf) match nothing.
    environment = {**os.environ, "GODEBUG": "httpmuxgo121=0"}
    command += ["--interval", "500ms", "--url-prefix", "log"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(external), "the log")
        (tmp_path / "message").write_bytes(b"what the robot decided")
        subprocess.run(
            [submit, "-k", "submitter", "-p", "policy", "message"], cwd=tmp_path, check=True, capture_output=True,
            timeout=60,
        )  # fmt: skip
        check = [verify, "-k", "submitter.pub", "-p", "policy", "message.proof"]
        assert subprocess.run(check, cwd=tmp_path, input=b"what the robot decided", capture_output=True).returncode == 0
        assert subprocess.run(check, cwd=tmp_path, input=b"something else", capture_output=True).returncode != 0
        other = (tmp_path / "policy").read_text().replace(public_hex(1), public_hex(2))
        (tmp_path / "policy").write_text(other)  # a verifier who believes another witness
        assert subprocess.run(check, cwd=tmp_path, input=b"what the robot decided", capture_output=True).returncode != 0
        note = served.witness.latest(origin_id(log.name))
        assert note is not None
        assert open_checkpoint(note, log).size == 1
    finally:
        process.terminate()
        process.wait()
        served.close()


def public_hex(number: int) -> str:
    return witness_key(number).public_key.hex()


def test_spicy_takes_a_proof_whose_checkpoint_is_cosigned(tmp_path: Path) -> None:
    """The cosigned note in a proof is the log's own to a tool that knows of no witness."""
    spicy = log_tool("spicy-torchwood")
    served = Served(1, [VerifierKey.of(ORIGIN, KEY)], tmp_path / "state")
    with Ledger.create(tmp_path / "ledger", ORIGIN, KEY) as ledger:
        ledger.append([b"leaf %d" % number for number in range(50)])
        ledger.checkpoint()
        Cosigner(ledger.directory, [served.endpoint], lambda line: None).step()
        note = CosignedCheckpoints(ledger.directory).at(50)
        assert note is not None
        ledger.attach(note)
        proof = ledger.export_proof(7)
        assert proof.endswith(note)
        served.close()
        (tmp_path / "leaf.spicy").write_text(proof.partition("\n")[2])  # release 0.9.0 has no header line
        for content, code in ((b"leaf 7", 0), (b"leaf 8", 1)):
            (tmp_path / "leaf").write_bytes(content)
            done = subprocess.run([spicy, "-verify", ledger.vkey, tmp_path / "leaf"], capture_output=True)
            assert bool(done.returncode) is bool(code)
