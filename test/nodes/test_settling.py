"""The settler beside an auditor: its command line, and that it is started again when it ends."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from og_ros.attest import Algorithm, keys
from og_ros.errors import ConfigError, OgError
from og_ros.log import Ledger
from og_ros.log.writer_lock import WriterLock
from og_ros.nodes.settling import settler_command
from og_ros.nodes.supervisor import Supervisor
from og_ros.stages.pipeline import Pipeline, load_pipeline

STAGE = """\
robot: bench
stages:
  control:
    model: {path: m.onnx, name: m, version: 1.0.0}
    key: control.pem
    inputs: {a: {topic: /a, type: std_msgs/msg/Float32MultiArray, trigger: true, attestation: none}}
    outputs: {b: {topic: /b, type: std_msgs/msg/Float32MultiArray}}
"""
LEDGER = "auditor: {ledger: logs/ledger, log_key: log.pem}\n"


def pipeline(directory: Path, *sections: str) -> Pipeline:
    file = directory / "pipeline.yaml"
    file.write_text(STAGE + "".join(sections))
    return load_pipeline(file)


def test_the_section_asks_for_a_settler(tmp_path: Path) -> None:
    assert settler_command(pipeline(tmp_path, LEDGER), after_writer=True) is None
    whole = pipeline(tmp_path, LEDGER, "settlement: {state: s}\n")
    command = settler_command(whole, after_writer=True)
    assert command is not None
    verb = command[command.index("settle") :]
    assert verb[:5] == ["settle", "run", f"{tmp_path}/logs/ledger", "--config", f"{tmp_path}/pipeline.yaml"]
    assert verb[-1] == "--after-writer"
    assert "--after-writer" not in (settler_command(whole, after_writer=False) or [])


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        (("settlement: {state: s}\n",), "auditor.ledger is missing"),
        ((LEDGER, "settlement: {}\n"), "state"),
        ((LEDGER, "settlement: {state: s, backends: {a: {type: moon}}}\n"), "type"),
    ],
    ids=["no-ledger", "no-state", "unknown-backend"],
)
def test_a_section_that_cannot_work_is_told_before_anything_starts(
    tmp_path: Path, sections: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(OgError, match=problem):
        settler_command(pipeline(tmp_path, *sections), after_writer=False)


def test_a_missing_secret_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("eth_account")
    monkeypatch.delenv("OG_ROS_SETTLEMENT_KEY", raising=False)
    backend = f"{{type: evm, rpc: 'http://127.0.0.1:9', contract: '0x{'1' * 40}'}}"
    chain = f"settlement: {{state: s, backends: {{a: {backend}}}}}\n"
    with pytest.raises(OgError, match="OG_ROS_SETTLEMENT_KEY"):
        settler_command(pipeline(tmp_path, LEDGER, chain), after_writer=False)


def test_what_runs_beside_the_nodes_is_started_again(tmp_path: Path) -> None:
    script = f"open({str(tmp_path / 'starts')!r}, 'a').write('x'); print('no room'); raise SystemExit(7)"
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start_beside("settler", [sys.executable, "-c", script], restart_s=0.05)
        told: list[str] = []
        end = time.monotonic() + 20
        while len(told) < 3 and time.monotonic() < end:
            told += supervisor.check()
            time.sleep(0.01)
    ended = "ended with exit code 7, and is started again: "
    assert told[:3] == [ended + " / ".join(["no room"] * n) for n in (1, 2, 3)]
    assert (tmp_path / "starts").read_text().startswith("xxx")


def test_a_node_that_ends_still_ends_everything(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.start("node", "og_ros.no_such_module", {})
        supervisor._children["node"].wait(20)
        with pytest.raises(ConfigError, match="the node node ended with exit code 1"):
            supervisor.check()


def test_a_writer_at_work_is_seen(tmp_path: Path) -> None:
    assert not WriterLock.is_held(tmp_path)
    key = keys.generate(Algorithm.EDDSA)
    with Ledger.create(tmp_path / "log", "o", key):  # type: ignore[arg-type]
        assert WriterLock.is_held(tmp_path / "log")
    assert not WriterLock.is_held(tmp_path / "log")
    Ledger.open(tmp_path / "log", key).close()  # type: ignore[arg-type]
