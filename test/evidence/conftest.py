"""TPMs for the tests of a room: made once, since that takes a second each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import swtpm
from swtpm import Machine, Maker


@pytest.fixture(scope="session")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """A maker of TPMs, or a skip with the reason."""
    if reason := swtpm.missing():
        pytest.skip(reason)
    return Maker(tmp_path_factory.mktemp("maker") / "tpms")


@pytest.fixture(scope="session")
def first_tpm(maker: Maker) -> Path:
    return maker.make("first")


@pytest.fixture(scope="session")
def second_tpm(maker: Maker) -> Path:
    return maker.make("second")


@pytest.fixture(scope="module")
def _started(first_tpm: Path) -> Iterator[Machine]:
    with swtpm.machine(first_tpm) as made:
        yield made


@pytest.fixture
def robot(_started: Machine) -> Machine:
    """A robot's computer that was just started."""
    _started.restart()
    return _started
