"""Recordings whose stages hash otherwise than by SHA-256: joined all the same, and what was altered is found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import scenario
from scenario import Run, honest_run

from og_ros.attest import DataReference, digest
from og_ros.audit.run import audit_bag
from og_ros.registry import Registry


def hashed_with(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(scenario, "digest", lambda data: digest(data, algorithm))

    def show(reference: DataReference) -> DataReference:
        return dataclasses.replace(reference, digest_algorithm=algorithm)

    return honest_run(20, show=show)


@pytest.mark.parametrize("algorithm", ["sha256", "blake3", "sha256-tree"])
def test_every_algorithm_is_joined(algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if algorithm == "blake3":
        pytest.importorskip("blake3")
    run = hashed_with(algorithm, monkeypatch)
    run.write_registry(tmp_path / "registry")
    registry = Registry.open(tmp_path / "registry")
    report = audit_bag(run.write_bag(tmp_path / "bag"), registry).as_json()
    assert report["holds"], report["findings"]
    assert report["linked"] == report["decisions"] == 20
    at = next(i for i, record in enumerate(run.records) if record.topic == "/planning/reference")
    altered = bytearray(run.records[at].payload)
    altered[-1] ^= 1
    run.records[at] = dataclasses.replace(run.records[at], payload=bytes(altered))
    spoilt = audit_bag(run.write_bag(tmp_path / "spoilt"), registry).as_json()
    assert not spoilt["holds"]
