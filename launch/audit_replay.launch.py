"""Runs a pipeline on a recording and audits it: bag, replayer, stages, auditor; ends by itself, with the verdict.

ros2 launch og_ros audit_replay.launch.py bag:=drive pipeline:=robot.yaml

The exit code is 0 if the chain held, else 1. Stages publish what they make of the old data: not beside a robot that
would obey it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from og_ros.errors import ConfigError
from og_ros.nodes.bringup import sensor_topics
from og_ros.paths import share_directory
from og_ros.stages.pipeline import Pipeline, load_pipeline

SWITCH = ["true", "false"]
ARGUMENTS = [
    DeclareLaunchArgument("bag", description="the recording: a rosbag2 directory, sqlite3 or MCAP"),
    DeclareLaunchArgument(
        "pipeline", description="pipeline file (YAML) of the stages to run on it, and of the auditor"
    ),
    DeclareLaunchArgument("rate", default_value="1.0", description="2.0 is twice as fast as it was recorded"),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="true",
        choices=SWITCH,
        description="take time from the recording: its /clock, or else the times of its messages",
    ),
    DeclareLaunchArgument(
        "record", default_value="false", choices=SWITCH, description="record the run, by the file's section recorder"
    ),
    DeclareLaunchArgument(
        "gate",
        default_value="false",
        choices=SWITCH,
        description="run the gate too, if the file has a section gate; it publishes commands",
    ),
    DeclareLaunchArgument(
        "parameters", default_value="", description="ROS parameter file (YAML), laid over the pipeline file"
    ),
    DeclareLaunchArgument(
        "settle",
        default_value="2.0",
        description="seconds from the recording's end to the nodes', to work off the rest",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="least severity that the nodes log",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, and the run once the arguments are known."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Action]:
    """Return the pipeline's nodes, the replayer, and what happens at its end."""
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    rate, settle = _number("rate", given["rate"], 0.001, 1000.0), _number("settle", given["settle"], 0.0, 600.0)
    pipeline = load_pipeline(Path(given["pipeline"]))
    topics = sensor_topics(pipeline)
    bringup = IncludeLaunchDescription(
        str(share_directory() / "launch" / "bringup.launch.py"),
        launch_arguments={
            "required": "true",
            "exit_verdict": "true",
            **{n: given[n] for n in ("pipeline", "use_sim_time", "record", "gate", "parameters", "log_level")},
        }.items(),
    )
    replayer = Node(
        package="og_ros",
        executable="replayer",
        name="replayer",
        parameters=[
            {
                "bag": given["bag"],
                "topics": topics,
                "subscribers": _listeners(pipeline, topics, 1 + (given["record"] == "true")),
                "rate": rate,
                "clock": "auto" if given["use_sim_time"] == "true" else "none",
            }
        ],
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
    )
    end = TimerAction(period=settle, actions=[EmitEvent(event=Shutdown(reason="the recording is over"))])

    def ended(event: ProcessExited, context: LaunchContext) -> list[Action] | None:
        if event.returncode and not context.is_shutdown:
            raise ConfigError(f"{event.process_name} ended with exit code {event.returncode}; what it wrote says why")
        return None if context.is_shutdown else [end]

    return [RegisterEventHandler(OnProcessExit(target_action=replayer, on_exit=ended)), bringup, replayer]


def _listeners(pipeline: Pipeline, topics: list[str], others: int) -> list[int]:
    """Return how many subscribers each topic will have: the stages' inputs that name it, and the others."""
    named = Counter(port.topic for stage in pipeline.stages.values() for port in stage.inputs.values())
    return [named[topic] + others for topic in topics]


def _number(name: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ConfigError(f"{name} is {text!r}; it must be a number from {low:g} to {high:g}")
    return value
