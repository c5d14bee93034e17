"""A real C++ node over DDS: its attestations verify in Python, and a Python stage's verify in it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="no ROS here")
pytest.importorskip("og_ros.msg", reason="og_ros.msg is not built")

from cpp_build import build  # noqa: E402
from domains import claim_domain  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from og_ros.attest import (  # noqa: E402
    Clock,
    DataReference,
    ModelReference,
    Runtime,
    Session,
    SoftwareSigner,
    decode_attestation,
    digest,
    keys,
    verify,
)
from og_ros.msg import Attestation  # noqa: E402
from og_ros.nodes.topics import attestation_qos  # noqa: E402

pytestmark = pytest.mark.xdist_group("nodes")
HERE = Path(__file__).parent
COUNT = 20
LIBRARIES = ("rcl", "rcutils", "rmw", "rosidl_typesupport_cpp", "rosidl_runtime_c",
             "std_msgs__rosidl_typesupport_cpp", "og_ros__rosidl_typesupport_cpp")  # fmt: skip


@pytest.fixture(scope="module")
def program() -> Path:
    """The node, built with what the wheels have."""
    prefix = Path(sys.prefix)
    if not (prefix / "include" / "rcl" / "rcl" / "rcl.h").is_file():
        pytest.skip("the headers of rcl are not in this Python's prefix")
    includes = [f"-isystem{folder}" for folder in sorted((prefix / "include").iterdir()) if folder.is_dir()]
    libraries = (f"-L{prefix}/lib", *(f"-l{name}" for name in LIBRARIES), f"-Wl,-rpath,{prefix}/lib",
                 "-Wl,--allow-shlib-undefined", "-lcrypto", "-pthread")  # fmt: skip
    return build(HERE / "rcl_node.cpp", ["-O1", "-fPIC", "-shared", *includes], libraries)


def library_path() -> str:
    """Where the wheels have their libraries: their own, and those that they bring along."""
    packages = Path(rclpy.__file__).parents[1]
    return ":".join(map(str, [Path(sys.prefix, "lib"), *sorted(packages.glob("*.libs"))]))


# The wheels' librmw_dds_common needs the symbols of a Python, so a bare one holds the node; no Python code runs in it.
RUN = """
import ctypes, sys
words = [word.encode() for word in sys.argv[1:]]
sys.exit(ctypes.CDLL(sys.argv[1]).main(len(words), (ctypes.c_char_p * len(words))(*words)))
"""


class Peer:
    """A Python node in a domain of this process's own, and the C++ node's process beside it."""

    def __init__(self) -> None:
        self.domain = claim_domain()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.node = rclpy.create_node("python_side", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(self.domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "LD_LIBRARY_PATH": library_path(),
            "AMENT_PREFIX_PATH": sys.prefix,
        }
        return subprocess.Popen(
            [sys.executable, "-S", "-c", RUN, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def spin_until(self, condition: Any, what: str) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, f"no {what} in 60 s"
            self.executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    made = Peer()
    yield made
    made.close()


def test_what_a_cpp_node_attests_verifies_here(program: Path, peer: Peer, tmp_path: Path) -> None:
    private = keys.generate()
    keys.save_private(private, tmp_path / "key.pem")
    messages: list[bytes] = []
    records: list[bytes] = []
    peer.node.create_subscription(String, "/cpp/said", messages.append, attestation_qos(), raw=True)
    peer.node.create_subscription(Attestation, "/cpp/said/attestation", records.append, attestation_qos(), raw=True)
    process = peer.start(str(program), "publish", str(tmp_path / "key.pem"), str(COUNT))
    peer.spin_until(
        lambda: (len(messages) >= COUNT and len(records) >= COUNT) or process.poll() not in (None, 0), "records"
    )
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0, said
    previous = bytes(32)
    for number, (message, record) in enumerate(zip(messages, records, strict=True)):
        attestation = decode_attestation(record)
        verify(attestation, private.public_key())
        s = attestation.statement
        assert (s.sequence, s.previous, s.node) == (number, previous, "/cpp_stage")
        assert s.outputs[0].digest == digest(message)
        previous = attestation.digest


def test_what_python_attests_verifies_in_a_cpp_node(program: Path, peer: Peer, tmp_path: Path) -> None:
    signer = SoftwareSigner(keys.generate())
    (tmp_path / "key.pub").write_text(keys.public_pem(signer.public_key))
    publisher = peer.node.create_publisher(Attestation, "/py/said/attestation", attestation_qos())
    process = peer.start(str(program), "verify", str(tmp_path / "key.pub"), str(COUNT))
    peer.spin_until(lambda: publisher.get_subscription_count() > 0 or process.poll() is not None, "C++ listener")
    session = Session(
        robot="r",
        stage="s",
        node="/n",
        model=ModelReference("m", "", bytes(32)),
        runtime=Runtime("", ""),
        signer=signer,
    )
    message = DataReference("/t", "std_msgs/msg/String", hashlib.sha256(b"x").digest(), 8)
    made = []
    for _ in range(COUNT):
        begun = time.monotonic_ns()
        attestation = session.attest(
            [message], [message], start_ns=0, clock=Clock.SYSTEM, start_monotonic_ns=begun, duration_ns=1
        )
        publisher.publish(session.serialised(attestation))
        made.append(attestation.digest.hex())
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert said.split("\n")[:-1] == [*made, f"verified {COUNT} lost 0"]
