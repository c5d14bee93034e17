"""The actions of og-ros chain on ModelRegistry and on roles: certify-model, revoke-model, role, owner."""

from __future__ import annotations

import argparse
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.cli.chain_arguments import digest_of, models_address, registry_address
from og_ros.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from og_ros.settlement.account import Account
    from og_ros.settlement.rpc import Rpc

_NONE: Final = bytes(32)


def add_actions(actions: Any) -> list[argparse.ArgumentParser]:
    """Add the actions; each sends a transaction."""
    certify = actions.add_parser("certify-model", help="certify a model file by the SHA-256 of its bytes")
    certify.add_argument("model", type=Path, metavar="MODEL", help="the model file, such as model.onnx")
    certify.add_argument("--name", required=True, help="the model's name, as stages state it")
    certify.add_argument("--version", required=True, help="the model's version")
    certify.add_argument("--stage", action="append", default=[], dest="stages", help="where it may run (default: any)")
    certify.add_argument("--days", type=int, help="how long it is valid (default: no end)")
    certify.add_argument("--processing", metavar="sha256:…", help="the one pre- and post-processing allowed")
    certify.add_argument("--parameters", metavar="HEX", help="commitment to its parameters, for proofs of inference")
    revoke = actions.add_parser("revoke-model", help="revoke every certificate of a model's digest")
    revoke.add_argument("digest", metavar="sha256:…", help="the model's digest")
    revoke.add_argument("--reason", required=True, help="why, in a few words; everybody can read it")
    revoke.add_argument("--since", metavar="TIME", help="from when on, in UTC, as 2026-01-31T12:00:00Z (default: now)")
    for action in (certify, revoke):
        action.add_argument("--models-address", required=True, metavar="0x…", help="address of ModelRegistry")
    role = actions.add_parser("role", help="give or take a role: approver and aggregator, or certifier of models")
    role.add_argument("role", choices=("approver", "aggregator", "certifier"), help="which")
    role.add_argument("address", metavar="0x…", help="the account (or contract) that has it from now on")
    role.add_argument("--remove", action="store_true", help="take it instead")
    owner = actions.add_parser("owner", help="offer the ownership of a registry, or take it: two steps")
    owner.add_argument("--offer", metavar="0x…", help="to whom; to take what was offered, leave this out")
    for action in (role, owner):
        action.add_argument("--registry-address", metavar="0x…", help="address of NodeRegistry")
        action.add_argument("--models-address", metavar="0x…", help="address of ModelRegistry")
    return [certify, revoke, role, owner]


def certify_model(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    """Certify a model."""
    if args.days is not None and not 1 <= args.days <= 36_500:
        raise ConfigError(f"--days is {args.days}; it must be from 1 to 36500")
    try:
        digest = sha256(args.model.read_bytes()).digest()
    except OSError as error:
        raise ModelError(f"cannot read {args.model}: {error.strerror}") from error
    processing = digest_of(args.processing, "digest (--processing)") if args.processing else _NONE
    parameters = digest_of(args.parameters, "commitment (--parameters)") if args.parameters else _NONE
    until = int(time.time()) + args.days * 86_400 if args.days else 0
    arguments = (args.name, args.version, digest, processing, parameters, ",".join(args.stages), until)
    _send(rpc, payer, "ModelRegistry", models_address(args), "certify", *arguments)
    print(f"certified {args.name}@{args.version} sha256:{digest.hex()}")
    return 0


def revoke_model(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    """Revoke a digest."""
    from og_ros.registry.timestamp import read_time

    since = read_time(args.since, "--since") // 10**9 if args.since else 0
    digest = digest_of(args.digest, "digest")
    _send(rpc, payer, "ModelRegistry", models_address(args), "revoke", digest, since, args.reason)
    print(f"revoked sha256:{digest.hex()}")
    return 0


def role(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    """Give or take a role."""
    from og_ros.settlement.checkpoints import check_address

    account = check_address("the account", args.address)
    if args.role == "certifier":
        name, address = "ModelRegistry", _required(args, "models_address")
    else:
        name, address = "NodeRegistry", _required(args, "registry_address")
    _send(rpc, payer, name, address, f"set_{args.role}", account, not args.remove)
    print(f"{account} is {'no longer ' if args.remove else ''}{args.role} of {name} {address}")
    return 0


def owner(rpc: Rpc, payer: Account, args: argparse.Namespace) -> int:
    """Offer or take ownership."""
    from og_ros.settlement.checkpoints import check_address

    if bool(args.registry_address) == bool(args.models_address):
        raise ConfigError("name one of --registry-address and --models-address")
    which = "registry_address" if args.registry_address else "models_address"
    name, address = "NodeRegistry" if args.registry_address else "ModelRegistry", _required(args, which)
    if args.offer:
        to = check_address("--offer", args.offer)
        _send(rpc, payer, name, address, "offer_ownership", to)
        print(f"offered {name} {address} to {to}, who must take it")
    else:
        _send(rpc, payer, name, address, "take_ownership")
        print(f"{payer.address} owns {name} {address}")
    return 0


def _required(args: argparse.Namespace, which: str) -> str:
    if not getattr(args, which):
        raise ConfigError(f"--{which.replace('_', '-')} is missing")
    return registry_address(args) if which == "registry_address" else models_address(args)


def _send(rpc: Rpc, payer: Account, contract: str, address: str, function: str, *arguments: Any) -> None:
    from og_ros.settlement import node_registry

    node_registry.send(rpc, payer, contract, address, function, *arguments)
