"""Models that crash, hang or eat memory: the audit goes on, and says so in one line."""

from __future__ import annotations

import hashlib
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="re-execution needs onnxruntime (extra `robot`)")
import tiny_onnx as tiny
import wire_messages as wire

from og_ros.attest import (
    Clock,
    DataReference,
    ModelReference,
    Runtime,
    Session,
    SoftwareSigner,
    Statement,
    digest,
    keys,
)
from og_ros.attest.digest import covered_size
from og_ros.audit.reexecution.model_pool import ModelPool
from og_ros.audit.reexecution.model_process import ModelProcess
from og_ros.audit.reexecution.reexecuted import Outcome, Reexecution
from og_ros.audit.reexecution.reexecutor import Reexecutor
from og_ros.errors import ConfigError
from og_ros.stages.inference import Inference
from og_ros.stages.model import OnnxModel
from og_ros.stages.pipeline import InputConfig, ModelConfig, OutputConfig, StageConfig

TWIST = "geometry_msgs/msg/Twist"
INT64, BOOL = 7, 9
INPUT = wire.serialize(wire.twist((1.0, 0.0, 0.0), (0.0, 0.0, 2.0)))


def endless() -> bytes:
    """A loop of 2^62 turns: a model that never gives anything."""
    parts = [
        (1, tiny.node("Identity", ["go"], "go_on")), (1, tiny.node("Add", ["v", "v"], "w")), (2, b"body"),
        (11, tiny.value_info("i", (), INT64)), (11, tiny.value_info("go", (), BOOL)), (11, tiny.value_info("v", (2,))),
        (12, tiny.value_info("go_on", (), BOOL)), (12, tiny.value_info("w", (2,))),
    ]  # fmt: skip
    body = b"".join(tiny.block(field, data) for field, data in parts)
    attribute = tiny.block(5, tiny.block(1, "body") + tiny.block(6, body) + tiny.number(20, 5))
    turns = tiny.number(2, INT64) + tiny.block(8, "turns") + tiny.block(9, struct.pack("<q", 2**62))
    return tiny.model([tiny.node("Loop", ["turns", "", "x"], "y", attribute)], [turns], *ports())


def greedy() -> bytes:
    """A model that wants 16 GB for a result of two numbers."""
    shape = struct.pack("<qq", 2 * 10**9, 2)
    sizes = tiny.number(1, 2) + tiny.number(2, INT64) + tiny.block(8, "shape") + tiny.block(9, shape)
    axes = tiny.block(5, tiny.block(1, "axes") + tiny.number(8, 0) + tiny.number(20, 7))
    keep = tiny.block(5, tiny.block(1, "keepdims") + tiny.number(3, 0) + tiny.number(20, 2))
    nodes = [tiny.node("Expand", ["x", "shape"], "big"), tiny.node("ReduceMax", ["big"], "y", axes + keep)]
    return tiny.model(nodes, [sizes], *ports())


def ports() -> tuple[list[bytes], list[bytes]]:
    return [tiny.value_info("x", (2,))], [tiny.value_info("y", (2,))]


def garbage() -> bytes:
    return b"\xff" * 64


HONEST = tiny.adder([0.5, 0.25])


def stage_with(model: bytes, directory: Path) -> StageConfig:
    path = directory / "model.onnx"
    path.write_bytes(model)
    inputs, outputs = {"x": InputConfig("/in", TWIST)}, {"y": OutputConfig("/out", TWIST)}
    return StageConfig("r", "s", ModelConfig(path, "m"), Path("k"), inputs, outputs)


def statement_of(stage: StageConfig, model: bytes) -> Statement:
    """What a stage that ran HONEST would say, naming another model."""
    inference = Inference.configure(stage, OnnxModel(HONEST, "honest"))
    output = inference.execute([INPUT], stamp_ns=0).outputs[0]
    runtime = inference.runtime
    session = Session(
        robot="r", stage="s", node="/s", model=ModelReference("m", "1", hashlib.sha256(model).digest()),
        runtime=Runtime(runtime.name, runtime.version, runtime.provider, runtime.options, runtime.cpu,
                        runtime.processing_digest),
        signer=SoftwareSigner(keys.generate()),
    )  # fmt: skip
    references = [DataReference(t, TWIST, digest(p), covered_size(p)) for t, p in (("/in", INPUT), ("/out", output))]
    attestation = session.attest(
        references[:1], references[1:], start_ns=0, clock=Clock.SYSTEM, start_monotonic_ns=0, duration_ns=1
    )
    return attestation.statement


