"""Adapters against messages that rosbags wrote, in both byte orders; hostile bytes only raise OgError."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pipeline_messages as pipelines
import pytest
import wire_messages as wire
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.errors import ConfigError, OgError
from og_ros.stages.adapters import Adapter, adapter_for, create, digest_parts, names
from og_ros.stages.adapters import registered as registered_module
from og_ros.stages.model import Tensor
from og_ros.stages.runtime import processing_digest

RANDOM = np.random.default_rng(1)
COLOUR = RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8)
GRAY = RANDOM.integers(0, 256, (6, 8, 1), dtype=np.uint8)
DEPTH = RANDOM.integers(0, 65536, (6, 8, 1), dtype=np.uint16)

EXAMPLES: dict[str, tuple[Any, dict[str, object]]] = {
    "image": (wire.image(COLOUR, "rgb8"), {}),
    "laser_scan": (wire.scan([1.0, 2.0, 3.0]), {"beams": 2}),
    "twist": (wire.twist((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), {}),
    "twist_stamped": (wire.twist_stamped((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), {}),
    "odometry": (wire.odometry((1, 2, 3, 0, 0, 0, 1), (0.5, 0, 0), (0, 0, 0.25)), {}),
    "float32_multi_array": (wire.floats(np.arange(6), (2, 3)), {}),
    "float64_multi_array": (pipelines.floats64(np.arange(6), (2, 3)), {}),
    "compressed_image": (pipelines.compressed(cv2.imencode(".png", COLOUR)[1].tobytes(), "bgr8; png compressed"), {}),
    "occupancy_grid": (pipelines.grid(np.array([[0, 100, -1], [50, 1, 2]])), {}),
    "path": (pipelines.path([(0, 1), (2, 3), (4, 5)]), {"points": 2}),
    "joint_state": (pipelines.joint_state(["b", "a"], [1.0, 2.0]), {"joints": ("a", "b")}),
    "joint_trajectory": (pipelines.trajectory(["b", "a"], [[1.0, 2.0], [3.0, 4.0]]), {"joints": ("a", "b")}),
}
# Adapters that only write messages; see test_pipeline_adapters.py.
WRITERS = ["detection2d_array"]


def decode(name: str, message: Any, little_endian: bool = True, **options: object) -> np.ndarray:
    return create(name, options).decode(wire.serialize(message, little_endian)).array


def test_every_adapter_has_an_example() -> None:
    assert names() == sorted([*EXAMPLES, *WRITERS])


@pytest.mark.parametrize("name", EXAMPLES)
def test_both_byte_orders_and_padding_give_the_same(name: str) -> None:
    message, options = EXAMPLES[name]
    adapter = create(name, options)
    assert isinstance(adapter, Adapter)
    assert adapter_for(adapter.message_type) == name
    payload = wire.serialize(message)
    little, big = adapter.decode(payload), adapter.decode(wire.serialize(message, little_endian=False))
    padded = adapter.decode(payload + bytes(-len(payload) % 4))
    for other in (big, padded):
        assert np.array_equal(little.array, other.array)
        assert (little.stamp_ns, little.frame_id) == (other.stamp_ns, other.frame_id)
    if adapter.stamped:
        assert little.stamp_ns == 1_500_000_002
        assert little.frame_id == message.header.frame_id


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_cut_is_refused(name: str) -> None:
    message, options = EXAMPLES[name]
    adapter, payload = create(name, options), wire.serialize(message)
    for size in range(len(payload)):
        with pytest.raises(OgError):
            adapter.decode(payload[:size])
    with pytest.raises(OgError):
        adapter.decode(payload + bytes(4))


@pytest.mark.parametrize("name", EXAMPLES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_hostile_bytes_only_raise_og_errors(name: str, data: st.DataObject) -> None:
    message, options = EXAMPLES[name]
    payload = bytearray(wire.serialize(message))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(OgError):
        create(name, options).decode(bytes(payload))


@pytest.mark.parametrize("name", EXAMPLES)
def test_unknown_option_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=r"inputs\.x\.options\.colour is not known; known here: "):
        create(name, {"colour": 1}, "inputs.x.options")


def test_pixels_are_a_view_of_the_message() -> None:
    payload = wire.serialize(wire.image(COLOUR, "rgb8"))
    array = create("image", {}).decode(payload).array
    assert np.array_equal(array, COLOUR)
    assert np.shares_memory(array, np.frombuffer(payload, dtype=np.uint8))
    assert not array.flags.writeable


def test_padded_rows_are_left_out() -> None:
    assert np.array_equal(decode("image", wire.image(COLOUR, "rgb8", padding=5)), COLOUR)


@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_images(big_endian: bool) -> None:
    array = decode(
        "image", wire.image(DEPTH, "16UC1", big_endian=big_endian), dtype="float32", scales={"16UC1": 0.001},
        layout="hw",
    )  # fmt: skip
    assert np.allclose(array, DEPTH[:, :, 0] / 1000)


@pytest.mark.parametrize(
    ("encoding", "channels", "code"),
    [
        ("rgb8", "bgr", cv2.COLOR_RGB2BGR),
        ("bgr8", "rgb", cv2.COLOR_BGR2RGB),
        ("rgb8", "rgb", None),
        ("8UC3", "rgb", cv2.COLOR_BGR2RGB),
    ],
)
def test_channel_order(encoding: str, channels: str, code: int | None) -> None:
    expected = COLOUR if code is None else cv2.cvtColor(COLOUR, code)
    assert np.array_equal(decode("image", wire.image(COLOUR, encoding), channels=channels), expected)


@pytest.mark.parametrize(("encoding", "channels"), [("rgba8", "rgb"), ("bgra8", "bgr"), ("rgba8", "bgr")])
def test_alpha_is_dropped(encoding: str, channels: str) -> None:
    pixels = RANDOM.integers(0, 256, (4, 5, 4), dtype=np.uint8)
    same = encoding[:3] == channels
    expected = pixels[:, :, :3] if same else pixels[:, :, 2::-1]
    assert np.array_equal(decode("image", wire.image(pixels, encoding), channels=channels), expected)


def test_gray_is_opencv_s_gray_within_rounding() -> None:
    gray = decode("image", wire.image(COLOUR, "rgb8"), channels="gray", layout="hw")
    expected = cv2.cvtColor(COLOUR, cv2.COLOR_RGB2GRAY)
    assert np.abs(gray.astype(int) - expected).max() <= 1


def test_gray_in_three_channels() -> None:
    assert np.array_equal(decode("image", wire.image(GRAY, "mono8"), channels="bgr"), np.repeat(GRAY, 3, axis=2))


def test_detector_input_is_as_its_authors_prepare_it() -> None:
    """FastestDet's own test.py: BGR, cv2.resize, transpose to CHW, / 255."""
    pixels = RANDOM.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    expected = cv2.resize(pixels[:, :, ::-1].copy(), (35, 35)).transpose(2, 0, 1)[None].astype(np.float32) / 255
    options = {
        "channels": "bgr",
        "resize": [35, 35],
        "dtype": "float32",
        "scale": 1 / 255,
        "layout": "chw",
        "batch": True,
    }
    assert np.allclose(decode("image", wire.image(pixels, "rgb8"), **options), expected, atol=1e-6)


