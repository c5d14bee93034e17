"""The real runs that every attack starts from: one for the whole session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import real_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> real_runs.RealRuns:
    """Make the runs; OG_ROS_ATTACK_RUNS names a directory that keeps them for the next session."""
    pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
    kept = os.environ.get("OG_ROS_ATTACK_RUNS")
    return real_runs.make(Path(kept) if kept else tmp_path_factory.mktemp("runs"))
