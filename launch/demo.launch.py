"""Starts the demo robot: its world, three attested stages, the auditor and the recorder, until Ctrl-C.

ros2 launch og_ros demo.launch.py directory:=demo_out
ros2 launch og_ros demo.launch.py directory:=demo_2 namespace:=robot_2 seed:=2     # another one beside it
og-ros audit demo_out/bag --registry demo_out/registry --ledger demo_out/ledger --policy demo_out/policy.yaml
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from og_ros.nodes.demo import prepare
from og_ros.paths import share_directory

SHARE = share_directory()
SWITCH = ["true", "false"]
ARGUMENTS = [
    DeclareLaunchArgument(
        "directory",
        default_value="demo_out",
        description="where keys, registry, ledger, policy and bag go; what an earlier demo left there is replaced",
    ),
    DeclareLaunchArgument(
        "namespace",
        default_value="",
        description="namespace of its nodes, topics and clock, and the robot's name; so several run side by side",
    ),
    DeclareLaunchArgument("seed", default_value="1", description="which track and floor: an integer from 0"),
    DeclareLaunchArgument(
        "world", default_value=str(SHARE / "config" / "world.yaml"), description="parameter file of the world node"
    ),
    DeclareLaunchArgument("record", default_value="true", choices=SWITCH, description="record a bag to audit later"),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=["true", "launch"],
        description="who configures and activates the stages: they themselves (true) or launch (launch)",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="least severity that the nodes log",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, and the demo once they are known."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Action]:
    """Prepare the directory, and return the pipeline's nodes and the world."""
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    namespace = given["namespace"].strip("/")
    files = prepare(
        Path(given["directory"]).absolute(), robot=namespace.replace("/", "_") or "demo", namespace=namespace
    )
    clock = "clock" if namespace else "/clock"
    bringup = IncludeLaunchDescription(
        str(SHARE / "launch" / "bringup.launch.py"),
        launch_arguments={
            "pipeline": str(files.pipeline),
            "namespace": namespace,
            "relative_topics": "true" if namespace else "false",
            "clock": clock,
            "use_sim_time": "true",
            "required": "true",
            **{name: given[name] for name in ("autostart", "record", "log_level")},
        }.items(),
    )
    # It starts to drive when stage, auditor and recorder listen to every sensor, so that nothing is missed.
    listeners = 3 if given["record"] == "true" else 2
    world = Node(
        package="og_ros",
        executable="world",
        name="world",
        namespace=namespace,
        remappings=[("/clock", clock)],
        parameters=[given["world"], {"seed": int(given["seed"]), "wait_for": listeners}],
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
    )
    return [bringup, world]
