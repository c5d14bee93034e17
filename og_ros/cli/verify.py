"""og-ros verify: checks an evidence pack, audits its records again, and compares the result with its report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.cli.jobs import add_jobs_argument, processes
from og_ros.cli.output import EXIT_CODES, write_json
from og_ros.cli.settlement_evidence import add_vouching_arguments, vouching

if TYPE_CHECKING:
    from og_ros.audit.pack import PackReport

EPILOG = """\
Nothing in the pack is believed: every file is held against the manifest, the signatures are checked, the attestations
and proofs are made again from recording and log, and the recording is audited again. What remains a matter of trust is
who stands behind the registry's root (--root) and the packer's key (--packer): get both by another way than the pack.

Examples:
  og-ros verify case.ogpack --root sha256:...
  og-ros verify case.ogpack --policy mine.yaml --packer auditor.pub
  og-ros verify case.ogpack --chain URL                    its receipts, held against a node that you trust
  og-ros verify case.ogpack --extract case --json -

Exit codes: 0 pack and recording hold, 1 violations were found, 2 it could not be checked.
"""
_WORDS: Final = {"holds": "HOLDS", "violated": "VIOLATED", "not_checked": "COULD NOT BE CHECKED"}


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "verify",
        help="verify an evidence pack, offline, from its own records",
        description="Verify an evidence pack: its files, signatures and proofs, and its report by a new audit.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pack", metavar="PACK", type=Path, help="the pack that og-ros pack wrote")
    parser.add_argument("--root", metavar="sha256:HEX", help="fingerprint that the registry's root must have")
    parser.add_argument("--policy", metavar="FILE", type=Path, help="your own demands; then they decide")
    parser.add_argument("--packer", metavar="PEM", type=Path, help="the public key that must have signed the pack")
    add_vouching_arguments(parser)
    parser.add_argument("--extract", metavar="DIR", type=Path, help="unpack to this new directory and leave it there")
    parser.add_argument(
        "--max-size", metavar="GB", type=float, default=1000.0, help="refuse a pack that unpacks to more"
    )
    parser.add_argument("--json", metavar="FILE", help="write the outcome as JSON to FILE; - for standard output")
    add_jobs_argument(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Verify the pack, show the outcome, and return the exit code."""
    from og_ros.attest.keys import load_public
    from og_ros.audit.pack import verify_pack
    from og_ros.audit.policy import load_policy
    from og_ros.cli.output import progress_bar

    chain, final_blocks, finality = vouching(args)
    with progress_bar("auditing", hidden=args.quiet or args.json == "-") as progress:
        report = verify_pack(
            args.pack,
            root=args.root,
            policy=load_policy(args.policy) if args.policy else None,
            packer=load_public(args.packer) if args.packer else None,
            directory=args.extract,
            max_size=int(args.max_size * 1e9),
            jobs=processes(args.jobs),
            progress=progress,
            chain=chain,
            final_blocks=final_blocks,
            finality=finality,
        )
    if args.json:
        write_json(report.as_json(), args.json)
    if args.json != "-":
        _show(report)
    return EXIT_CODES[report.verdict.value]


def _show(report: PackReport) -> None:
    from rich.text import Text

    from og_ros.cli.terminal import Terminal

    console = Terminal(soft_wrap=True)
    console.print(f"Pack {report.path.name}: {_WORDS[report.verdict.value]}", markup=False)
    made = report.description
    console.print(
        f"  {report.files} files, written {made.whole['created_at'][:19]}Z by og_ros {made.og_ros}", markup=False
    )
    signer = report.signer
    if signer is None:
        console.print("  signed by nobody that could be checked")
    else:
        by = f"vouched for by: {signer.vouched_by}" if signer.vouched_by else "nobody vouches for this key"
        console.print(f"  signed by key {signer.key_id[:16]} ({by})", markup=False)
    if report.report is not None:
        audit = report.report.as_json()
        traced = f"{audit['linked']} of {audit['decisions']} decisions traced back to sensor data"
        console.print(f"  {audit['attestations']} attestations, {traced}")
    packed = report.packed_verdict.replace("_", " ") or "nothing that could be read"
    word = "confirmed by a new audit" if report.confirmed else "NOT confirmed by a new audit"
    console.print(f"  its report says {packed}: {word}", markup=False)
    if report.report is not None:
        policy = "your policy" if report.own_policy else "the packed policy, if any"
        console.print(f"  the recording, by a new audit under {policy}: {_WORDS[report.report.verdict.value]}")
    found = [*report.findings, *(report.report.findings if report.report is not None else ())]
    if found:
        console.print("\nFindings:")
        for finding in found[:20]:
            console.print(Text(f"  {finding.severity.name.lower():<9} {finding.kind}: {finding.message}"))
        if len(found) > 20:
            console.print(f"  and {len(found) - 20} more")
    else:
        console.print("\nNo findings.")
    console.print("\nNot checked:")
    for note in report.not_checked:
        console.print(Text(f"  - {note}", style="dim"))
