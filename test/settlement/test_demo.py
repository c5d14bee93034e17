"""The demo on a real chain: every decision's checkpoint becomes final, and the audit confirms it from the chain."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from anvil import BINARY

from og_ros.cli.main import main


@pytest.mark.slow
def test_every_decision_is_final(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rclpy")
    if not BINARY.is_file():
        pytest.skip("anvil is not there: make chain-deps")
    command = [sys.executable, "-m", "og_ros.cli.main", "demo", "--settle", "evm", "--seconds", "3", "--out", "out"]
    environment = {**os.environ, "ANVIL": str(BINARY)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    levels = json.loads((tmp_path / "out" / "audit.json").read_text())["levels"]["settlement"]
    assert levels["decisions"]["lowest"] == levels["lowest"] == "final"
    assert "The last decision, leaf" in done.stderr
    told = done.stderr[done.stderr.index("og-ros settle verify") :].split()
    where = [str(tmp_path / word) if word.startswith("out/") else word for word in told[1:]]
    assert main(where) == 0, "the receipts hold when the chain is gone"
    assert "leaf 0: final" in capsys.readouterr().out
