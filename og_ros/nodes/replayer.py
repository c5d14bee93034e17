"""The replayer node: publishes a recording once, as `og-ros replay` does, and ends when the recording does."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rclpy.node import Node

from og_ros.audit.recording.bag import open_bag
from og_ros.errors import ConfigError, OgError
from og_ros.nodes.parameters import declare, describe
from og_ros.nodes.process import run_node
from og_ros.nodes.replay import CLOCK_TOPIC, Replay

_TEXT: Final = {
    "bag": "the recording: a rosbag2 directory",
    "subscribers": "wait until each topic has so many subscribers: one number, or one for each of `topics`",
    "clock": "none, or auto: /clock too, the recording's own if it has one, or made of the times of its messages",
}


class Replayer(Node):
    """Waits for subscribers, publishes the recorded bytes at the recorded pace, and finishes.

    The work is in a thread of its own, so that a signal ends it at once. exit_code is 1 for a damaged recording.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("replayer", **options)
        bag = declare(self, "bag", "", describe(_TEXT["bag"], read_only=True))
        clock = declare(self, "clock", "none", describe(_TEXT["clock"], read_only=True))
        topics = declare(self, "topics", [""], describe("topics to publish; none: all", read_only=True))
        rate = declare(
            self, "rate", 1.0, describe("2 is twice as fast; 0 as fast as possible", (0.0, 1000.0), read_only=True)
        )
        counts = list(declare(self, "subscribers", [1], describe(_TEXT["subscribers"], read_only=True)))
        wait = declare(
            self,
            "wait",
            30.0,
            describe("seconds to wait for them; then it begins anyway", (0.0, 3600.0), read_only=True),
        )
        if not bag:
            raise ConfigError("parameter bag is missing: a rosbag2 directory")
        if clock not in ("none", "auto"):
            raise ConfigError(f"parameter clock is {clock!r}; it must be none or auto")
        self.exit_code, self.finished = 0, False
        wanted = [self.resolve_topic_name(topic) for topic in topics if topic] or None
        if any(not 0 <= count <= 1000 for count in counts) or len(counts) not in (1, len(wanted or [])):
            raise ConfigError(f"parameter subscribers is {counts}; it must be one number or one a topic, 0 to 1000")
        self._open = contextlib.ExitStack()
        self._bag = self._open.enter_context(open_bag(Path(bag).expanduser()))
        awaited = dict(zip(wanted, counts, strict=True)) if wanted and len(counts) > 1 else counts[0]
        recorded = CLOCK_TOPIC in self._bag.topics
        if clock == "auto" and recorded and wanted is not None:
            wanted = list(dict.fromkeys([*wanted, CLOCK_TOPIC]))
        self._replay = Replay(self, self._bag, wanted, clock == "auto" and not recorded)
        for topic, reason in sorted(self._replay.summary.skipped.items()):
            self.get_logger().warning(f"{topic} is left out: {reason}")
        self._thread = threading.Thread(target=self._work, args=(rate, awaited, wait), name="replay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop where it is, and close the recording."""
        self._replay.stop()
        self._thread.join()
        self._open.close()

    def _work(self, rate: float, awaited: int | Mapping[str, int], wait: float) -> None:
        try:
            for topic in self._replay.wait_for_subscribers(wait, awaited):
                self.get_logger().warning(f"{topic} has fewer subscribers than awaited")
            self._replay.run(rate)
            if not self._replay.finish():
                self.get_logger().warning("some subscribers may have missed the last messages")
            published = self._replay.summary.published
            self.get_logger().info(f"{self._bag.path}: {sum(published.values())} messages of {len(published)} topics")
        except OgError as error:
            self.get_logger().error(str(error))
            self.exit_code = 1
        finally:
            self.finished = True


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until the recording is over."""
    return run_node(Replayer, args)


if __name__ == "__main__":
    sys.exit(main())
