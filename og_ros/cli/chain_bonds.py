"""The actions of og-ros chain on bonds and forks: bond, unbond, withdraw, heartbeat, slash."""

from __future__ import annotations

import argparse
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.cli.chain_arguments import key_id_of, registry_address
from og_ros.errors import ConfigError, SettlementError

if TYPE_CHECKING:
    from og_ros.settlement.account import Account
    from og_ros.settlement.forks import Fork
    from og_ros.settlement.rpc import Rpc

_WEI: Final = 10**18


def add_actions(actions: Any) -> list[argparse.ArgumentParser]:
    """Add the actions; each sends a transaction to NodeRegistry."""
    bond = actions.add_parser("bond", help="bond money behind a key; a proven fork of the key takes it")
    bond.add_argument("--ether", required=True, metavar="E", help="how much, in ether (or the chain's own coin)")
    unbond = actions.add_parser("unbond", help="give a key up, and start the 14 days after which its bond comes back")
    withdraw = actions.add_parser("withdraw", help="take an unbonded bond back")
    withdraw.add_argument("--to", metavar="0x…", help="where it goes (default: the account)")
    heartbeat = actions.add_parser("heartbeat", help="say that a key's robot is alive")
    for action in (bond, unbond, withdraw, heartbeat):
        action.add_argument("key_id", metavar="KEYID", help="the key id, 64 hex digits (og-ros keys show)")
    slash = actions.add_parser("slash", help="prove that a key signed two histories, and be paid half of its bond")
    for name in ("first", "second"):
        slash.add_argument(
            f"--{name}", type=Path, required=True, metavar="FILE",
            help="an attestation (og-ros attestation export) or receipts (og-ros settle status --export)",
        )  # fmt: skip
    slash.add_argument(
        "--key", dest="key_id", metavar="KEYID", help="who signed the checkpoints (default: the robot's settlement key)"
    )
    return [bond, unbond, withdraw, heartbeat, slash]


def bond(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    """Bond money."""
    try:
        amount = int(Decimal(args.ether) * _WEI)
    except (InvalidOperation, OverflowError, ValueError):
        amount = 0
    if not 0 < amount < 2**128:
        raise ConfigError(f"--ether is {args.ether[:40]!a}; it must be an amount above 0")
    _send(rpc, payer, args, "bond", key_id_of(args.key_id), value=amount)
    print(f"bonded {args.ether} behind {args.key_id}")
    return 0


def unbond(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    """Start unbonding."""
    from og_ros.settlement.node_registry import read_node

    key_id = key_id_of(args.key_id)
    _send(rpc, payer, args, "unbond", key_id)
    moment = read_node(rpc, registry_address(args), key_id).withdrawable_at
    print(f"{args.key_id} is revoked; its bond can be withdrawn from {shown(moment)} on")
    return 0


def withdraw(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    """Take a bond back."""
    from og_ros.settlement.checkpoints import check_address

    to = check_address("--to", args.to) if args.to else payer.address
    _send(rpc, payer, args, "withdraw", key_id_of(args.key_id), to)
    print(f"the bond of {args.key_id} went to {to}")
    return 0


def heartbeat(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    """Send a heartbeat."""
    from og_ros.settlement.node_registry import read_node

    key_id = key_id_of(args.key_id)
    _send(rpc, payer, args, "heartbeat", key_id)
    moment = read_node(rpc, registry_address(args), key_id).alive_until
    print(f"{args.key_id} counts as alive until {shown(moment)}")
    return 0


def slash(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    """Report a fork; a proof that does not hold is refused before it costs anything."""
    from og_ros.settlement import forks
    from og_ros.settlement.node_registry import read_node

    registry = registry_address(args)
    fork = _fork(rpc, registry, args)
    before = read_node(rpc, registry, fork.key_id)
    done = forks.report(rpc, payer, registry, fork)
    print(
        f"slashed {fork.key_id.hex()}: {before.bond // 2} wei of its bond to {payer.address}, the rest burnt; the key "
        f"is revoked (transaction 0x{done.transaction.hex()})"
    )
    return 0


def _fork(rpc: Rpc, registry: str, args: argparse.Namespace) -> Fork:
    from og_ros.attest import cose
    from og_ros.settlement import forks, receipt
    from og_ros.settlement.node_registry import settlement_key

    data = [_read(path) for path in (args.first, args.second)]
    if all(one[:1] == b"\xd2" for one in data):  # the tag of a COSE_Sign1 object
        return forks.of_attestations(cose.decode(data[0]), cose.decode(data[1]))
    if any(one[:1] == b"\xd2" for one in data):
        raise SettlementError("no fork: one file is an attestation, and the other is not")
    # Receipts of endpoints are of no key on the chain.
    first, second = (
        [one for one in receipt.read_file(path)[1] if isinstance(one, receipt.Receipt)]
        for path in (args.first, args.second)
    )
    one, other = forks.find_checkpoints(first, second)
    key_id = key_id_of(args.key_id) if args.key_id else settlement_key(rpc, registry, one.entry.chain.robot_id)
    return forks.of_checkpoints(key_id, one, other)


def shown(seconds: int) -> str:
    """Return a Unix time as text."""
    from og_ros.registry.timestamp import MAX_TIME_NS, show_time

    return show_time(min(seconds * 10**9, MAX_TIME_NS))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettlementError(f"cannot read {path}: {error.strerror}") from error


def _send(rpc: Rpc, payer: Account, args: argparse.Namespace, function: str, *arguments: Any, value: int = 0) -> None:
    from og_ros.settlement import contracts, node_registry

    node_registry.send(rpc, payer, contracts.NODE_REGISTRY, registry_address(args), function, *arguments, value=value)
