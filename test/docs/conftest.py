"""Runs the pages: one short demo, whose directory each page gets a copy of, then the pages side by side."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from doc_pages import pages
from doc_runs import DEMO, Demo, PageRun
from domains import claim_domain, claimed_domain

SECONDS = "4"
WORKERS = 3
"""Pages at a time: they mostly wait, for nodes to find each other and for recordings to pass by."""


def environment(domain: int) -> dict[str, str]:
    """Return the environment of a user who activated this Python's environment, in a ROS domain of its own."""
    found = dict(os.environ)
    if found.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None):
        found.pop("LD_LIBRARY_PATH", None)
    found["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{found['PATH']}"
    found["COLUMNS"] = "80"
    found["ROS_DOMAIN_ID"] = str(domain)
    found["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    return found


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Run the demo as README.md says, only shorter."""
    if importlib.util.find_spec("rclpy") is None:
        pytest.skip("ROS 2 (rclpy) is not installed, and the pages work on the recording of the demo")
    directory = tmp_path_factory.mktemp("demo")
    ended = subprocess.run(
        [*DEMO.split(), "--seconds", SECONDS],
        cwd=directory, env=environment(claim_domain()), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    return Demo(directory / "demo_out", ended.stdout, ended.returncode)


def _run(page: Path, directory: Path, demo: Demo) -> PageRun:
    with claimed_domain() as domain:
        return PageRun(page, directory, environment(domain), demo).run()


@pytest.fixture
def page_again(demo: Demo, tmp_path: Path) -> Callable[[Path], PageRun]:
    """Give a function that runs a page once more, alone."""
    return lambda page: _run(page, tmp_path, demo)


@pytest.fixture(scope="session")
def page_runs(
    request: pytest.FixtureRequest, demo: Demo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[PageRun]]]:
    """Start the pages that this session asks for."""
    wanted = [item.callspec.params["page"] for item in request.session.items if "page_runs" in item.fixturenames]
    with ThreadPoolExecutor(WORKERS) as pool:
        yield {
            page: pool.submit(_run, page, tmp_path_factory.mktemp(page.stem), demo)
            for page in pages()
            if page in wanted
        }
