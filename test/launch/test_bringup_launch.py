"""bringup.launch.py over real ROS launch: who starts the stages, what becomes of one that dies, how all of it stops."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from og_ros.log.writer_lock import WriterLock

STAGES = ("perception", "planning", "control")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Prepare a demo's directory; returns its pipeline file."""
    pytest.importorskip("onnxruntime", reason="the stages need onnxruntime: extra `robot` of og_ros")
    from og_ros.nodes.demo import prepare

    return prepare(tmp_path_factory.mktemp("demo") / "out").pipeline


def changed(pipeline: Path, name: str, change: Callable[[Any], object]) -> Path:
    """Write a changed copy of a pipeline file beside it."""
    data = yaml.safe_load(pipeline.read_text())
    change(data)
    copy = pipeline.with_name(name)
    copy.write_text(yaml.safe_dump(data))
    return copy


def only_control(data: Any) -> None:
    data["stages"] = {"control": data["stages"]["control"]}


def test_launch_drives_the_stages_in_a_namespace(run_launch: Callable[..., Any], graph: Any, demo: Path) -> None:
    options = ("namespace:=robot_7", "autostart:=launch", "auditor:=false", "log_level:=warn")
    launched = run_launch("bringup.launch.py", f"pipeline:={demo}", *options)
    for stage in STAGES:
        graph.wait(lambda name=stage: graph.state(f"/robot_7/{name}") == "active", launched)
    assert "[auditor" not in launched.output
    assert "attestations on" not in launched.output  # which a stage says as info

    launched.interrupt()
    time.sleep(0.2)
    launched.interrupt()  # an impatient user, or a service manager that tells launch and its children
    launched.ends(20)
    assert launched.output.count("process has finished cleanly") == 3, launched.output
    assert "Traceback" not in launched.output


def test_a_dead_stage_is_started_again(run_launch: Callable[..., Any], graph: Any, demo: Path) -> None:
    pipeline = changed(demo, "control.yaml", only_control)
    launched = run_launch("bringup.launch.py", f"pipeline:={pipeline}", "auditor:=false", "respawn:=true")
    graph.wait(lambda: launched.output.count("attestations on /wheel_command") == 1, launched)
    os.kill(launched.pid("control"), signal.SIGKILL)
    graph.wait(lambda: launched.output.count("attestations on /wheel_command") == 2, launched)
    launched.interrupt()
    assert launched.ends(20) == 0, launched.output


def test_a_parameter_file_is_laid_over_the_pipeline(
    run_launch: Callable[..., Any], graph: Any, demo: Path, tmp_path: Path
) -> None:
    """For every robot, for one, and with bounds that the node still keeps. A settler runs beside, and comes back."""

    def settled(data: Any) -> None:
        only_control(data)
        data["settlement"] = {"state": str(tmp_path / "settlement")}

    pipeline = changed(demo, "settled.yaml", settled)
    laid = tmp_path / "laid.yaml"
    laid.write_text(
        "/**/auditor: {ros__parameters: {horizon: 4.0, robot: other}}\n"
        "/robot_7/control: {ros__parameters: {queue: 77}}\n"
        "/robot_8/control: {ros__parameters: {queue: 88}}\n"
    )
    options = ("namespace:=robot_7", "relative_topics:=true", f"parameters:={laid}")
    launched = run_launch("bringup.launch.py", f"pipeline:={pipeline}", *options)
    graph.wait(lambda: graph.state("/robot_7/control") == "active", launched)
    assert graph.parameters("/robot_7/control", "queue", "outputs.wheels.topic") == [77, "wheel_command"]
    graph.wait(lambda: graph.node.count_publishers("/robot_7/auditor/status"), launched)
    assert graph.parameters("/robot_7/auditor", "horizon", "robot", "discover") == [4.0, "other", "namespace"]
    assert graph.node.count_publishers("/robot_7/wheel_command/attestation") == 1
    graph.wait(lambda: (tmp_path / "settlement" / "outbox.db").is_file(), launched)
    first = launched.pid("settler")
    os.kill(first, signal.SIGKILL)
    # Its lock says that the second one is at work: one that has just begun would die of the signal.
    graph.wait(lambda: not WriterLock.is_held(tmp_path / "settlement"), launched)
    graph.wait(lambda: WriterLock.is_held(tmp_path / "settlement"), launched)
    launched.interrupt()
    assert launched.ends(25) == 0, launched.output
    assert re.search(r"\[settler-\d+\]: process has finished cleanly", launched.output), launched.output

    laid.write_text("/**/auditor: {ros__parameters: {horizon: 4000.0}}\n")
    launched = run_launch("bringup.launch.py", f"pipeline:={pipeline}", *options, "required:=true")
    assert launched.ends(25) == 1
    assert launched.output.count("parameter horizon is 4000; it must be a number") == 1, launched.output
    assert "Traceback" not in launched.output


