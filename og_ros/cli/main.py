"""The og-ros command: finds the verb, runs it, turns an OgError into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

from og_ros import __version__
from og_ros.errors import OgError

HOLDS: Final = 0
VIOLATIONS: Final = 1
COULD_NOT_CHECK: Final = 2

# One module a verb, in the order that --help shows them. Each has add_parser(subparsers) and run(args) -> exit code.
VERBS: Final = (
    "demo", "audit", "trace", "run", "watch", "record", "replay", "unseal", "disclose", "report", "summary", "profile",
    "pack", "verify", "attestation", "evidence", "registry", "keys", "log", "settle", "chain", "aggregator", "envelope",
    "estop", "doctor", "manifest", "tpm", "launch-measured",
)  # fmt: skip

DESCRIPTION: Final = """\
Accountable robot AI: attest every model inference, join them into decision chains, audit them offline.

  og-ros run PIPELINE             the attested stages that one YAML file describes, and an auditor
  og-ros demo                     a robot, three attested models, an auditor and a recorder; then an audit of its bag
  og-ros audit BAG --registry D   check a recording: every signature, digest, link and certificate in it
  og-ros trace BAG --topic T      the chain from one command back to the camera frame it came from
"""
EPILOG: Final = """\
Exit codes: 0 it holds, 1 violations were found, 2 it could not be checked. `og-ros VERB --help` teaches a verb."""


def build_parser(verbs: Sequence[str] = VERBS) -> argparse.ArgumentParser:
    """Return the parser with some verbs, all by default."""
    parser = argparse.ArgumentParser(
        prog="og-ros", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"og-ros {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in verbs:
        importlib.import_module(module_of(verb)).add_parser(subparsers)
    return parser


def module_of(verb: str) -> str:
    """Return the module of a verb."""
    return f"og_ros.cli.{verb.replace('-', '_')}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Only the verb that was asked for is imported; its help and errors name no other.
    verbs = words[:1] if words and words[0] in VERBS else VERBS
    args = build_parser(verbs).parse_args(words)
    try:
        code: int = importlib.import_module(module_of(args.verb)).run(args)
        sys.stdout.flush()
        return code
    except OgError as error:
        # One line, whatever a library put into its message.
        print(f"og-ros {args.verb}: {' '.join(str(error).split())}", file=sys.stderr)
        return COULD_NOT_CHECK
    except KeyboardInterrupt:
        print(f"og-ros {args.verb}: interrupted", file=sys.stderr)
        return COULD_NOT_CHECK
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return COULD_NOT_CHECK


if __name__ == "__main__":
    sys.exit(main())
