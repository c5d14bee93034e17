"""The contracts: Vyper sources beside what they compile to, checked against each other by a test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

DECISION_CHAIN = "DecisionChain"
NODE_REGISTRY = "NodeRegistry"
MODEL_REGISTRY = "ModelRegistry"


@dataclass(frozen=True)
class Artefact:
    """A compiled contract: compiler and EVM version, SHA-256 of the source, storage slots by variable, ABI, bytecode.

    `bytecode` deploys it. The code on a chain is `runtime` followed by the contract's immutables, 32 bytes each.
    """

    contract: str
    compiler: str
    evm_version: str
    source_sha256: str
    bytecode_sha256: str
    storage: dict[str, int]
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes
    runtime: bytes


@cache
def load(name: str) -> Artefact:
    """Return a contract's artefact, which belongs to the package."""
    tree = json.loads(resources.files(__name__).joinpath(f"{name}.json").read_text())
    for field in ("bytecode", "runtime"):
        tree[field] = bytes.fromhex(tree[field].removeprefix("0x"))
    return Artefact(**{**tree, "abi": tuple(tree["abi"])})
