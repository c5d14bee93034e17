"""A process behind SROS2: secure_peer.py camera FOLDER, or secure_peer.py intrude TOPIC.

`camera` publishes images until it has heard three attestations of them, and writes those to FOLDER. `intrude` exits 3
when it may not publish a topic.
"""

import os
import sys
import time
from pathlib import Path

import rclpy
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray

from og_ros.msg import Attestation
from og_ros.nodes.topics import attestation_qos

DEADLINE_S = float(os.environ.get("PEER_DEADLINE_S", "60"))


def camera(folder: Path) -> int:
    node = rclpy.create_node("camera")
    heard: list[bytes] = []
    images = node.create_publisher(Image, "/camera/image", 10)
    node.create_subscription(Attestation, "/perception/line/attestation", heard.append, attestation_qos(), raw=True)
    image = Image(height=120, width=160, encoding="rgb8", step=480, data=bytes(120 * 480))
    end = time.monotonic() + DEADLINE_S
    while len(heard) < 3 and time.monotonic() < end:
        image.header.stamp = node.get_clock().now().to_msg()
        images.publish(image)
        rclpy.spin_once(node, timeout_sec=0.1)
    for number, payload in enumerate(heard):
        (folder / f"{number}.cdr").write_bytes(payload)
    return 0 if heard else 1


def intrude(topic: str) -> int:
    node = rclpy.create_node("perception")
    try:
        node.create_publisher(Float32MultiArray, topic, 10)
    except Exception as error:  # the rmw's own refusal
        print(f"refused: {error}")
        return 3
    return 0


rclpy.init()
sys.exit(camera(Path(sys.argv[2])) if sys.argv[1] == "camera" else intrude(sys.argv[2]))
