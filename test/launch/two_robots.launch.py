"""What fleet.launch.py is for: two robots of one machine, here each in a demo world with a time of its own."""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from og_ros.paths import share_directory


def generate_launch_description() -> LaunchDescription:
    """Return the fleet, and a world for each robot."""
    fleet = IncludeLaunchDescription(
        str(share_directory() / "launch" / "fleet.launch.py"),
        launch_arguments={"fleet": LaunchConfiguration("fleet")}.items(),
    )
    worlds = [
        Node(
            package="og_ros",
            executable="world",
            name="world",
            namespace=f"robot_{number}",
            parameters=[{"seed": number, "wait_for": 3, "settle": 3.5}],
            remappings=[("/clock", "clock")],
            output="screen",
        )
        for number in (1, 2)
    ]
    return LaunchDescription([DeclareLaunchArgument("fleet"), fleet, *worlds])
