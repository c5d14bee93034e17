"""Fixtures of the tests against other DDS, other ROS, and the graph of running nodes."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from running_graph import Graph


@pytest.fixture(scope="session")
def demo_graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """Give the graph of the demo's nodes; skips where there is no ROS."""
    for package in ("rclpy", "og_ros.msg"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: extras `ros` and `ros-build` of og_ros")
    import running_graph

    return running_graph.demo_graph(tmp_path_factory.mktemp("graph"))
