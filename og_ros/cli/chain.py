"""og-ros chain: puts the contracts on a chain, holds keys, models and bonds there, proves forks, takes snapshots."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.cli import chain_bonds, chain_models, chain_snapshot
from og_ros.cli.chain_arguments import digest_of, key_id_of, registry_address
from og_ros.errors import ConfigError, EvidenceError

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

Registries that robots and auditors read offline (see docs/reference/contracts.md):

  og-ros chain certify-model model.onnx --name line --version 1.0 --models-address 0x… --rpc URL --account keys/a.json
  og-ros chain snapshot chain.json --registry-address 0x… --models-address 0x… --rpc URL
  og-ros chain verify chain.json --chain URL --contracts sha256:…
  og-ros audit BAG --registry chain.json --chain URL --contracts sha256:…

A bond behind a key, and who proves that it signed two histories is paid half of it:

  og-ros chain bond KEYID --ether 1.5 --registry-address 0x… --rpc URL --account keys/robot.json
  og-ros chain slash --first one.cose --second other.cose --registry-address 0x… --rpc URL --account keys/mine.json

Secrets come from the environment: OG_ROS_KEYSTORE_PASSWORD, or OG_ROS_SETTLEMENT_KEY without --account."""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "chain", help="the contracts on a chain: deploy, keys, models, bonds, forks, snapshots", description=__doc__,
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    account = actions.add_parser("account", help="make a keystore file (mode 0600) with a new account")
    account.add_argument("file", type=Path, metavar="FILE", help="where it goes; never overwritten")
    deploy = actions.add_parser("deploy", help="put NodeRegistry, DecisionChain and ModelRegistry on the chain")
    propose = actions.add_parser("propose", help="propose a robot's key; the account becomes its operator")
    propose.add_argument("key", type=Path, metavar="KEY", help="the key (P-256, PEM), which signs this")
    propose.add_argument("--stage", default="settlement", help="what it signs: settlement (the default), or a stage")
    propose.add_argument("--robot", required=True, help="the robot's name")
    propose.add_argument("--vendor", default="", help="who made it")
    propose.add_argument("--measurement", metavar="HEX", help="what its environment measures to (32 bytes)")
    propose.add_argument("--evidence", type=Path, metavar="FILE", help="its evidence, of which the SHA-256 is kept")
    approve = actions.add_parser("approve", help="approve a proposed key")
    approve.add_argument("--days", type=int, required=True, help="for how long")
    approve.add_argument(
        "--max-silence", type=int, default=0, metavar="S", help="seconds within which each heartbeat is due (none)"
    )
    approve.add_argument(
        "--allow-unsigned", action="store_true",
        help="the account alone may settle, too: for chains that cannot check P-256 signatures",
    )  # fmt: skip
    revoke = actions.add_parser("revoke", help="revoke a key")
    for action in (approve, revoke):
        action.add_argument("key_id", metavar="KEYID", help="the key id, 64 hex digits (og-ros keys show)")
    show = actions.add_parser("show", help="show a robot's chain of checkpoints, a key, a registry")
    show.add_argument("--contract", metavar="0x…", help="address of DecisionChain")
    show.add_argument("--robot", help="the robot's name")
    show.add_argument("--submitter", metavar="0x…", help="the account that settles for it")
    show.add_argument("--registry-address", metavar="0x…", help="address of NodeRegistry")
    show.add_argument("--key", dest="key_id", metavar="KEYID", help="a key in NodeRegistry")
    show.add_argument("--models-address", metavar="0x…", help="address of ModelRegistry")
    bonds, models = chain_bonds.add_actions(actions), chain_models.add_actions(actions)
    chain_snapshot.add_actions(actions)
    for action in (deploy, propose, approve, revoke, show, *bonds, *models):
        action.add_argument("--rpc", required=True, metavar="URL", help="a node's JSON-RPC")
    for action in (deploy, propose, approve, revoke, *bonds, *models):
        action.add_argument("--account", type=Path, metavar="FILE", help="keystore file of the account that pays")
    for action in (propose, approve, revoke, *bonds):
        action.add_argument("--registry-address", required=True, metavar="0x…", help="address of NodeRegistry")


def run(args: argparse.Namespace) -> int:
    """Run the action and return its exit code."""
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
    if args.action == "verify":
        return chain_snapshot.verify(args)
    with Rpc(args.rpc) as rpc:
        if args.action == "show":
            return _show(rpc, args)
        if args.action == "snapshot":
            return chain_snapshot.take(rpc, args)
        return _ACTIONS[args.action](rpc, account.load(args.account), args)


