"""og-ros audit: checks a recording, offline and without ROS."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from og_ros.cli.audit_outputs import Outputs, add_output_arguments
from og_ros.cli.fleet_view import add_fleet_arguments, is_fleet, run_fleet
from og_ros.cli.jobs import add_jobs_argument, processes
from og_ros.cli.output import EXIT_CODES
from og_ros.cli.public_evidence import add_public_arguments, public_evidence
from og_ros.cli.reexecution import add_reexecution_arguments, reexecution_plan
from og_ros.cli.settlement_evidence import add_settlement_arguments, final_blocks, settlement_evidence
from og_ros.errors import ConfigError

if TYPE_CHECKING:
    from og_ros.audit.policy import Policy
    from og_ros.registry import Registry

EPILOG = """\
What is checked: every signature and key certificate, every session's chain and sequence, every model's certificate,
the digest of every message that an attestation names, every link from a command back to sensor messages, and, with
--ledger, that every attestation is a leaf of the log. What was not checked is listed; missing evidence is no pass.

Examples:
  og-ros audit demo_out/bag --registry demo_out/registry --ledger demo_out/ledger --policy demo_out/policy.yaml
  og-ros audit BAG --registry D --json -        the report for a program, on standard output
  og-ros audit BAG --registry D --html report.html --profile eu-ai-act
  og-ros audit BAG --registry D --reexecute 5% --pipeline pipeline.yaml --models models
  og-ros audit RECORDINGS --registry D --engine dask --resume state      every recording below a directory
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
    parser.add_argument(
        "bag", metavar="BAG", type=Path, nargs="+", help="the recording: a rosbag2 directory; or directories of many"
    )
    add_trust_arguments(parser)
    add_jobs_argument(parser)
    parser.add_argument("--unseal-key", metavar="PEM", type=Path, help="the key that opens a sealed recording")
    parser.add_argument(
        "--disclosures", metavar="FILE", type=Path, action="append", default=[],
        help="messages that were revealed (og-ros disclose); may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--at", metavar="TIME",
        help="date of the judgement, in UTC as 2036-01-31T12:00:00Z (now): what the policy holds broken then",
    )  # fmt: skip
    add_settlement_arguments(parser)
    add_public_arguments(parser)
    add_reexecution_arguments(parser)
    add_output_arguments(parser)
    add_fleet_arguments(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say whom the auditor believes."""
    parser.add_argument(
        "--registry", metavar="DIR", type=Path, help="certified models and keys; or a snapshot (og-ros chain snapshot)"
    )
    parser.add_argument(
        "--snapshot", metavar="FILE", type=Path, help="a snapshot of registries on a chain, beside --registry DIR"
    )
    parser.add_argument(
        "--contracts", metavar="sha256:HEX", help="the contracts that a snapshot must be of (og-ros chain snapshot)"
    )
    parser.add_argument("--root", metavar="sha256:HEX", help="fingerprint that the registry's root must have")
    parser.add_argument(
        "--minimum-number", type=int, default=0, metavar="N", help="refuse a registry of an older state than number N"
    )
    parser.add_argument("--ledger", metavar="DIR", type=Path, help="the log of attestations")
    parser.add_argument("--policy", metavar="FILE", type=Path, help="what is demanded of the run (YAML)")


def trust(args: argparse.Namespace) -> tuple[Registry | None, Policy]:
    """Open the registry and the policy that the arguments name.

    A registry whose root is not the pinned one is opened all the same: the audit then says so, as a violation.
    """
    from og_ros.audit.policy import Policy, load_policy
    from og_ros.audit.trust import open_registry

    policy = load_policy(args.policy) if args.policy else Policy()
    if args.root:
        policy = replace(policy, registry_root=args.root)
    if args.registry is None:
        if args.snapshot is not None:
            raise ConfigError("--snapshot counts beside --registry DIR; to use it alone, give it as --registry")
        return None, policy
    registry = open_registry(
        args.registry,
        policy,
        minimum_number=args.minimum_number,
        snapshot=args.snapshot,
        chain=getattr(args, "chain", None),
        final_blocks=final_blocks(args),
        contracts=args.contracts,
    )
    return registry, policy


def run(args: argparse.Namespace) -> int:
    """Audit, show the report, and return the exit code."""
    if is_fleet(args, args.bag):
        _refuse_for_many(args)
        return run_fleet(args, args.bag)
    args.bag = args.bag[0]
    from og_ros.attest.content_key import load_recipient_key
    from og_ros.audit.disclosures import load_disclosures
    from og_ros.audit.run import audit_bag
    from og_ros.cli.output import progress_bar
    from og_ros.cli.report_view import show_report
    from og_ros.registry.timestamp import read_time

    registry, policy = trust(args)
    settlement = settlement_evidence(args)
    public, policy = public_evidence(args, policy)
    plan = reexecution_plan(args)
    outputs = Outputs.of(args)
    with progress_bar("auditing", hidden=args.quiet or outputs.to_stdout) as progress:
        report = audit_bag(
            args.bag,
            registry,
            args.ledger,
            policy,
            progress,
            [outputs.collector] if outputs.collector is not None else [],
            processes(args.jobs),
            plan,
            load_disclosures(*args.disclosures) if args.disclosures else None,
            load_recipient_key(args.unseal_key) if args.unseal_key else None,
            settlement,
            read_time(args.at, "--at") if args.at else None,
            public,
        )
    report = outputs.write(report, registry)
    if not outputs.to_stdout:
        show_report(report)
    return EXIT_CODES[report.verdict.value]


def _refuse_for_many(args: argparse.Namespace) -> None:
    """Raise ConfigError for what one recording's audit can do and that of many cannot."""
    single = (
        "at", "snapshot", "contracts", "cosigned", "tsa_root", "witness_policy", "html", "sarif", "junit", "summary",
        "profile", "reexecute", "unseal_key", "disclosures", "endpoint", "endpoint_key",
    )  # fmt: skip
    for name in single:
        if getattr(args, name):
            raise ConfigError(f"--{name.replace('_', '-')} is for one recording, not for many")
    if args.registry is not None and args.registry.is_file():
        raise ConfigError("a snapshot of a chain as --registry is for one recording, not for many")
