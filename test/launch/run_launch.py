"""Runs a launch file as `ros2 launch` does: FILE [ARGUMENT:=VALUE ...]; with --show-args its arguments as JSON."""

from __future__ import annotations

import json
import sys

from launch import LaunchContext, LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource


def main(file: str, *arguments: str) -> int:
    if "--show-args" in arguments:
        declared = PythonLaunchDescriptionSource(file).get_launch_description(LaunchContext()).get_launch_arguments()
        print(json.dumps({a.name: [a.description, a.default_value is None] for a in declared}))
        return 0
    given = [tuple(argument.split(":=", 1)) for argument in arguments]
    service = LaunchService(argv=list(arguments))
    included = IncludeLaunchDescription(PythonLaunchDescriptionSource(file), launch_arguments=given)
    service.include_launch_description(LaunchDescription([included]))
    return int(service.run())


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
