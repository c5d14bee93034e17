"""og-ros registry: make a registry of certified models and keys, and check one that somebody gave you."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from og_ros.cli.keys import add_writer_arguments, keys_table, positive
from og_ros.cli.table import format_table, short_time
from og_ros.errors import RegistryError

if TYPE_CHECKING:
    from og_ros.registry import ModelCertificate

EPILOG = """\
A registry is a directory of signed files, to be copied to robots and handed to auditors:

  og-ros keys generate keys/authority.pem
  og-ros registry init registry --authority keys/authority.pem --name acme
  og-ros registry add-model perception.onnx --registry registry --authority keys/authority.pem \\
      --name line_perception --version 1.0 --stage perception

A vendor's OpenSSF model signature (`model_signing sign key`) counts as the certificate of the model's digest. The
vendor signs the digests of the model's files; name, version, stage and validity here are the word of the authority:

  og-ros registry add-authority vendor vendor.pub --role models --registry registry --authority keys/authority.pem
  og-ros registry import-signature model.onnx model.sig --registry registry --authority keys/authority.pem \\
      --vendor vendor --name detector --version 3.2

Who was given a registry pins its root, whose fingerprint came another way (`verify` exits 0, 1 or 2: it holds, it
does not, it could not be read):

  og-ros registry verify registry --root sha256:0b5e…"""


def add_parser(subparsers: Any) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "registry", help="make, fill and check a registry of models and keys", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    init = actions.add_parser("init", help="make a registry; the key becomes its first authority, with every role")
    init.add_argument("directory", type=Path, metavar="DIR", help="a new or empty directory")
    init.add_argument("--authority", type=Path, required=True, metavar="KEY", help="private key, kept outside DIR")
    init.add_argument("--name", required=True, help="name of the registry and of its first authority")

    add = actions.add_parser("add-authority", help="let another key sign models, keys or the index")
    add.add_argument("name", metavar="NAME", help="the authority's name, such as a vendor's")
    add.add_argument("file", type=Path, metavar="PUBLIC", help="PEM file of its public key")
    add.add_argument(
        "--role", action="append", required=True, dest="roles", help="models, keys or index; may be given several times"
    )
    remove = actions.add_parser("remove-authority", help="take an authority's roles; what it signed stays")
    remove.add_argument("name", metavar="NAME", help="the authority's name")

    model = actions.add_parser("add-model", help="certify a model file by the SHA-256 of its bytes")
    model.add_argument("model", type=Path, metavar="MODEL", help="the model file, such as model.onnx")
    imported = actions.add_parser("import-signature", help="take a vendor's OpenSSF model signature as certificate")
    imported.add_argument("model", type=Path, metavar="MODEL", help="the signed model file, alone or of several")
    imported.add_argument("signature", type=Path, metavar="SIGNATURE", help="the bundle of `model_signing sign key`")
    imported.add_argument("--vendor", help="the authority that made it (default: whichever's key fits)")
    for action in (model, imported):
        action.add_argument("--name", required=True, help="the model's name, as stages state it")
        action.add_argument("--version", required=True, help="the model's version")
        action.add_argument(
            "--stage", action="append", default=[], dest="stages", help="a stage where it may run (default: any)"
        )
        action.add_argument("--days", type=positive, help="how long it is valid (default: no end)")
        action.add_argument("--processing", metavar="sha256:…", help="the one pre- and post-processing allowed")
        action.add_argument("--notes", default="", help="a remark that everybody can read")
    revoke = actions.add_parser("revoke-model", help="revoke every certificate of a model's digest")
    revoke.add_argument("model", metavar="MODEL", help="NAME@VERSION or sha256:DIGEST")
    revoke.add_argument("--reason", required=True, help="why, in a few words; everybody can read it")
    revoke.add_argument("--since", metavar="TIME", help="from when on, in UTC, as 2026-01-31T12:00:00Z (default: now)")
    for action in (add, remove, model, imported, revoke):
        add_writer_arguments(action)

    listing = actions.add_parser("list", help="list models and keys with their status now")
    show = actions.add_parser("show", help="show the root and its authorities, or one model or key in full")
    verify = actions.add_parser("verify", help="check every signature; exit 0 holds, 1 does not, 2 could not be read")
    for action in (listing, show, verify):
        action.add_argument("directory", type=Path, metavar="DIR", help="the registry's directory, or a snapshot")
        action.add_argument("--root", metavar="sha256:…", help="the root's fingerprint, as it came to you another way")
        action.add_argument("--minimum-number", type=int, default=0, metavar="N", help="refuse an older state than N")
    show.add_argument("entry", nargs="?", metavar="ENTRY", help="NAME@VERSION, sha256:DIGEST or a key id")
    for action in (init, add, remove, model, imported, revoke, listing, show, verify):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the action; `verify` returns 1 when the registry does not hold."""
    code, result, text = _ACTIONS[args.action](args)
    print(json.dumps(result, indent=2) if args.json else text)
    return code


