"""Settings of every test, and which of them may run beside others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a busy machine would miss it at random.
settings.register_profile("og_ros", deadline=None)
settings.load_profile("og_ros")

HERE = Path(__file__).parent
# Their nodes hear each other, and wait more than they compute: with `-n 2 --dist loadgroup` one worker runs them in
# their order, while the other runs the rest.
WITH_NODES = {"attacks", "docs", "faults", "launch", "nodes", "packaging", "sim"}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put all tests that start nodes or build packages into one group."""
    for item in items:
        if item.path.relative_to(HERE).parts[0] in WITH_NODES:
            item.add_marker(pytest.mark.xdist_group("nodes"))
