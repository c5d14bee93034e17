"""Adapters of other people's pipelines, against messages that rosbags wrote and reads, and in a stage with a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pipeline_messages as other
import pytest
import wire_messages as wire
from pipeline_models import nav_model, policy_model

from og_ros.attest import digest
from og_ros.errors import AttestationError, ConfigError, OgError
from og_ros.stages.adapters import create
from og_ros.stages.inference import Inference
from og_ros.stages.model import OnnxModel, Tensor
from og_ros.stages.pipeline import StageConfig, load_pipeline

RANDOM = np.random.default_rng(3)
COLOUR = RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8)
DEPTH = RANDOM.integers(1, 65536, (6, 8), dtype=np.uint16)


def png(pixels: np.ndarray, form: str = ".png") -> bytes:
    return bytes(cv2.imencode(form, pixels)[1].tobytes())


def decode(name: str, message: Any, **options: object) -> np.ndarray:
    return create(name, options).decode(wire.serialize(message)).array


# ---- compressed images ----


@pytest.mark.parametrize("form", ["bgr8; png compressed bgr8", "rgb8; png compressed bgr8", "png", ""])
def test_compressed_colour(form: str) -> None:
    """Whatever its publisher had, a file's colours are OpenCV's."""
    message = other.compressed(png(COLOUR), form)
    assert np.array_equal(decode("compressed_image", message), COLOUR)
    assert np.array_equal(decode("compressed_image", message, channels="rgb"), COLOUR[:, :, ::-1])
    chw = decode("compressed_image", message, dtype="float32", scale=0.5, layout="chw", batch=True)
    assert np.allclose(chw, COLOUR.transpose(2, 0, 1)[np.newaxis] * 0.5)


def test_compressed_jpeg_is_what_opencv_makes_of_it() -> None:
    data = png(cv2.resize(COLOUR, (64, 48)), ".jpg")
    found = decode("compressed_image", other.compressed(data, "bgr8; jpeg compressed bgr8"), resize=(16, 12))
    assert found.shape == (12, 16, 3)
    expected = cv2.resize(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), (16, 12))
    assert np.array_equal(found, expected)
    assert create("compressed_image", {}).libraries() == {"opencv": cv2.__version__}  # type: ignore[attr-defined]


def test_compressed_gray_and_depth() -> None:
    gray = decode("compressed_image", other.compressed(png(COLOUR[:, :, :1]), "mono8; png compressed "), layout="hw")
    assert np.array_equal(gray, COLOUR[:, :, 0])
    options = {"dtype": "float32", "scales": {"16UC1": 0.001}, "layout": "hw"}
    millimetres = decode("compressed_image", other.compressed_depth(png(DEPTH)), **options)
    assert np.allclose(millimetres, DEPTH.astype(np.float32) * 0.001)
    inverse = other.compressed_depth(png(DEPTH), "32FC1", a=100.0, b=-3.0)
    metres = decode("compressed_image", inverse, dtype="float32", layout="hw")
    assert np.allclose(metres, 100.0 / (DEPTH.astype(np.float32) + 3.0))
    hole = DEPTH.copy()
    hole[0, 0] = 0
    assert np.isnan(decode("compressed_image", other.compressed_depth(png(hole), "32FC1"), dtype="float32")[0, 0])


@pytest.mark.parametrize(
    ("message", "options", "says"),
    [
        (other.compressed(b"GIF89a" + bytes(40), "gif"), {}, "neither JPEG nor PNG"),
        (other.compressed(png(COLOUR)[:40], "png"), {}, "cannot be decoded"),
        (other.compressed(b"\xff\xd8" + bytes(40), "jpeg"), {}, "no header that gives its size"),
        (other.compressed(png(COLOUR), "png"), {"max_pixels": 47}, "8×6 pixels; 1 to 47"),
        (
            other.compressed(png(COLOUR)[:16] + b"\xff\xff\xff\xff" * 2 + png(COLOUR)[24:], "png"), {},
            "4294967295×4294967295 pixels",
        ),
        (other.compressed_depth(png(COLOUR)), {}, "3 channels of uint8, not 1 of uint16"),
        (other.compressed_depth(png(DEPTH), "64FC1"), {}, "16UC1 and 32FC1 are known"),
        (other.compressed(b"1234", "16UC1; compressedDepth png"), {}, "shorter than its header"),
    ],
)  # fmt: skip
def test_compressed_images_that_are_refused(message: Any, options: dict[str, object], says: str) -> None:
    with pytest.raises(AttestationError, match=says):
        decode("compressed_image", message, **options)


# ---- detections ----


def detections(array: np.ndarray, **options: object) -> Any:
    payload = create("detection2d_array", options).encode(array, 1_500_000_002, "camera")
    found = wire.deserialize(payload, "vision_msgs/msg/Detection2DArray")
    assert digest(payload) == digest(wire.serialize(found))
    return found


def test_detections_are_what_vision_msgs_says() -> None:
    rows = np.array([[0, 10, 20, 50, 0.25, 1], [5, 5, 7, 9, 0.75, 0], [1, 1, 2, 2, 0.125, 1]], np.float32)
    found = detections(rows, classes=("person", "car"), min_score=0.2)
    assert (found.header.frame_id, found.header.stamp.nanosec) == ("camera", 500_000_002)
    assert [d.results[0].hypothesis.class_id for d in found.detections] == ["person", "car"]
    assert [d.results[0].hypothesis.score for d in found.detections] == [0.75, 0.25]
    box = found.detections[1].bbox
    assert (box.center.position.x, box.center.position.y, box.center.theta) == (10, 30, 0)
    assert (box.size_x, box.size_y) == (20, 40)
    assert found.detections[0].results[0].pose.pose.orientation.w == 1
    centred = detections(rows[np.newaxis, :1], box="center").detections[0]
    assert (centred.bbox.center.position.y, centred.bbox.size_x) == (10, 20)
    assert centred.results[0].hypothesis.class_id == "1"
    assert len(detections(rows, max_detections=1).detections) == 1
    assert detections(np.zeros((0, 6))).detections == []


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([[0, 0, 1, 1, 0.5]], "no detections"),
        ([[0, 0, 1, 1, np.nan, 0]], "not finite"),
        ([[0, 0, 1, 1, 0.5, 2]], "2 have names"),
        ([[0, 0, 1, 1, 0.5, 0.5]], "no number of one"),
        ([[0, 0, 1, 1, 0.5, -1]], "no number of one"),
    ],
)
def test_detections_that_no_message_can_hold(rows: list[list[float]], says: str) -> None:
    with pytest.raises(AttestationError, match=says):
        create("detection2d_array", {"classes": ("a", "b")}).encode(np.array(rows), 0, "")


# ---- navigation, joints, commands ----


def test_grid_and_path() -> None:
    cells = np.array([[0, 100, -1], [50, 1, 2]])
    assert decode("occupancy_grid", other.grid(cells)).tolist() == cells.tolist()
    scaled = decode("occupancy_grid", other.grid(cells), unknown=50, scale=0.01, layout="chw", batch=True)
    assert scaled.shape == (1, 1, 2, 3)
    assert scaled[0, 0, 0].tolist() == pytest.approx([0, 1, 0.5])
    with pytest.raises(AttestationError, match="3×2 cells; 4×4 are expected"):
        decode("occupancy_grid", other.grid(cells), size=(4, 4))
    line = other.path([(x, -x) for x in range(9)])
    assert decode("path", line, points=5).tolist() == [[x, -x] for x in (0, 2, 4, 6, 8)]
    assert (
        decode("path", other.path([(3, 4)]), points=2, fields=("position.y", "orientation.w")).tolist() == [[4, 1]] * 2
    )
    with pytest.raises(AttestationError, match="the path has 0 poses"):
        decode("path", other.path([]))


def test_joints_are_found_by_name() -> None:
    message = other.joint_state(["elbow", "shoulder", "wrist"], [1, 2, 3], [4, 5, 6])
    options = {"joints": ("wrist", "shoulder"), "fields": ("velocity", "position")}
    assert decode("joint_state", message, **options).tolist() == [6, 5, 3, 2]
    with pytest.raises(AttestationError, match="no joint 'gripper'"):
        decode("joint_state", message, joints=("gripper",))
    with pytest.raises(AttestationError, match="0 effort values of 3 joints"):
        decode("joint_state", message, joints=("wrist",), fields=("effort",))
    with pytest.raises(AttestationError, match="names a joint twice"):
        decode("joint_state", other.joint_state(["a", "a"], [1, 2]), joints=("a",))
    payload = create("joint_state", options).encode(np.array([6.0, 5, 3, 2]), 7, "arm")
    found = wire.deserialize(payload, "sensor_msgs/msg/JointState")
    assert (found.name, found.position.tolist(), found.velocity.tolist()) == (["wrist", "shoulder"], [3, 2], [6, 5])
    assert payload == wire.serialize(found)


def test_trajectories_both_ways() -> None:
    rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    message = other.trajectory(["b", "a"], rows)
    assert decode("joint_trajectory", message, joints=("a", "b")).tolist() == [[2, 1], [4, 3], [6, 5]]
    assert decode("joint_trajectory", message, joints=("a",), points=5).tolist() == [[2], [4], [6], [6], [6]]
    assert decode("joint_trajectory", message, joints=("a",), points=2, batch=True).shape == (1, 2, 1)
    adapter = create("joint_trajectory", {"joints": ("a", "b"), "dt_s": 0.7})
    payload = adapter.encode(np.array([rows], np.float32), 1_500_000_002, "arm")
    found = wire.deserialize(payload, "trajectory_msgs/msg/JointTrajectory")
    assert payload == wire.serialize(found)
    assert found.joint_names == ["a", "b"]
    assert [p.positions.tolist() for p in found.points] == rows
    times = [p.time_from_start.sec * 10**9 + p.time_from_start.nanosec for p in found.points]
    assert times == [700_000_000, 1_400_000_000, 2_100_000_000]
    for wrong in ([[1.0]], [[[1.0, 2.0]], [[1.0, 2.0]]], [[1.0, np.inf]], np.zeros((0, 2))):
        with pytest.raises(AttestationError):
            adapter.encode(np.array(wrong), 0, "")


def test_ros2_control_commands() -> None:
    payload = create("float64_multi_array", {"squeeze": True}).encode(np.array([[0.5, -1.0]], np.float32), 0, "")
    found = wire.deserialize(payload, "std_msgs/msg/Float64MultiArray")
    assert (found.data.tolist(), found.layout.dim) == ([0.5, -1.0], [])
    assert payload == wire.serialize(found)
    assert decode("float64_multi_array", other.floats64(np.arange(6), (2, 3))).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert decode("float64_multi_array", other.floats64(np.arange(2)), dtype="float64").dtype == np.float64
    with pytest.raises(AttestationError, match="not finite"):
        create("float64_multi_array", {}).encode(np.array([np.nan]), 0, "")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("joint_state", {}, "joints is missing"),
        ("joint_state", {"joints": ["a", "a"]}, "none twice"),
        ("joint_state", {"joints": ["a"], "fields": ["torque"]}, "fields must be of position"),
        ("joint_trajectory", {"joints": ["a"], "dt_s": 0}, "dt_s is 0"),
        ("joint_trajectory", {"joints": ["a"], "points": 0}, "points is 0"),
        ("occupancy_grid", {"layout": "whc"}, "layout is 'whc'"),
        ("occupancy_grid", {"size": [0, 1]}, "size must be"),
        ("path", {"fields": ["x"]}, "fields has 'x'"),
        ("path", {"points": 0}, "points is 0"),
        ("compressed_image", {"max_pixels": 0}, "max_pixels is 0"),
        ("compressed_image", {"scale": 2.0}, "need dtype: float32"),
        ("detection2d_array", {"box": "round"}, "box is 'round'"),
        ("detection2d_array", {"max_detections": 0}, "max_detections is 0"),
        ("float64_multi_array", {"dtype": "int8"}, "dtype is 'int8'"),
    ],
)
def test_options_out_of_range(name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        create(name, options)


def test_who_only_reads_or_only_writes_says_so() -> None:
    for name in ("compressed_image", "occupancy_grid", "path"):
        with pytest.raises(ConfigError, match="cannot make one of an output"):
            create(name, {}).check_output(Tensor("t", (2,), "float32"))
    writer = create("detection2d_array", {})
    for refused in (lambda: writer.check_input(Tensor("t", (2,), "float32")), lambda: writer.decode(b"")):
        with pytest.raises(OgError, match="it cannot read one"):
            refused()


# ---- whole stages, by YAML, with a model ----

PIPELINE = """\
robot: arm
stages:
  nav:
    model: {path: nav.onnx, name: nav}
    key: k
    inputs:
      costmap: {topic: /local_costmap/costmap, type: nav_msgs/msg/OccupancyGrid, options: {size: [3, 2]}}
      plan: {topic: /plan, type: nav_msgs/msg/Path, options: {points: 3}, trigger: true}
    outputs:
      command: {topic: /cmd_vel, type: geometry_msgs/msg/Twist}
  policy:
    model: {path: policy.onnx, name: policy}
    key: k
    inputs:
      front:
        tensor: observation.images.front
        topic: /front/image_raw/compressed
        type: sensor_msgs/msg/CompressedImage
        options: {channels: rgb, dtype: float32, scale: 0.00392156862745098, layout: chw, batch: true}
      wrist:
        tensor: observation.images.wrist
        topic: /wrist/image_raw
        type: sensor_msgs/msg/Image
        options: {channels: rgb, dtype: float32, scale: 0.00392156862745098, layout: chw, batch: true}
      state:
        tensor: observation.state
        topic: /joint_states
        type: sensor_msgs/msg/JointState
        trigger: true
        options: {joints: [shoulder, elbow], batch: true}
    outputs:
      action:
        topic: /arm_controller/joint_trajectory
        type: trajectory_msgs/msg/JointTrajectory
        options: {joints: [shoulder, elbow], dt_s: 0.1}
