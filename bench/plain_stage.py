"""The stage that attestation is compared with: the same model and adapters between the same raw topics, and no more."""

from __future__ import annotations

import sys
from pathlib import Path

from rclpy.node import Node

from og_ros.nodes.process import run_node
from og_ros.nodes.topics import message_class
from og_ros.stages.inference import Inference, output_stamp
from og_ros.stages.pipeline import StageConfig, load_pipeline


class PlainStage(Node):
    """Runs a stage of one input that triggers; nothing is hashed, queued, or signed."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__(f"plain_{config.stage}")
        self._inference = Inference.configure(config)
        (source,) = config.inputs.values()
        (output,) = config.outputs.values()
        self._publisher = self.create_publisher(message_class(output.type), output.topic, output.qos.depth)
        self.create_subscription(message_class(source.type), source.topic, self._receive, source.qos.depth, raw=True)

    def _receive(self, payload: bytes) -> None:
        sample = self._inference.decode(0, payload)
        now_ns = self.get_clock().now().nanoseconds
        stamp_ns = output_stamp(self._inference.inputs, [sample], 0, now_ns)
        result = self._inference.run([sample], stamp_ns=stamp_ns, frame_id=sample.frame_id)
        self._publisher.publish(result.outputs[0])


if __name__ == "__main__":
    stage = load_pipeline(Path(sys.argv[1])).stages[sys.argv[2]]
    raise SystemExit(run_node(lambda: PlainStage(stage), [], events=True))
