"""Fixtures of the log's tests: a fixed signing key and a small ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.log import Ledger

ORIGIN = "example.com/robot-7"


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def ledger(tmp_path: Path, key: Ed25519PrivateKey) -> Iterator[Ledger]:
    with Ledger.create(tmp_path / "ledger", ORIGIN, key) as made:
        yield made
