"""og-ros log: shows and verifies a ledger, and takes proofs out of it that others check without it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.cli import log_change_keys, log_cosign, log_receipt, log_witness
from og_ros.errors import LogError

if TYPE_CHECKING:
    from og_ros.log import Ledger, StoredCheckpoint, VerifierKey
    from og_ros.registry import Registry

HOLDS: Final = 0
DEFECT: Final = 1
MAX_FILE: Final = 4_000_000

DESCRIPTION: Final = """\
Work on a ledger: the append-only Merkle log in which an auditor keeps every attestation (RFC 6962 tree, C2SP
checkpoints and tiles). `prove` and `leaf` take a proof and its attestation out; `check` verifies them anywhere, with
nothing but the log's verifier key (vkey), which you should have from somewhere else than the ledger.
"""
EPILOG: Final = """\
examples:
  og-ros log show demo_out/ledger
  og-ros log verify demo_out/ledger --key 'demo+1a2b3c4d+AS...'
  og-ros log leaf demo_out/ledger 12 --out decision.cose
  og-ros log prove demo_out/ledger --cose decision.cose --out decision.tlog-proof
  og-ros log check decision.tlog-proof --leaf decision.cose --key 'demo+1a2b3c4d+AS...'
  og-ros log consistency demo_out/ledger 100 250

