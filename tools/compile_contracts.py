"""Compiles the settlement contracts with Vyper: compile_contracts.py VYPER [--check] writes, or compares, NAME.json.

An artefact beside each source holds what a client needs (ABI, bytecode) and what a reader needs to compile it again
and get the same bytes (compiler, EVM version, SHA-256 of the source). With --check nothing is written: exit code 1
where an artefact is not what its source compiles to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "og_ros" / "settlement" / "contracts"
CONTRACTS = ("NodeRegistry", "DecisionChain")
TESTS_FOLDER = ROOT / "test" / "settlement" / "contracts"
TEST_CONTRACTS = ("TestToken", "TestMulticall", "TestRelay")
EVM_VERSION = "shanghai"


def compiled(vyper: Path, name: str, folder: Path = FOLDER) -> str:
    """Return the artefact of one contract as JSON text."""
    source = folder / f"{name}.vy"

    # A relative path: the compiler's output must not depend on where the checkout lies.
    command = [vyper, "-f", "bytecode,bytecode_runtime,abi", source.name]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    bytecode, runtime, abi = done.stdout.strip().splitlines()
    artefact = {
        "contract": name,
        "compiler": f"vyper {version_of(vyper)}",
        "evm_version": EVM_VERSION,
        "source_sha256": sha256(source.read_bytes()).hexdigest(),
        "bytecode_sha256": sha256(bytes.fromhex(bytecode.removeprefix("0x"))).hexdigest(),
        "abi": json.loads(abi),
        "bytecode": bytecode,
        "runtime": runtime,
    }
    return json.dumps(artefact, indent=1) + "\n"


def version_of(vyper: Path) -> str:
    """Return what the compiler calls itself."""
    return subprocess.run([vyper, "--version"], check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    vyper = Path(sys.argv[1]).absolute()
    code = 0
    everything = [(FOLDER, name) for name in CONTRACTS] + [(TESTS_FOLDER, name) for name in TEST_CONTRACTS]
    for folder, name in everything:
        target = folder / f"{name}.json"
        text = compiled(vyper, name, folder)
        if "--check" not in sys.argv[2:]:
            target.write_text(text)
        elif not target.is_file() or target.read_text() != text:
            print(f"{target.name} is not what {name}.vy compiles to", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
