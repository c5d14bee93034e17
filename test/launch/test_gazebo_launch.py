"""gazebo.launch.py against stand-ins for ros_gz_sim and ros_gz_bridge that only write down what they are started with.

No Gazebo runs here. What runs is our side of it: launch file, world file, wheel driver and stages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GZ_SIM_LAUNCH = """\
import json
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration


def note(context):
    given = {name: LaunchConfiguration(name).perform(context) for name in ("gz_args", "on_exit_shutdown")}
    open("gz_sim.json", "w").write(json.dumps(given))


def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("gz_args", default_value=""),
        DeclareLaunchArgument("on_exit_shutdown", default_value="false"),
        OpaqueFunction(function=note),
    ])
"""
BRIDGE = """\
#!{python}
import json, signal, sys
open("bridge.json", "w").write(json.dumps(sys.argv[1:]))
signal.sigwait({{signal.SIGINT, signal.SIGTERM}})
"""


@pytest.fixture
def stand_ins(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a prefix with the two packages, and put it where ament looks."""
    prefix = tmp_path / "prefix"
    for package in ("ros_gz_sim", "ros_gz_bridge"):
        marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        (prefix / "share" / package / "launch").mkdir(parents=True)
    (prefix / "share" / "ros_gz_sim" / "launch" / "gz_sim.launch.py").write_text(GZ_SIM_LAUNCH)
    bridge = prefix / "lib" / "ros_gz_bridge" / "parameter_bridge"
    bridge.parent.mkdir(parents=True)
    bridge.write_text(BRIDGE.format(python=sys.executable))
    bridge.chmod(0o755)
    monkeypatch.setitem(environment, "AMENT_PREFIX_PATH", f"{prefix}:{environment['AMENT_PREFIX_PATH']}")


def test_everything_around_gazebo_starts_and_stops(
    run_launch: Callable[..., Any], graph: Any, tmp_path: Path, stand_ins: None
) -> None:
    pytest.importorskip("onnxruntime", reason="the stages need onnxruntime: extra `robot` of og_ros")
    from geometry_msgs.msg import Twist
    from std_msgs.msg import Float32MultiArray

    options = ("directory:=out", "headless:=true", "namespace:=robot_7", "record:=false", "gz_args:=-v4")
    launched = run_launch("gazebo.launch.py", *options)
    for stage in ("perception", "planning", "control"):
        graph.wait(lambda name=stage: graph.state(f"/robot_7/{name}") == "active", launched)
    for node in ("perception", "auditor", "wheel_driver"):
        assert graph.parameters(f"/robot_7/{node}", "use_sim_time") == [True]

    world = tmp_path / "out" / "gazebo" / "world.sdf"
    assert json.loads((tmp_path / "gz_sim.json").read_text()) == {
        "gz_args": f"-r -s --headless-rendering {world} -v4",
        "on_exit_shutdown": "true",
    }
    assert world.is_file()
    arguments = json.loads((tmp_path / "bridge.json").read_text())
    assert "__ns:=/robot_7" in arguments
    (parameters,) = (Path(arguments[i + 1]).read_text() for i, name in enumerate(arguments) if name == "--params-file")
    assert "config/gazebo/bridge.yaml" in parameters
    assert "use_sim_time: true" in parameters

    # The driver stands where Gazebo's differential drive listens, and stops it when it leaves.
    velocities: list[Twist] = []
    graph.node.create_subscription(Twist, "/robot_7/cmd_vel", velocities.append, 10)
    wheels = graph.node.create_publisher(Float32MultiArray, "/robot_7/wheel_command", 10)
    graph.wait(lambda: graph.node.count_publishers("/robot_7/cmd_vel") == 1, launched)
    graph.wait(lambda: wheels.get_subscription_count() >= 2, launched)

    def driven() -> bool:
        wheels.publish(Float32MultiArray(data=[0.2, 0.3]))
        return bool(velocities)

    graph.wait(driven, launched)
    assert velocities[-1].linear.x == pytest.approx(0.25)
    assert velocities[-1].angular.z == pytest.approx(0.5)
    launched.interrupt()
    launched.ends(15)
    assert "Traceback" not in launched.output


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("seed:=-1", "seed is '-1'; it must be an integer from 0"),
        ("bridge:=none.yaml", "bridge: there is no file none.yaml"),
        ("directory:=my out", "takes no path with spaces"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(
    run_launch: Callable[..., Any], stand_ins: None, argument: str, words: str
) -> None:
    launched = run_launch("gazebo.launch.py", argument)
    assert launched.ends(20) == 1
    (line,) = launched.errors
    assert words in line
