"""The real runs that every attack starts from: one for the whole session."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import real_runs

from og_ros.cli.main import main


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> real_runs.RealRuns:
    """Make the runs; OG_ROS_ATTACK_RUNS names a directory that keeps them for the next session."""
    pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
    kept = os.environ.get("OG_ROS_ATTACK_RUNS")
    return real_runs.make(Path(kept) if kept else tmp_path_factory.mktemp("runs"))


@pytest.fixture
def audited(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], tuple[int, dict[str, Any], str]]:
    """Return a function that runs the command, for exit code, report and what it wrote to standard error."""

    def run(arguments: list[str]) -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        code = main([*arguments, "--json", "-"])
        shown = capsys.readouterr()
        return code, json.loads(shown.out) if shown.out else {}, shown.err

    return run
