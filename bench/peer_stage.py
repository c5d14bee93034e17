"""The stage as others build it, for contrast: the hash of `str(message)`, and a settlement before the output.

The settlement is the cheapest there is, a row committed durably to a local database; a transaction on a chain takes
seconds.
"""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.serialization import serialize_message

from og_ros.nodes.process import run_node
from og_ros.nodes.topics import message_class
from og_ros.stages.inference import Inference
from og_ros.stages.pipeline import StageConfig, load_pipeline


class PeerStage(Node):
    """Runs a stage of one input; its callback hashes texts and waits for the settlement."""

    def __init__(self, config: StageConfig, ledger: Path) -> None:
        super().__init__(f"peer_{config.stage}")
        self._inference = Inference.configure(config)
        self._ledger = sqlite3.connect(ledger)
        self._ledger.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE settled (input TEXT, output TEXT);"
        )
        (source,) = config.inputs.values()
        (output,) = config.outputs.values()
        self._publisher = self.create_publisher(message_class(output.type), output.topic, output.qos.depth)
        self.create_subscription(message_class(source.type), source.topic, self._receive, source.qos.depth)

    def _receive(self, message: Any) -> None:
        read = hashlib.sha256(str(message).encode()).hexdigest()
        sample = self._inference.decode(0, serialize_message(message))
        result = self._inference.run([sample], stamp_ns=self.get_clock().now().nanoseconds, frame_id="")
        written = hashlib.sha256(str(result.outputs[0]).encode()).hexdigest()
        with self._ledger:
            self._ledger.execute("INSERT INTO settled VALUES (?, ?)", (read, written))
        self._publisher.publish(result.outputs[0])


if __name__ == "__main__":
    pipeline = Path(sys.argv[1])
    stage = load_pipeline(pipeline).stages[sys.argv[2]]
    raise SystemExit(run_node(lambda: PeerStage(stage, pipeline.with_suffix(".db")), []))
