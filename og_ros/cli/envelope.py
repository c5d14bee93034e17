"""og-ros envelope: sign, narrow, check and show the physical envelope within which a robot's commands must stay."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from og_ros.errors import ConfigError, EnvelopeError

if TYPE_CHECKING:
    from og_ros.attest.signer import SoftwareSigner
    from og_ros.gate.delegation import Chain, Owner
    from og_ros.gate.envelope import Bound, Envelope

EPILOG = """\
The fleet's owner writes an envelope as YAML and signs it; config/envelopes has examples. A delegate whom it names can
only narrow it. A chain of envelopes is given owner's first:

  og-ros envelope sign fleet.yaml --key owner.pem --out fleet.dsse.json
  og-ros envelope narrow night.yaml --chain fleet.dsse.json --owner owner.pem.pub --key site.pem --out night.dsse.json
  og-ros envelope check fleet.dsse.json night.dsse.json --owner owner.pem.pub --robot amr-1

Whose word counts: one pinned key (--owner), or the authorities of a registry with the role keys (--registry, --root).

Exit codes of check: 0 the chain holds, 1 it does not, 2 a file could not be read.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "envelope",
        help="sign, narrow, check and show physical envelopes",
        description="Sign, narrow, check and show the bounds within which a gate keeps a robot's commands.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    sign = actions.add_parser("sign", help="sign an envelope as the owner")
    narrow = actions.add_parser("narrow", help="sign an envelope that narrows another, as a delegate")
    narrow.add_argument(
        "--chain", nargs="+", type=Path, required=True, metavar="FILE", help="what it narrows, the owner's first"
    )
    for action in (sign, narrow):
        action.add_argument("yaml", type=Path, metavar="YAML", help="the envelope; its key files are beside it")
        action.add_argument("--key", type=Path, required=True, metavar="KEY", help="the private key that signs")
        action.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the signed envelope goes")
    check = actions.add_parser("check", help="verify a chain of envelopes")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE", help="signed envelopes, the owner's first")
    check.add_argument("--robot", metavar="NAME", help="and say whether it fits this robot and its message types")
    for action in (narrow, check):
        trust = action.add_mutually_exclusive_group(required=True)
        trust.add_argument("--owner", type=Path, metavar="PEM", help="the owner's public key")
        trust.add_argument("--registry", type=Path, metavar="D", help="certified keys; its authorities are the owner")
        action.add_argument("--root", metavar="sha256:…", help="fingerprint that the registry's root must have")
    show = actions.add_parser("show", help="show what signed envelopes say; nothing is verified")
    show.add_argument("files", nargs="+", type=Path, metavar="FILE", help="signed envelopes, the owner's first")


def run(args: argparse.Namespace) -> int:
    """Run the action; `check` returns 1 when the chain does not hold."""
    return int(_ACTIONS[args.action](args))


def _sign(args: argparse.Namespace) -> int:
    from og_ros.gate.envelope_check import EnvelopeCheck

    made, signer = _read(args, ""), _signer(args)
    EnvelopeCheck([made], made.robots[0])
    return _write(args, made, signer)


def _narrow(args: argparse.Namespace) -> int:
    from og_ros.gate import envelope_format
    from og_ros.gate.delegation import open_chain
    from og_ros.gate.envelope_check import EnvelopeCheck

    files = [(str(file), envelope_format.read_file(file)) for file in args.chain]
    owner = _owner(args)
    above = open_chain(files, owner)
    made, signer = _read(args, above.signed[-1].digest), _signer(args)
    whole = open_chain([*files, (str(args.yaml), envelope_format.sign(made, signer))], owner)
    EnvelopeCheck(whole.envelopes, made.robots[0])
    return _write(args, made, signer)


