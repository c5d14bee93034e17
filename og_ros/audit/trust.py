"""Opens the registry that an audit believes, and checks what proves a snapshot of registries on a chain."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from og_ros.audit.policy import Policy
from og_ros.errors import ConfigError, RegistryError
from og_ros.registry import Registry
from og_ros.registry import snapshot as snapshot_file


def open_registry(
    directory: Path,
    policy: Policy,
    *,
    minimum_number: int = 0,
    snapshot: Path | None = None,
    chain: str | None = None,
    final_blocks: Collection[bytes] = (),
    contracts: str | None = None,
) -> Registry:
    """Open a registry under a policy's pin, a snapshot beside it if one is named; raises RegistryError.

    One whose root is not the pinned one is opened all the same, not pinned: the audit then says so, as a violation.
    A snapshot's proofs are checked; `chain` is the URL of a node that vouches for its block, `final_blocks` are hashes
    of blocks that the auditor knows to be final, `contracts` is the pin of the contracts. A snapshot alone may be
    pinned by the policy, too: its file, or its contracts. What does not hold is among the registry's remarks.
    """
    try:
        registry = Registry.open(
            directory, pinned_root=policy.registry_root, minimum_number=minimum_number, snapshot=snapshot
        )
    except RegistryError:
        if policy.registry_root is None:
            raise
        registry = Registry.open(directory, minimum_number=minimum_number, snapshot=snapshot)
    if registry.snapshot is None:
        return registry
    data = snapshot_file.read_file(registry.snapshot)
    if sha256(data).digest() != registry.snapshot_digest:
        raise RegistryError(f"{registry.snapshot} changed while it was read: start again")
    found = snapshot_file.decode(data, str(registry.snapshot))
    if snapshot is None:
        own = snapshot_file.contracts_pin(found)
        registry = replace(registry, pinned=registry.pinned or policy.registry_root == own)
        contracts = contracts or (own if registry.pinned else None)
    return replace(registry, remarks=(*registry.remarks, *_proven(found, chain, final_blocks, contracts)))


def _proven(
    found: snapshot_file.Snapshot, chain: str | None, final_blocks: Collection[bytes], pinned: str | None
) -> list[tuple[str, str]]:
    try:
        from og_ros.settlement import snapshots
        from og_ros.settlement.rpc import Rpc
    except ConfigError as error:
        return [("registry_unproven", f"the snapshot's proofs were not checked: {error}")]
    if chain is None:
        return snapshots.check(found, None, final_blocks, pinned)
    with Rpc(chain) as rpc:
        return snapshots.check(found, rpc, final_blocks, pinned)
