"""og-ros replay: publishes a recording into ROS, byte for byte."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from og_ros.cli.output import progress_bar
from og_ros.errors import ConfigError

EPILOG = """\
Examples:
  og-ros replay demo_out/bag                                       every topic, at the recorded pace
  og-ros replay BAG --topics /scan /odom --rate 4 --wait-for-subscribers
  og-ros replay BAG --clock --loop                                 with /clock, for nodes with use_sim_time

The recorded bytes go out unchanged, also where this ROS distribution would write the type otherwise, so the digest of
what a node receives is the digest of what the recording holds. Topics whose type is not installed are left out.

Exit codes: 0 the recording was published, 2 it could not be.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "replay",
        help="publish a recording into ROS",
        description="Publish the messages of a rosbag2 recording (sqlite3 or MCAP, zstd too) into ROS.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", metavar="BAG", type=Path, help="the recording: a rosbag2 directory")
    parser.add_argument(
        "--rate", type=_rate, default=1.0, metavar="R", help="2 is twice as fast; 0 as fast as possible"
    )
    parser.add_argument("--topics", nargs="+", metavar="T", help="topics to publish; all by default")
    parser.add_argument("--loop", action="store_true", help="start again at the end, until stopped")
    parser.add_argument("--clock", action="store_true", help="publish /clock from the recording's time")
    parser.add_argument(
        "--wait-for-subscribers", nargs="?", type=float, const=30.0, default=0.0, metavar="S",
        help="wait until every topic has a subscriber, at most S seconds (30), so that nothing is lost at the start",
    )  # fmt: skip
    parser.add_argument(
        "--subscribers", type=int, default=1, metavar="N", help="how many to wait for on each topic (a recorder is one)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Replay a recording and return the exit code."""
    try:
        import rclpy
        from rclpy.signals import SignalHandlerOptions
    except ImportError as error:
        raise ConfigError("a replay needs ROS 2 (rclpy): source ROS, or pip install og_ros[ros]") from error

    from og_ros.audit.recording.bag import open_bag
    from og_ros.nodes.replay import Replay

    with open_bag(args.bag) as bag:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node("replay")
        try:
            replay = Replay(node, bag, args.topics, args.clock)
            for name in (signal.SIGINT, signal.SIGTERM):
                signal.signal(name, lambda *_: replay.stop())
            for topic, reason in sorted(replay.summary.skipped.items()):
                print(f"{topic} is left out: {reason}", file=sys.stderr)
            if args.wait_for_subscribers:
                for topic in replay.wait_for_subscribers(args.wait_for_subscribers, args.subscribers):
                    print(f"{topic} has fewer than {args.subscribers} subscribers", file=sys.stderr)
            with progress_bar(f"replaying {args.bag}", hidden=args.quiet) as update:
                while not replay.stopped:
                    replay.run(args.rate, update)
                    if not args.loop:
                        break
            if not replay.finish():
                print("some subscribers may have missed the last messages", file=sys.stderr)
        finally:
            node.destroy_node()
            rclpy.try_shutdown()
    count, topics = sum(replay.summary.published.values()), len(replay.summary.published)
    print(f"{args.bag}: {count} messages of {topics} topics published")
    return 0


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 <= rate < float("inf"):
        raise argparse.ArgumentTypeError("must be 0 or above")
    return rate
