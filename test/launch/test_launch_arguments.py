"""What a user meets first: the arguments of the launch files, and one clear line for a wrong one."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("run_launch.py")
LAUNCH = Path(__file__).resolve().parents[2] / "launch"


@pytest.mark.parametrize(
    ("file", "required"),
    [
        ("audit_replay.launch.py", {"bag", "pipeline"}),
        ("bringup.launch.py", {"pipeline"}),
        ("demo.launch.py", set()),
        ("fleet.launch.py", {"fleet"}),
        ("gate.launch.py", {"pipeline"}),
        ("gazebo.launch.py", set()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_argument_is_declared_and_described(environment: dict[str, str], file: str, required: set[str]) -> None:
    command = [sys.executable, RUNNER, LAUNCH / file, "--show-args"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30).stdout
    arguments = json.loads(shown)
    assert {name for name, (_, needed) in arguments.items() if needed} == required
    for name, (description, _) in arguments.items():
        assert len(description.split()) > 3, f"{name} says only {description!r}"
    source = (LAUNCH / file).read_text()
    assert "LaunchConfiguration(argument.name)" in source
    assert source.count("LaunchConfiguration(") == 1, "an argument is read that is not declared"


def test_all_launch_files_are_tested_here() -> None:
    files = sorted(path.name for path in LAUNCH.glob("*.launch.*"))
    names = ("audit_replay", "bringup", "demo", "fleet", "gate", "gazebo")
    assert files == [f"{name}.launch.py" for name in names]


def test_the_pages_use_arguments_that_there_are(environment: dict[str, str]) -> None:
    """Commands of ROS launch cannot run in these pages' own test, since `ros2 launch` is not here."""
    used: dict[str, set[str]] = {}
    for page in (LAUNCH.parent / "README.md", *(LAUNCH.parent / "docs").rglob("*.md"), *LAUNCH.glob("*.py")):
        text = page.read_text().replace("\\\n", " ")
        for file, rest in re.findall(r"ros2 launch og_ros (\S+\.launch\.py)([^`\n#]*)", text):
            used.setdefault(file, set()).update(re.findall(r"(\w+):=", rest))
    assert {"bringup.launch.py", "fleet.launch.py", "audit_replay.launch.py", "gazebo.launch.py"} <= used.keys()
    for file, names in used.items():
        command = [sys.executable, RUNNER, LAUNCH / file, "--show-args"]
        shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
        assert names <= json.loads(shown).keys(), file


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read {path}: No such file or directory"),
        ("robot: r\nstages:\n  see:\n    key: k.pem\n", "{path}:3: stages.see.model is missing"),
        ("robot: [\n", "{path}:2: expected the node content"),
    ],
    ids=["no-file", "no-model", "no-yaml"],
)
def test_a_wrong_pipeline_file_is_one_clear_line(
    run_launch: Callable[..., object], tmp_path: Path, content: str | None, words: str
) -> None:
    path = tmp_path / "pipeline.yaml"
    if content is not None:
        path.write_text(content)
    launched = run_launch("bringup.launch.py", f"pipeline:={path}")
    assert launched.ends(20) == 1
    assert "Traceback" not in launched.output
    (line,) = launched.errors
    assert words.format(path=path) in line


def test_a_missing_parameter_file_is_one_clear_line(run_launch: Callable[..., object], tmp_path: Path) -> None:
    source = (LAUNCH.parent / "config" / "demo.yaml").read_text()
    (tmp_path / "pipeline.yaml").write_text(source)
    launched = run_launch("bringup.launch.py", f"pipeline:={tmp_path}/pipeline.yaml", "parameters:=none.yaml")
    assert launched.ends(20) == 1
    (line,) = launched.errors
    assert "parameters: there is no file none.yaml" in line


def test_without_gazebo_its_launch_file_says_what_to_install(run_launch: Callable[..., object], tmp_path: Path) -> None:
    if importlib.util.find_spec("ros_gz_sim") is not None:
        pytest.skip("Gazebo is installed here")
    launched = run_launch("gazebo.launch.py", f"directory:={tmp_path}/out")
    assert launched.ends(20) == 1
    (line,) = launched.errors
    assert "ros_gz_sim is not installed: apt install ros-jazzy-ros-gz" in line
    assert not (tmp_path / "out").exists()


def test_a_missing_pipeline_is_asked_for(run_launch: Callable[..., object]) -> None:
    launched = run_launch("bringup.launch.py")
    assert launched.ends(20) == 1
    (line,) = launched.errors
    assert "missing required argument 'pipeline'" in line
    assert "config/demo.yaml is an example" in line