def _check(args: argparse.Namespace) -> int:
    from og_ros.gate import envelope_format
    from og_ros.gate.envelope_check import EnvelopeCheck

    files = [(str(file), envelope_format.read_file(file)) for file in args.files]
    owner = _owner(args)
    try:
        chain = _open(files, owner)
        if args.robot:
            EnvelopeCheck(chain.envelopes, args.robot)
    except EnvelopeError as error:
        print(f"DOES NOT HOLD: {error}")
        return 1
    last = chain.envelopes[-1]
    names = " > ".join(f"{e.name} version {e.version}" for e in chain.envelopes)
    now_ns = time.time_ns()
    state = "in force" if last.not_before_ns <= now_ns <= last.not_after_ns else "not in force now"
    print(f"the chain holds: {names}; {state}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from og_ros.gate import envelope_format

    for file in args.files:
        signed = envelope_format.parse(envelope_format.read_file(file), str(file))
        print(f"{signed.digest}  signed by key {signed.signed.key_id[:16]} (not verified here)")
        for line in _lines(signed.envelope):
            print(f"  {line}")
    return 0


def _lines(e: Envelope) -> list[str]:
    from og_ros.gate.hours import format_time_of_day
    from og_ros.registry.timestamp import show_time

    found = [
        f"{e.name} version {e.version}: robots {', '.join(e.robots)}",
        f"from {show_time(e.not_before_ns)} to {show_time(e.not_after_ns)}",
    ]
    found += [
        f"hours {','.join(h.days)} {format_time_of_day(h.start)}-{format_time_of_day(h.stop)} UTC" for h in e.hours
    ]
    for topic in e.topics:
        found.append(f"{topic.topic} ({topic.type})")
        found += [f"  {_bound(b)}" for b in topic.bounds]
        found += [f"  {path} is free" for path in topic.free]
    for c in e.conditions:
        limit = f"below {c.below:g}" if c.below is not None else f"above {c.above:g}"
        found.append(f"{c.name}: {c.of} of {c.topic} {c.field} {limit}, or nothing newer than {c.stale_after_s:g} s")
    found += [f"zone {z.name}: {z.kind}, {len(z.polygon)} corners" for z in e.zones]
    found += [f"delegate {d.name}: key {d.key_id.hex()[:16]}, depth {d.depth}" for d in e.delegates]
    found += [f"may stop: {h.name}, key {h.key_id.hex()[:16]}" for h in (*e.stop, *e.release)]
    if e.release:
        found.append(f"may release: {e.release_needs} of {', '.join(h.name for h in e.release)}")
    return found


def _bound(b: Bound) -> str:
    name = b.fields[0] if len(b.fields) == 1 else f"magnitude of {', '.join(b.fields)}"
    numbers = (
        ("min", b.minimum), ("max", b.maximum), ("max_rate", b.max_rate), ("max_rise", b.max_rise),
        ("max_length", b.max_length),
    )  # fmt: skip
    said = [f"{word} {value:g}" for word, value in numbers if value is not None]
    if b.one_of:
        said.append(f"one of {', '.join(b.one_of)}")
    return f"{name}: {', '.join(said)}{f', when {b.when}' if b.when else ''}"


def _open(files: list[tuple[str, bytes]], owner: Owner) -> Chain:
    from og_ros.gate.delegation import open_chain

    return open_chain(files, owner)


def _owner(args: argparse.Namespace) -> Owner:
    from og_ros.gate.delegation import Owner
    from og_ros.registry import Registry
    from og_ros.registry.key_files import load_public_half

    if args.owner is not None:
        return Owner.of_key(load_public_half(args.owner))
    return Owner.of_registry(Registry.open(args.registry, pinned_root=args.root))


def _signer(args: argparse.Namespace) -> SoftwareSigner:
    from og_ros.attest.signer import SoftwareSigner

    return SoftwareSigner.load(args.key)


def _read(args: argparse.Namespace, parent: str) -> Envelope:
    from og_ros.attest import keys
    from og_ros.gate import envelope_format

    def load_key(name: str) -> str:
        return keys.public_pem(keys.load_public(args.yaml.parent / name))

    data = envelope_format.read_file(args.yaml)
    return envelope_format.read_yaml(data, str(args.yaml), time.time_ns(), parent, load_key)


def _write(args: argparse.Namespace, made: Envelope, signer: SoftwareSigner) -> int:
    from og_ros.gate import envelope_format

    try:
        args.out.write_bytes(envelope_format.sign(made, signer))
    except OSError as error:
        raise ConfigError(f"cannot write {args.out}: {error.strerror}") from error
    print(f"{args.out}: {made.name} version {made.version}, signed by key {signer.key_id.hex()[:16]}")
    return 0


_ACTIONS = {"sign": _sign, "narrow": _narrow, "check": _check, "show": _show}
