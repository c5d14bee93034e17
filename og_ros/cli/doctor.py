"""og-ros doctor: says what of this machine works for og_ros, and what to do about the rest."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from og_ros.cli import doctor_machine
from og_ros.cli.doctor_machine import Advice

EPILOG = """\
Examples:
  og-ros doctor                            everything that og_ros needs, a line each
  og-ros doctor --keys keys --json         also checks the key files in a directory

Exit codes: 0 what is there works, 1 something is broken. A part that is not installed is no fault, nor is advice.
"""

OK: Final = "ok"
ABSENT: Final = "absent"
ADVICE: Final = "advice"
BROKEN: Final = "broken"
_LARGE: Final = 6 << 20


@dataclass(frozen=True)
class Check:
    """One part of the machine: its name, its state, and what was seen or what to do."""

    name: str
    state: str
    detail: str


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "doctor",
        help="what of this machine works: ROS, rmw, messages, models, keys",
        description="Check each part that og_ros uses on this machine by using it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--keys", metavar="DIR", type=Path, help="check the private keys (*.pem) in a directory")
    parser.add_argument("--json", action="store_true", help="write the checks as JSON")


def run(args: argparse.Namespace) -> int:
    """Run every check and show it."""
    checks = [
        _attempt("python", lambda: f"{platform.python_version()} on {platform.machine()}, {sys.executable}"),
        _attempt("attestation", _sign_and_verify),
        _attempt("recordings", lambda: _version("rosbags")),
        _attempt("models", _onnxruntime),
        _attempt("images", _opencv),
        _attempt("ROS 2", _ros),
        _attempt("og_ros messages", _messages),
        _attempt("DDS", _dds),
        _attempt("launch", _launch),
        _attempt("SROS2", doctor_machine.security),
        _attempt("large messages", doctor_machine.shared_memory),
        _attempt("wall clock", doctor_machine.clock),
        *_keys(args.keys),
    ]
    if args.json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            print(f"{check.state:<7} {check.name:<{width}}  {check.detail}")
    return 1 if any(check.state == BROKEN for check in checks) else 0


def _attempt(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, OK, look())
    except ImportError as error:
        return Check(name, ABSENT, f"{error}")
    except Advice as error:
        return Check(name, ADVICE, f"{error}")
    except Exception as error:  # a broken installation raises what it likes; the doctor names it
        return Check(name, BROKEN, f"{type(error).__name__}: {error}")


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError(f"{package} is not installed") from error


def _sign_and_verify() -> str:
    from og_ros.attest import Algorithm, SoftwareSigner, keys, verify_signature

    for algorithm in Algorithm:
        signer = SoftwareSigner(keys.generate(algorithm))
        verify_signature(signer.public_key, b"doctor", signer.sign(b"doctor"))
    return f"signs and verifies {', '.join(a.name for a in Algorithm)}; {_version('cryptography')}"


def _onnxruntime() -> str:
    import onnxruntime  # type: ignore[import-untyped,import-not-found,unused-ignore]

    return f"onnxruntime {onnxruntime.__version__}, {', '.join(onnxruntime.get_available_providers())}"


def _opencv() -> str:
    import cv2

    return f"opencv {cv2.__version__}"


def _ros() -> str:
    import rclpy
    from rclpy.topic_endpoint_info import TopicEndpointInfo

    # What og_ros does without where it is missing.
    new = {
        "EventsExecutor": importlib.util.find_spec("rclpy.experimental") is not None,
        "type hashes": hasattr(TopicEndpointInfo, "topic_type_hash"),
    }
    lacks = ", ".join(f"no {name}" for name, there in new.items() if not there)
    return "; ".join(filter(None, [doctor_machine.distribution(), lacks, f"in {Path(rclpy.__file__).parent}"]))


def _messages() -> str:
    from og_ros.attest import ATTESTATION_TYPE
    from og_ros.nodes.topics import message_class

    kind = message_class(ATTESTATION_TYPE)
    kind.__class__.__import_type_support__()
    return f"{ATTESTATION_TYPE} with its type support"


def _dds() -> str:
    import time

    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.utilities import get_rmw_implementation_identifier
    from std_msgs.msg import String

    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node("og_ros_doctor", context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        heard: list[bytes] = []
        node.create_subscription(String, "~/echo", heard.append, 1, raw=True)
        publisher = node.create_publisher(String, "~/echo", 1)
        began = time.monotonic()
        while not heard and time.monotonic() - began < 5.0:
            publisher.publish(String(data="doctor"))
            executor.spin_once(0.05)
        arrived, heard[:] = bool(heard), []
        # As large as a full HD image, which takes another way than small ones: shared memory, or many packets.
        node.create_subscription(String, "~/large", heard.append, 1, raw=True)
        large = node.create_publisher(String, "~/large", 1)
        image = b"\0\1\0\0" + (_LARGE - 8).to_bytes(4, "little") + bytes(_LARGE - 8)
        began = time.monotonic()
        while arrived and not any(len(data) == _LARGE for data in heard) and time.monotonic() - began < 5.0:
            large.publish(image)
            executor.spin_once(0.5)
        took = time.monotonic() - began
        rmw = get_rmw_implementation_identifier()
        executor.shutdown()
        node.destroy_node()
        if not arrived:
            raise RuntimeError("a message published here was not received here within 5 s")
        if not any(len(data) == _LARGE for data in heard):
            raise Advice(f"{rmw}: a message of {_LARGE >> 20} MiB did not arrive within 5 s")
        return f"{rmw}: published and received, {_LARGE >> 20} MiB in {1000 * took:.0f} ms"
    finally:
        rclpy.shutdown(context=context)


def _launch() -> str:
    import launch_ros  # type: ignore[import-not-found,unused-ignore]

    return f"launch_ros in {Path(launch_ros.__file__).parent}"


def _keys(directory: Path | None) -> list[Check]:
    if directory is None:
        return []
    from og_ros.attest.keys import algorithm_of, key_id, load_private
    from og_ros.errors import KeyFileError

    checks = []
    for path in sorted(directory.glob("*.pem")):
        try:
            key = load_private(path)
            checks.append(Check(path.name, OK, f"{algorithm_of(key).name} {key_id(key.public_key()).hex()}"))
        except KeyFileError as error:
            checks.append(Check(path.name, BROKEN, str(error)))
    return checks or [Check("keys", ABSENT, f"no *.pem in {directory}")]
