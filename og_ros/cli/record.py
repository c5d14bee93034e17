"""og-ros record: records topics to an MCAP rosbag2, or recovers a recording that was cut off."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from og_ros.errors import ConfigError

COULD_NOT_RECORD: Final = 2
EPILOG = """\
Examples:
  og-ros record run1 --all                                    every topic, until Ctrl-C
  og-ros record run1 --topics /scan /cmd_vel /cmd_vel/attestation --duration 60
  og-ros record run1 --topics /cmd_vel:geometry_msgs/msg/Twist    subscribed before there is a publisher
  og-ros record run1 --all --seal auditor.pem.pub             encrypted for the auditor; see og-ros unseal
  og-ros record run1 --recover run1_saved                     after a crash: what reached the disk, as a proper bag

Messages are stored as they arrive, byte for byte; definitions are embedded, so `ros2 bag`, Foxglove and PlotJuggler
read the bag. Once a second everything is synced to the disk. A sealed recording has attestations in clear, and of every
other message its topic, type, time, size and digest.

Exit codes: 0 the recording is complete (messages that had to be dropped are reported), 1 the disk failed, 2 it could
not be made.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "record",
        help="record topics to an MCAP rosbag2",
        description="Record raw messages, attestations and all, to a new rosbag2 directory (MCAP).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="directory of the recording; it must not exist")
    parser.add_argument("--topics", nargs="+", metavar="T", default=[], help="topics to record: T or T:TYPE")
    parser.add_argument("--all", action="store_true", help="record every topic but hidden ones")
    parser.add_argument("--duration", type=float, default=0.0, metavar="S", help="stop after S seconds")
    parser.add_argument("--compression", choices=("none", "zstd"), default="none", help="of each chunk")
    parser.add_argument(
        "--seal", type=Path, action="append", default=[], metavar="PUBLIC",
        help="encrypt the data for the holder of this public key (PEM, P-256)",
    )  # fmt: skip
    parser.add_argument(
        "--committed", nargs="+", metavar="T", default=[],
        help="topics that stages commit to: sealed with the commitment in place of the digest",
    )  # fmt: skip
    parser.add_argument(
        "--disclosure-key", type=Path, metavar="FILE", help="the robot's disclosure secret, for --committed"
    )
    parser.add_argument(
        "--recover", type=Path, metavar="NEW", help="record nothing; write what is left of OUT to the new directory NEW"
    )


def run(args: argparse.Namespace) -> int:
    """Record and return the exit code."""
    if args.recover is not None:
        from og_ros.nodes.recovery import recover

        print(f"{args.recover}: {recover(args.out, args.recover)} messages recovered")
        return 0
    if not args.topics and not args.all:
        raise ConfigError("nothing to record: give --topics or --all")
    try:
        from rclpy.parameter import Parameter
    except ImportError as error:
        raise ConfigError("recording needs ROS 2 (rclpy): source ROS, or pip install og_ros[ros]") from error

    from og_ros.nodes.process import run_node
    from og_ros.nodes.recorder import Recorder

    values = {
        "output": str(args.out),
        "all": args.all,
        "duration": args.duration,
        "compression": args.compression,
        **({"topics": args.topics} if args.topics else {}),
        **({"seal": [str(path) for path in args.seal]} if args.seal else {}),
        **({"committed": args.committed} if args.committed else {}),
        **({"disclosure_key": str(args.disclosure_key)} if args.disclosure_key else {}),
    }
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(Recorder(parameter_overrides=overrides))
        return made[0]

    code: int = run_node(make, [])
    return code if made else COULD_NOT_RECORD