"""


@pytest.fixture
def stages(tmp_path: Path) -> dict[str, StageConfig]:
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    return dict(load_pipeline(tmp_path / "pipeline.yaml").stages)


def test_costmap_and_plan_to_a_velocity(stages: dict[str, StageConfig]) -> None:
    inference = Inference.configure(stages["nav"], OnnxModel(nav_model(), "nav"))
    messages = [other.grid(np.array([[0, 70, -1], [50, 1, 2]])), other.path([(0, 1), (2, 3), (4, 5)])]
    result = inference.execute([wire.serialize(message) for message in messages], stamp_ns=5)
    found = wire.deserialize(result.outputs[0], "geometry_msgs/msg/Twist")
    assert (found.linear.x, found.angular.z) == (70.0, 5.0)


def test_a_policy_of_images_and_state_to_a_chunk_of_actions(stages: dict[str, StageConfig]) -> None:
    inference = Inference.configure(stages["policy"], OnnxModel(policy_model(), "policy"))
    assert [port.name for port in inference.inputs] == ["front", "state", "wrist"]
    payloads = [
        wire.serialize(other.compressed(png(COLOUR), "bgr8; png compressed bgr8")),
        wire.serialize(other.joint_state(["elbow", "gripper", "shoulder"], [0.5, 9.0, -0.25])),
        wire.serialize(wire.image(COLOUR, "bgr8")),
    ]
    result = inference.execute(payloads, stamp_ns=1_500_000_002)
    found = wire.deserialize(result.outputs[0], "trajectory_msgs/msg/JointTrajectory")
    rgb = COLOUR[:, :, ::-1].transpose(2, 0, 1)[np.newaxis].astype(np.float32) * np.float32(0.00392156862745098)
    feeds = {"observation.images.front": rgb, "observation.images.wrist": rgb}
    feeds["observation.state"] = np.array([[-0.25, 0.5]], np.float32)
    expected = onnxruntime.InferenceSession(policy_model()).run(None, feeds)[0]
    assert [p.positions.tolist() for p in found.points] == expected[0].astype(float).tolist()
    assert found.points[0].positions.tolist() == [-0.25, 0.5]
    assert [p.time_from_start.nanosec for p in found.points] == [100_000_000, 200_000_000]
    assert (found.header.stamp.nanosec, found.header.frame_id) == (500_000_002, "")


def test_the_processing_digest_covers_the_rules_beside_the_adapter(
    stages: dict[str, StageConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    from og_ros.stages.adapters import adapter as adapter_module
    from og_ros.stages.adapters import joints

    def processing() -> bytes:
        return Inference.configure(stages["policy"], OnnxModel(policy_model(), "policy")).runtime.processing_digest

    plain, source = processing(), adapter_module.source_of
    assert processing() == plain
    monkeypatch.setattr(adapter_module, "source_of", lambda thing: b"other" if thing is joints else source(thing))
    assert processing() != plain