def test_launch_does_not_drive_what_it_respawns(run_launch: Callable[..., Any], demo: Path) -> None:
    launched = run_launch("bringup.launch.py", f"pipeline:={demo}", "respawn:=true", "autostart:=launch")
    assert launched.ends(20) == 1
    (line,) = launched.errors
    assert "respawn:=true does not go with autostart:=launch" in line


def test_stages_wait_for_a_manager_and_values_arrive_as_written(
    run_launch: Callable[..., Any], graph: Any, demo: Path
) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    def change(data: Any) -> None:
        data["robot"] = "007"
        only_control(data)
        data["stages"]["control"]["model"]["version"] = "1.0"
        data["stages"]["control"]["require_certified"] = False

    pipeline = changed(demo, "text.yaml", change)
    options = ("autostart:=false", "auditor:=false", "required:=true")
    launched = run_launch("bringup.launch.py", f"pipeline:={pipeline}", *options)
    graph.wait(lambda: graph.state("/control") == "unconfigured", launched)
    names = ("robot", "model.version", "inputs.measured.attestation", "inputs.measured.options.fields", "queue")
    assert graph.parameters("/control", *names) == ["007", "1.0", "none", ["twist.linear.x", "twist.angular.z"], 256]

    for transition, state in (
        (Transition.TRANSITION_CONFIGURE, "inactive"),
        (Transition.TRANSITION_ACTIVATE, "active"),
    ):
        request = ChangeState.Request(transition=Transition(id=transition))
        graph.wait(lambda r=request: graph.call(ChangeState, "/control/change_state", r), launched)
        assert graph.state("/control") == state

    os.kill(launched.pid("control"), signal.SIGKILL)
    assert launched.ends(10) == 1
    assert any("control-1 ended with exit code -9" in line for line in launched.errors)


def test_a_driven_stage_that_dies_early_ends_the_launch(
    run_launch: Callable[..., Any], demo: Path, tmp_path: Path
) -> None:
    """launch_ros would wait for its services for ever."""
    (tmp_path / "laid.yaml").write_text("control: [\n")
    pipeline = changed(demo, "control.yaml", only_control)
    options = ("autostart:=launch", "auditor:=false", f"parameters:={tmp_path}/laid.yaml")
    launched = run_launch("bringup.launch.py", f"pipeline:={pipeline}", *options)
    assert launched.ends(25) == 1, launched.output
    assert launched.output.count("Couldn't parse params file") == 1
    assert sum("control-1 ended before it was active" in line for line in launched.errors) == 1, launched.output
    assert "Traceback" not in launched.output


@pytest.mark.parametrize("autostart", ["launch", "true"])
def test_a_stage_that_may_not_run_ends_the_launch(run_launch: Callable[..., Any], demo: Path, autostart: str) -> None:
    def change(data: Any) -> None:
        only_control(data)
        data["stages"]["control"]["model"]["version"] = "9.9.9"

    pipeline = changed(demo, "uncertified.yaml", change)
    options = (f"autostart:={autostart}", "auditor:=false", "required:=true")
    launched = run_launch("bringup.launch.py", f"pipeline:={pipeline}", *options)
    assert launched.ends(25) == 1
    assert "wheel_control@9.9.9" in launched.output
    words = {"launch": "/control refused while activating", "true": "control-1 ended with exit code 1"}[autostart]
    assert sum(words in line for line in launched.errors) == 1, launched.output
    assert "Traceback" not in launched.output
