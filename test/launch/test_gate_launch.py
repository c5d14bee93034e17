"""gate.launch.py over real ROS launch: it gates stages that somebody else started; what it is told arrives."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Prepare a demo with a gate; returns its pipeline file."""
    pytest.importorskip("onnxruntime", reason="the stages need onnxruntime: extra `robot` of og_ros")
    from og_ros.nodes.demo import prepare

    return prepare(tmp_path_factory.mktemp("demo") / "out", gate=True).pipeline


@contextmanager
def world(environment: dict[str, str]) -> Iterator[None]:
    """Run the demo's world: sensors, and wheels that obey the gate's output."""
    arguments = ["-m", "og_ros.nodes.world", "--ros-args", "-r", "/wheel_command:=/wheels"]
    process = subprocess.Popen([sys.executable, *arguments], env=environment)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def test_it_gates_stages_that_another_launch_started(
    run_launch: Callable[..., Any], graph: Any, gated: Path, environment: dict[str, str]
) -> None:
    """The demo's world drives the stages; the command of the last one reaches the wheels through the gate alone."""
    from og_ros.msg import Verdict

    verdicts: list[Any] = []
    graph.node.create_subscription(Verdict, "/gate/verdict", verdicts.append, 100)
    robot = run_launch("bringup.launch.py", f"pipeline:={gated}", "gate:=false", "auditor:=false", "use_sim_time:=true")
    launched = run_launch("gate.launch.py", f"pipeline:={gated}", "use_sim_time:=true", "prefix:=nice -n 1")
    graph.wait(lambda: graph.state("/gate") == "active", launched)
    with world(environment):
        graph.wait(lambda: any(verdict.accepted and verdict.forwarded for verdict in verdicts), launched)
    assert graph.parameters("/gate", "input", "mode", "use_sim_time") == ["/wheel_command", "enforce", True]
    assert "[gate" not in robot.output
    launched.interrupt()
    assert launched.ends(10) == 0, launched.output
    robot.interrupt()
    robot.ends(10)


def test_a_lifecycle_manager_may_drive_it(run_launch: Callable[..., Any], graph: Any, gated: Path) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    launched = run_launch("gate.launch.py", f"pipeline:={gated}", "namespace:=robot_7", "autostart:=false")
    graph.wait(lambda: graph.state("/robot_7/gate") == "unconfigured", launched)
    for number, state in ((Transition.TRANSITION_CONFIGURE, "inactive"), (Transition.TRANSITION_ACTIVATE, "active")):
        graph.call(ChangeState, "/robot_7/gate/change_state", ChangeState.Request(transition=Transition(id=number)))
        graph.wait(lambda wanted=state: graph.state("/robot_7/gate") == wanted, launched)
    launched.interrupt()
    assert launched.ends(10) == 0, launched.output


def test_a_pipeline_without_gate_is_one_line(run_launch: Callable[..., Any], gated: Path) -> None:
    plain = gated.with_name("plain.yaml")
    plain.write_text(gated.read_text().partition("\ngate:")[0])
    launched = run_launch("gate.launch.py", f"pipeline:={plain}")
    assert launched.ends(20) == 1
    (line,) = launched.errors
    assert "has no section gate" in line
