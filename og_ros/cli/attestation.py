"""og-ros attestation: takes single attestations out of a recording, and verifies them on their own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from og_ros.errors import AttestationError, BagError, ConfigError

if TYPE_CHECKING:
    from og_ros.attest import Attestation
    from og_ros.audit.records import Record

EPILOG = """\
An exported attestation is a COSE_Sign1 object (RFC 9052) whose payload is the statement in deterministic CBOR: any COSE
library verifies it with the stage's public key, which `og-ros keys show` prints.

Examples:
  og-ros attestation export demo_out/bag --out records                 every attestation, STAGE-SESSION-SEQUENCE.cose
  og-ros attestation export demo_out/bag --stage control --index -1 --out last.cose
  og-ros attestation verify last.cose --registry demo_out/registry
  og-ros attestation verify last.cose --key control_public.pem --json

Exit codes of verify: 0 it holds, 1 it does not, 2 it could not be checked.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "attestation",
        help="export single attestations as COSE_Sign1, verify them alone",
        description="Export attestations of a recording as COSE_Sign1 objects, and verify such objects.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = actions.add_parser("export", help="write attestations of a recording as COSE_Sign1 files")
    export.add_argument("bag", metavar="BAG", type=Path, help="the recording: a rosbag2 directory")
    export.add_argument("--out", metavar="PATH", type=Path, required=True, help="a directory; with --index, a file")
    export.add_argument("--stage", metavar="S", help="only this stage")
    export.add_argument("--index", type=int, metavar="N", help="only the N-th (of the stage); -1 is the last")
    verify = actions.add_parser("verify", help="verify one COSE_Sign1 file")
    verify.add_argument("file", metavar="FILE", type=Path, help="the COSE_Sign1 object")
    source = verify.add_mutually_exclusive_group(required=True)
    source.add_argument("--key", metavar="PEM", type=Path, help="the public key that must have signed it")
    source.add_argument("--registry", metavar="DIR", type=Path, help="certified keys and models")
    verify.add_argument("--root", metavar="sha256:HEX", help="fingerprint that the registry's root must have")
    verify.add_argument("--json", action="store_true", help="show the statement and the outcome as JSON")


def run(args: argparse.Namespace) -> int:
    """Export or verify."""
    return _export(args) if args.action == "export" else _verify(args)


def _export(args: argparse.Namespace) -> int:
    from og_ros.attest import ATTESTATION_TYPE
    from og_ros.audit.recording.bag import open_bag

    with open_bag(args.bag) as bag:
        topics = [topic.name for topic in bag.topics.values() if topic.type == ATTESTATION_TYPE]
        found = list(_attestations(bag.records(topics), args.stage))
    if not found:
        wanted = f" of stage {args.stage}" if args.stage else ""
        raise BagError(f"{args.bag} holds no attestation{wanted}")
    try:
        if args.index is not None:
            if not -len(found) <= args.index < len(found):
                raise BagError(f"there is no index {args.index}: {len(found)} attestations were found")
            args.out.write_bytes(found[args.index].cose)
            print(args.out)
            return 0
        args.out.mkdir(parents=True, exist_ok=True)
        for attestation in found:
            statement = attestation.statement
            stage = "".join(c if c.isascii() and c.isalnum() else "_" for c in statement.stage)
            name = f"{stage}-{statement.session.hex()[:8]}-{statement.sequence:08d}-{attestation.digest.hex()[:8]}.cose"
            (args.out / name).write_bytes(attestation.cose)
    except OSError as error:
        raise ConfigError(f"cannot write {args.out}: {error.strerror}") from error
    print(f"{len(found)} attestations in {args.out}")
    return 0


def _attestations(records: Iterator[Record], stage: str | None) -> Iterator[Attestation]:
    from og_ros.attest import decode_attestation

    for record in records:
        try:
            attestation = decode_attestation(record.payload)
        except AttestationError:
            continue  # og-ros audit names it
        if stage is None or attestation.statement.stage == stage:
            yield attestation


def _verify(args: argparse.Namespace) -> int:
    from og_ros.attest import cose, verify
    from og_ros.attest.keys import load_public
    from og_ros.audit import certificates
    from og_ros.audit.records import Inference
    from og_ros.registry import Registry

    try:
        data = args.file.read_bytes()
    except OSError as error:
        raise AttestationError(f"cannot read {args.file}: {error.strerror}") from error
    attestation = cose.decode(data)
    problems: list[str] = []
    if args.key is not None:
        try:
            verify(attestation, load_public(args.key))
        except AttestationError as error:
            problems.append(str(error))
    else:
        registry = Registry.open(args.registry, pinned_root=args.root)
        inference = Inference(attestation, "", attestation.statement.signed_at_ns)
        problems += [f"{f.kind}: {f.message}" for f in certificates.check(inference, registry)]
    if args.json:
        print(json.dumps({"holds": not problems, "problems": problems, "statement": _statement(attestation)}, indent=2))
    else:
        _show(attestation, problems, certified=args.key is None)
    return 1 if problems else 0


def _statement(attestation: Attestation) -> dict[str, Any]:
    from dataclasses import asdict

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, dict):
            return {name: plain(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value.name.lower() if hasattr(value, "name") else value

    statement: dict[str, Any] = plain(asdict(attestation.statement))
    return statement


def _show(attestation: Attestation, problems: list[str], certified: bool) -> None:
    s = attestation.statement
    print(f"robot {s.robot}, stage {s.stage}, node {s.node}, sequence {s.sequence} of session {s.session.hex()}")
    print(f"model {s.model.name} {s.model.version} ({s.model.format}), sha256 {s.model.digest.hex()}")
    print(f"ran in {s.runtime.name} {s.runtime.version} {s.runtime.provider} for {s.duration_ns / 1e6:.3f} ms")
    for word, references in (("read ", s.inputs), ("wrote", s.outputs)):
        for reference in references:
            print(f"{word} {reference.topic} ({reference.type}), {reference.digest_algorithm} {reference.digest.hex()}")
    print(f"signed by key {s.key_id.hex()} ({s.algorithm.name}), mode {s.mode_used.name.lower()}")
    for problem in problems:
        print(f"DOES NOT HOLD: {problem}")
    if not problems:
        print("signature, key and model certificate hold" if certified else "the signature holds; no registry was read")
