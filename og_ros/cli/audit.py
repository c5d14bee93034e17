"""og-ros audit: checks a recording, offline and without ROS."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from og_ros.cli.output import EXIT_CODES, write_json
from og_ros.cli.reexecution import add_reexecution_arguments, reexecution_plan
from og_ros.errors import ConfigError

if TYPE_CHECKING:
    from og_ros.audit.policy import Policy
    from og_ros.audit.report import Report
    from og_ros.registry import Registry

EPILOG = """\
What is checked: every signature and key certificate, every session's chain and sequence, every model's certificate,
the digest of every message that an attestation names, every link from a command back to sensor messages, and, with
--ledger, that every attestation is a leaf of the log. What was not checked is listed; missing evidence is no pass.

Examples:
  og-ros audit demo_out/bag --registry demo_out/registry --ledger demo_out/ledger --policy demo_out/policy.yaml
  og-ros audit BAG --registry D --json -        the report for a program, on standard output
  og-ros audit BAG                              without a registry, signatures cannot be checked: exit code 2

Exit codes: 0 the recording holds, 1 violations were found, 2 it could not be checked.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "audit",
        help="check a recording: signatures, chains, digests, links, certificates, log",
        description="Check a rosbag2 recording (sqlite3 or MCAP) without ROS and without trusting the robot.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", metavar="BAG", type=Path, help="the recording: a rosbag2 directory")
    add_trust_arguments(parser)
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes that read and verify (default 1; 0: one a core)"
    )
    add_reexecution_arguments(parser)
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON to FILE; - for standard output")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say whom the auditor believes."""
    parser.add_argument("--registry", metavar="DIR", type=Path, help="certified models and keys")
    parser.add_argument("--root", metavar="sha256:HEX", help="fingerprint that the registry's root must have")
    parser.add_argument("--ledger", metavar="DIR", type=Path, help="the log of attestations")
    parser.add_argument("--policy", metavar="FILE", type=Path, help="what is demanded of the run (YAML)")


def trust(args: argparse.Namespace) -> tuple[Registry | None, Policy]:
    """Open the registry and the policy that the arguments name.

    A registry whose root is not the pinned one is opened all the same: the audit then says so, as a violation.
    """
    from og_ros.audit.policy import Policy, load_policy
    from og_ros.errors import RegistryError
    from og_ros.registry import Registry

    policy = load_policy(args.policy) if args.policy else Policy()
    if args.root:
        policy = replace(policy, registry_root=args.root)
    if args.registry is None:
        return None, policy
    try:
        return Registry.open(args.registry, pinned_root=policy.registry_root), policy
    except RegistryError:
        if policy.registry_root is None:
            raise
        return Registry.open(args.registry), policy


def run(args: argparse.Namespace) -> int:
    """Audit, show the report, and return the exit code."""
    from og_ros.audit.run import audit_bag
    from og_ros.cli.output import progress_bar
    from og_ros.cli.report_view import show_report

    registry, policy = trust(args)
    jobs = args.jobs or os.cpu_count() or 1
    if jobs < 0:
        raise ConfigError(f"--jobs is {jobs}; it must be a number of processes, or 0 for one a core")
    plan = reexecution_plan(args)
    with progress_bar("auditing", hidden=args.quiet or args.json == "-") as progress:
        report: Report = audit_bag(
            args.bag, registry, args.ledger, policy, progress, jobs=jobs, reexecution=plan
        )
    if args.json:
        write_json(report.as_json(), args.json)
    if args.json != "-":
        show_report(report)
    return EXIT_CODES[report.verdict.value]
