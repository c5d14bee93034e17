"""One ROS process of the wire tests: sends every message raw and typed, and writes down all bytes that it hears.

    wire_peer.py NAME FOLDER

FOLDER/messages.json says who takes part and what each sends. Runs under any distribution and rmw; imports ROS alone.
"""

import base64
import importlib
import json
import sys
import time
from pathlib import Path

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.utilities import get_rmw_implementation_identifier

DEADLINE_S = 60.0
WAYS = ("raw", "typed")


def main(me: str, folder: Path) -> int:
    """Exit 0 when everything was heard that all peers send, 1 at the deadline."""
    plan = json.loads((folder / "messages.json").read_text())
    peers, messages = plan["peers"], plan["messages"]
    end = time.monotonic() + DEADLINE_S
    rclpy.init()
    node = rclpy.create_node(f"peer_{me}")
    # Large images come in many packets: reliable, so that a lost one is sent again. Kept for late listeners, since two
    # vendors do not notice at the same moment that they met.
    qos = QoSProfile(
        depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
    )
    heard: dict[str, str] = {}
    sent = []
    for number, (name, payload) in enumerate(messages):
        package, _, kind = name.split("/")
        cls = getattr(importlib.import_module(f"{package}.msg"), kind)
        for way in WAYS:
            for peer in peers:
                topic = f"/{peer}/{way}/m{number}"

                def keep(data: bytes, topic: str = topic) -> None:
                    heard[topic] = base64.b64encode(data).decode()

                node.create_subscription(cls, topic, keep, qos, raw=True)
            data = base64.b64decode(payload)
            publisher = node.create_publisher(cls, f"/{me}/{way}/m{number}", qos)
            sent.append((publisher, data if way == "raw" else deserialize_message(data, cls)))
    while any(publisher.get_subscription_count() < len(peers) for publisher, _ in sent):
        if time.monotonic() > end:
            print("not all peers subscribed", file=sys.stderr)
            return 1
        rclpy.spin_once(node, timeout_sec=0.05)
    expected = len(peers) * len(WAYS) * len(messages)
    for publisher, message in sent:
        publisher.publish(message)
        rclpy.spin_once(node, timeout_sec=0)
    while len(heard) < expected and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.05)
    result = {"rmw": get_rmw_implementation_identifier(), "rclpy": rclpy.__file__, "heard": heard}
    partial = folder / f"{me}.part"
    partial.write_text(json.dumps(result))
    partial.rename(folder / f"{me}.json")
    # A publisher that ends takes along what is still on its way to the others.
    while len(list(folder.glob("*.json"))) <= len(peers) and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.05)
    if len(heard) < expected:
        every = {f"/{peer}/{way}/m{number}" for peer in peers for way in WAYS for number in range(len(messages))}
        print("did not hear", sorted(every - set(heard)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