exit codes: 0 it holds, 1 it does not hold, 2 it could not be checked
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its actions."""
    parser = subparsers.add_parser(
        "log",
        help="show and verify a ledger; take proofs out of it and check them",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    show = _action(actions, "show", "say which log it is, how long, and its newest checkpoint; verifies nothing")
    _ledger(show)
    _json(show)

    verify = _action(
        actions,
        "verify",
        "check the whole ledger: every leaf, hash, checkpoint, signature and tile",
        "example: og-ros log verify demo_out/ledger --key 'demo+1a2b3c4d+AS...'\n\n"
        "Without --key the ledger's own word is taken for its key: then a ledger forged whole would pass.",
    )
    _ledger(verify)
    _key(verify, required=False)
    verify.add_argument("--registry", type=Path, metavar="DIR", help="hold the log's keys, both of a pair, against it")
    verify.add_argument("--root", metavar="sha256:HEX", help="fingerprint that the registry's root must have")
    _json(verify)

    change = actions.add_parser(
        "change-keys",
        help="give the log new signing keys, on record in the log",
        description="Give the log new signing keys, by a leaf that the keys before sign.",
        epilog=log_change_keys.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    log_change_keys.add_arguments(change)

    prove = _action(
        actions,
        "prove",
        "write a proof that a leaf is in the log (C2SP tlog-proof)",
        "example: og-ros log prove demo_out/ledger --index 12 --out decision.tlog-proof",
    )
    _ledger(prove)
    which = prove.add_mutually_exclusive_group(required=True)
    which.add_argument("--index", type=_natural, metavar="N", help="index of the leaf, from 0")
    which.add_argument("--cose", type=Path, metavar="FILE", help="the attestation itself (COSE_Sign1); finds its leaf")
    prove.add_argument("--out", type=Path, metavar="FILE", help="where to write the proof (default: stdout)")

    check = _action(
        actions,
        "check",
        "verify a proof offline, without the ledger",
        "example: og-ros log check decision.tlog-proof --leaf decision.cose --key 'demo+1a2b3c4d+AS...'",
    )
    check.add_argument("proof", type=Path, metavar="PROOF", help="the proof, as `prove` wrote it")
    check.add_argument("--leaf", type=Path, required=True, metavar="FILE", help="the leaf that it should prove")
    _key(check, required=True)
    _json(check)

    leaf = _action(
        actions,
        "leaf",
        "write one leaf (an attestation as COSE_Sign1) to a file",
        "example: og-ros log leaf demo_out/ledger 12 --out decision.cose",
    )
    _ledger(leaf)
    leaf.add_argument("index", type=_natural, metavar="INDEX", help="index of the leaf, from 0")
    leaf.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write it")

    consistency = _action(
        actions,
        "consistency",
        "prove and verify that the log of B leaves only appended to the log of A leaves",
        "example: og-ros log consistency demo_out/ledger 100 250\n\n"
        "Where a checkpoint was signed at A or B leaves, its signature is verified and its root must be the same.",
    )
    _ledger(consistency)
    consistency.add_argument("first", type=_natural, metavar="A", help="the smaller size, in leaves")
    consistency.add_argument("second", type=_natural, metavar="B", help="the larger size, in leaves")
    _key(consistency, required=False)
    _json(consistency)

    log_receipt.add_arguments(_action(actions, "receipt", log_receipt.PURPOSE, log_receipt.EPILOG))
    log_cosign.add_arguments(_action(actions, "cosign", log_cosign.PURPOSE, log_cosign.EPILOG))
    log_witness.add_arguments(_action(actions, "witness", log_witness.PURPOSE, log_witness.EPILOG))


def run(args: argparse.Namespace) -> int:
    """Run one action. Raises LogError for what could not be read or checked."""
    return _ACTIONS[args.action](args)


# ---- the actions -----------------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace) -> int:
    from og_ros.log import Ledger

    with Ledger.open(args.ledger) as ledger:
        size, root, checkpoints = ledger.size, ledger.root(), ledger.checkpoints()
        epochs, present = ledger.keys().epochs, ledger.keys().newest
        newest = checkpoints[-1] if checkpoints else None
        if args.json:
            _print_json(
                {
                    "origin": ledger.origin,
                    "vkey": ledger.vkey,
                    "keys": [
                        {
                            "from_size": epoch.first_size,
                            "vkey": epoch.keys.classical.format(),
                            "post_quantum": epoch.keys.post_quantum and epoch.keys.post_quantum.format(),
                        }
                        for epoch in epochs
                    ],
                    "size": size,
                    "root": root.hex(),
                    "uncovered": size - (newest.size if newest else 0),
                    "checkpoints": [_checkpoint_json(checkpoint) for checkpoint in checkpoints],
                }
            )
            return HOLDS
        print(f"origin       {ledger.origin}")
        print(f"vkey         {ledger.vkey}")
        if present.post_quantum is not None:
            print(f"second key   ML-DSA-65 {present.post_quantum.name}+{present.post_quantum.key_id.hex()}")
        for epoch in epochs[1:]:
            print(f"new keys     at leaf {epoch.first_size - 1}")
        print(f"size         {size} leaves")
        print(f"root         {root.hex()}")
        print(f"checkpoints  {len(checkpoints)}" + (f", the newest of {newest.size} leaves" if newest else ""))
        if newest:
            print(f"signed       {_time(newest.signed_ns)} (the ledger's word; it is not in the signature)")
        print(f"uncovered    {size - (newest.size if newest else 0)} leaves came after the newest checkpoint")
    print("Nothing was verified: `og-ros log verify` does that.", file=sys.stderr)
    return HOLDS


def _verify(args: argparse.Namespace) -> int:
    from og_ros.audit.log_signatures import bound_keys, log_signatures
    from og_ros.log import Ledger

    key = _trusted(args)
    registry = _registry(args)
    with Ledger.open(args.ledger) as ledger:
        try:
            signatures = log_signatures(ledger, registry)
            if signatures.findings:
                raise LogError(signatures.findings[0].message)
            report = ledger.verify(key, bound_keys(ledger.origin, registry))
        except LogError as error:
            return _defect(args, str(error), key_trusted=key is not None)
        if args.json:
            _print_json(
                {
                    "holds": True,
                    "key_trusted": key is not None,
                    "origin": ledger.origin,
                    "vkey": ledger.vkey,
                    "size": report.size,
                    "root": report.root.hex(),
                    "checkpoints": report.checkpoints,
                    "uncovered": report.uncovered,
                    "signatures": signatures.kind,
                }
            )
        else:
            how = ", the newest signed hybrid (Ed25519 and ML-DSA-65)" if signatures.kind == "hybrid" else ""
            print(f"{ledger.origin}: holds: {report.size} leaves, {report.checkpoints} checkpoints{how}")
            print(f"root {report.root.hex()}")
            if report.uncovered:
                print(f"{report.uncovered} leaves came after the newest checkpoint: no signature covers them yet")
        if key is None and registry is None:
            print(f"The key is the ledger's own word: give the one you trust by --key ({ledger.vkey})", file=sys.stderr)
    return HOLDS


def _prove(args: argparse.Namespace) -> int:
    from og_ros.log import Ledger, leaf_hash, verify_proof

    with Ledger.open(args.ledger) as ledger:
        index: int = args.index
        if args.cose is not None:
            found = ledger.find(leaf_hash(_read(args.cose)))
            if not found:
                print(f"og-ros log: {args.cose} is not a leaf of {ledger.origin}", file=sys.stderr)
                return DEFECT
            index = found[0]
        proof = ledger.export_proof(index)
        verify_proof(ledger.leaf(index).data, proof, ledger.key)  # a damaged ledger must not give out a wrong proof
    if args.out is None:
        sys.stdout.write(proof)
    else:
        _write(args.out, proof.encode())
        print(f"leaf {index}: wrote {args.out}", file=sys.stderr)
    return HOLDS


def _check(args: argparse.Namespace) -> int:
    from og_ros.log import VerifierKey, parse_proof, verify_proof

    key = VerifierKey.parse(args.key)
    leaf = _read(args.leaf)
    proof = parse_proof(_read(args.proof))
    try:
        checkpoint = verify_proof(leaf, proof, key)
    except LogError as error:
        return _defect(args, str(error))
    if args.json:
        _print_json(
            {
                "holds": True,
                "origin": checkpoint.origin,
                "index": proof.index,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
            }
        )
    else:
        print(f"holds: {args.leaf} is leaf {proof.index} of {checkpoint.origin}")
        print(f"by its checkpoint of {checkpoint.size} leaves")
    return HOLDS


def _leaf(args: argparse.Namespace) -> int:
    from og_ros.log import Ledger

    with Ledger.open(args.ledger) as ledger:
        leaf = ledger.leaf(args.index)
    _write(args.out, leaf.data)
    print(f"leaf {leaf.index}: wrote {len(leaf.data)} bytes to {args.out}", file=sys.stderr)
    return HOLDS


def _consistency(args: argparse.Namespace) -> int:
    from og_ros.log import Ledger, verify_consistency
    from og_ros.log.note import encode_base64

    key = _trusted(args)
    with Ledger.open(args.ledger) as ledger:
        if key is not None and key not in [epoch.keys.classical for epoch in ledger.keys().epochs]:
            text = f"{ledger.origin}: is signed by {ledger.vkey}, not by {key.format()}"
            return _defect(args, text, key_trusted=True)
        first, second = ledger.root(args.first), ledger.root(args.second)
        path = ledger.consistency_proof(args.first, args.second)
        try:
            verify_consistency(args.first, args.second, path, first, second)
            signed = {
                size: _signed_root(ledger, size, root) for size, root in ((args.first, first), (args.second, second))
            }
        except LogError as error:
            return _defect(args, str(error), key_trusted=key is not None)
    if args.json:
        _print_json(
            {
                "holds": True,
                "key_trusted": key is not None,
                "first": {"size": args.first, "root": first.hex(), "signed": signed[args.first]},
                "second": {"size": args.second, "root": second.hex(), "signed": signed[args.second]},
                "proof": [encode_base64(value) for value in path],
            }
        )
        return HOLDS
    for size, root in ((args.first, first), (args.second, second)):
        print(f"{size:>10} leaves  root {root.hex()}  {'signed' if signed[size] else 'no checkpoint of this size'}")
    print(f"consistent: {args.second} leaves only append to {args.first}; the proof has {len(path)} hashes:")
    for value in path:
        print(encode_base64(value))
    return HOLDS


_ACTIONS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "show": _show,
    "verify": _verify,
    "prove": _prove,
    "check": _check,
    "leaf": _leaf,
    "consistency": _consistency,
    "change-keys": log_change_keys.run,
    "receipt": log_receipt.run,
    "cosign": log_cosign.run,
    "witness": log_witness.run,
}


# ---- parts of them ---------------------------------------------------------------------------------------------------


def _signed_root(ledger: Ledger, size: int, root: bytes) -> bool:
    """Whether a checkpoint of this size was signed; raises LogError when its root or signature is another."""
    signed, keys = False, ledger.keys()
    for stored in ledger.checkpoints():
        if stored.size == size:
            if keys.open_checkpoint(stored.note).root != root:
                raise LogError(
                    f"the leaves do not give the root of the checkpoint of {size} leaves: the log was rewritten"
                )
            signed = True
    return signed


def _checkpoint_json(stored: StoredCheckpoint) -> dict[str, Any]:
    return {"size": stored.size, "root": stored.root.hex(), "signed_ns": stored.signed_ns, "note": stored.note}


def _trusted(args: argparse.Namespace) -> VerifierKey | None:
    from og_ros.log import VerifierKey

    return None if args.key is None else VerifierKey.parse(args.key)


def _registry(args: argparse.Namespace) -> Registry | None:
    from og_ros.registry import Registry

    return None if args.registry is None else Registry.open(args.registry, pinned_root=args.root)


def _defect(args: argparse.Namespace, message: str, **more: bool) -> int:
    if args.json:
        _print_json({"holds": False, "message": message, **more})
    else:
        print(f"does not hold: {message}")
    return DEFECT


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise LogError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise LogError(f"{path} is longer than {MAX_FILE} bytes; it is neither a leaf nor a proof")
    return data


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise LogError(f"cannot write {path}: {error.strerror}") from error


def _time(nanoseconds: int) -> str:
    try:
        return datetime.fromtimestamp(nanoseconds // 10**9, timezone.utc).isoformat()
    except (OverflowError, ValueError, OSError):  # the row of a damaged ledger
        return f"{nanoseconds} ns"


def _print_json(tree: dict[str, Any]) -> None:
    print(json.dumps(tree, indent=2, ensure_ascii=False))


# ---- arguments -------------------------------------------------------------------------------------------------------


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, purpose: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    return actions.add_parser(
        name,
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog=epilog or f"example: og-ros log {name} demo_out/ledger",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _ledger(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ledger", type=Path, metavar="LEDGER", help="the ledger's directory")


def _key(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--key", metavar="VKEY", required=required, help="the log's verifier key, as you know it: name+id+key"
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)
