"""Parameters of all nodes: described, bounded, refused in one clear line, and as config/parameters.yaml says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed: extra `ros` of og_ros")
pytest.importorskip("og_ros.msg", reason="og_ros.msg is not built here")

from rcl_interfaces.msg import ParameterType  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from ros_peer import DOMAIN, node, running  # noqa: E402
from rosbags.rosbag2 import Writer  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402

from og_ros.errors import ConfigError  # noqa: E402
from og_ros.nodes.auditor import AuditorNode  # noqa: E402
from og_ros.nodes.gate import GateNode  # noqa: E402
from og_ros.nodes.recorder import Recorder  # noqa: E402
from og_ros.nodes.replayer import Replayer  # noqa: E402
from og_ros.nodes.source import Source  # noqa: E402
from og_ros.nodes.stage import Stage  # noqa: E402
from og_ros.nodes.wheel_driver import WheelDriver  # noqa: E402
from og_ros.nodes.witness import Witness  # noqa: E402
from og_ros.nodes.world import WorldNode  # noqa: E402
from og_ros.paths import share_directory  # noqa: E402

STAGE_NUMBERS = {
    "model.threads": 2,
    "queue": 8,
    "journal_days": 1.5,
    "inputs.image.max_age_ms": 50.0,
    "inputs.image.qos.depth": 3,
    "disclosure_limit_mb": 64,
}
NODES = {
    "auditor": (AuditorNode, {}),
    "gate": (GateNode, {}),
    "recorder": (Recorder, {"all": True}),
    "stage": (Stage, {"autostart": False, **STAGE_NUMBERS}),
    "wheel_driver": (WheelDriver, {}),
    "world": (WorldNode, {}),
    "replayer": (Replayer, {}),
}
NUMBERS = (ParameterType.PARAMETER_INTEGER, ParameterType.PARAMETER_DOUBLE)


@pytest.fixture
def context() -> Iterator[rclpy.Context]:
    made = rclpy.Context()
    rclpy.init(context=made, domain_id=DOMAIN)
    yield made
    rclpy.shutdown(context=made)


@pytest.fixture
def made(context: rclpy.Context, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Make the node that the test's parameter `name` names."""
    kind, given = NODES[request.node.callspec.params["name"]]
    values = {**given, "output": str(tmp_path / "bag")} if kind is Recorder else given
    if kind is Replayer:
        with Writer(tmp_path / "old", version=8) as writer:
            connection = writer.add_connection("/s", "std_msgs/msg/Empty", typestore=get_typestore(Stores.ROS2_JAZZY))
            writer.write(connection, 1, bytes(8))
        values = {"bag": str(tmp_path / "old")}
    found = kind(context=context, parameter_overrides=[Parameter(key, value=value) for key, value in values.items()])
    yield found
    found.close()
    found.destroy_node()


def own(found: Any) -> list[str]:
    left_out = ("qos_overrides", "use_sim_time", "start_type_description_service")
    return [name for name in found.list_parameters([], 0).names if not name.startswith(left_out)]


@pytest.mark.parametrize("name", list(NODES))
def test_every_parameter_is_described_and_every_number_has_bounds(made: Any, name: str) -> None:
    descriptors = made.describe_parameters(own(made))
    assert len(descriptors) >= 3
    for descriptor in descriptors:
        assert len(descriptor.description.split()) >= 2, f"{descriptor.name} says {descriptor.description!r}"
    numbers = {d.name: d for d in descriptors if d.type in NUMBERS}
    if name == "stage":
        assert numbers.keys() >= STAGE_NUMBERS.keys() | {"journal_limit_mb"}
    for descriptor in numbers.values():
        (bounds,) = (*descriptor.integer_range, *descriptor.floating_point_range)
        assert bounds.from_value < bounds.to_value
        assert bool(descriptor.integer_range) == (descriptor.type == ParameterType.PARAMETER_INTEGER)


