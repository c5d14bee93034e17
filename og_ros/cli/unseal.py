"""og-ros unseal: opens a sealed recording with a recipient's key."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from og_ros.cli.output import progress_bar
from og_ros.cli.span import add_span_arguments, read_time_argument

EPILOG = """\
Examples:
  og-ros unseal run1 --key auditor.pem -o run1_open
  og-ros unseal run1 --key auditor.pem -o part --topics /camera/image --from 12.5 --to 14
  og-ros unseal run1 --key auditor.pem -o part --from 2026-05-01T10:00:00Z --to 2026-05-01T10:01:00Z

What comes out is an ordinary rosbag2: the same topics, order, times, types and QoS as were recorded. Every message's
digest is checked. What was altered is left out and named, line by line.

Exit codes: 0 everything opened and nothing is missing, 1 something was altered or is missing, 2 it could not be
opened: another key, no sealed recording, a full disk."""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "unseal", help="open a sealed recording", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("bag", type=Path, metavar="BAG", help="the sealed recording: a rosbag2 directory")
    parser.add_argument("--key", type=Path, required=True, metavar="KEY", help="private key of a recipient (PEM)")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="directory of the opened one; it must not exist"
    )
    parser.add_argument("--topics", nargs="+", metavar="T", help="topics to open; all by default")
    add_span_arguments(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Unseal and return the exit code."""
    from og_ros.attest.content_key import load_recipient_key
    from og_ros.audit.recording.bag import open_bag
    from og_ros.audit.recording.unsealing import unseal

    key = load_recipient_key(args.key)
    with open_bag(args.bag) as bag:
        begin_ns = bag.start_ns
    with progress_bar(f"unsealing {args.bag}", hidden=args.quiet) as update:
        summary = unseal(
            args.bag,
            args.output,
            key,
            topics=args.topics,
            start_ns=read_time_argument(args.since, "--from", begin_ns),
            stop_ns=read_time_argument(args.until, "--to", begin_ns),
            progress=update,
        )
    for refused in summary.refused:
        at = f" at {(refused.received_ns - begin_ns) / 1e9:.6f} s" if refused.received_ns else ""
        print(f"{refused.topic or args.bag}{at}: {refused.reason}", file=sys.stderr)
    print(f"{args.output}: {sum(summary.messages.values())} messages of {len(summary.messages)} topics")
    if not summary.holds:
        print(f"does not hold: {len(summary.refused)} records were refused or are missing", file=sys.stderr)
    return 0 if summary.holds else 1
