"""og-ros evidence: collects evidence of where a key lives, verifies it offline, and says in words what it is worth."""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.errors import ConfigError, EvidenceError

if TYPE_CHECKING:
    from og_ros.evidence.appraisal import Appraisal
    from og_ros.evidence.interface import AppraisalPolicy, Evidence

EPILOG = """\
Evidence binds a key to the environment that it lives in. `collect` makes it on the robot, of the strongest kind that
the machine has; `verify` judges it anywhere, offline, by a policy; `show` reads it without judging.

  og-ros evidence collect --key keys/planning.pem --robot amr-1 --stage planning -o planning.evidence
  og-ros evidence show planning.evidence
  og-ros evidence verify planning.evidence --policy appraisal.yaml --require tee
  og-ros evidence verify planning.evidence --ear planning.jwt --sign-key keys/verifier.pem
  og-ros evidence verify document.b64 --format aws-nitro --at 2026-02-12T18:00:00Z

Files of `collect` say their format themselves. A vendor's own document (binary, or in base64) needs --format; it is
bound to no robot or stage unless --key, --nonce, --robot and --stage say what to look for.

Exit codes of verify: 0 it holds (and reaches --require), 1 it does not, 2 it could not be judged."""

LEVELS: Final = ("none", "software_key", "measured", "tee")
_MAX_FILE: Final = 4_000_000


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "evidence",
        help="prove where a signing key lives: collect, verify and explain evidence",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    collect = actions.add_parser("collect", help="make evidence for a key on this machine")
    collect.add_argument("--key", metavar="KEY", required=True, help="private key: a PEM file, or a pkcs11: URI")
    collect.add_argument("--robot", required=True, help="name of the robot, as in the registry")
    collect.add_argument("--stage", required=True, help="name of the stage, as in the registry")
    collect.add_argument(
        "--nonce", metavar="HEX", help="what the relying party asked with, 16 to 64 bytes (default: random)"
    )
    collect.add_argument("--manifest", metavar="HEX", help="SHA-256 of the environment's manifest (default: none)")
    collect.add_argument("--format", metavar="F", default="", help="kind of evidence (default: the strongest there is)")
    collect.add_argument("-o", "--out", metavar="FILE", type=Path, required=True, help="where to write it")
    show = actions.add_parser("show", help="say what a piece of evidence is and says, without judging it")
    verify = actions.add_parser("verify", help="judge a piece of evidence, offline")
    for action in (show, verify):
        action.add_argument("file", metavar="FILE", type=Path, help="the evidence, or a vendor's document")
        action.add_argument("--format", metavar="F", default="", help="format of a vendor's own document")
        action.add_argument("--json", action="store_true", help="print JSON; verify prints EAR's claims")
    verify.add_argument(
        "--policy", metavar="FILE", type=Path, help="appraisal policy (YAML): roots, reference values …"
    )
    verify.add_argument(
        "--collateral", metavar="NAME=FILE", action="append", default=[], help="TCB info or certificates beside it"
    )
    verify.add_argument("--nonce", metavar="HEX", help="the nonce that it must have been made for")
    verify.add_argument(
        "--at", metavar="TIME", help="judge as of this time, in UTC, as 2026-01-31T12:00:00Z (default: now)"
    )
    verify.add_argument("--key", metavar="PEM", type=Path, help="public key that it must be about")
    verify.add_argument("--robot", help="robot that it must be about")
    verify.add_argument("--stage", help="stage that it must be about")
    verify.add_argument("--require", choices=LEVELS[1:], help="exit 1 when it supports less than this level")
    verify.add_argument("--ear", metavar="FILE", type=Path, help="write the result as a signed EAR (JWT)")
    verify.add_argument("--sign-key", metavar="KEY", help="the verifier's private key, for --ear")


def run(args: argparse.Namespace) -> int:
    """Collect, show or verify."""
    return {"collect": _collect, "show": _show, "verify": _verify}[args.action](args)


