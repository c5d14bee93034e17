"""Starts the demo's robot in Gazebo Harmonic: simulator, bridge, wheel driver, and the attested stages around it.

Statically checked, never run: no machine that og_ros is tested on has Gazebo. docs/guides/run-in-gazebo.md says what is
checked, and what to look at first. It needs ros-jazzy-ros-gz (ros_gz_sim, ros_gz_bridge).

ros2 launch og_ros gazebo.launch.py directory:=gazebo_out headless:=true
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from og_ros.errors import ConfigError
from og_ros.nodes.demo import prepare
from og_ros.paths import share_directory
from og_ros.sim.gazebo import write_world

SHARE = share_directory()
SWITCH = ["true", "false"]
ARGUMENTS = [
    DeclareLaunchArgument(
        "directory",
        default_value="gazebo_out",
        description="where world, keys, registry, ledger, policy and bag go; what an earlier run left is replaced",
    ),
    DeclareLaunchArgument("seed", default_value="1", description="which track, floor and boxes: an integer from 0"),
    DeclareLaunchArgument(
        "headless", default_value="false", choices=SWITCH, description="no window: the server alone, drawing off-screen"
    ),
    DeclareLaunchArgument(
        "gz_args", default_value="", description="further arguments of `gz sim`, after -r and the world file"
    ),
    DeclareLaunchArgument(
        "bridge",
        default_value=str(SHARE / "config" / "gazebo" / "bridge.yaml"),
        description="what passes between Gazebo and ROS: config_file of ros_gz_bridge's parameter_bridge",
    ),
    DeclareLaunchArgument(
        "namespace", default_value="", description="namespace of its nodes and topics; the clock stays /clock"
    ),
    DeclareLaunchArgument("record", default_value="true", choices=SWITCH, description="record a bag to audit later"),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="least severity that the nodes log",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, and the simulation once they are known."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Action]:
    """Prepare the directory; return simulator, bridge, driver and the pipeline's nodes."""
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    if not given["seed"].isdecimal():
        raise ConfigError(f"seed is {given['seed']!r}; it must be an integer from 0")
    simulator = _share("ros_gz_sim") / "launch" / "gz_sim.launch.py"
    _share("ros_gz_bridge")
    if not Path(given["bridge"]).is_file():
        raise ConfigError(f"bridge: there is no file {given['bridge']}")
    namespace = given["namespace"].strip("/")
    directory = Path(given["directory"]).absolute()
    if set(str(directory)) & set(" \t'\""):  # gz_sim.launch.py hands gz_args to a shell
        raise ConfigError(f"directory is {directory}; Gazebo's launch file takes no path with spaces or quotes")
    files = prepare(directory, robot=namespace.replace("/", "_") or "demo", namespace=namespace)
    world = write_world(directory / "gazebo", int(given["seed"]))
    headless = "-s --headless-rendering" if given["headless"] == "true" else ""
    clocked = {"namespace": namespace, "output": "screen", "ros_arguments": ["--log-level", given["log_level"]]}
    return [
        IncludeLaunchDescription(
            str(simulator),
            launch_arguments={
                "gz_args": " ".join(filter(None, ("-r", headless, str(world), given["gz_args"]))),
                "on_exit_shutdown": "true",
            }.items(),
        ),
        Node(
            package="ros_gz_bridge",
            executable="parameter_bridge",
            name="gazebo_bridge",
            parameters=[{"config_file": given["bridge"], "use_sim_time": True}],
            **clocked,
        ),
        Node(
            package="og_ros",
            executable="wheel_driver",
            name="wheel_driver",
            parameters=[{"use_sim_time": True}],
            **clocked,
        ),
        IncludeLaunchDescription(
            str(SHARE / "launch" / "bringup.launch.py"),
            launch_arguments={
                "pipeline": str(files.pipeline),
                "namespace": namespace,
                "relative_topics": "true",
                "use_sim_time": "true",
                "required": "true",
                **{name: given[name] for name in ("record", "log_level")},
            }.items(),
        ),
    ]


def _share(package: str) -> Path:
    try:
        return Path(get_package_share_directory(package))
    except PackageNotFoundError as error:
        raise ConfigError(f"{package} is not installed: apt install ros-jazzy-ros-gz") from error
