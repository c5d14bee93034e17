"""The pure core: payloads in, payloads out, and a processing digest over everything around the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import wire_messages as wire
from tiny_onnx import weighted_sum

from og_ros.attest import Algorithm, ModelReference, SoftwareSigner, keys
from og_ros.errors import ConfigError, ModelError, OgError, RegistryError
from og_ros.registry import RegistryWriter
from og_ros.stages.adapters.registered import adapter_for, create
from og_ros.stages.certified import require_certified
from og_ros.stages.inference import Inference, Port, output_stamp
from og_ros.stages.model import OnnxModel, Tensor
from og_ros.stages.pipeline import InputConfig, ModelConfig, OutputConfig, StageConfig, load_pipeline

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "og_ros" / "sim" / "models"


def planning() -> StageConfig:
    stage = load_pipeline(ROOT / "config" / "examples" / "scan_follower.yaml").stages["planning"]
    return replace(stage, model=replace(stage.model, path=MODELS / "line_planning.onnx"))


def sum_stage(**changes: InputConfig | OutputConfig) -> StageConfig:
    inputs = {
        "a": InputConfig("/a", "geometry_msgs/msg/TwistStamped", trigger=True),
        "b": InputConfig("/b", "geometry_msgs/msg/Twist"),
    }
    outputs = {"y": OutputConfig("/y", "geometry_msgs/msg/TwistStamped")}
    for name, port in changes.items():
        (inputs if isinstance(port, InputConfig) else outputs)[name] = port  # type: ignore[index]
    return StageConfig("r", "s", ModelConfig(Path("m"), "m"), Path("k"), inputs, outputs)


SUM = OnnxModel(weighted_sum(2), "sum")


def test_gives_what_onnxruntime_gives() -> None:
    inference = Inference.configure(planning())
    line = np.array([0.05, -0.1, 0.2], dtype=np.float32)
    ranges = np.linspace(1, 3, 24, dtype=np.float32)
    quarter = np.pi / 2
    scan = wire.scan(ranges.tolist(), angle_min=-quarter, angle_increment=2 * quarter / 23)
    result = inference.execute([wire.serialize(wire.floats(line)), wire.serialize(scan)], stamp_ns=77)
    session = onnxruntime.InferenceSession(MODELS / "line_planning.onnx")
    expected = session.run(None, {"line": line, "ranges": ranges})[0]
    found = wire.deserialize(result.outputs[0], "geometry_msgs/msg/TwistStamped")
    assert [found.twist.linear.x, found.twist.angular.z] == pytest.approx(expected.tolist(), abs=1e-6)
    assert found.header.frame_id == "base_link"
    assert found.header.stamp.nanosec == 77


def test_runs_alike_every_time() -> None:
    payloads = [
        wire.serialize(wire.twist_stamped((1, 0, 0), (0, 0, 2))),
        wire.serialize(wire.twist((3, 0, 0), (0, 0, 4))),
    ]
    first, second = (Inference.configure(sum_stage(), SUM) for _ in range(2))
    assert first.execute(payloads, stamp_ns=5).outputs == second.execute(payloads, stamp_ns=5).outputs
    assert first.runtime == second.runtime
    found = wire.deserialize(first.execute(payloads, stamp_ns=5).outputs[0], "geometry_msgs/msg/TwistStamped")
    assert (found.twist.linear.x, found.twist.angular.z) == (4.0, 6.0)


def test_outputs_are_stamped_as_what_was_measured() -> None:
    inference = Inference.configure(sum_stage(), SUM)
    stamped = inference.decode(0, wire.serialize(wire.twist_stamped((1, 0, 0), (0, 0, 2))))
    plain = inference.decode(1, wire.serialize(wire.twist((1, 0, 0), (0, 0, 2))))
    assert output_stamp(inference.inputs, [stamped, plain], 0, 9) == 1_500_000_002
    assert output_stamp(inference.inputs, [stamped, plain], 1, 9) == 1_500_000_002
    assert output_stamp(inference.inputs[1:], [plain], 0, 9) == 9


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("a", InputConfig("/a", "geometry_msgs/msg/TwistStamped", trigger=True,
                         options={"fields": ["linear.x", "linear.y"]})),
        ("b", InputConfig("/b", "geometry_msgs/msg/TwistStamped")),
        ("y", OutputConfig("/y", "geometry_msgs/msg/TwistStamped", frame_id="base")),
        ("y", OutputConfig("/y", "geometry_msgs/msg/Twist")),
    ],
)  # fmt: skip
def test_processing_digest_covers_the_configuration(name: str, port: InputConfig | OutputConfig) -> None:
    plain = Inference.configure(sum_stage(), SUM).runtime.processing_digest
    assert Inference.configure(sum_stage(**{name: port}), SUM).runtime.processing_digest != plain


def test_processing_digest_covers_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Inference.configure(sum_stage(), SUM).runtime.processing_digest
    monkeypatch.setattr("og_ros.stages.inference.source_of", lambda thing: b"tampered")
    assert Inference.configure(sum_stage(), SUM).runtime.processing_digest != plain


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (sum_stage(c=InputConfig("/c", "geometry_msgs/msg/Twist")), "has no tensor 'c'; it has a "),
        (sum_stage(z=OutputConfig("/c", "geometry_msgs/msg/Twist")), "has no tensor 'z'; it has y "),
        (sum_stage(b=InputConfig("/b", "std_msgs/msg/String")), "there is no adapter for std_msgs/msg/String"),
        (sum_stage(b=InputConfig("/b", "geometry_msgs/msg/Twist", adapter="odometry")), "is for nav_msgs/msg/Odometry"),
        (sum_stage(b=InputConfig("/b", "geometry_msgs/msg/Twist", tensor="a")), "has the input a"),
        (sum_stage(b=InputConfig("/b", "geometry_msgs/msg/Twist", options={"batch": True})), "adapter twist gives"),
        (sum_stage(y=OutputConfig("/y", "nav_msgs/msg/Odometry")), "cannot make one of an output"),
    ],
)
def test_misfits_are_found_before_the_first_message(stage: StageConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Inference.configure(stage, SUM)


def test_input_without_topic_is_found() -> None:
    stage = sum_stage()
    alone = replace(stage, inputs={"a": stage.inputs["a"]})
    with pytest.raises(ConfigError, match="has the input b"):
        Inference.configure(alone, SUM)


def test_message_of_another_size_is_a_model_error() -> None:
    inference = Inference.configure(planning())
    with pytest.raises(ModelError, match=r"input line: the message gives float32\[4\], the model takes float32\[3\]"):
        inference.decode(0, wire.serialize(wire.floats(np.zeros(4))))
    with pytest.raises(OgError):
        inference.decode(0, b"")


ROBOT, STAGE = "r", "s"


def test_an_array_that_only_lacks_its_shape_names_the_option() -> None:
    array = InputConfig("/x", "std_msgs/msg/Float32MultiArray", trigger=True)
    vector = Tensor("x", (1, 2), "float32")
    port = Port("x", vector, create(adapter_for(array.type), {}, "options"))
    for values, hint in (([1.0, 2.0], "; options: {shape: [1, 2]} of this input would make it fit"), ([1.0], "")):
        with pytest.raises(ModelError) as raised:
            Inference(SUM, [port], [], []).decode(0, wire.serialize(wire.floats(np.array(values))))
        assert str(raised.value).endswith(f"the model takes float32[1, 2]{hint}")


@pytest.fixture
def certified(tmp_path: Path) -> tuple[RegistryWriter, SoftwareSigner, dict[str, object]]:
    signer = SoftwareSigner(keys.generate(Algorithm.ES256))
    inference = Inference.configure(sum_stage(), SUM)
    writer = RegistryWriter.create(tmp_path / "reg", SoftwareSigner(keys.generate()), "test", now_ns=1)
    writer.certify_key(signer.public_key, robot=ROBOT, stage=STAGE, not_before_ns=10, not_after_ns=100)
    writer.certify_model("sum", "1", SUM.digest, stages=(STAGE,), not_before_ns=10, not_after_ns=100)
    asked: dict[str, object] = {
        "robot": ROBOT, "stage": STAGE, "model": ModelReference("sum", "1", SUM.digest),
        "runtime": inference.runtime, "key_id": signer.key_id, "now_ns": 50,
    }  # fmt: skip
    return writer, signer, asked


def test_certified_stage_may_start(certified: tuple[RegistryWriter, SoftwareSigner, dict[str, object]]) -> None:
    writer, _, asked = certified
    require_certified(writer.registry, **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key_id": b"k" * 32}, "key 6b6b6b6b6b6b6b6b is not in the registry"),
        ({"robot": "other"}, "not for stage s of robot other"),
        ({"stage": "other"}, "not for stage other"),
        ({"model": ModelReference("sum", "1", b"d" * 32)}, "its bytes were never certified"),
        ({"model": ModelReference("sum", "2", SUM.digest)}, "as sum@1; set model.name"),
        ({"now_ns": 5}, "not yet valid"),
        ({"now_ns": 500}, "expired"),
    ],
)
def test_uncertified_stage_may_not(
    certified: tuple[RegistryWriter, SoftwareSigner, dict[str, object]], change: dict[str, object], message: str
) -> None:
    writer, _, asked = certified
    with pytest.raises(RegistryError, match=message):
        require_certified(writer.registry, **{**asked, **change})  # type: ignore[arg-type]


def test_revoked_model_and_other_processing_may_not(
    certified: tuple[RegistryWriter, SoftwareSigner, dict[str, object]],
) -> None:
    writer, _, asked = certified
    writer.certify_model("bound", "1", b"b" * 32, processing_digest=b"p" * 32, not_before_ns=10)
    with pytest.raises(RegistryError, match="other pre- or post-processing"):
        require_certified(writer.registry, **{**asked, "model": ModelReference("bound", "1", b"b" * 32)})  # type: ignore[arg-type]
    writer.revoke_model(SUM.digest, "test", at_ns=40)
    with pytest.raises(RegistryError, match="revoked"):
        require_certified(writer.registry, **asked)  # type: ignore[arg-type]