def test_mean_and_std_a_channel() -> None:
    array = decode(
        "image", wire.image(COLOUR, "rgb8"), dtype="float32", scale=0.5, mean=[1.0, 2.0, 3.0], std=[2.0],
        clip=[0.0, 90.0],
    )  # fmt: skip
    expected = (np.clip(COLOUR * 0.5, 0, 90) - [1, 2, 3]) / 2
    assert np.allclose(array, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 7}, "do not fit"),
        ({"height": 0}, "do not fit"),
        ({"height": 2**31}, "do not fit"),
        ({"encoding": "bayer_rggb8"}, "encoding 'bayer_rggb8'"),
        ({"width": 9}, "do not fit"),
    ],
)
def test_image_that_contradicts_itself_is_refused(change: dict[str, Any], message: str) -> None:
    image = dataclasses.replace(wire.image(COLOUR, "rgb8"), **change)
    with pytest.raises(OgError, match=message):
        decode("image", image)


def test_encoding_that_is_not_accepted() -> None:
    with pytest.raises(OgError, match="this stage takes mono8"):
        decode("image", wire.image(COLOUR, "rgb8"), encodings=["mono8"])


def test_sixteen_bits_do_not_pass_as_eight() -> None:
    with pytest.raises(OgError, match="float32 is needed"):
        decode("image", wire.image(DEPTH, "mono16"))