_Result = tuple[int, Any, str]


def _init(args: argparse.Namespace) -> _Result:
    from og_ros.registry import RegistryWriter
    from og_ros.registry.key_files import load_signers

    (signer,) = load_signers(args.directory, [args.authority])
    with RegistryWriter.create(args.directory, signer, args.name) as writer:
        root = writer.registry.fingerprint
    print("tell your auditors this fingerprint by another way than the registry itself:", file=sys.stderr)
    return 0, {"registry": args.name, "root": root}, root


def _add_authority(args: argparse.Namespace) -> _Result:
    from og_ros.registry import RegistryWriter
    from og_ros.registry.describe import describe_authority
    from og_ros.registry.key_files import load_public_half, load_signers

    public_key = load_public_half(args.file)
    with RegistryWriter.open(args.registry, *load_signers(args.registry, args.authority)) as writer:
        authority = writer.add_authority(args.name, public_key, tuple(args.roles))
        result = {"root": writer.registry.fingerprint, **describe_authority(authority)}
    text = f"{args.name} may sign {', '.join(args.roles)}; the newest root is {result['root']}, older pins stay good"
    return 0, result, text


def _remove_authority(args: argparse.Namespace) -> _Result:
    from og_ros.registry import RegistryWriter
    from og_ros.registry.key_files import load_signers

    with RegistryWriter.open(args.registry, *load_signers(args.registry, args.authority)) as writer:
        writer.remove_authority(args.name)
        root = writer.registry.fingerprint
    text = f"{args.name} may sign nothing more; the newest root is {root}: pin it, older pins still trust {args.name}"
    return 0, {"root": root, "removed": args.name}, text


def _add_model(args: argparse.Namespace) -> _Result:
    from og_ros.registry import RegistryWriter, files
    from og_ros.registry.key_files import load_signers

    digest = files.digest_of(args.model)
    with RegistryWriter.open(args.registry, *load_signers(args.registry, args.authority)) as writer:
        certificate = writer.certify_model(args.name, args.version, digest, **_terms(args))
    return _models([certificate])


def _import_signature(args: argparse.Namespace) -> _Result:
    from og_ros.registry import RegistryWriter, files, openssf
    from og_ros.registry.key_files import load_signers

    bundle = files.read(args.signature, openssf.MAX_BUNDLE)
    if bundle is None:
        raise RegistryError(f"there is no signature {args.signature}; make it with `model_signing sign key`")
    digest = files.digest_of(args.model)
    with RegistryWriter.open(args.registry, *load_signers(args.registry, args.authority)) as writer:
        certificate = writer.import_signature(
            bundle, digest, args.name, args.version, vendor=args.vendor, **_terms(args)
        )
    return _models([certificate])


def _revoke_model(args: argparse.Namespace) -> _Result:
    from og_ros.registry import RegistryWriter
    from og_ros.registry.key_files import load_signers
    from og_ros.registry.timestamp import read_time

    at_ns = read_time(args.since, "--since") if args.since else None
    with RegistryWriter.open(args.registry, *load_signers(args.registry, args.authority)) as writer:
        digest = writer.registry.find_models(args.model)[0].digest
        writer.revoke_model(digest, args.reason, at_ns=at_ns)
        return _models(list(writer.registry.models_with(digest)))


