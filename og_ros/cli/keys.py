"""og-ros keys: make key files, certify and revoke keys in a registry."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from og_ros.cli.table import format_table, short_time

if TYPE_CHECKING:
    from og_ros.registry import KeyCertificate

EPILOG = """\
Each stage of a robot signs with a key of its own; the registry says whose key it is. A robot's first key:

  og-ros keys generate keys/perception.pem
  og-ros keys certify keys/perception.pem.pub --registry registry --authority keys/authority.pem \\
      --robot robot-7 --stage perception --days 365

An auditor's key, for whom recordings are sealed, and a robot's secret for commitments:

  og-ros keys generate auditor.pem --recipient
  og-ros keys secret robot-7/disclosure.secret

A lost key: what it signed before the time given stays valid, what it signs later is worth nothing.

  og-ros keys revoke 3f2a90c41b77e05d --registry registry --authority keys/authority.pem \\
      --reason "laptop stolen" --since 2026-05-01T00:00:00Z"""


def add_parser(subparsers: Any) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "keys", help="make, certify, revoke and list keys", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    generate = actions.add_parser("generate", help="make a private key file (mode 0600) and FILE.pub beside it")
    generate.add_argument("file", type=Path, metavar="FILE", help="where the private key goes; never overwritten")
    generate.add_argument(
        "--algorithm", choices=("ES256", "EdDSA"), default="ES256",
        help="ES256 (P-256, default) for stages and authorities, EdDSA (Ed25519) for logs and witnesses",
    )  # fmt: skip
    generate.add_argument(
        "--recipient", action="store_true",
        help="the key is to open sealed recordings (P-256); keep it off the robot, and sign nothing with it",
    )  # fmt: skip
    secret = actions.add_parser("secret", help="make a robot's disclosure secret: 32 random bytes, mode 0600")
    secret.add_argument("file", type=Path, metavar="FILE", help="where it goes; never overwritten")
    show = actions.add_parser("show", help="show a key's id, algorithm and public half")
    show.add_argument("file", type=Path, metavar="FILE", help="PEM file of a private or public key")

    certify = actions.add_parser("certify", help="certify a public key for a robot's stage, a log, a witness")
    certify.add_argument("file", type=Path, metavar="PUBLIC", help="PEM file of the public key")
    add_writer_arguments(certify)
    certify.add_argument(
        "--role",
        default="stage",
        help="stage (default), source, observer, log, witness, auditor, operator, settlement or endpoint",
    )
    certify.add_argument("--robot", default="", help="the robot that has the key (stage, source, observer, settlement)")
    certify.add_argument(
        "--stage", default="", help="the stage that signs with it, the source, or the stage that is observed"
    )
    certify.add_argument(
        "--topic", action="append", default=[], metavar="T",
        help="a topic whose data begins where this key signs (role source needs one or more)",
    )  # fmt: skip
    certify.add_argument("--vendor", default="", help="who made the robot or stage")
    certify.add_argument(
        "--origin", default="", help="the key's name in checkpoints (roles log, witness and endpoint need it)"
    )
    certify.add_argument("--days", type=positive, help="how long it is valid (default: no end)")

    revoke = actions.add_parser("revoke", help="revoke a key")
    revoke.add_argument("key_id", metavar="ID", help="the key id, or its first 8 hex digits or more")
    add_writer_arguments(revoke)
    revoke.add_argument("--reason", required=True, help="why, in a few words; everybody can read it")
    revoke.add_argument("--since", metavar="TIME", help="from when on, in UTC, as 2026-01-31T12:00:00Z (default: now)")

    listing = actions.add_parser("list", help="list the keys of a registry with their status now")
    listing.add_argument("--registry", type=Path, required=True, metavar="D", help="the registry's directory")
    listing.add_argument("--root", metavar="sha256:…", help="the root's fingerprint, to check that it is this registry")
    for action in (generate, secret, show, certify, revoke, listing):
        action.add_argument("--json", action="store_true", help="print JSON")


def add_writer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --registry and --authority, which every command that changes a registry has."""
    parser.add_argument("--registry", type=Path, required=True, metavar="D", help="the registry's directory")
    parser.add_argument(
        "--authority", type=Path, required=True, action="append", metavar="KEY",
        help="private key of an authority; give it twice when the role and the index are of two authorities",
    )  # fmt: skip


