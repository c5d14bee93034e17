"""The launch files under launch_testing, the tool that ROS packages test theirs with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

DESCRIPTION = Path(__file__).with_name("bringup_launch_test.py")


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Prepare a demo's directory; returns a pipeline file of its stage control alone."""
    pytest.importorskip("onnxruntime", reason="the stages need onnxruntime: extra `robot` of og_ros")
    from og_ros.nodes.demo import prepare

    files = prepare(tmp_path_factory.mktemp("demo") / "out")
    data = yaml.safe_load(files.pipeline.read_text())
    data["stages"] = {"control": data["stages"]["control"]}
    files.pipeline.write_text(yaml.safe_dump(data))
    return files.pipeline


def launch_test(environment: dict[str, str], pipeline: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launch_testing.launch_test", str(DESCRIPTION)]
    return subprocess.run(
        command,
        env={**environment, "OG_ROS_TEST_PIPELINE": str(pipeline)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def test_bringup_passes_its_launch_test(environment: dict[str, str], control: Path) -> None:
    done = launch_test(environment, control)
    assert done.returncode == 0, done.stdout
    assert "Ran 1 test" in done.stdout, done.stdout
    assert "Ran 2 tests" in done.stdout, done.stdout


def test_the_launch_test_fails_when_a_stage_does(environment: dict[str, str], control: Path) -> None:
    data = yaml.safe_load(control.read_text())
    data["stages"]["control"]["model"]["version"] = "9.9.9"
    wrong = control.with_name("wrong.yaml")
    wrong.write_text(yaml.safe_dump(data))
    done = launch_test(environment, wrong)
    assert done.returncode == 1, done.stdout
