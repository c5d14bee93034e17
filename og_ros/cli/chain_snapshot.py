"""The actions of og-ros chain on snapshots of its registries: snapshot takes one, verify checks one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from og_ros.cli.settlement_evidence import final_blocks
from og_ros.errors import ConfigError, RegistryError

if TYPE_CHECKING:
    from og_ros.settlement.rpc import Rpc


def add_actions(actions: Any) -> None:
    """Add the actions; neither sends a transaction."""
    taking = actions.add_parser("snapshot", help="write what the registries certify to a file, for robots and auditors")
    taking.add_argument("out", type=Path, metavar="FILE", help="the snapshot; an older one is replaced")
    taking.add_argument("--rpc", required=True, metavar="URL", help="a node's JSON-RPC")
    taking.add_argument("--registry-address", metavar="0x…", help="address of NodeRegistry")
    taking.add_argument("--models-address", metavar="0x…", help="address of ModelRegistry")
    taking.add_argument(
        "--max-age-hours", type=float, default=24.0, metavar="H",
        help="for what is later than so many hours after its block it may not be used (24)",
    )  # fmt: skip
    taking.add_argument(
        "--block", default="finalized", metavar="N",
        help="the state after this block: a number, finalized (the default), safe or latest",
    )  # fmt: skip
    taking.add_argument("--no-proofs", action="store_true", help="for a node that gives none (eth_getProof)")
    verify = actions.add_parser("verify", help="check a snapshot's proofs, and with a node its block; exit 0, 1 or 2")
    verify.add_argument("file", type=Path, metavar="FILE", help="the snapshot")
    verify.add_argument("--chain", metavar="URL", help="a node that you trust, to ask about the snapshot's block")
    verify.add_argument(
        "--final-block", metavar="0xHASH", action="append", default=[],
        help="hash of a block that you know to be final; may be given several times",
    )  # fmt: skip
    verify.add_argument("--contracts", metavar="sha256:HEX", help="the contracts that it must be of")


def take(rpc: Rpc, args: argparse.Namespace) -> int:
    """Take a snapshot and write it."""
    from og_ros.registry import Registry
    from og_ros.registry.snapshot import contracts_pin, encode
    from og_ros.settlement import snapshots

    if not 0 < args.max_age_hours <= 87_600:
        raise ConfigError(f"--max-age-hours is {args.max_age_hours:g}; it must be above 0 and at most 87600")
    block = _block(args.block)
    addresses = snapshots.addresses_of(args.registry_address, args.models_address)
    age_s = max(1, int(args.max_age_hours * 3600))
    taken = snapshots.take(rpc, addresses, age_s, block=block, proofs=not args.no_proofs)
    partial = args.out.with_name(f"{args.out.name}.new")
    try:
        partial.write_bytes(encode(taken))
        partial.replace(args.out)
    except OSError as error:
        raise RegistryError(f"cannot write {args.out}: {error.strerror}") from error
    registry = Registry.open(args.out)
    print(f"{args.out}: {len(registry.keys)} keys and {len(registry.models)} models at block {taken.number}")
    print(f"block      0x{taken.block_hash.hex()}\ncontracts  {contracts_pin(taken)}")
    print(f"root       {registry.fingerprint}")
    for _, text in registry.remarks:
        print(text, file=sys.stderr)
    return 0


def verify(args: argparse.Namespace) -> int:
    """Check a snapshot: 0 it holds, 1 it does not, 2 something is not shown."""
    from og_ros.registry.snapshot import decode, read_file
    from og_ros.settlement import snapshots
    from og_ros.settlement.rpc import Rpc

    snapshot = decode(read_file(args.file), str(args.file))
    blocks = final_blocks(args)
    if args.chain:
        with Rpc(args.chain) as rpc:
            found = snapshots.check(snapshot, rpc, blocks, args.contracts)
    else:
        found = snapshots.check(snapshot, None, blocks, args.contracts)
    for kind, text in found:
        print(f"{kind}: {text}")
    if any(kind == snapshots.INVALID for kind, _ in found):
        return 1
    if found:
        return 2
    print(f"holds: {', '.join(one.name for one in snapshot.contracts)} at block {snapshot.number}")
    return 0


def _block(text: str) -> int | str:
    if text in ("finalized", "safe", "latest"):
        return text
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise ConfigError(f"--block is {text[:40]!a}; it must be a number, finalized, safe or latest")
