"""The arguments of `og-ros audit` that name cosigned checkpoints, the quorum of witnesses, and roots of time stamps."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from og_ros.errors import ConfigError

if TYPE_CHECKING:
    from og_ros.audit.policy import Policy
    from og_ros.audit.witnessed import PublicEvidence


def add_public_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument(
        "--witness-policy", metavar="FILE", type=Path,
        help="witnesses that you believe, and their quorum (C2SP tlog-policy); needs --ledger",
    )  # fmt: skip
    parser.add_argument(
        "--cosigned", metavar="FILE", type=Path, action="append", default=[],
        help="a signed checkpoint of the log that you have from elsewhere, such as a witness; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--tsa-root", metavar="PEM", type=Path, action="append", default=[],
        help="certificates of time stamp authorities that you believe (RFC 3161); repeatable",
    )  # fmt: skip


def public_evidence(args: argparse.Namespace, policy: Policy) -> tuple[PublicEvidence | None, Policy]:
    """Read what the arguments name, and put the witness policy in the place of the policy's own."""
    given = args.witness_policy or args.cosigned or args.tsa_root
    if not given:
        return None, policy
    if args.ledger is None:
        raise ConfigError("--witness-policy, --cosigned and --tsa-root are about a log: give it by --ledger")
    from og_ros.audit.witnessed import open_public_evidence
    from og_ros.log.quorum import load_witness_policy

    if args.witness_policy is not None:
        policy = replace(policy, witness_policy=load_witness_policy(args.witness_policy), witness_quorum=0)
    return open_public_evidence(args.cosigned, args.tsa_root), policy
