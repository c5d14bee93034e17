"""The arguments of `og-ros audit` and `og-ros settle verify` that name receipts and who vouches for their blocks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from og_ros.errors import ConfigError, LogError

if TYPE_CHECKING:
    from og_ros.audit.settled import SettlementEvidence


def add_settlement_arguments(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Add them."""
    parser.add_argument(
        "--settlement", metavar="FILE", type=Path, required=required,
        help="receipts of the log's settlement (og-ros settle status --export); needs --ledger",
    )  # fmt: skip
    add_vouching_arguments(parser)
    parser.add_argument(
        "--endpoint", metavar="URL", help="a settlement endpoint, to ask what else it has of this log"
    )
    parser.add_argument(
        "--endpoint-key", metavar="VKEY", action="append", default=[],
        help="key of an endpoint's log that you know, beside those of the registry; may be given several times",
    )  # fmt: skip


def add_vouching_arguments(parser: argparse.ArgumentParser) -> None:
    """Add those that say who vouches for blocks."""
    parser.add_argument(
        "--chain", metavar="URL", help="a node that you trust, to ask about the blocks of receipts and snapshots"
    )
    parser.add_argument(
        "--final-block", metavar="0xHASH", action="append", default=[],
        help="hash of a block that you know to be final, to check offline; may be given several times",
    )  # fmt: skip
    parser.add_argument("--finality", metavar="N", type=int, help="blocks that make one final (the node's word)")


def settlement_evidence(args: argparse.Namespace) -> SettlementEvidence | None:
    """Read the evidence that the arguments name; raises SettlementError or ConfigError."""
    if args.settlement is None:
        if args.endpoint or args.endpoint_key:
            raise ConfigError("--endpoint is for receipts: give them by --settlement")
        snapshot = getattr(args, "snapshot", None) or (args.registry is not None and args.registry.is_file())
        if (args.chain or args.final_block) and not snapshot:
            raise ConfigError("--chain and --final-block are for receipts (--settlement) and snapshots (--snapshot)")
        return None
    if args.ledger is None:
        raise ConfigError("--settlement needs --ledger: receipts are of a log's checkpoints")
    from og_ros.audit.settled import open_evidence
    from og_ros.log import VerifierKey

    try:
        keys = [VerifierKey.parse(text) for text in args.endpoint_key]
    except LogError as error:
        raise ConfigError(f"--endpoint-key: {error}") from error
    endpoint = None
    if args.endpoint is not None:
        from og_ros.settlement.endpoint_config import token
        from og_ros.settlement.http_client import HttpClient

        endpoint = HttpClient(args.endpoint, token=token())
    return open_evidence(args.settlement, *vouching(args), keys, endpoint)


def vouching(args: argparse.Namespace) -> tuple[str | None, frozenset[bytes], int | None]:
    """Return the node, the blocks that are known to be final, and the depth; raises ConfigError."""
    if args.finality is not None and args.finality < 1:
        raise ConfigError(f"--finality is {args.finality}; it must be at least 1")
    return args.chain, frozenset(final_blocks(args)), args.finality


def final_blocks(args: argparse.Namespace) -> set[bytes]:
    """Return the blocks that --final-block names; raises ConfigError for what is no hash."""
    blocks = set()
    for text in getattr(args, "final_block", ()):
        try:
            blocks.add(bytes.fromhex(text.removeprefix("0x")))
        except ValueError as error:
            raise ConfigError(f"--final-block {text[:80]!a} is no block's hash") from error
    return blocks
