"""Both storages, and a fleet whose keys are registered."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleet_robots import FLEET, FLEET_KEY, ORIGIN, Robot, certify, robots
from postgres import Postgres

from og_ros.aggregator.admission import Logs
from og_ros.aggregator.database import Database, connect
from og_ros.aggregator.store import Store
from og_ros.registry import Registry

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request: pytest.FixtureRequest) -> str:
    """What a configuration names: an empty storage of each kind."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("tmp_path") / "storage")
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(f"test_{next(_NUMBERS)}")


@pytest.fixture
def open_store(storage: str) -> Iterator[Callable[[], Store]]:
    """Opens the storage anew, as after a restart."""
    opened: list[Database] = []

    def reopen() -> Store:
        for database in opened:
            database.close()
        opened[:] = [connect(storage, Path("/"))]
        return Store(opened[0], FLEET, ORIGIN, FLEET_KEY)

    yield reopen
    for database in opened:
        database.close()


@pytest.fixture(scope="session")
def fleet_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fleet") / "registry"
    certify(directory, robots(8))
    return directory


@pytest.fixture(scope="session")
def logs(fleet_registry: Path) -> Logs:
    return Logs(Registry.open(fleet_registry).keys.values())


@pytest.fixture
def fleet() -> list[Robot]:
    """Robots 0 to 7 are registered."""
    return robots(8)
