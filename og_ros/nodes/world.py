"""The world node: the demo robot and its surroundings, behind the topics that a real robot would have."""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Sequence
from typing import Any, Final

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import Image, LaserScan
from std_msgs.msg import Float32MultiArray, Header

from og_ros.nodes.parameters import Bounds, declare, describe
from og_ros.nodes.process import run_node
from og_ros.nodes.topics import wait_until_heard
from og_ros.sim import Box, Camera, World

STEP_NS: Final = 25_000_000
"""Simulated time between two states: odometry comes at 40 Hz, images and scans with every second one."""

COMMAND_TIMEOUT_NS: Final = 500_000_000
"""Without a command for this long, in simulated time, the wheels stop."""

SENSOR_EVERY: Final = 2


class WorldNode(Node):
    """Publishes /clock, camera/image, scan and odom; drives by wheel_command (left, right; m/s at the rim).

    Stamps are simulated time. The node is the source of that time and steps by the machine's monotonic clock, whatever
    `use_sim_time` says; where the machine is too slow, simulated time falls behind and nothing is left out.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("world", **options)
        seed = self._parameter("seed", 0, "seed of track, floor, boxes and noise", (0, 2**63 - 1))
        rate = self._parameter("rate", 1.0, "simulated seconds per second", (0.001, 1000.0))
        boxes = self._parameter("boxes", True, "whether boxes stand beside the track and come and go on the line")
        width = self._parameter("image_width", 160, "pixels; the models that come with og_ros take 160", (16, 4096))
        height = self._parameter("image_height", 120, "pixels; the models that come with og_ros take 120", (16, 4096))
        self._awaited = self._parameter(
            "wait_for", 0, "start when each sensor has this many subscribers; 0: at once", (0, 1000)
        )
        settle = self._parameter(
            "settle", 0.5, "seconds from the last awaited subscriber to the start, with wait_for", (0.0, 3600.0)
        )
        self.world = World(seed, camera=Camera(width=width, height=height), boxes=boxes)
        qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._clock_publisher = self.create_publisher(ClockMessage, "/clock", qos)
        self._images = self.create_publisher(Image, "camera/image", qos)
        self._scans = self.create_publisher(LaserScan, "scan", qos)
        self._odometry = self.create_publisher(Odometry, "odom", qos)
        command = self._parameter("command", "wheel_command", "topic of the wheel commands that the robot obeys")
        self._commands = self.create_subscription(Float32MultiArray, command, self._on_command, qos)
        self._settling = round(settle * rate * 1e9 / STEP_NS)
        self._command = (0.0, 0.0)
        self._commanded_ns: int | None = None
        self._box: Box | None = None
        self._gap = math.inf
        self._off_track = False
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(STEP_NS / 1e9 / rate, self._tick, clock=steady)
        self.get_logger().info(f"world {seed}: {self.world.track.length:.1f} m of track, {len(self.world.boxes)} boxes")

    def close(self) -> None:
        """Stop, and leave only when every subscriber has the last messages."""
        self._timer.cancel()
        wait_until_heard((self._images, self._scans, self._odometry, self._clock_publisher))

    def _parameter(self, name: str, default: Any, text: str, bounds: Bounds | None = None) -> Any:
        return declare(self, name, default, describe(text, bounds, read_only=True))

    def _on_command(self, message: Float32MultiArray) -> None:
        if len(message.data) != 2 or not all(math.isfinite(value) for value in message.data):
            self.get_logger().warning(
                f"wheel_command {list(message.data[:4])} is not [left, right] in m/s: wheels stop",
                throttle_duration_sec=5.0,
            )
            self._command = (0.0, 0.0)
        else:
            self._command = (message.data[0], message.data[1])
        self._commanded_ns = self.world.time_ns

    def _tick(self) -> None:
        """One step of the world, and what its sensors say of it."""
        sensors = (self._images, self._scans, self._odometry)
        if any(sensor.get_subscription_count() < self._awaited for sensor in sensors):
            return
        if self._settling and self._awaited:
            # A subscriber that is counted here may not know its publisher yet, and would miss what comes at once.
            self._settling -= 1
            return
        self._awaited = 0
        world = self.world
        if self._commanded_ns is None or world.time_ns - self._commanded_ns >= COMMAND_TIMEOUT_NS:
            self._command = (0.0, 0.0)
        world.step(STEP_NS / 1e9, self._command)
        stamp = Time(sec=world.time_ns // 1_000_000_000, nanosec=world.time_ns % 1_000_000_000)
        self._clock_publisher.publish(ClockMessage(clock=stamp))
        self._odometry.publish(odometry_message(world, stamp))
        if world.steps % SENSOR_EVERY == 0:
            self._images.publish(image_message(world, stamp))
            self._scans.publish(scan_message(world, stamp))
        self._tell()

    def _tell(self) -> None:
        """Log what a spectator would want to know, when it happens."""
        if self.world.box_on_line is not self._box:
            self._box = self.world.box_on_line
            if self._box is not None:
                self.get_logger().info(f"a box is put on the line, {self.world.times.ahead:.1f} m ahead")
            else:
                self.get_logger().info(f"the box is taken away; the robot stood {self._gap:.2f} m from it")
        elif self._box is not None:
            self._gap = self.world.clearance()
        if self.world.off_track and not self._off_track:
            self.get_logger().warning("the robot has left the track")
        self._off_track = self.world.off_track


def image_message(world: World, stamp: Time) -> Image:
    """The camera's image as rgb8; `data` is an array.array, which rclpy takes without looking at every byte."""
    height, width = world.image_size
    return Image(
        header=Header(stamp=stamp, frame_id="camera_optical_frame"),
        height=height,
        width=width,
        encoding="rgb8",
        step=3 * width,
        data=array.array("B", world.camera().tobytes()),
    )


def scan_message(world: World, stamp: Time) -> LaserScan:
    """The lidar's ranges; a beam that meets nothing is +inf (REP 117)."""
    lidar = world.lidar
    ranges = world.scan()
    ranges[ranges >= lidar.range_max] = math.inf
    return LaserScan(
        header=Header(stamp=stamp, frame_id="lidar"),
        angle_min=lidar.angle_min,
        angle_max=lidar.angle_max,
        angle_increment=lidar.angle_increment,
        scan_time=SENSOR_EVERY * STEP_NS / 1e9,
        range_min=lidar.range_min,
        range_max=lidar.range_max,
        ranges=array.array("f", ranges.tobytes()),
    )


def odometry_message(world: World, stamp: Time) -> Odometry:
    """The pose reckoned since the start in `odom`, and the measured speeds of `base_link`."""
    odometry = world.odometry()
    message = Odometry(header=Header(stamp=stamp, frame_id="odom"), child_frame_id="base_link")
    message.pose.pose.position.x = odometry.pose.x
    message.pose.pose.position.y = odometry.pose.y
    half = 0.5 * odometry.pose.theta
    message.pose.pose.orientation = Quaternion(z=math.sin(half), w=math.cos(half))
    message.twist.twist.linear.x = odometry.v
    message.twist.twist.angular.z = odometry.omega
    return message


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; the exit code."""
    return run_node(WorldNode, args)


if __name__ == "__main__":
    sys.exit(main())