def test_image_output_is_read_back_by_rosbags() -> None:
    payload = create("image", {"encodings": ["bgr8"]}).encode(COLOUR, 1_500_000_002, "camera")
    found = wire.deserialize(payload, "sensor_msgs/msg/Image")
    assert (found.height, found.width, found.encoding, found.step) == (6, 8, "bgr8", 24)
    assert np.array_equal(found.data.reshape(COLOUR.shape), COLOUR)
    assert payload == wire.serialize(wire.image(COLOUR, "bgr8"))


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("ranges", "options", "expected"),
    [
        ([1, INF, NAN, -INF, 0], {}, [1, 10, 10, 0.1, 0]),
        ([1, INF], {"inf": "keep"}, [1, INF]),
        ([0, 0.05, 1], {"below_min": "range_max"}, [10, 10, 1]),
        ([0, 5, 9], {"clip": [1.0, 6.0], "scale": 0.5}, [0.5, 2.5, 3]),
        ([4, 3, 2, 5, 6, 7], {"beams": 2}, [2, 5]),
        ([4, 3, 2, 5, 6, 7], {"beams": 2, "resample": "nearest"}, [4, 7]),
        ([4, 3, 2, 5, 6, 7], {"beams": 6}, [4, 3, 2, 5, 6, 7]),
        ([4, 3, 2], {"beams": 1}, [2]),
        ([4, 3], {"batch": True}, [[4, 3]]),
    ],
)
def test_scans(ranges: list[float], options: dict[str, object], expected: list[Any]) -> None:
    assert np.allclose(decode("laser_scan", wire.scan(ranges), **options), expected)


def test_scan_around_the_robot_is_cut_in_front() -> None:
    """A turning lidar counts from 0 to one turn; the model's beams go from right to left through 0."""
    ranges = [10.0] * 360
    ranges[350] = 1.0  # 10 degrees to the right
    ranges[180] = 0.5  # behind
    scan = wire.scan(ranges, angle_increment=float(np.deg2rad(1)))
    quarter = float(np.deg2rad(90))
    front = decode("laser_scan", scan, beams=19, angles=[-quarter, quarter])
    assert front.argmin() == 8
    assert front.tolist().count(1.0) == 1
    assert front.min() == 1.0


def test_no_short_range_is_lost_by_min() -> None:
    for beams in (1, 2, 7, 24, 100):
        for at in range(0, 360, 11):
            ranges = [9.0] * 360
            ranges[at] = 0.5
            scan = wire.scan(ranges, angle_min=-3.0, angle_increment=0.015)
            assert decode("laser_scan", scan, beams=beams).min() == 0.5


def test_scan_outside_the_wanted_angles_is_empty() -> None:
    scan = wire.scan([1.0] * 10, angle_min=3.0, angle_increment=0.01)
    assert decode("laser_scan", scan, beams=5, angles=[-0.5, 0.5]).tolist() == [10.0] * 5
    assert decode("laser_scan", scan, beams=5, angles=[-0.5, 0.5], resample="nearest").tolist() == [10.0] * 5


@pytest.mark.parametrize(
    "change", [{"range_max": INF}, {"angle_min": NAN}, {"angle_min": 1e30}, {"angle_increment": -50.0}]
)
def test_scan_without_sane_limits_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(OgError, match=r"not finite|which no lidar does"):
        decode("laser_scan", wire.scan([1.0], **change))


def test_scan_that_turns_the_other_way() -> None:
    scan = wire.scan([4, 3, 2, 5, 6, 7], angle_increment=-0.1)
    assert decode("laser_scan", scan, beams=3).tolist() == [3, 2, 6]
    assert decode("laser_scan", scan, beams=6).tolist() == [4, 3, 2, 5, 6, 7]
    assert decode("laser_scan", scan, beams=6, angles=[-0.5, 0.0]).tolist() == [7, 6, 5, 2, 3, 4]


def test_fields_of_odometry() -> None:
    fields = ["pose.position.y", "pose.orientation.w", "twist.linear.x", "twist.angular.z"]
    assert decode("odometry", EXAMPLES["odometry"][0], fields=fields).tolist() == [2, 1, 0.5, 0.25]


@pytest.mark.parametrize(("name", "kind"), [("twist", "Twist"), ("twist_stamped", "TwistStamped")])
def test_twists_both_ways(name: str, kind: str) -> None:
    message, _ = EXAMPLES[name]
    fields = ["angular.z", "linear.y"]
    assert decode(name, message, fields=fields, batch=True).tolist() == [[6.0, 2.0]]
    payload = create(name, {"fields": fields}).encode(np.array([[0.5, 0.25]]), 1_500_000_002, "base")
    found = wire.deserialize(payload, f"geometry_msgs/msg/{kind}")
    velocity = found.twist if kind == "TwistStamped" else found
    assert (velocity.angular.z, velocity.linear.y, velocity.linear.x) == (0.5, 0.25, 0.0)


@pytest.mark.parametrize("values", [[1.0, NAN], [INF, 0.0], [1.0], [1.0, 2.0, 3.0]])
def test_velocity_that_no_motor_can_follow_is_refused(values: list[float]) -> None:
    with pytest.raises(OgError):
        create("twist", {}).encode(np.array(values), 0, "")


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 2, 3, 4), (0,)])
def test_arrays_both_ways(shape: tuple[int, ...]) -> None:
    values = RANDOM.random(shape, dtype=np.float32)
    adapter = create("float32_multi_array", {})
    payload = adapter.encode(values, 0, "")
    assert np.array_equal(adapter.decode(payload).array, values)
    found = wire.deserialize(payload, "std_msgs/msg/Float32MultiArray")
    assert np.array_equal(found.data, values.reshape(-1))
    assert [d.size for d in found.layout.dim] == ([] if len(shape) == 1 else list(shape))