PAYLOADS = {("/in", digest(INPUT)): INPUT}


def run_in(process: ModelProcess | Reexecutor, stage: StageConfig, model: bytes) -> Reexecution:
    return process.reexecute(statement_of(stage, model), PAYLOADS)


def test_an_honest_model_gives_in_its_process_what_it_gives_here(tmp_path: Path) -> None:
    stage = stage_with(HONEST, tmp_path)
    with ModelProcess({"s": stage}) as process:
        assert run_in(process, stage, HONEST) == run_in(Reexecutor({"s": stage}), stage, HONEST)
        assert run_in(process, stage, HONEST).outcome is Outcome.REPRODUCED


def test_a_model_that_never_ends(tmp_path: Path) -> None:
    stage = stage_with(endless(), tmp_path)
    with ModelProcess({"s": stage}, timeout_s=0.7) as process:
        began = time.monotonic()
        found = [run_in(process, stage, endless()) for _ in range(5)]
        assert time.monotonic() - began < 15
    assert {reexecution.outcome for reexecution in found} == {Outcome.UNAVAILABLE}
    assert [reexecution.detail for reexecution in found] == [
        *["it took longer than 0.7 s"] * 3,
        *["its model crashed or stalled before, and is not tried again"] * 2,
    ]


@pytest.mark.parametrize(
    ("model", "reason"), [(greedy, "failed: [ONNXRuntimeError]"), (garbage, "is no ONNX model")]
)
def test_a_model_that_wants_too_much_or_is_none(tmp_path: Path, model: Callable[[], bytes], reason: str) -> None:
    stage = stage_with(model(), tmp_path)
    with ModelProcess({"s": stage}) as process:
        found = run_in(process, stage, model())
        assert found.outcome is Outcome.UNAVAILABLE
        assert reason in found.detail
        assert "\n" not in found.detail


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    stage = stage_with(HONEST, tmp_path)
    with ModelProcess({"s": stage}) as process:
        assert run_in(process, stage, HONEST).outcome is Outcome.REPRODUCED
        assert process._child is not None
        os.kill(process._child.pid, signal.SIGKILL)
        found = run_in(process, stage, HONEST)
        assert found == Reexecution(Outcome.UNAVAILABLE, "the process that ran its model ended (signal 9)")
        assert run_in(process, stage, HONEST).outcome is Outcome.REPRODUCED
        child = process._child
    assert child.poll() is not None, "nothing is left running"


def test_nothing_is_imported_from_the_directory_of_the_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "og_ros.py").write_text("raise SystemExit('taken over')")
    (tmp_path / "json.py").write_text("raise SystemExit('taken over')")
    stage = stage_with(HONEST, tmp_path)
    monkeypatch.chdir(tmp_path)
    with ModelProcess({"s": stage}) as process:
        assert run_in(process, stage, HONEST).outcome is Outcome.REPRODUCED


def test_no_process_at_all_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_with(HONEST, tmp_path)
    for executable in ("/bin/false", str(tmp_path / "nowhere")):
        monkeypatch.setattr("sys.executable", executable)
        with ModelProcess({"s": stage}) as process, pytest.raises(ConfigError, match="cannot start: "):
            run_in(process, stage, HONEST)


def test_onnxruntime_that_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_with(HONEST, tmp_path)
    statement = statement_of(stage, HONEST)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    found = Reexecutor({"s": stage}).reexecute(statement, PAYLOADS)
    assert found == Reexecution(
        Outcome.UNAVAILABLE, "onnxruntime is not installed: install og_ros with the extra `robot`"
    )


def test_an_audit_that_is_stopped_leaves_nothing_running(tmp_path: Path) -> None:
    stage = stage_with(endless(), tmp_path)
    made: list[ModelProcess] = []

    def make() -> ModelProcess:
        made.append(ModelProcess({"s": stage}, timeout_s=60.0))
        return made[-1]

    statement = statement_of(stage, endless())
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), ModelPool(make, 2) as pool:
        for _ in pool.run(stopped(statement)):
            pass
    assert time.monotonic() - began < 20
    assert all(process._child is None for process in made)


def stopped(statement: Statement) -> Iterator[tuple[int, Statement, dict[tuple[str, bytes], bytes]]]:
    """Two requests that never end, then Ctrl-C."""
    yield 1, statement, PAYLOADS
    yield 2, statement, PAYLOADS
    time.sleep(0.5)
    raise KeyboardInterrupt
