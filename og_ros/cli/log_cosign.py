"""og-ros log cosign: has a ledger's checkpoints cosigned by witnesses and time-stamped, beside the running auditor."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from og_ros.cli.signals import until_stopped
from og_ros.errors import ConfigError, OgError

if TYPE_CHECKING:
    from og_ros.log.cosigner import Cosigner
    from og_ros.log.quorum import WitnessPolicy
    from og_ros.log.timestamps import Stamper
    from og_ros.log.witness_client import Endpoint

PURPOSE: Final = "have the ledger's newest checkpoint cosigned by witnesses, and time-stamped"
EPILOG: Final = """\
It only reads the ledger's database, and keeps what it is given in LEDGER/cosigned and LEDGER/stamped. Examples:

  og-ros log cosign demo_out/ledger --policy witnesses.txt               until it is stopped
  og-ros log cosign demo_out/ledger --once --witness 'w1+1a2b3c4d+BM...' https://witness.example/w1
  og-ros log cosign demo_out/ledger --tsa http://tsa.example/ --tsa-root tsa.pem

Exit codes: 0 cosigned by all, or by the policy's quorum, and stamped where that was asked; 1 a witness refused, since
it has seen another log; 2 not yet. A run without --once ends with 0 when it is stopped."""
_POLL_S: Final = 0.2
_STEP_S: Final = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("ledger", type=Path, metavar="LEDGER", help="the ledger's directory")
    parser.add_argument(
        "--witness", nargs=2, action="append", default=[], metavar=("VKEY", "URL"),
        help="a witness by its key and submission prefix; repeatable",
    )  # fmt: skip
    parser.add_argument("--policy", type=Path, metavar="FILE", help="witnesses with URLs, and a quorum (tlog-policy)")
    parser.add_argument("--tsa", metavar="URL", help="a time stamp authority (RFC 3161)")
    parser.add_argument("--tsa-root", type=Path, metavar="PEM", help="its root, to verify each stamp before it is kept")
    parser.add_argument("--every", type=float, default=60.0, metavar="S", help="how often to cosign (60 s)")
    parser.add_argument("--stamp-every", type=float, default=3600.0, metavar="S", help="how often to stamp (3600 s)")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="how long a witness may take (10 s)")
    parser.add_argument("--once", action="store_true", help="take the newest checkpoint there is, and end")


def run(args: argparse.Namespace) -> int:
    """Cosign once or until it is stopped; the exit code."""
    from og_ros.log.cosigner import Cosigner
    from og_ros.log.timestamps import Stamper, load_roots

    for name in ("every", "stamp_every", "timeout"):
        if not 0.1 <= getattr(args, name) <= 1e6:
            raise ConfigError(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must be from 0.1 to 1e6")
    policy, endpoints = _witnesses(args)
    if not endpoints and args.tsa is None:
        raise ConfigError("name a witness, or a time stamp authority: --witness, --policy, --tsa")
    stamper = None
    if args.tsa is not None:
        roots = load_roots(args.tsa_root) if args.tsa_root is not None else []
        stamper = Stamper(args.ledger, args.tsa, args.stamp_every, roots, _tell)
    elif args.tsa_root is not None:
        raise ConfigError("--tsa-root without --tsa: there is no stamp to verify")
    cosigner = Cosigner(args.ledger, endpoints, _tell, args.every)
    if args.once:
        cosigner.step()
        if stamper is not None:
            stamper.step()
        return _conclude(cosigner, stamper, policy)
    with until_stopped() as stopped:
        _loop(stopped, [cosigner.step, *([stamper.step] if stamper is not None else [])])
    return 0


def _loop(stopped: Callable[[], bool], steps: list[Callable[[], None]]) -> None:
    """Take the steps, which do what is due; a ledger that is not there yet, or a full disk, is waited for."""
    problem = ""
    due = 0.0
    while not stopped():
        if time.monotonic() >= due:
            due = time.monotonic() + _STEP_S
            for step in steps:
                try:
                    step()
                except OgError as error:
                    if str(error) != problem:
                        _tell(f"{error}; waiting")
                    problem = str(error)
        time.sleep(_POLL_S)


def _conclude(cosigner: Cosigner, stamper: Stamper | None, policy: WitnessPolicy | None) -> int:
    from og_ros.log.cosignature import cosignatures
    from og_ros.log.note import parse_note

    missing = cosigner.missing()
    for line in missing:
        _tell(line)
    done = not missing
    note = cosigner.note()
    if policy is not None:
        good = [found.witness for found in cosignatures(parse_note(note), policy.keys)[0]] if note else []
        done = policy.is_met(good)
        _tell(f"quorum ({policy.describe()}): {'met' if done else 'not met'}")
    if stamper is not None and stamper.is_behind():
        done = False
    if cosigner.refused:
        return 1
    return 0 if done else 2


def _witnesses(args: argparse.Namespace) -> tuple[WitnessPolicy | None, list[Endpoint]]:
    """Return the policy, if one is named, and whom to ask: the witnesses of both that have an URL, each once."""
    from og_ros.log.cosignature import WitnessKey
    from og_ros.log.quorum import load_witness_policy
    from og_ros.log.witness_client import Endpoint

    policy = load_witness_policy(args.policy) if args.policy is not None else None
    found = {WitnessKey.parse(vkey): url for vkey, url in args.witness}
    if policy is not None:
        found = {witness.key: witness.url for witness in policy.witnesses.values() if witness.url} | found
    return policy, [Endpoint(key, url, args.timeout) for key, url in found.items()]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
