"""og-ros aggregator: takes many robots' checkpoints, settles them in one transaction, gives each robot its receipt."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

EPILOG: Final = """\
CONFIG is a file with `fleet`, a section `aggregator` and a section `settlement`: config/aggregator.yaml is one, and
docs/guides/run-an-aggregator.md explains it. Robots settle through it by their backend `http`. Examples:

  og-ros aggregator run --config aggregator.yaml
  og-ros aggregator status --config aggregator.yaml             also while it runs
  og-ros aggregator token example.com/robot-7 --file tokens     a robot's bearer token: shown once, kept as a digest

Secrets come from the environment, as with og-ros settle. Exit codes: 0 stopped, or everything is settled, 1 a robot
signed two histories, 2 something is not settled yet or could not be read."""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "aggregator", help="settle the checkpoints of a fleet's robots in one transaction", description=__doc__,
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_parser = actions.add_parser("run", help="serve until it is stopped")
    status = actions.add_parser("status", help="show what was taken in, what is settled, and which robots forked")
    for action in (run_parser, status):
        action.add_argument("--config", type=Path, required=True, metavar="CONFIG", help="the aggregator's file")
    status.add_argument("--json", action="store_true", help="print JSON")
    token = actions.add_parser("token", help="make a bearer token for a log")
    token.add_argument("origin", metavar="ORIGIN", help="the log's origin, such as example.com/robot-7")
    token.add_argument("--file", type=Path, required=True, help="the file of tokens that the configuration names")


def run(args: argparse.Namespace) -> int:
    """Run the action and return its exit code."""
    code: int = _ACTIONS[args.action](args)
    return code


def _run(args: argparse.Namespace) -> int:
    from og_ros.aggregator import config
    from og_ros.aggregator.process import serve

    serve(config.load(args.config))
    return 0


def _status(args: argparse.Namespace) -> int:
    import json
    from contextlib import closing

    from og_ros.aggregator import config
    from og_ros.aggregator.store import Store

    with closing(config.load(args.config).database(read_only=True)) as database:
        store = Store(database)
        counts, latest, forks = store.counts(), store.latest_checkpoint(), store.forks()
        told: dict[str, Any] = {
            "fleet": store.name,
            "log": store.vkey,
            "robots": counts.logs,
            "checkpoints": counts.size,
            "settled": counts.settled,
            "signed": latest.size if latest is not None else 0,
            "forks": [
                {"origin": one.origin, "accepted": one.accepted.decode(), "refused": one.refused.decode()}
                for one in forks
            ],
        }
    if args.json:
        print(json.dumps(told, indent=2))
    else:
        print(f"fleet {told['fleet']}, log {told['log']}")
        print(f"{told['checkpoints']} checkpoints of {told['robots']} robots; {told['settled']} of them are settled")
        for one in forks:
            print(f"fork: log {one.origin} signed two checkpoints of one size with different roots (--json has them)")
    if forks:
        return 1
    return 0 if counts.settled == counts.size else 2


def _token(args: argparse.Namespace) -> int:
    from og_ros.aggregator.admission import add_token

    print(add_token(args.file, args.origin))
    print("This is shown once; the file keeps its SHA-256. Restart the aggregator.", file=sys.stderr)
    return 0


_ACTIONS: Final = {"run": _run, "status": _status, "token": _token}
