"""pip install of og_ros, into an environment with ROS and into one without."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from domains import claim_domain

from .conftest import WITH_MESSAGES, Environment, run
from .test_cpp import build_and_verify

CONSUMER = Path(__file__).parent / "cpp_consumer"
ROUNDTRIP = """
import rclpy
from og_ros.msg import Attestation

rclpy.init()
node = rclpy.create_node("roundtrip")
received = []
node.create_subscription(Attestation, "attestation", received.append, 10)
publisher = node.create_publisher(Attestation, "attestation", 10)
for _ in range(100):
    publisher.publish(Attestation(stage="perception"))
    rclpy.spin_once(node, timeout_sec=0.1)
    if received:
        break
print("received", received[0].stage)
"""
LOOK_UP = """
import json
from ament_index_python import get_package_share_directory, get_resource
from og_ros.paths import share_directory
import og_ros
print(json.dumps({
    "code": og_ros.__file__,
    "share": str(share_directory()),
    "index": get_package_share_directory("og_ros"),
    "interfaces": get_resource("rosidl_interfaces", "og_ros")[0].split(),
}))
"""
WALK = """
import importlib, importlib.util, pkgutil, sys
assert importlib.util.find_spec("rclpy") is None and importlib.util.find_spec("onnxruntime") is None
import og_ros
for part in ("attest", "audit", "evidence", "log", "registry", "cli"):
    if importlib.util.find_spec(f"og_ros.{part}"):
        package = importlib.import_module(f"og_ros.{part}")
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
print("imported", len([name for name in sys.modules if name.startswith("og_ros.")]))
"""


@pytest.fixture(scope="module")
def installed(sources: Path, ros_environment: Environment) -> Environment:
    ros_environment.install(sources, "--no-build-isolation", **WITH_MESSAGES)
    return ros_environment


@pytest.mark.slow
def test_messages_travel(installed: Environment) -> None:
    assert "received perception" in installed.run("-c", ROUNDTRIP, ROS_DOMAIN_ID=str(claim_domain()))


@pytest.mark.slow
def test_files_are_found_in_the_prefix(installed: Environment) -> None:
    found = json.loads(installed.run("-c", LOOK_UP, AMENT_PREFIX_PATH=str(installed.prefix)).splitlines()[-1])
    share = installed.prefix / "share" / "og_ros"
    assert found["code"] == str(installed.site_packages / "og_ros" / "__init__.py")
    assert found["share"] == found["index"] == str(share)
    assert {"msg/Attestation.msg", "msg/Attestation.idl"} <= set(found["interfaces"])
    for name in (*found["interfaces"], "msg/Attestation.json", "package.xml", "cmake/og_rosConfig.cmake"):
        assert (share / name).is_file(), name


@pytest.mark.slow
def test_only_og_ros_itself_goes_to_bin(installed: Environment) -> None:
    assert os.access(installed.prefix / "bin" / "og-ros", os.X_OK)
    for name in ("stage", "auditor", "recorder", "world"):
        assert not (installed.prefix / "bin" / name).exists()
        assert os.access(installed.prefix / "lib" / "og_ros" / name, os.X_OK)


@pytest.mark.slow
def test_libraries_find_each_other_without_a_library_path(installed: Environment) -> None:
    (library,) = installed.prefix.glob("lib/libog_ros__rosidl_generator_py.so")
    assert "not found" not in "".join(line for line in run(["ldd", str(library)]).splitlines() if "libog_ros" in line)


@pytest.mark.slow
def test_a_cpp_package_finds_og_ros(installed: Environment, tmp_path: Path) -> None:
    prefix, tools = str(installed.prefix), f"{installed.prefix / 'bin'}:{os.environ['PATH']}"
    ros = {"AMENT_PREFIX_PATH": prefix, "CMAKE_PREFIX_PATH": prefix, "PATH": tools}
    run(["cmake", "-G", "Ninja", "-S", str(CONSUMER), "-B", str(tmp_path)], **ros)
    run(["cmake", "--build", str(tmp_path)], **ros)
    printed = run([str(tmp_path / "consumer")], LD_LIBRARY_PATH=f"{prefix}/lib")
    assert printed.split() == ["og_ros/msg/Attestation", "perception", "rosidl_typesupport_cpp"]


@pytest.mark.slow
def test_a_cpp_package_finds_the_verifier(installed: Environment, tmp_path: Path) -> None:
    prefix, tools = str(installed.prefix), f"{installed.prefix / 'bin'}:{os.environ['PATH']}"
    build_and_verify(installed.prefix, tmp_path, AMENT_PREFIX_PATH=prefix, PATH=tools)


@pytest.mark.slow
def test_build_isolation_builds_for_the_environment_that_pip_runs_in(installed: Environment, sources: Path) -> None:
    """pip hides the environment's packages from setup.py, yet the messages must be built with them."""
    pip = ("-m", "pip", "install", "--verbose", "--no-deps", "--force-reinstall", "--disable-pip-version-check")
    try:
        log = installed.run(*pip, str(sources))
    except AssertionError as error:
        if "No matching distribution found for setuptools" in str(error):
            pytest.skip("build isolation fetches setuptools, and no package index can be reached")
        raise
    assert "og_ros messages: up to date" in log
    assert (installed.site_packages / "og_ros" / "msg" / "_attestation.py").is_file()


def test_without_ros_there_are_the_core_and_the_auditor(plain_environment: Environment, sources: Path) -> None:
    log = plain_environment.install(sources, "--no-build-isolation")
    assert log.count("og_ros messages: no ROS here") == 1
    assert not (plain_environment.site_packages / "og_ros" / "msg").exists()
    assert "imported" in plain_environment.run("-c", WALK)
    assert (plain_environment.prefix / "share" / "og_ros" / "msg" / "Attestation.msg").is_file()


def test_messages_that_are_asked_for_must_be_built(plain_environment: Environment, sources: Path) -> None:
    with pytest.raises(AssertionError, match="OG_ROS_WITH_MSGS=1 without rosidl_default_generators"):
        plain_environment.install(sources, "--no-build-isolation", OG_ROS_WITH_MSGS="1")
