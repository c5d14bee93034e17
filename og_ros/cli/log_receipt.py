"""og-ros log receipt: writes a leaf's COSE receipt, which SCITT tools check without the ledger."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from og_ros.errors import ConfigError, LogError

PURPOSE: Final = "write a COSE receipt of a leaf (RFC 9942), signed with the log's key"
EPILOG: Final = "example: og-ros log receipt demo_out/ledger 12 --signing-key log.pem --out decision.receipt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("ledger", type=Path, metavar="LEDGER", help="the ledger's directory")
    parser.add_argument("index", type=int, metavar="INDEX", help="index of the leaf, from 0")
    parser.add_argument("--signing-key", type=Path, required=True, metavar="PEM", help="the log's private key")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write it")


def run(args: argparse.Namespace) -> int:
    """Write the receipt; the exit code."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from og_ros.attest import keys
    from og_ros.log import Ledger
    from og_ros.log.receipt import make_receipt

    key = keys.load_private(args.signing_key)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{args.signing_key} is not the Ed25519 key of a log")
    with Ledger.open(args.ledger) as ledger:
        receipt = make_receipt(ledger, args.index, key)
    try:
        args.out.write_bytes(receipt)
    except OSError as error:
        raise LogError(f"cannot write {args.out}: {error.strerror}") from error
    print(f"leaf {args.index}: wrote {len(receipt)} bytes to {args.out}", file=sys.stderr)
    return 0
