"""og-ros estop: sends a signed emergency stop to robots, or signs one's part of a release."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, Final

from og_ros.errors import ConfigError, StopError

NOT_HEARD: Final = 1
EPILOG = """\
Anybody whom a robot's envelope lists can stop it; no clock needs to be right. To release it takes as many of those
listed as the envelope says, each for the challenge that the gate shows in its verdicts while it is stopped:

  og-ros estop send --robot amr-1 --key floor.pem --reason "smoke in aisle 4"
  og-ros estop send --robot "*" --key floor.pem --reason "everything stops"
  og-ros estop release --robot amr-1 --key safety-1.pem --challenge 5f0c… --reason "aisle checked"

A signed stop is no substitute for the stop button that cuts the power: it needs a network and a gate that runs.

Exit codes: 0 sent, and somebody listened; 1 sent, and nobody listened; 2 it could not be sent.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "estop",
        help="stop robots by a signed message, or release one",
        description="Send a signed emergency stop, or one authority's signed release.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    send = actions.add_parser("send", help="stop a robot, or every robot")
    release = actions.add_parser("release", help="sign for the release of a robot")
    release.add_argument("--challenge", required=True, metavar="HEX", help="what the gate shows: 32 hex digits")
    for action, what in ((send, 'the robot, or "*" for every one'), (release, "the robot")):
        action.add_argument("--robot", required=True, metavar="NAME", help=what)
        action.add_argument("--key", type=Path, required=True, metavar="KEY", help="the private key of an authority")
        action.add_argument("--reason", default="", help="why, in a few words; everybody can read it")
        action.add_argument(
            "--wait", type=float, default=10.0, metavar="S", help="how long to look for a listener (default: 10)"
        )


def run(args: argparse.Namespace) -> int:
    """Sign and send."""
    from og_ros.attest.signer import SoftwareSigner
    from og_ros.gate import estop

    signer = SoftwareSigner.load(args.key)
    now_ns = time.time_ns()
    if args.action == "send":
        message = estop.sign_stop(args.robot, signer, now_ns, now_ns, args.reason)
    else:
        message = estop.sign_release(args.robot, signer, now_ns, now_ns, args.reason, _challenge(args.challenge))
    try:
        from og_ros.nodes.stop_sender import send
    except ImportError as error:
        raise ConfigError("sending needs ROS 2 (rclpy): source ROS, or pip install og_ros[ros]") from error
    heard: int = send(estop.encode(message), args.wait)
    print(f"{message.kind.name.lower()} of {args.robot}, sent by key {signer.key_id.hex()[:16]}: {heard} listened")
    return 0 if heard else NOT_HEARD


def _challenge(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 16:
        raise StopError(f"the challenge {text[:40]!a} is not 32 hex digits; copy it from the gate's verdict")
    return found