def _list(args: argparse.Namespace) -> _Result:
    result = _read(args)
    text = f"{_models_table(result['models'])}\n\n{keys_table(result['keys'])}"
    return 0, {"models": result["models"], "keys": result["keys"]}, text


def _show(args: argparse.Namespace) -> _Result:
    if args.entry is None:
        result = _read(args)
        authorities = [(a["name"], ", ".join(a["roles"]), a["key_id"][:16]) for a in result["authorities"]]
        text = f"{_summary(result)}\n\n{format_table(('AUTHORITY', 'MAY SIGN', 'KEY ID'), authorities)}"
        return 0, result, text
    from og_ros.registry import Registry
    from og_ros.registry.describe import describe_key, describe_model

    registry = Registry.open(args.directory, pinned_root=args.root, minimum_number=args.minimum_number)
    now_ns = time.time_ns()
    if "@" in args.entry or args.entry.startswith("sha256:"):
        entries = [describe_model(model, now_ns) for model in registry.find_models(args.entry)]
    else:
        entries = [describe_key(registry.find_key(args.entry), now_ns)]
    return 0, entries, "\n\n".join(json.dumps(item, indent=2) for item in entries)


def _verify(args: argparse.Namespace) -> _Result:
    from og_ros.registry.entry import parse_digest

    if args.root is not None:
        parse_digest(args.root, "--root")  # a slip of the pen is no violation
    if args.directory.is_file():
        raise RegistryError(f"{args.directory} is no directory; a snapshot's proofs are checked by og-ros chain verify")
    try:
        result = _read(args)
    except RegistryError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return 1, {"holds": False, "reason": str(error)}, f"does not hold: {error}"
    return 0, {"holds": True, **result}, f"holds: {_summary(result)}"


def _read(args: argparse.Namespace) -> dict[str, Any]:
    from og_ros.registry import Registry
    from og_ros.registry.describe import describe_registry

    registry = Registry.open(args.directory, pinned_root=args.root, minimum_number=args.minimum_number)
    return describe_registry(registry, time.time_ns())


def _summary(result: dict[str, Any]) -> str:
    pinned = (
        "pinned: it is the registry whose root you gave"
        if result["pinned"]
        else "not pinned: anybody could have made it; compare the root with what its owner says, or give --root"
    )
    return (
        f"registry {result['registry']}, number {result['number']} of {short_time(result['issued_at'])}, "
        f"{len(result['models'])} models, {len(result['keys'])} keys\nroot {result['root']}\n{pinned}"
    )


def _terms(args: argparse.Namespace) -> dict[str, Any]:
    from og_ros.registry.entry import parse_digest
    from og_ros.registry.writer import DAY_NS

    now_ns = time.time_ns()
    return {
        "stages": tuple(args.stages),
        "not_before_ns": now_ns,
        "not_after_ns": now_ns + args.days * DAY_NS if args.days else None,
        "processing_digest": parse_digest(args.processing, "--processing") if args.processing else None,
        "notes": args.notes,
    }


def _models(certificates: list[ModelCertificate]) -> _Result:
    from og_ros.registry.describe import describe_model

    described = [describe_model(certificate, time.time_ns()) for certificate in certificates]
    return 0, described, _models_table(described)


def _models_table(described: list[dict[str, Any]]) -> str:
    header = ("MODEL", "VERSION", "DIGEST", "STAGES", "CERTIFIED BY", "UNTIL", "STATUS")
    rows = [
        (
            model["name"], model["version"], model["digest"][:23], ", ".join(model["stages"]) or "any",
            model["certifier"] + (" (OpenSSF)" if model["vendor_signature"] else ""), short_time(model["not_after"]),
            model["status"],
        )
        for model in described
    ]  # fmt: skip
    return format_table(header, rows) if rows else "no models are certified"


_ACTIONS = {
    "init": _init,
    "add-authority": _add_authority,
    "remove-authority": _remove_authority,
    "add-model": _add_model,
    "import-signature": _import_signature,
    "revoke-model": _revoke_model,
    "list": _list,
    "show": _show,
    "verify": _verify,
}
