"""og-ros manifest: measure what a stage runs in, sign it, and find what has changed."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from og_ros.evidence.manifest import Manifest

EPILOG = """\
A manifest has the digests of a stage's model, adapters and configuration, of og_ros and of the packages that it needs.
Whoever releases the software signs it; a policy then allows what the manifest says, by its digest or its signer:

  og-ros manifest collect pipeline.yaml --stage perception --key release.pem -o perception.manifest
  og-ros manifest check perception.manifest pipeline.yaml --signer release.pem.pub
  og-ros manifest show perception.manifest

Exit codes of check: 0 all is as the manifest says, 1 something changed, 2 it could not be checked."""


def add_parser(subparsers: Any) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "manifest", help="measure, sign and compare the software of a stage", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    collect = actions.add_parser("collect", help="measure a stage, and write its signed manifest")
    collect.add_argument("pipeline", type=Path, metavar="PIPELINE", help="the pipeline file")
    collect.add_argument("--stage", required=True, metavar="S", help="the stage")
    collect.add_argument("--key", type=Path, required=True, metavar="KEY", help="private key of whoever releases it")
    collect.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where the manifest goes")
    check = actions.add_parser("check", help="compare this machine with a manifest")
    check.add_argument("file", type=Path, metavar="FILE", help="the manifest, signed or as a measured launch left it")
    check.add_argument("pipeline", type=Path, metavar="PIPELINE", help="the pipeline file")
    check.add_argument("--signer", type=Path, metavar="PUB", help="public key that must have signed the manifest")
    for action in (collect, check):
        action.add_argument("--image", default="", metavar="sha256:…", help="digest of the container image")
    show = actions.add_parser("show", help="show a manifest and its digest")
    show.add_argument("file", type=Path, metavar="FILE", help="the manifest")
    for action in (check, show):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    code: int = {"collect": _collect, "check": _check, "show": _show}[args.action](args)
    return code


def _collect(args: argparse.Namespace) -> int:
    from og_ros.attest.signer import SoftwareSigner
    from og_ros.cli.launch_measured import chosen_stages
    from og_ros.errors import EvidenceError
    from og_ros.evidence import manifest as manifests
    from og_ros.stages.measured import stage_manifest

    signer = SoftwareSigner.load(args.key)
    (stage,) = chosen_stages(args.pipeline, [args.stage])
    found = stage_manifest(stage, image=args.image)
    try:
        args.output.write_bytes(manifests.sign(found, signer))
    except OSError as error:
        raise EvidenceError(f"cannot write {args.output}: {error.strerror}") from error
    print(f"wrote {args.output}", file=sys.stderr)
    print(found.digest.hex())
    return 0


def _check(args: argparse.Namespace) -> int:
    from og_ros.cli.launch_measured import chosen_stages
    from og_ros.evidence.drift import drift
    from og_ros.stages.measured import stage_manifest

    expected = _read(args.file, args.signer)
    (stage,) = chosen_stages(args.pipeline, [expected.stage])
    found = drift(expected, stage_manifest(stage, image=args.image))
    if args.json:
        shown = [{"code": one.code, "name": one.name, "message": one.message} for one in found]
        print(json.dumps({"stage": expected.stage, "manifest": expected.digest.hex(), "drift": shown}, indent=2))
    else:
        for one in found:
            print(f"{one.code}: {one.message}")
        if not found:
            print(f"{expected.stage} is as its manifest {expected.digest.hex()} says")
    return 1 if found else 0


def _show(args: argparse.Namespace) -> int:
    found = _read(args.file, None)
    tree = {
        "digest": found.digest.hex(),
        "robot": found.robot,
        "stage": found.stage,
        "python": found.python,
        "image": found.image,
        "environment": dict(found.environment),
        "files": {name: digest.hex() for name, digest in found.files.items()},
        "packages": {name: [one.version, one.digest.hex()] for name, one in found.packages.items()},
    }
    if args.json:
        print(json.dumps(tree, indent=2))
        return 0
    hashed = sum(1 for one in found.packages.values() if one.digest)
    own = {name: digest for name, digest in found.files.items() if not name.startswith("og_ros/")}
    print(f"digest    {found.digest.hex()}\nstage     {found.stage} of {found.robot}\npython    {found.python}")
    print(f"image     {found.image or 'none'}")
    print(f"packages  {len(found.packages)}, of {hashed} all files are measured")
    print(f"og_ros    {len(found.files) - len(own)} files")
    for name, digest in own.items():
        print(f"  {name:<28} {digest.hex()}")
    for name, value in found.environment.items():
        print(f"  {name}={ascii(value)[1:-1]}")
    return 0


def _read(path: Path, signer: Path | None) -> Manifest:
    """Read a manifest, signed or bare; a signer, if one is named, must have signed it."""
    from og_ros.attest import keys
    from og_ros.errors import EvidenceError
    from og_ros.evidence import manifest as manifests

    try:
        data = path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"cannot read {path}: {error.strerror}") from error
    if signer is None and not manifests.is_signed(data):
        return manifests.decode(data)
    return manifests.read_signed(data, keys.load_public(signer) if signer else None)