def _collect(args: argparse.Namespace) -> int:
    from og_ros.attest import keys
    from og_ros.attest.key_reference import load_signer
    from og_ros.evidence.attesters import attester
    from og_ros.evidence.binding import Context
    from og_ros.evidence.evidence_file import encode

    signer = load_signer(args.key)
    nonce = _hex("--nonce", args.nonce) if args.nonce else os.urandom(32)
    manifest = _hex("--manifest", args.manifest) if args.manifest else bytes(32)
    chosen = attester(signer, args.format)
    evidence = chosen.attest(keys.spki(signer.public_key), nonce, Context(args.robot, args.stage, manifest))
    _write(args.out, encode(evidence))
    print(f"{args.out}: {len(evidence.document)} bytes of {evidence.format}, nonce {nonce.hex()}")
    _print_worth(evidence.format)
    return 0


def _show(args: argparse.Namespace) -> int:
    from og_ros.evidence.case import utc
    from og_ros.evidence.explain import says

    evidence = _read(args)
    said = says(evidence)
    about = {
        "format": evidence.format,
        "robot": evidence.context.robot,
        "stage": evidence.context.stage,
        "key_sha256": _fingerprint(evidence.key),
        "nonce": evidence.nonce.hex(),
        "manifest": evidence.context.manifest.hex() if any(evidence.context.manifest) else "",
        "collected_at": utc(evidence.collected_at_ns) if evidence.collected_at_ns else "",
        "document_bytes": len(evidence.document),
    }
    if args.json:
        print(json.dumps({**about, "says": said}, indent=2))
        return 0
    print("nothing is checked here: og-ros evidence verify judges")
    print("\nwhat it was collected for, by its collector's word")
    _print_fields({name: value for name, value in about.items() if value not in ("", 0)})
    print("\nwhat the document says")
    _print_fields(said)
    print()
    _print_worth(evidence.format)
    return 0


def _verify(args: argparse.Namespace) -> int:
    from og_ros.evidence import ear
    from og_ros.evidence.interface import verifier

    if (args.ear is None) != (args.sign_key is None):
        raise ConfigError("--ear and --sign-key go together")
    evidence = _read(args)
    policy = _policy(args)
    now_ns = _time(args.at)
    appraisal = verifier(evidence.format).appraise(evidence, policy, now_ns)
    if args.ear is not None:
        from og_ros.attest.key_reference import load_signer

        _write(args.ear, ear.sign(appraisal, load_signer(args.sign_key)).encode() + b"\n")
    level = appraisal.level()
    refused = any(reason.tier.name == "CONTRAINDICATED" for reason in appraisal.reasons)
    low = args.require is not None and LEVELS.index(level) < LEVELS.index(args.require)
    if args.json:
        print(json.dumps(ear.to_claims(appraisal), indent=2))
    else:
        _print_appraisal(appraisal, args.require if low else None)
    return 1 if refused or low else 0


def _read(args: argparse.Namespace) -> Evidence:
    """Read an evidence file, or, with --format, a vendor's document in binary or base64."""
    from og_ros.evidence.binding import Context
    from og_ros.evidence.evidence_file import decode, is_evidence
    from og_ros.evidence.interface import Evidence

    data = _bytes(args.file)
    asked = _asked(args)
    if is_evidence(data):
        evidence = decode(data)
        if args.format and args.format != evidence.format:
            raise EvidenceError(f"{args.file} is evidence of format {evidence.format}, not {args.format}")
        # What the document is bound to must then be what was asked for, whatever the file says beside it.
        context = replace(evidence.context, **{name: asked[name] for name in ("robot", "stage") if asked.get(name)})
        return replace(evidence, key=asked.get("key") or evidence.key, context=context)
    if not args.format:
        raise EvidenceError(f"{args.file} is no evidence file; for a vendor's own document give --format")
    context = Context(str(asked.get("robot") or ""), str(asked.get("stage") or ""))
    return Evidence(args.format, _from_base64(data), asked.get("key") or b"", asked.get("nonce") or b"", context, 0)


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the command line says that the evidence must be about."""
    if args.action != "verify":
        return {}
    nonce = _hex("--nonce", args.nonce) if args.nonce else None
    return {
        "robot": args.robot,
        "stage": args.stage,
        "nonce": nonce,
        "key": _public_key(args.key) if args.key is not None else None,
    }


def _public_key(path: Path) -> bytes:
    """Return a public key of any kind as SPKI DER: enclaves of others have RSA keys, too."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        return load_pem_public_key(_bytes(path)).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceError(f"{path} is no public key in PEM") from error