@pytest.mark.parametrize("name", list(NODES))
def test_a_later_change_out_of_bounds_is_refused(made: Any, name: str) -> None:
    for descriptor in made.describe_parameters(own(made)):
        for bounds in (*descriptor.integer_range, *descriptor.floating_point_range):
            beyond = bounds.to_value - 1 if bounds.to_value == 2**63 - 1 else bounds.to_value * 2
            (answer,) = made.set_parameters([Parameter(descriptor.name, value=beyond)])
            assert not answer.successful
            if not descriptor.read_only:
                assert "out of range" in answer.reason


def test_the_parameter_file_says_what_the_nodes_have(context: rclpy.Context, tmp_path: Path) -> None:
    text = (share_directory() / "config" / "parameters.yaml").read_text()
    written = {name.split("/")[-1]: section["ros__parameters"] for name, section in yaml.safe_load(text).items()}
    assert written.keys() == {"auditor", "recorder", "gate", "perception"}
    for name in ("auditor", "recorder", "gate"):
        kind, given = NODES[name]
        values = {**given, "output": str(tmp_path / "bag")} if kind is Recorder else given
        found = kind(context=context, parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])
        for parameter, value in written[name].items():
            assert found.get_parameter(parameter).value == value, f"{name}.{parameter}"
            assert type(found.get_parameter(parameter).value) is type(value)
        found.close()
        found.destroy_node()
    from og_ros.stages.pipeline import BOUNDS, StageConfig

    for parameter, value in written["perception"].items():
        assert StageConfig.__dataclass_fields__[parameter].default == value
        assert f"{BOUNDS[parameter][0]:g} to {BOUNDS[parameter][1]}".removesuffix(".0") in text


@pytest.mark.parametrize(
    ("module", "given", "words"),
    [
        ("auditor", {"horizon": 1000.0}, "horizon is 1000; it must be a number"),
        (
            "auditor",
            {"horizon": 2},
            "horizon is 2; it must be a number with a decimal point, such as 2.0, from 0.1 to 600",
        ),
        ("auditor", {"check_data": "perhaps"}, "check_data is 'perhaps'; it must be true or false"),
        ("auditor", {"discover": "some"}, "discover is 'some'; it must be namespace, all or none"),
        ("recorder", {"memory_mb": 0, "all": True}, "memory_mb is 0; it must be an integer, from 1 to 1000000"),
        ("gate", {"deadline": math.nan}, "deadline is nan; it must be a number"),
        ("gate", {"queue": 2.5}, "queue is 2.5; it must be an integer"),
        ("world", {"seed": -1}, "seed is -1; it must be an integer, from 0"),
        ("wheel_driver", {"wheel_base": 0.0}, "wheel_base is 0; it must be a number"),
        ("source", {"depth": 0}, "depth is 0; it must be an integer, from 1 to 100000"),
        ("witness", {"patience_ms": -1.0}, "patience_ms is -1; it must be a number"),
        ("replayer", {"bag": "b", "rate": -1.0}, "rate is -1; it must be a number"),
    ],
)
def test_a_bad_value_is_one_clear_line(context: rclpy.Context, module: str, given: dict[str, Any], words: str) -> None:
    make = {**{name: kind for name, (kind, _) in NODES.items()}, "source": Source, "witness": Witness}[module]
    with pytest.raises(ConfigError) as caught:
        make(context=context, parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])
    assert words in str(caught.value)


def test_a_bad_value_ends_the_process_with_one_line() -> None:
    with running(*node("og_ros.nodes.auditor", "auditor", horizon=1000.0)) as process:
        assert process.join() == 1
    assert process.output.splitlines() == [
        "og_ros: parameter horizon is 1000; it must be a number with a decimal point, such as 2.0, from 0.1 to 600"
    ]


def test_a_stage_out_of_bounds_can_be_put_right(context: rclpy.Context) -> None:
    """A lifecycle manager gets the refusal of `configure`, not a process that is gone."""
    stage = Stage(
        context=context, parameter_overrides=[Parameter("autostart", value=False), Parameter("queue", value=0)]
    )
    assert stage.describe_parameter("queue").integer_range == []
    stage.set_parameters([Parameter("queue", value=4)])
    assert stage.get_parameter("queue").value == 4
    stage.close()
    stage.destroy_node()