def _deploy(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    from og_ros.settlement import deploy

    registry, chain = deploy.deploy(rpc, payer)
    models = deploy.deploy_models(rpc, payer)
    print(f"NodeRegistry   {registry}  owner and approver {payer.address}\nDecisionChain  {chain}")
    print(f"ModelRegistry  {models}  owner and certifier {payer.address}")
    return 0


def _propose(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    from hashlib import sha256

    from og_ros.attest import SoftwareSigner
    from og_ros.attest.statement import NO_DIGEST
    from og_ros.settlement import deploy

    signer = SoftwareSigner.load(args.key)
    measurement = digest_of(args.measurement, "measurement") if args.measurement else NO_DIGEST
    evidence = NO_DIGEST
    if args.evidence is not None:
        try:
            evidence = sha256(args.evidence.read_bytes()).digest()
        except OSError as error:
            raise EvidenceError(f"cannot read {args.evidence}: {error.strerror}") from error
    proposal = deploy.Proposal(args.robot, signer, args.stage, args.vendor, measurement, evidence)
    deploy.submit(rpc, payer, _ours(rpc, args), proposal)
    print(f"proposed {signer.key_id.hex()} for robot {args.robot}, operator {payer.address}; let it be approved")
    return 0


def _approve(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    import time

    from og_ros.settlement import deploy

    if not 1 <= args.days <= 36_500:
        raise ConfigError(f"--days is {args.days}; it must be from 1 to 36500")
    if not 0 <= args.max_silence < 2**32:
        raise ConfigError(f"--max-silence is {args.max_silence}; it must be from 0 to {2**32 - 1} s")
    until = int(time.time()) + args.days * 86_400
    key_id = key_id_of(args.key_id)
    deploy.approve(rpc, payer, _ours(rpc, args), key_id, until, args.allow_unsigned, args.max_silence)
    print(f"approved {args.key_id} for {args.days} days")
    return 0


def _revoke(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    from og_ros.settlement import deploy

    deploy.revoke(rpc, payer, _ours(rpc, args), key_id_of(args.key_id))
    print(f"revoked {args.key_id}")
    return 0


def _show(rpc: Rpc, args: argparse.Namespace) -> int:
    """Show what is named: 1 where a contract's code is not ours."""
    if not (args.contract or args.registry_address or args.models_address):
        raise ConfigError("name a contract: --contract, --registry-address or --models-address")
    known = [_show_chain(rpc, args)] if args.contract else []
    if args.registry_address:
        known.append(_show_nodes(rpc, args))
    if args.models_address:
        known.append(_show_models(rpc, args))
    return 0 if all(known) else 1


def _show_chain(rpc: Rpc, args: argparse.Namespace) -> bool:
    from og_ros.settlement.evm_chain import EvmChain

    chain = EvmChain(rpc, args.contract)
    known = chain.has_our_code()
    print(f"chain          {chain.chain_id}\nDecisionChain  {chain.contract}")
    print(f"code           {_CODE[known]}")
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
    return known


def _show_nodes(rpc: Rpc, args: argparse.Namespace) -> bool:
    from og_ros.settlement import contracts, node_registry
    from og_ros.settlement.evm_chain import robot_id

    address = registry_address(args)
    known = node_registry.has_our_code(rpc, contracts.NODE_REGISTRY, address)
    print(f"NodeRegistry   {address}\ncode           {_CODE[known]}")
    if known:
        names = ("owner", "minimum_bond", "burnt")
        owner, least, burnt = (node_registry.ask(rpc, contracts.NODE_REGISTRY, address, name) for name in names)
        print(f"owner          {owner}\nleast bond     {least} wei, {burnt} wei burnt")
    if known and args.key_id:
        node = node_registry.read_node(rpc, address, key_id_of(args.key_id))
        print(f"key            {node.key_id.hex()}: {node.status}, stage {node.stage}, vendor {node.vendor or '-'}")
        print(f"robot          {node.robot_id.hex()}")
        if args.robot:
            print(f"of {args.robot}: {'yes' if robot_id(args.robot) == node.robot_id else 'NO'}")
        print(f"operator       {node.operator}\nbond           {node.bond} wei")
        for what, moment in (
            ("expires", node.expires_at), ("alive until", node.alive_until), ("withdrawable", node.withdrawable_at)
        ):  # fmt: skip
            if moment:
                print(f"{what:<14} {chain_bonds.shown(moment)}")
        for what, digest in (("measurement", node.measurement), ("evidence", node.evidence)):
            if any(digest):
                print(f"{what:<14} {digest.hex()}")
    return known


def _show_models(rpc: Rpc, args: argparse.Namespace) -> bool:
    from og_ros.cli.chain_arguments import models_address
    from og_ros.settlement import contracts, node_registry

    address = models_address(args)
    known = node_registry.has_our_code(rpc, contracts.MODEL_REGISTRY, address)
    print(f"ModelRegistry  {address}\ncode           {_CODE[known]}")
    if known:
        print(f"owner          {node_registry.ask(rpc, contracts.MODEL_REGISTRY, address, 'owner')}")
    return known


def _ours(rpc: Rpc, args: argparse.Namespace) -> str:
    from og_ros.settlement import contracts, node_registry

    address = registry_address(args)
    node_registry.require_our_code(rpc, contracts.NODE_REGISTRY, address)
    return address


_CODE: Final = {True: "that of this og_ros", False: "NOT that of this og_ros"}
_ACTIONS: Final = {
    "deploy": _deploy,
    "propose": _propose,
    "approve": _approve,
    "revoke": _revoke,
    "bond": chain_bonds.bond,
    "unbond": chain_bonds.unbond,
    "withdraw": chain_bonds.withdraw,
    "heartbeat": chain_bonds.heartbeat,
    "slash": chain_bonds.slash,
    "certify-model": chain_models.certify_model,
    "revoke-model": chain_models.revoke_model,
    "role": chain_models.role,
    "owner": chain_models.owner,
}
