"""og-ros chain: puts the settlement contracts on a chain, registers keys there, shows what they say."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.errors import ConfigError

if TYPE_CHECKING:
    from og_ros.settlement.account import Account
    from og_ros.settlement.rpc import Rpc

EPILOG = """\
Once for a fleet (the account owns the registry), then once for each robot:

  og-ros chain account keys/account.json                         a new account; its password from the environment
  og-ros chain deploy --rpc URL --account keys/account.json
  og-ros chain propose keys/settlement.pem --robot robot-7 --registry-address 0x… --rpc URL --account keys/robot.json
  og-ros chain approve KEYID --days 365 --registry-address 0x… --rpc URL --account keys/account.json
  og-ros chain show --contract 0x… --rpc URL --robot robot-7 --submitter 0x…

Secrets come from the environment: OG_ROS_KEYSTORE_PASSWORD, or OG_ROS_SETTLEMENT_KEY without --account."""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "chain", help="the settlement contracts on a chain: deploy, register keys, show", description=__doc__,
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    account = actions.add_parser("account", help="make a keystore file (mode 0600) with a new account")
    account.add_argument("file", type=Path, metavar="FILE", help="where it goes; never overwritten")
    deploy = actions.add_parser("deploy", help="put NodeRegistry and DecisionChain on the chain")
    propose = actions.add_parser("propose", help="propose a robot's settlement key; the account becomes its operator")
    propose.add_argument("key", type=Path, metavar="KEY", help="the settlement key (P-256, PEM), which signs this")
    propose.add_argument("--robot", required=True, help="the robot's name")
    propose.add_argument("--vendor", default="", help="who made it")
    approve = actions.add_parser("approve", help="approve a proposed key")
    approve.add_argument("--days", type=int, required=True, help="for how long")
    approve.add_argument(
        "--allow-unsigned", action="store_true",
        help="the account alone may settle, too: for chains that cannot check P-256 signatures",
    )  # fmt: skip
    revoke = actions.add_parser("revoke", help="revoke a key")
    for action in (approve, revoke):
        action.add_argument("key_id", metavar="KEYID", help="the key id, 64 hex digits (og-ros keys show)")
    show = actions.add_parser("show", help="show a contract, and a robot's chain of checkpoints")
    show.add_argument("--contract", required=True, metavar="0x…", help="address of DecisionChain")
    show.add_argument("--robot", help="the robot's name")
    show.add_argument("--submitter", metavar="0x…", help="the account that settles for it")
    for action in (deploy, propose, approve, revoke, show):
        action.add_argument("--rpc", required=True, metavar="URL", help="a node's JSON-RPC")
    for action in (deploy, propose, approve, revoke):
        action.add_argument("--account", type=Path, metavar="FILE", help="keystore file of the account that pays")
    for action in (propose, approve, revoke):
        action.add_argument("--registry-address", required=True, metavar="0x…", help="address of NodeRegistry")


def run(args: argparse.Namespace) -> int:
    """Run the action and return 0."""
    from og_ros.settlement import account
    from og_ros.settlement.rpc import Rpc

    if args.action == "account":
        password = os.environ.get(account.PASSWORD_VARIABLE)
        if not password:
            raise ConfigError(f"set {account.PASSWORD_VARIABLE}: the password of the new keystore file")
        made = account.create(args.file, password)
        print(f"wrote {args.file} (private: keep it, and its password elsewhere)", file=sys.stderr)
        print(made.address)
        return 0
    with Rpc(args.rpc) as rpc:
        if args.action == "show":
            return _show(rpc, args)
        return _ACTIONS[args.action](rpc, account.load(args.account), args)


def _deploy(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    from og_ros.settlement import deploy

    registry, chain = deploy.deploy(rpc, payer)
    print(f"NodeRegistry   {registry}  owner and approver {payer.address}\nDecisionChain  {chain}")
    return 0


def _propose(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    from og_ros.attest import SoftwareSigner
    from og_ros.settlement import deploy

    signer = SoftwareSigner.load(args.key)
    deploy.propose(rpc, payer, _address(args), args.robot, signer, vendor=args.vendor)
    print(f"proposed {signer.key_id.hex()} for robot {args.robot}, operator {payer.address}; let it be approved")
    return 0


def _approve(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    import time

    from og_ros.settlement import deploy

    if not 1 <= args.days <= 36_500:
        raise ConfigError(f"--days is {args.days}; it must be from 1 to 36500")
    until = int(time.time()) + args.days * 86_400
    deploy.approve(rpc, payer, _address(args), _key_id(args), until, args.allow_unsigned)
    print(f"approved {args.key_id} for {args.days} days")
    return 0


def _revoke(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    from og_ros.settlement import deploy

    deploy.revoke(rpc, payer, _address(args), _key_id(args))
    print(f"revoked {args.key_id}")
    return 0


def _show(rpc: Rpc, args: argparse.Namespace) -> int:
    from og_ros.settlement.evm_chain import EvmChain

    chain = EvmChain(rpc, args.contract)
    known = chain.has_our_code()
    print(f"chain          {chain.chain_id}\nDecisionChain  {chain.contract}")
    print(f"code           {'that of this og_ros' if known else 'NOT that of this og_ros'}")
    if known:
        print(f"NodeRegistry   {chain.registry()}")
    if args.robot and args.submitter:
        name = chain.name(args.submitter, args.robot)
        head = chain.head(name)
        print(f"robot          {args.robot}: {head.count} checkpoints, {head.size} leaves, head {head.head.hex()}")
        for event in chain.events(name)[-10:]:
            how = "signed" if event.signed else "unsigned"
            entry = event.entry
            where = f"block {event.block_number}  0x{event.transaction.hex()}"
            print(f"  {entry.sequence:>6}  {entry.size:>9} leaves  {how}  {where}")
    return 0 if known else 1


def _address(args: argparse.Namespace) -> str:
    from og_ros.settlement.checkpoints import check_address

    return check_address("--registry-address", args.registry_address)


def _key_id(args: argparse.Namespace) -> bytes:
    try:
        found = bytes.fromhex(args.key_id)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ConfigError(f"{args.key_id[:80]!a} is no key id: 64 hex digits")
    return found


_ACTIONS: Final = {"deploy": _deploy, "propose": _propose, "approve": _approve, "revoke": _revoke}
