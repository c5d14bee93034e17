"""og-ros pack: puts a recording and all that its audit needs into one file for another party."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from og_ros.cli.audit import add_trust_arguments
from og_ros.cli.jobs import add_jobs_argument, processes
from og_ros.errors import PackError

EPILOG = """\
The pack holds the recording, every attestation as COSE_Sign1, the registry, the log with proofs, the policy, the report
of an audit that is made now, and a README. `og-ros verify` checks it, and so do public tools: see the guide
"Verify a pack without og_ros".

Examples:
  og-ros pack demo_out/bag --registry demo_out/registry --ledger demo_out/ledger --policy demo_out/policy.yaml \\
      --key auditor.pem -o case.ogpack
  og-ros pack BAG --registry D --without-data -o case.ogpack      attestations alone: no images, no scans

Exit codes: 0 the pack was written, whatever its report says (the verdict is printed), 2 it could not be.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "pack",
        help="put a recording with its evidence into one file that others can verify",
        description="Put a recording and all that its audit needs into one file, which others verify offline.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", metavar="BAG", type=Path, help="the recording: a rosbag2 directory")
    add_trust_arguments(parser)
    parser.add_argument(
        "--settlement", metavar="FILE", type=Path,
        help="receipts of the log's settlement (og-ros settle status --export); needs --ledger",
    )  # fmt: skip
    parser.add_argument(
        "--report", metavar="FILE", type=Path, action="append", default=[],
        help="a file to enclose as it is, such as an HTML report; may be given several times",
    )  # fmt: skip
    parser.add_argument("--key", metavar="PEM", type=Path, help="the auditor's private key, to sign the pack with")
    parser.add_argument("--without-data", action="store_true", help="leave out every message but the attestations")
    parser.add_argument("-o", "--out", metavar="FILE", type=Path, required=True, help="the pack; never overwritten")
    add_jobs_argument(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Write the pack, and say what is in it."""
    from og_ros.attest import SoftwareSigner
    from og_ros.audit.pack import PackOptions, write_pack
    from og_ros.cli.output import progress_bar

    if args.registry is None:
        raise PackError("a pack needs the registry that says which keys and models are certified (--registry)")
    if args.snapshot is not None or args.contracts is not None:
        raise PackError("a pack holds a registry's directory, and no snapshot of a chain (--snapshot, --contracts)")
    options = PackOptions(
        ledger=args.ledger,
        policy=args.policy,
        root=args.root,
        signer=SoftwareSigner.load(args.key) if args.key else None,
        settlement=args.settlement,
        enclosed=args.report,
        with_data=not args.without_data,
        jobs=processes(args.jobs),
    )
    with progress_bar("packing", hidden=args.quiet) as progress:
        written = write_pack(args.bag, args.registry, args.out, options, progress)
    print(f"{written.path}: {written.files} files, {written.size / 1e6:.1f} MB")
    print(f"the report inside says: {written.report['verdict'].replace('_', ' ')}")
    if options.signer is None:
        print("nobody signed it: --key signs it with an auditor's key")
    return 0
