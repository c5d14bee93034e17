"""Settings of every test, and which of them may run beside others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a busy machine would miss it at random.
settings.register_profile("og_ros", deadline=None)
settings.load_profile("og_ros")

HERE = Path(__file__).parent
# Tests that start nodes or build packages wait more than they compute. Those of one group run in one worker, in their
# order, since they share expensive fixtures; the groups and all other tests run side by side (`-n 3 --dist loadgroup`).
GROUPS = {
    "aggregator": "aggregator",
    "docs": "pages",
    "nodes": "nodes",
    "examples": "pages",
    "sim": "nodes",
    **dict.fromkeys(("attacks", "faults", "launch", "rmw"), "runs"),
    **dict.fromkeys(("cpp", "packaging"), "builds"),
}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that start nodes or build packages into their groups.

    On a shared machine such a test may be starved for longer than it waits: it gets a second try, which pytest counts.
    """
    for item in items:
        if group := GROUPS.get(item.path.relative_to(HERE).parts[0]):
            item.add_marker(pytest.mark.xdist_group(group))
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_collection_finish(session: pytest.Session) -> None:
    """End at once where groups do not hold: each worker would make every fixture, and nodes disturb each other."""
    if getattr(session.config.option, "loadgroup", False):
        grouped = (item for item in session.items if item.get_closest_marker("xdist_group"))
        if lost := [item.nodeid for item in grouped if "@" not in item.nodeid]:
            raise pytest.UsageError(f"pytest-xdist does not see the group of {lost[0]}")
