"""Fixtures of the registry's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_registry import Made, make


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path / "registry")
