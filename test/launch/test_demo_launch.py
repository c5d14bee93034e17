"""demo.launch.py over real ROS launch: the chain holds live, Ctrl-C stops it cleanly, and the bag passes its audit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NODES = ("world", "perception", "planning", "control", "auditor", "recorder")


def test_demo_holds_stops_and_passes_its_audit(run_launch: Callable[..., Any], graph: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the stages need onnxruntime: extra `robot` of og_ros")
    from og_ros.audit.policy import load_policy
    from og_ros.audit.run import audit_bag
    from og_ros.msg import Attestation, ChainStatus
    from og_ros.registry import Registry

    statuses: list[ChainStatus] = []
    attestations: list[Attestation] = []
    graph.node.create_subscription(ChainStatus, "/auditor/status", statuses.append, 10)
    graph.node.create_subscription(Attestation, "/wheel_command/attestation", attestations.append, 1000)
    launched = run_launch("demo.launch.py", "directory:=out")
    for stage in ("perception", "planning", "control"):
        graph.wait(lambda name=stage: graph.state(f"/{name}") == "active", launched)
    graph.wait(lambda: statuses and statuses[-1].state == ChainStatus.HOLDS and statuses[-1].linked >= 100, launched)
    assert statuses[-1].violations == 0
    assert {stage.stage for stage in statuses[-1].stages} == {"perception", "planning", "control"}
    assert statuses[-1].log_size >= 100
    assert attestations[-1].clock == Attestation.CLOCK_SIM

    began = time.monotonic()
    launched.interrupt()
    assert launched.ends(20) == 0, launched.output
    stopped_s = time.monotonic() - began
    for name in NODES:
        assert f"[{name}-" in launched.output
    assert launched.output.count("process has finished cleanly") == len(NODES)
    assert not launched.errors
    assert "Traceback" not in launched.output
    assert stopped_s < 5.0

    out = tmp_path / "out"
    policy = load_policy(out / "policy.yaml")
    registry = Registry.open(out / "registry", pinned_root=policy.registry_root)
    report = audit_bag(out / "bag", registry, out / "ledger", policy)
    assert report.verdict.value == "holds", report.as_json()["findings"]
    told = report.as_json()
    assert told["linked"] >= 0.99 * told["decisions"] >= 99