def test_array_offset_and_wrong_shape() -> None:
    assert decode("float32_multi_array", wire.floats(np.arange(5), offset=2)).tolist() == [2, 3, 4]
    with pytest.raises(OgError, match="data_offset"):
        decode("float32_multi_array", wire.floats(np.arange(5), offset=6))
    with pytest.raises(OgError, match="which are not"):
        decode("float32_multi_array", wire.floats(np.arange(5)), shape=[2, 3])
    with pytest.raises(OgError, match="which are not"):
        decode("float32_multi_array", wire.floats(np.arange(4), (2**31, 2**31)))


@pytest.mark.parametrize(
    ("name", "options", "tensor", "fits"),
    [
        ("image", {}, Tensor("t", (120, 160, 3), "uint8"), True),
        ("image", {"channels": "gray"}, Tensor("t", (120, 160, 3), "uint8"), False),
        ("image", {}, Tensor("t", (1, 3, 8, 8), "float32"), False),
        ("image", {"resize": [8, 9], "dtype": "float32", "layout": "chw", "channels": "rgb", "batch": True},
         Tensor("t", (1, 3, 9, 8), "float32"), True),
        ("image", {"resize": [8, 9], "dtype": "float32", "layout": "chw", "channels": "rgb", "batch": True},
         Tensor("t", (1, 3, 8, 9), "float32"), False),
        ("laser_scan", {"beams": 24}, Tensor("t", (24,), "float32"), True),
        ("laser_scan", {"beams": 23}, Tensor("t", (24,), "float32"), False),
        ("odometry", {}, Tensor("t", (2,), "float32"), True),
        ("twist", {"batch": True}, Tensor("t", (1, 2), "float32"), True),
        ("twist", {}, Tensor("t", (2,), "int64"), False),
        ("float32_multi_array", {"shape": [3]}, Tensor("t", (4,), "float32"), False),
    ],
)  # fmt: skip
def test_fit_to_a_tensor_is_checked_before_the_first_message(
    name: str, options: dict[str, object], tensor: Tensor, fits: bool
) -> None:
    adapter = create(name, options)
    if fits:
        adapter.check_input(tensor)
    else:
        with pytest.raises(ConfigError, match="tensor t is"):
            adapter.check_input(tensor)


@pytest.mark.parametrize("name", ["laser_scan", "odometry"])
def test_input_only_adapters_say_so(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot make one of an output"):
        create(name, {}).check_output(Tensor("t", (2,), "float32"))


def test_digest_follows_options_and_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(**options: object) -> bytes:
        return processing_digest(digest_parts(create("laser_scan", options)))

    assert of() == of()
    assert of() == of(scale=1)
    assert of() != of(beams=3)
    before = of()
    monkeypatch.setattr("og_ros.stages.adapters.adapter.source_of", lambda kind: b"other source")
    assert of() != before


@dataclasses.dataclass(frozen=True)
class LengthAdapter:
    """What another package might offer: how long a string message is."""

    name: str = dataclasses.field(default="length", init=False)
    message_type: str = dataclasses.field(default="std_msgs/msg/String", init=False)
    stamped: bool = dataclasses.field(default=False, init=False)
    bound: int = 10

    def check_input(self, tensor: Tensor) -> None: ...
    def check_output(self, tensor: Tensor) -> None: ...
    def decode(self, payload: bytes | memoryview) -> Any: ...
    def encode(self, array: Any, stamp_ns: int, frame_id: str) -> bytes: ...


def test_other_packages_add_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "length"

        def load(self) -> Callable[..., Any]:
            return LengthAdapter

    class Bad(Point):
        name = "bad"

        def load(self) -> Callable[..., Any]:
            raise ValueError("somebody's bug")

    class Thief(Point):
        name = "image"

    monkeypatch.setattr(registered_module, "entry_points", lambda group: [Point(), Bad(), Thief()])
    registered_module._offered.cache_clear()
    try:
        adapter = create("length", {"bound": 3})
        assert isinstance(adapter, LengthAdapter)
        assert b"LengthAdapter" in b"".join(digest_parts(adapter))
        with pytest.raises(ConfigError, match="cannot be imported: somebody's bug"):
            create("bad", {})
        with pytest.raises(ConfigError, match="there is no adapter 'nothing'"):
            create("nothing", {})
        assert type(create("image", {})).__name__ == "ImageAdapter"
    finally:
        registered_module._offered.cache_clear()
