"""Starts the gate of a pipeline file alone, for a robot whose stages another launch file starts.

ros2 launch og_ros gate.launch.py pipeline:=robot.yaml
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from og_ros.errors import ConfigError
from og_ros.nodes.bringup import GATE, describe_nodes
from og_ros.nodes.launch_parameters import exactly
from og_ros.stages.pipeline import load_pipeline

SWITCH = ["true", "false"]
ARGUMENTS = [
    DeclareLaunchArgument("pipeline", description="pipeline file (YAML) with a section gate"),
    DeclareLaunchArgument("namespace", default_value="", description="namespace of the gate, e.g. robot_7"),
    DeclareLaunchArgument("use_sim_time", default_value="false", choices=SWITCH, description="take time from /clock"),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=SWITCH,
        description="the gate configures and activates itself (true), or a lifecycle manager of yours does (false)",
    ),
    DeclareLaunchArgument(
        "respawn",
        default_value="false",
        choices=SWITCH,
        description="start the gate again, 2 s after it ended; it begins closed",
    ),
    DeclareLaunchArgument(
        "prefix",
        default_value="",
        description="command that the gate is started by, such as 'chrt -f 5' for a real-time priority",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="least severity that the gate logs",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, and the gate once the arguments are known."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Action]:
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    pipeline = load_pipeline(Path(given["pipeline"]))
    if GATE not in pipeline.sections:
        raise ConfigError(f"{pipeline.path} has no section {GATE}")
    nodes = describe_nodes(
        pipeline,
        auditor=False,
        autostart=given["autostart"] == "true",
        use_sim_time=given["use_sim_time"] == "true",
    )
    gate = next(node for node in nodes if node.name == GATE)
    return [
        LifecycleNode(
            package="og_ros",
            executable=gate.executable,
            name=gate.name,
            namespace=given["namespace"],
            parameters=[exactly(gate.parameters)],
            ros_arguments=["--log-level", given["log_level"]],
            output="screen",
            prefix=given["prefix"],
            respawn=given["respawn"] == "true",
            respawn_delay=2.0,
            sigterm_timeout="15",  # a gate that stops still signs what it decided
        )
    ]
