"""colcon build of og_ros, by copies and by links, and what a sourced workspace then has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from domains import claim_domain

from .conftest import WITH_MESSAGES, Environment, run

CHECK = """
from ament_index_python import get_package_share_directory
from og_ros.msg import Attestation
from og_ros.paths import share_directory
Attestation.__import_type_support__()
print("share", get_package_share_directory("og_ros"))
print("paths", share_directory())
import og_ros; print("live", getattr(og_ros, "live", None))
"""


def colcon(environment: Environment, workspace: Path, sources: Path, *options: str) -> None:
    program = "import os, sys; os.chdir(sys.argv.pop(1)); from colcon_core.command import main; sys.exit(main())"
    base = ("build", "--base-paths", str(sources), "--event-handlers", "console_direct+")
    tools = f"{environment.prefix / 'bin'}:{os.environ['PATH']}"
    environment.run("-c", program, str(workspace), *base, *options, PATH=tools, **WITH_MESSAGES)


def sourced(environment: Environment, workspace: Path, command: str) -> str:
    return run(["bash", "-c", f"source '{workspace}/install/setup.bash' && {command}"], PYTHON=environment.python)


def check(environment: Environment, workspace: Path) -> dict[str, str]:
    printed = sourced(environment, workspace, f"exec '{environment.python}' -c '{CHECK}'")
    return dict(line.split(maxsplit=1) for line in printed.splitlines())


@pytest.mark.slow
def test_colcon_builds_og_ros(ros_environment: Environment, sources: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "install" / "og_ros"
    colcon(ros_environment, tmp_path, sources)
    found = check(ros_environment, tmp_path)
    assert found["share"] == found["paths"] == str(prefix / "share" / "og_ros")
    assert sourced(ros_environment, tmp_path, "command -v og-ros").strip() == str(prefix / "bin" / "og-ros")
    for name in ("stage", "auditor", "recorder", "world"):  # where `ros2 run` and launch look
        assert os.access(prefix / "lib" / "og_ros" / name, os.X_OK)
    assert not (sources / "og_ros" / "msg").exists()
    node = Path(__file__).with_name("attested_node.py")
    domain = f"ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST ROS_DOMAIN_ID={claim_domain()}"
    said = sourced(ros_environment, tmp_path, f"{domain} exec '{ros_environment.python}' '{node}'")
    assert "verified 5 attestations" in said
    assert str(prefix) in said

    colcon(ros_environment, tmp_path, sources, "--symlink-install")
    package = sources / "og_ros" / "__init__.py"
    text = package.read_text()
    try:
        package.write_text(text + "live = 'edited'\n")
        found = check(ros_environment, tmp_path)
    finally:
        package.write_text(text)
    assert found["live"] == "edited"
    assert found["share"] == str(prefix / "share" / "og_ros")
    assert found["paths"] == str(sources)
    assert (prefix / "share" / "og_ros" / "package.xml").is_symlink()
