"""The demo's chain: a local Ethereum node (anvil), both contracts, and a process that settles the ledger there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.attest import SoftwareSigner, cose, keys
from og_ros.audit.settled import SettlementEvidence, open_evidence
from og_ros.errors import ConfigError, SettlementError
from og_ros.log import Ledger
from og_ros.nodes.demo import DemoFiles
from og_ros.registry import RegistryWriter

ROBOT: Final = "demo"
FINALITY: Final = 3
_LISTENING: Final = re.compile(r"Listening on (127\.0\.0\.1:\d+)")
_WAIT_S: Final = 30.0
# Of anvil's own test mnemonic: everybody knows it, and it is worth nothing anywhere else.
_ACCOUNT: Final = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
_SECTION: Final = """
settlement:
  state: settlement
  every_seconds: 3
  backends:
    anvil: {{type: evm, rpc: "{url}", contract: "{contract}", key: keys/settlement.pem, finality: {finality}}}
"""


@dataclass(frozen=True)
class LastDecision:
    """Where the last command is: its leaf, and the checkpoint's transaction and block."""

    leaf: int
    transaction: str
    block: int
    block_hash: str


def find_anvil() -> Path:
    """Return the anvil binary: $ANVIL, the PATH, or what `make chain-deps` fetched; raises ConfigError."""
    fetched = Path(__file__).resolve().parents[2] / ".cache" / "chain" / "anvil"
    for name in (os.environ.get("ANVIL"), shutil.which("anvil"), str(fetched)):
        if name and Path(name).is_file():
            return Path(name)
    raise ConfigError("--settle evm needs anvil, a local Ethereum node: `make chain-deps`, or put it on the PATH")


class DemoChain:
    """A running node and settler; made by `start`, ended by `close`."""

    def __init__(self, files: DemoFiles) -> None:
        self.files = files
        self._processes: list[subprocess.Popen[bytes]] = []
        self.url = ""

    @classmethod
    def start(cls, files: DemoFiles) -> DemoChain:
        """Start the node, put the contracts there, register the robot's settlement key, and start to settle."""
        chain = cls(files)
        try:
            chain._start()
        except BaseException:
            chain.close()
            raise
        return chain

    def finish(self) -> SettlementEvidence:
        """Settle the rest, and return the receipts as evidence to hold against the node."""
        settler = self._processes[-1]
        settler.send_signal(signal.SIGTERM)
        if settler.wait(timeout=120):
            raise SettlementError(f"not every checkpoint became final; see {self.files.logs / 'settle.txt'}")
        return open_evidence(self.files.directory / "settlement" / "receipts.json", self.url, (), FINALITY)

    def last_decision(self, evidence: SettlementEvidence) -> LastDecision:
        """Return where the last command's attestation settled."""
        from og_ros.settlement import trie

        with Ledger.open(self.files.ledger) as ledger:
            index = next(
                index for index in reversed(range(ledger.size))
                if cose.decode(ledger.leaf(index).data).statement.outputs[0].topic == "/wheel_command"
            )  # fmt: skip
        receipt = next(one for one in evidence.receipts if one.entry.size > index)
        assert receipt.inclusion is not None
        block = trie.read_header(receipt.inclusion.header)[0]
        last = evidence.receipts[-1].inclusion
        assert last is not None
        return LastDecision(index, f"0x{receipt.transaction.hex()}", block, f"0x{last.block_hash.hex()}")

    def close(self) -> None:
        """End what runs."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=30)

    def _start(self) -> None:
        from og_ros.settlement import deploy
        from og_ros.settlement.account import KEY_VARIABLE, Account
        from og_ros.settlement.rpc import Rpc

        files = self.files
        node = [str(find_anvil()), "--hardfork", "osaka", "--block-time", "1", "--port", "0"]
        files.logs.mkdir(parents=True, exist_ok=True)
        self._run(node, files.logs / "anvil.txt")
        self.url = f"http://{self._listening(files.logs / 'anvil.txt')}"
        account = Account(bytes.fromhex(_ACCOUNT))
        with Rpc(self.url) as rpc:
            registry, contract = deploy.deploy(rpc, account)
            key = keys.generate()
            keys.save_private(key, files.keys / "settlement.pem")
            signer = SoftwareSigner(key)
            deploy.propose(rpc, account, registry, ROBOT, signer)
            deploy.approve(rpc, account, registry, signer.key_id, int(time.time()) + 86_400 * 365)
        with RegistryWriter.open(files.registry, SoftwareSigner.load(files.keys / "authority.pem")) as writer:
            writer.certify_key(signer.public_key, role="settlement", robot=ROBOT)
        section = _SECTION.format(url=self.url, contract=contract, finality=FINALITY)
        files.pipeline.write_text(files.pipeline.read_text().rstrip() + "\n" + section)
        verb = ["settle", "run", str(files.ledger), "--config", str(files.pipeline), "--drain", "60"]
        command = [sys.executable, "-m", "og_ros.cli.main", *verb]
        self._run(command, files.logs / "settle.txt", {**os.environ, KEY_VARIABLE: _ACCOUNT})

    def _run(self, command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        with open(log, "wb") as output:
            self._processes.append(
                subprocess.Popen(
                    command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment,
                    start_new_session=True,
                )
            )  # fmt: skip

    def _listening(self, log: Path) -> str:
        end = time.monotonic() + _WAIT_S
        while time.monotonic() < end and self._processes[0].poll() is None:
            if found := _LISTENING.search(log.read_text(errors="replace")):
                return found[1]
            time.sleep(0.05)
        raise ConfigError(f"anvil does not listen; its words are in {log}")