def positive(text: str) -> int:
    """Read a number of days for argparse: a whole number from 1 to 36500."""
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= 36_500:
        raise argparse.ArgumentTypeError(f"{text} is no whole number of days from 1 to 36500")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the action and return 0."""
    result: dict[str, Any] = _ACTIONS[args.action](args)
    if args.json:
        print(json.dumps(result.get("json", result), indent=2))
    else:
        print(result["text"])
    return 0


def _generate(args: argparse.Namespace) -> dict[str, Any]:
    from og_ros.attest.statement import Algorithm
    from og_ros.errors import ConfigError
    from og_ros.registry import key_files

    if args.recipient and args.algorithm == "EdDSA":
        raise ConfigError("an Ed25519 key only signs; a recipient needs one on P-256: leave --algorithm out")
    key_files.generate(args.file, Algorithm.EDDSA if args.algorithm == "EdDSA" else Algorithm.ES256)
    use = "give it to robots, which seal for it" if args.recipient else "certify it"
    print(f"wrote {args.file} (private: keep it) and {args.file}.pub (public: {use})", file=sys.stderr)
    return _show(args)


def _secret(args: argparse.Namespace) -> dict[str, Any]:
    from og_ros.attest.commitment import make_secret

    make_secret(args.file)
    text = f"wrote {args.file}: share it among the stages of one robot, and let it go nowhere else"
    return {"json": {"file": str(args.file)}, "text": text}


def _show(args: argparse.Namespace) -> dict[str, Any]:
    from og_ros.attest import keys
    from og_ros.registry.key_files import load_public_half

    key = load_public_half(args.file)
    shown = {
        "key_id": keys.key_id(key).hex(),
        "algorithm": keys.algorithm_of(key).name,
        "public_key": keys.public_pem(key),
    }
    text = f"key id     {shown['key_id']}\nalgorithm  {shown['algorithm']}\n{shown['public_key'].rstrip()}"
    return {"json": shown, "text": text}


def _certify(args: argparse.Namespace) -> dict[str, Any]:
    from og_ros.registry import RegistryWriter
    from og_ros.registry.key_files import load_public_half, load_signers
    from og_ros.registry.writer import DAY_NS

    now_ns = time.time_ns()
    public_key = load_public_half(args.file)
    with RegistryWriter.open(args.registry, *load_signers(args.registry, args.authority)) as writer:
        certificate = writer.certify_key(
            public_key,
            role=args.role,
            robot=args.robot,
            stage=args.stage,
            vendor=args.vendor,
            origin=args.origin,
            topics=args.topic,
            not_before_ns=now_ns,
            not_after_ns=now_ns + args.days * DAY_NS if args.days else None,
        )
    return _one(certificate)


def _revoke(args: argparse.Namespace) -> dict[str, Any]:
    from og_ros.registry import RegistryWriter
    from og_ros.registry.key_files import load_signers
    from og_ros.registry.timestamp import read_time

    at_ns = read_time(args.since, "--since") if args.since else None
    with RegistryWriter.open(args.registry, *load_signers(args.registry, args.authority)) as writer:
        key_id = writer.registry.find_key(args.key_id).key_id
        writer.revoke_key(key_id, args.reason, at_ns=at_ns)
        return _one(writer.registry.keys[key_id])


def _list(args: argparse.Namespace) -> dict[str, Any]:
    from og_ros.registry import Registry
    from og_ros.registry.describe import describe_key

    registry = Registry.open(args.registry, pinned_root=args.root)
    now_ns = time.time_ns()
    described = [describe_key(key, now_ns) for key in registry.keys.values()]
    return {"json": described, "text": keys_table(described)}


def keys_table(described: list[dict[str, Any]]) -> str:
    """Return the table of keys as `describe_key` gives them."""
    header = ("KEY ID", "ALGORITHM", "ROLE", "ROBOT", "STAGE", "VENDOR", "UNTIL", "STATUS")
    rows = [
        (
            key["key_id"][:16], key["algorithm"], key["role"], key["robot"] or key["origin"] or "-",
            _what(key), key["vendor"] or "-", short_time(key["not_after"]), key["status"],
        )
        for key in described
    ]  # fmt: skip
    return format_table(header, rows) if rows else "no keys are certified"


def _what(key: dict[str, Any]) -> str:
    topics = ", ".join(key["topics"])
    return f"{key['stage']}: {topics}" if topics else key["stage"] or "-"


def _one(certificate: KeyCertificate) -> dict[str, Any]:
    from og_ros.registry.describe import describe_key

    described = describe_key(certificate, time.time_ns())
    return {"json": described, "text": keys_table([described])}


_ACTIONS = {
    "generate": _generate, "secret": _secret, "show": _show, "certify": _certify, "revoke": _revoke, "list": _list,
}  # fmt: skip
