"""Launch files run by real ROS launch in a process of their own, watched from the graph and by what they print."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from domains import claim_domain

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = claim_domain()
RUNNER = Path(__file__).with_name("run_launch.py")
STATES = {0: "unknown", 1: "unconfigured", 2: "inactive", 3: "active", 4: "finalized"}


def launch_environment() -> dict[str, str]:
    """Return the environment to run launch files in; skips, with the reason, where there is none."""
    for package, remedy in (("rclpy", "extra `ros` of og_ros"), ("og_ros.msg", "build og_ros beside ROS")):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: {remedy}")
    paths = [os.environ.get("PYTHONPATH", "")]
    if importlib.util.find_spec("launch_ros") is None:
        fetched = ROOT / ".cache" / "ros_launch"
        if not (fetched / "launch_ros").is_dir():
            pytest.skip("ROS launch is neither installed nor fetched: `make launch-deps`, where the network has it")
        paths.insert(0, str(fetched))
    prefixes = [sys.prefix, *filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))]
    if not any(Path(prefix, "lib", "og_ros", "stage").is_file() for prefix in prefixes):
        pytest.skip("og_ros is not installed where launch looks for executables (lib/og_ros): `make setup`")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "AMENT_PREFIX_PATH": os.pathsep.join(prefixes),
        "ROS_DOMAIN_ID": str(DOMAIN),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the environment, with launch's own logs in a temporary folder."""
    return {**launch_environment(), "ROS_LOG_DIR": str(tmp_path_factory.mktemp("ros_log"))}


class Launched:
    """A launch file that runs in a process group of its own, as in a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], printed: Path) -> None:
        self.process = process
        self._printed = printed

    @property
    def output(self) -> str:
        """What launch and its nodes have printed."""
        return self._printed.read_text(errors="replace")

    @property
    def errors(self) -> list[str]:
        """The lines that launch itself printed as errors."""
        return [line for line in self.output.splitlines() if line.startswith("[ERROR]")]

    def pid(self, name: str) -> int:
        """Return the process id of the node that was started last under a name."""
        return int(re.findall(rf"\[{name}-\d+\]: process started with pid \[(\d+)\]", self.output)[-1])

    def ends(self, seconds: float) -> int:
        """Wait for the end; returns the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {seconds:g} s:\n{self.output}")

    def interrupt(self) -> None:
        """Press Ctrl-C: a terminal sends SIGINT to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)


@pytest.fixture
def run_launch(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """Start launch files: run_launch(name, *arguments)."""
    started: list[Launched] = []

    def run(name: str, *arguments: str) -> Launched:
        printed = tmp_path / f"printed-{len(started)}.txt"
        with open(printed, "wb") as file:
            process = subprocess.Popen(
                [sys.executable, RUNNER, ROOT / "launch" / name, *arguments],
                env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        started.append(Launched(process, printed))
        return started[-1]

    yield run
    for launched in started:
        if launched.process.poll() is None:
            os.killpg(launched.process.pid, signal.SIGKILL)
            launched.process.wait()


class Graph:
    """A node that looks at what a launch file started."""

    def __init__(self) -> None:
        import rclpy

        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node("launch_test", context=self.context)
        self.executor = rclpy.executors.SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._clients: dict[tuple[Any, str], Any] = {}

    def call(self, kind: Any, service: str, request: Any, seconds: float = 5.0) -> Any:
        """Call a service; returns None if it is not there, or does not answer in time."""
        key = (kind, service)
        if key not in self._clients:
            self._clients[key] = self.node.create_client(kind, service)
        client = self._clients[key]
        if not client.service_is_ready():
            self.executor.spin_once(0.05)
            return None
        future = client.call_async(request)
        self.executor.spin_until_future_complete(future, seconds)
        return future.result() if future.done() else None

    def state(self, name: str) -> str:
        """Return the lifecycle state of a node; "absent" if it does not say."""
        from lifecycle_msgs.srv import GetState

        answer = self.call(GetState, f"{name}/get_state", GetState.Request(), 1.0)
        return "absent" if answer is None else STATES[answer.current_state.id]

    def parameters(self, name: str, *names: str) -> list[Any]:
        """Return parameters of a node, once it answers."""
        from rcl_interfaces.srv import GetParameters
        from rclpy.parameter import parameter_value_to_python

        end = time.monotonic() + 60.0
        request = GetParameters.Request(names=names)
        while (answer := self.call(GetParameters, f"{name}/get_parameters", request)) is None:
            assert time.monotonic() < end, f"{name} does not answer"
        return [parameter_value_to_python(value) for value in answer.values]

    def wait(self, condition: Callable[[], Any], launched: Launched, seconds: float = 60.0) -> None:
        """Spin until a condition holds; fails when the launch ends before, or takes too long."""
        end = time.monotonic() + seconds
        while not condition():
            assert launched.process.poll() is None, f"launch ended:\n{launched.output}"
            assert time.monotonic() < end, f"not so after {seconds:g} s:\n{launched.output}"
            self.executor.spin_once(0.1)


@pytest.fixture
def graph(environment: dict[str, str]) -> Iterator[Graph]:
    """Look at the graph that the launch files of this test make."""
    import rclpy

    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    observer = Graph()
    yield observer
    observer.executor.shutdown()
    observer.node.destroy_node()
    rclpy.shutdown(context=observer.context)
