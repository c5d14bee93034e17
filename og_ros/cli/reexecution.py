"""Re-execution on the command line: the arguments of an audit that runs models again, and what came out, in short."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.errors import ConfigError

if TYPE_CHECKING:
    from og_ros.audit.reexecution.rerun import ReexecutionPlan

_SHOWN_REASONS: Final = 3


def add_reexecution_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --reexecute and what belongs to it."""
    group = parser.add_argument_group("re-execution: run the certified models again on the recorded inputs")
    group.add_argument("--reexecute", metavar="SAMPLE", help="all, a share (2%%, 0.02), or a count (500)")
    group.add_argument("--pipeline", metavar="FILE", type=Path, help="the pipeline file that the robot ran (YAML)")
    group.add_argument(
        "--models", metavar="PATH", type=Path, action="append", help="an .onnx file, or a directory of them; repeatable"
    )
    group.add_argument(
        "--beacon", metavar="TEXT", help="randomness to sample by: 0xHEX, 64 hex digits or text (default: new)"
    )
    group.add_argument("--beacon-time", metavar="TIME", help="when the beacon became public, as 2026-01-31T12:00:00Z")
    group.add_argument(
        "--tolerance", metavar="ABS,REL", help="how far numbers of another machine may be apart; default: 1e-4,1e-3"
    )


def reexecution_plan(args: argparse.Namespace) -> ReexecutionPlan | None:
    """Return what the arguments ask for, checked; None without --reexecute.

    Raises ConfigError or ModelError for arguments that are wrong, missing, or of no use.
    """
    if args.reexecute is None:
        for name in ("pipeline", "models", "beacon", "beacon_time", "tolerance"):
            if getattr(args, name) is not None:
                raise ConfigError(f"--{name.replace('_', '-')} is of no use without --reexecute")
        return None
    from og_ros.audit.reexecution.comparison import DEFAULT_TOLERANCE, parse_tolerance
    from og_ros.audit.reexecution.rerun import ReexecutionPlan
    from og_ros.audit.reexecution.sampling import fresh_beacon, parse_beacon, parse_sample
    from og_ros.registry.timestamp import read_time

    sample = parse_sample(args.reexecute)
    if args.pipeline is None:
        raise ConfigError("--reexecute needs --pipeline: the pipeline file that the robot ran")
    if args.beacon is None and args.beacon_time is not None:
        raise ConfigError("--beacon-time is of no use without --beacon")
    time_ns = read_time(args.beacon_time, "--beacon-time") if args.beacon_time is not None else None
    plan = ReexecutionPlan(
        sample=sample,
        beacon=fresh_beacon() if args.beacon is None else parse_beacon(args.beacon, time_ns),
        pipeline=args.pipeline,
        models=tuple(args.models or ()),
        tolerance=DEFAULT_TOLERANCE if args.tolerance is None else parse_tolerance(args.tolerance),
    )
    plan.check()
    return plan


def reexecution_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a report's `reexecution` says, for people."""
    yield f"{found['selected']} of {found['population']} inferences run again: {_outcomes(found['outcomes'])}"
    yield f"sample {found['sample']}, beacon {found['beacon']} ({found['beacon_note']})"
    for name, stage in found["stages"].items():
        share = stage["not_reproduced_share_at_most"]
        proven = f"; at most {share:.2%} of its inferences are not reproducible ({found['confidence']:.0%} confidence)"
        yield f"{name}: {_outcomes(stage['outcomes'])}{proven if share is not None else ''}"
        errors = stage["largest_errors"]
        if stage["tolerance_allowed"]:
            tolerance = f"{found['tolerance']['absolute']:g} + {found['tolerance']['relative']:g} × |value|"
            reasons = "; ".join(list(stage["tolerance_allowed_because"])[:_SHOWN_REASONS])
            yield f"  {stage['tolerance_allowed']} compared within {tolerance}, since {reasons}"
        if errors:
            yield f"  furthest apart: {', '.join(f'{topic} {error:.3g}' for topic, error in errors.items())}"


def _outcomes(outcomes: Mapping[str, int]) -> str:
    words = {"reproduced": "the same bytes", "reproduced_within_tolerance": "within the tolerance"}
    shown = [f"{count} {words.get(name, name)}" for name, count in outcomes.items() if count]
    return ", ".join(shown) or "none was selected"
