"""Starts several robots of one machine or one simulation, each in its namespace: bringup.launch.py, once a robot.

ros2 launch og_ros fleet.launch.py fleet:=fleet.yaml
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from og_ros.nodes.fleet_file import load_fleet
from og_ros.paths import share_directory

BRINGUP = str(share_directory() / "launch" / "bringup.launch.py")
ARGUMENTS = [
    DeclareLaunchArgument(
        "fleet", description="fleet file (YAML): a namespace a robot, and its arguments of bringup.launch.py"
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="least severity that the nodes log, for robots that do not set their own",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, and the robots once the arguments are known."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Action]:
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    robots = load_fleet(Path(given["fleet"]))
    # A group of its own each, so that no argument of one robot is still set when the next is read.
    return [
        GroupAction(
            [
                IncludeLaunchDescription(
                    BRINGUP, launch_arguments={"log_level": given["log_level"], **robot.arguments}.items()
                )
            ],
            scoped=True,
            forwarding=False,
        )
        for robot in robots
    ]
