"""Measures an audit of many recordings: two workers against one, on each engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scenario import honest_run

from og_ros.audit.fleet import audit_fleet

RECORDINGS = 8
TICKS = 600
Figures = tuple[float, float, float]


def two_workers(directory: Path, measure: Callable[..., Figures]) -> dict[str, Figures]:
    """Return seconds with one and with two workers, and their ratio, start of the processes included."""
    for number in range(RECORDINGS):
        run = honest_run(TICKS, f"robot-{number}")
        place = directory / f"robot-{number}"
        place.mkdir(parents=True)
        run.write_registry(place / "registry")
        run.write_bag(place / "bag")

    def audit(engine: str, workers: int) -> Callable[[], Any]:
        def call() -> None:
            assert audit_fleet([directory], engine=engine, workers=workers).as_json()["holds"]

        return call

    engines = {"local": "processes", "dask": "embedded dask"}
    return {
        f"fleet of {RECORDINGS}, two {name} (floor: one)": measure(audit(engine, 1), audit(engine, 2), 3)
        for engine, name in engines.items()
    }