def _policy(args: argparse.Namespace) -> AppraisalPolicy:
    from og_ros.evidence.interface import AppraisalPolicy
    from og_ros.evidence.policy_file import load_policy

    policy = load_policy(args.policy) if args.policy is not None else AppraisalPolicy()
    collateral = dict(policy.collateral)
    for given in args.collateral:
        name, equals, file = given.partition("=")
        if not equals or not name:
            raise ConfigError(f"--collateral {given!a}: it must be NAME=FILE, such as dcap=collateral.json")
        collateral[name] = _bytes(Path(file))
    nonce = _hex("--nonce", args.nonce) if args.nonce else None
    return replace(policy, collateral=collateral, nonce=nonce)


def _time(text: str | None) -> int:
    from og_ros.registry.timestamp import read_time

    return time.time_ns() if text is None else read_time(text, "--at")


def _hex(option: str, text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise ConfigError(f"{option} must be bytes in hex") from error


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        raise EvidenceError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > _MAX_FILE:
        raise EvidenceError(f"{path} is larger than {_MAX_FILE} bytes")
    return data


def _from_base64(data: bytes) -> bytes:
    """Return what base64 text holds; other data as it is."""
    try:
        return base64.b64decode(b"".join(data.split()), validate=True) or data
    except binascii.Error:
        return data


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _fingerprint(key: bytes) -> str:
    from hashlib import sha256

    return sha256(key).hexdigest() if key else ""


def _print_fields(fields: dict[str, Any]) -> None:
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        shown = json.dumps(value) if isinstance(value, (dict, list, bool)) else str(value)
        print(f"  {name.ljust(width)}  {shown}")


def _print_worth(evidence_format: str) -> None:
    from og_ros.evidence.explain import WORTH

    worth = WORTH.get(evidence_format)
    if worth is None:
        return
    print(f"{evidence_format}: {worth.what}")
    print("proves, once a verifier accepts it")
    for sentence in worth.proves:
        print(f"  + {sentence}")
    print("does not prove")
    for sentence in worth.does_not:
        print(f"  - {sentence}")


def _print_appraisal(appraisal: Appraisal, missed: str | None) -> None:
    from og_ros.evidence.case import utc

    refused = [reason for reason in appraisal.reasons if reason.tier.name == "CONTRAINDICATED"]
    print(f"{'REFUSED' if refused else 'HOLDS'}  {appraisal.format}, supports level {appraisal.level()}")
    for reason in appraisal.reasons:
        print(f"  {reason.tier.name.lower()}: {reason.code}: {reason.message}")
    if missed is not None:
        print(f"  too little: level {missed} was required")
    for name in ("platform", "tee"):
        vector = appraisal.submodules.get(name)
        if vector:
            claims = ", ".join(f"{claim} {tier.name.lower()}" for claim, tier in vector.items())
            print(f"{name}: {appraisal.status(name).name.lower()} ({claims})")
    print("claims")
    _print_fields(dict(appraisal.claims))
    print("not checked")
    for sentence in appraisal.not_checked:
        print(f"  - {sentence}")
    print(f"judged at {utc(appraisal.verified_at_ns)}, to be renewed by {utc(appraisal.valid_until_ns)}")
    print(f"policy sha256:{appraisal.policy}\n")
    _print_worth(appraisal.format)
