"""Compiles the settlement contracts with Vyper: compile_contracts.py VYPER [--check] writes, or compares, NAME.json.

An artefact beside each source holds what a client needs (ABI, bytecode, storage slots) and what a reader needs to
compile it again and get the same bytes (compiler, EVM version, SHA-256 of the source). With --check nothing is written:
exit code 1 where an artefact is not what its source compiles to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    ROOT / "og_ros" / "settlement" / "contracts": ("NodeRegistry", "DecisionChain", "ModelRegistry"),
    ROOT / "test" / "settlement" / "contracts": ("TwoOfThree", "Greedy", "TestToken", "TestMulticall", "TestRelay"),
}
EVM_VERSION = "shanghai"


def compiled(vyper: Path, version: str, folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return the artefacts of a folder's contracts as JSON text, by name."""
    # Relative paths: the compiler's output must not depend on where the checkout lies.
    command = [vyper, "-f", "bytecode,bytecode_runtime,abi,layout", *(f"{name}.vy" for name in names)]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    return {name: artefact(folder, name, version, *lines[4 * at : 4 * at + 4]) for at, name in enumerate(names)}


def artefact(folder: Path, name: str, version: str, bytecode: str, runtime: str, abi: str, layout: str) -> str:
    """Return the artefact of one contract as JSON text."""
    tree = {
        "contract": name,
        "compiler": f"vyper {version}",
        "evm_version": EVM_VERSION,
        "source_sha256": sha256((folder / f"{name}.vy").read_bytes()).hexdigest(),
        "bytecode_sha256": sha256(bytes.fromhex(bytecode.removeprefix("0x"))).hexdigest(),
        "storage": {variable: slot["slot"] for variable, slot in json.loads(layout).get("storage_layout", {}).items()},
        "abi": json.loads(abi),
        "bytecode": bytecode,
        "runtime": runtime,
    }
    return json.dumps(tree, indent=1) + "\n"


def version_of(vyper: Path) -> str:
    """Return what the compiler calls itself."""
    return subprocess.run([vyper, "--version"], check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    vyper = Path(sys.argv[1]).absolute()
    version, code = version_of(vyper), 0
    for folder, names in FOLDERS.items():
        for name, text in compiled(vyper, version, folder, names).items():
            target = folder / f"{name}.json"
            if "--check" not in sys.argv[2:]:
                target.write_text(text)
            elif not target.is_file() or target.read_text() != text:
                print(f"{target.name} is not what {name}.vy compiles to", file=sys.stderr)
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
