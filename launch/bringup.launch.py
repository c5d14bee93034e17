"""Starts what a pipeline file describes: a node for each stage, and the auditor, gate and recorder beside them.

ros2 launch og_ros bringup.launch.py pipeline:=robot.yaml namespace:=robot_7 relative_topics:=true record:=true
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, EmitEvent, ExecuteProcess, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.events import matches_action
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from og_ros.errors import ConfigError
from og_ros.nodes.bringup import AUDITOR, NodeDescription, describe_nodes
from og_ros.nodes.launch_parameters import exactly
from og_ros.nodes.relative_topics import relative
from og_ros.nodes.settling import DRAIN_S, RESTART_S, SETTLER, settler_command
from og_ros.stages.pipeline import Pipeline, load_pipeline

_VERDICTS = defaultdict(
    lambda: "what it wrote says why",
    {1: "the chain is violated; its findings are above", 2: "no attestation came, or none could be logged"},
)
SWITCH = ["true", "false"]
ARGUMENTS = [
    DeclareLaunchArgument(
        "pipeline", description="pipeline file (YAML): stages, auditor and recorder; config/demo.yaml is an example"
    ),
    DeclareLaunchArgument(
        "namespace",
        default_value="",
        description="namespace of every node, e.g. robot_7; topics that the file begins with / stay where they are",
    ),
    DeclareLaunchArgument(
        "relative_topics",
        default_value="false",
        choices=SWITCH,
        description="read the file's topics as if none began with /, so that they are in the namespace too",
    ),
    DeclareLaunchArgument(
        "parameters",
        default_value="",
        description="ROS parameter file (YAML), laid over the pipeline file; config/parameters.yaml is an example",
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="false",
        choices=SWITCH,
        description="take time from a clock's topic; attestations say so",
    ),
    DeclareLaunchArgument(
        "clock",
        default_value="/clock",
        description="topic of that time: /clock, which all robots share, or clock, which is in the namespace",
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=["true", "launch", "false"],
        description="who configures and activates the stages: they themselves (true), this launch file by lifecycle "
        "events, which ends when a stage refuses (launch), or a lifecycle manager of yours (false)",
    ),
    DeclareLaunchArgument(
        "auditor", default_value="true", choices=SWITCH, description="run the auditor, by the file's section auditor"
    ),
    DeclareLaunchArgument(
        "gate", default_value="true", choices=SWITCH, description="run the gate, if the file has a section gate"
    ),
    DeclareLaunchArgument(
        "settler",
        default_value="true",
        choices=SWITCH,
        description="run the settler beside the auditor, if the file has a section settlement",
    ),
    DeclareLaunchArgument(
        "record", default_value="false", choices=SWITCH, description="run the recorder, by the file's section recorder"
    ),
    DeclareLaunchArgument(
        "respawn",
        default_value="false",
        choices=SWITCH,
        description="start a node again, 2 s after it ended; not with autostart:=launch",
    ),
    DeclareLaunchArgument(
        "required", default_value="false", choices=SWITCH, description="end everything, with an error, when a node ends"
    ),
    DeclareLaunchArgument(
        "exit_verdict",
        default_value="false",
        choices=SWITCH,
        description="end with an error when the auditor, at its end, found that the chain does not hold",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="least severity that the nodes log",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, and the nodes once the arguments are known."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Action]:
    """Return the nodes of the pipeline file, after the handlers of what becomes of them."""
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    if given["respawn"] == "true" and given["autostart"] == "launch":
        # For DDS a killed stage lives on for 20 s, and its service takes the request that is meant for the new one.
        raise ConfigError(
            "respawn:=true does not go with autostart:=launch: let stages start themselves, or do not respawn"
        )
    pipeline = load_pipeline(Path(given["pipeline"]))
    descriptions = describe_nodes(
        relative(pipeline) if given["relative_topics"] == "true" else pipeline,
        auditor=given["auditor"] == "true",
        record=given["record"] == "true",
        gate=given["gate"] == "true",
        autostart=given["autostart"] == "true",
        use_sim_time=given["use_sim_time"] == "true",
    )
    if given["parameters"] and not Path(given["parameters"]).is_file():  # launch would only warn
        raise ConfigError(f"parameters: there is no file {given['parameters']}")
    nodes = [_node(description, given) for description in descriptions]
    beside = []
    if given["auditor"] == "true" and given["settler"] == "true":
        beside += _settler(pipeline)
    handlers = []
    if given["required"] == "true":
        handlers += [RegisterEventHandler(OnProcessExit(target_action=node, on_exit=_ended)) for node in nodes]
    if given["exit_verdict"] == "true":
        auditors = [node for node, description in zip(nodes, descriptions, strict=True) if description.name == AUDITOR]
        handlers += [RegisterEventHandler(OnProcessExit(target_action=node, on_exit=_concluded)) for node in auditors]
    if given["autostart"] == "launch":
        handlers += [handler for node in nodes if isinstance(node, LifecycleNode) for handler in _driven(node)]
    return [*handlers, *nodes, *beside]


def _settler(pipeline: Pipeline) -> list[Action]:
    """Return the process that settles the auditor's checkpoints; told to stop, it waits for the auditor's last one."""
    command = settler_command(pipeline, after_writer=True)
    if command is None:
        return []
    return [
        ExecuteProcess(
            cmd=command,
            name=SETTLER,
            output="screen",
            respawn=True,
            respawn_delay=RESTART_S,
            sigterm_timeout=str(DRAIN_S + 5),
        )
    ]


def _node(description: NodeDescription, given: dict[str, str]) -> Node:
    kind = LifecycleNode if description.lifecycle else Node
    return kind(
        package="og_ros",
        executable=description.executable,
        exec_name=description.name,
        name=description.name,
        namespace=given["namespace"],
        parameters=[
            exactly(description.parameters),
            *([{"exit_verdict": True}] if description.name == AUDITOR and given["exit_verdict"] == "true" else []),
            *([Path(given["parameters"])] if given["parameters"] else []),
        ],
        remappings=[("/clock", given["clock"])] if given["clock"] != "/clock" else None,
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
        respawn=given["respawn"] == "true",
        respawn_delay=2.0,
        sigterm_timeout="15",  # a node that stops still signs, logs and writes what it has
    )


def _driven(node: LifecycleNode) -> list[Action]:
    """Configure a stage whenever its process starts, then activate it; an error ends the launch if it refuses."""

    def change(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))

    def refuse(context: LaunchContext) -> None:
        state = context.locals.event.start_state
        raise ConfigError(f"{node.node_name} refused while {state}; what it logged before this line says why")

    def when(start: str, goal: str, action: Action) -> RegisterEventHandler:
        return RegisterEventHandler(
            OnStateTransition(target_lifecycle_node=node, start_state=start, goal_state=goal, entities=[action])
        )

    was_active: list[bool] = []

    def ended(event: ProcessExited, context: LaunchContext) -> None:
        # launch_ros waits for the services of a stage that is gone, as long as the launch goes on.
        if not was_active and not context.is_shutdown:
            raise ConfigError(f"{event.process_name} ended before it was active; what it wrote says why")

    return [
        RegisterEventHandler(OnProcessExit(target_action=node, on_exit=ended)),
        RegisterEventHandler(OnProcessStart(target_action=node, on_start=change(Transition.TRANSITION_CONFIGURE))),
        when("activating", "active", OpaqueFunction(function=lambda context: was_active.append(True))),
        when("configuring", "inactive", change(Transition.TRANSITION_ACTIVATE)),
        when("configuring", "unconfigured", OpaqueFunction(function=refuse)),
        when("activating", "inactive", OpaqueFunction(function=refuse)),
    ]


def _concluded(event: ProcessExited, context: LaunchContext) -> None:
    if event.returncode:
        raise ConfigError(
            f"{event.process_name} ended with exit code {event.returncode}: {_VERDICTS[event.returncode]}"
        )


def _ended(event: ProcessExited, context: LaunchContext) -> None:
    if not context.is_shutdown:
        raise ConfigError(f"{event.process_name} ended with exit code {event.returncode}; what it wrote says why")
