"""The world node speaks as a robot does: clock, image, scan, odometry; and it stops when nobody commands it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from domains import claim_domain

pytestmark = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="needs rclpy")
DOMAIN = claim_domain()

# In a process of its own: rclpy from PyPI starts the interpreter anew on its first import.
SCRIPT = """
import array, json, math
import rclpy
from rclpy.serialization import serialize_message
from std_msgs.msg import Float32MultiArray
from og_ros.errors import OgError
from og_ros.nodes import world as room

rclpy.init(args=["--ros-args", "-p", "seed:=5", "-p", "boxes:=false", "-p", "rate:=0.001"])
node = room.WorldNode()
world, sent = node.world, {"clock": 0, "image": [], "scan": [], "odom": 0}

class Recorder:
    def __init__(self, key): self.key = key
    def get_subscription_count(self): return 0
    def publish(self, message):
        kept = sent[self.key]
        if isinstance(kept, list): kept.append(message)
        else: sent[self.key] += 1
node._clock_publisher, node._images = Recorder("clock"), Recorder("image")
node._scans, node._odometry = Recorder("scan"), Recorder("odom")

node._on_command(Float32MultiArray(data=[0.3, 0.3]))
for _ in range(16): node._tick()
moving = world.odometry().v
for _ in range(60): node._tick()
halted = world.odometry().v
node._on_command(Float32MultiArray(data=[0.3, 0.3]))
for _ in range(8): node._tick()
node._on_command(Float32MultiArray(data=[math.nan, 0.3]))
nonsense = node._command
image, scan = sent["image"][-1], sent["scan"][-1]
print(json.dumps({
    "counts": [sent["clock"], sent["odom"], len(sent["image"]), len(sent["scan"])],
    "moving": moving, "halted": halted, "nonsense": nonsense,
    "image": [image.height, image.width, image.encoding, image.step, type(image.data).__name__, image.data.typecode],
    "same": image.data.tobytes() == world.camera().tobytes(),
    "stamp": image.header.stamp.sec * 10**9 + image.header.stamp.nanosec == world.time_ns,
    "free": all(math.isinf(value) for value in scan.ranges), "beams": len(scan.ranges),
    "bytes": len(serialize_message(image)),
}))
node.destroy_node()
rclpy.shutdown()
"""


def environment() -> dict[str, str]:
    return {**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def test_topics_stamps_and_the_stop_without_commands() -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment(), timeout=60
    )
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout.splitlines()[-1])
    assert seen["counts"] == [84, 84, 42, 42]
    assert seen["moving"] > 0.25
    assert seen["halted"] == 0.0
    assert seen["nonsense"] == [0.0, 0.0]
    assert seen["image"] == [120, 160, "rgb8", 480, "array", "B"]
    assert seen["same"]
    assert seen["stamp"]
    assert (seen["free"], seen["beams"]) == (True, 24)
    assert seen["bytes"] > 57600


@pytest.mark.parametrize(
    ("setting", "named"), [("seed:=-1", "seed"), ("rate:=0.0", "rate"), ("image_height:=400", "horizon")]
)
def test_a_wrong_parameter_is_one_line_and_exit_code_1(setting: str, named: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "og_ros.nodes.world", "--ros-args", "-p", setting],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert result.returncode == 1
    assert named in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr
