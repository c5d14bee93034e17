"""Pipeline files and ROS parameters: the same fields, and errors that say where."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.errors import ConfigError
from og_ros.stages.pipeline import (
    InputConfig,
    ModelConfig,
    OutputConfig,
    QosConfig,
    StageConfig,
    from_parameters,
    load_pipeline,
    to_parameters,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "config" / "examples"
GOOD = """\
robot: demo
registry: reg
stages:
  perception:
    model: {path: m.onnx, name: line, version: 1.0.0}
    key: keys/p.pem
    inputs:
      image:
        topic: /camera/image
        type: sensor_msgs/msg/Image
    outputs:
      line: {topic: /line, type: std_msgs/msg/Float32MultiArray}
auditor: {horizon: 1.0}
"""


def load(tmp_path: Path, text: str):  # type: ignore[no-untyped-def]
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    return load_pipeline(path)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_load_and_round_trip(path: Path) -> None:
    for stage in load_pipeline(path).stages.values():
        assert from_parameters(to_parameters(stage)) == stage


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    pipeline = load(tmp_path, GOOD)
    stage = pipeline.stages["perception"]
    assert stage.model.path == tmp_path / "m.onnx"
    assert stage.key == tmp_path / "keys/p.pem"
    assert stage.registry == pipeline.registry == tmp_path / "reg"
    assert stage.robot == "demo"
    assert stage.stage == "perception"
    assert stage.inputs["image"].trigger, "the only input triggers"
    assert pipeline.sections == {"auditor": {"horizon": 1.0}}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("key: keys/p.pem", "kee: keys/p.pem", r"pipeline.yaml:6: stages\.perception\.kee is not known; known here: "),
        ("    key: keys/p.pem\n", "", r"pipeline.yaml:4: stages\.perception\.key is missing"),
        ("version: 1.0.0", "version: 1.0", r":5: stages\.perception\.model\.version is 1.0; it must be text"),
        ("topic: /camera/image", "topic: [a]", r":9: stages\.perception\.inputs\.image\.topic"),
        ("sensor_msgs/msg/Image", "sensor_msgs/Image", r":10: stages\.perception\.inputs\.image\.type is"),
        ("robot: demo\n", "", r"robot is missing"),
        ("robot: demo", "robot: demo\nrobot: demo", r"pipeline.yaml:2: robot is given twice"),
        ("      line: {", "      line-1: {", r":12: stages\.perception\.outputs\.line-1: the name must be"),
        ("      line: {", "      1: {", r"1: the key must be text"),
        ("{horizon: 1.0}", "3", r"auditor must be a mapping"),
        ("stages:", "stage:", r"stages is missing"),
        ("robot: demo", "robot: [", r"pipeline.yaml:\d+: "),
        ("robot: demo", "- a", r"pipeline.yaml:\d+"),
        ("name: line,", "name: line, threads: true,", r"threads is True; it must be an integer"),
        ("name: line,", "name: line, threads: 0,", r"threads is 0; it must be from 1"),
        ("name: line,", "name: line, optimization: fast,", r"optimization is 'fast'; it must be one of disabled"),
    ],
)
def test_mistakes_are_named_with_file_line_and_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, GOOD.replace(old, new, 1))


def test_several_inputs_need_a_trigger(tmp_path: Path) -> None:
    text = GOOD.replace("    outputs:", "      scan: {topic: /s, type: sensor_msgs/msg/LaserScan}\n    outputs:")
    with pytest.raises(ConfigError, match="none has trigger: true"):
        load(tmp_path, text)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        load_pipeline(tmp_path / "nowhere.yaml")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(GOOD.splitlines()), max_size=14).map("\n".join))
def test_any_text_gives_a_config_error_or_a_pipeline(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(text, errors="replace")
    with contextlib.suppress(ConfigError):
        load_pipeline(path)


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=12)
SCALARS = st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | TEXTS
OPTIONS = st.dictionaries(
    NAMES, SCALARS | st.lists(TEXTS, min_size=1) | st.dictionaries(NAMES, SCALARS, min_size=1), max_size=3
)
QOS = st.builds(QosConfig, st.sampled_from(["reliable", "best_effort"]), st.just("volatile"), st.integers(1, 9))
INPUTS = st.builds(
    InputConfig,
    topic=TEXTS,
    type=st.just("sensor_msgs/msg/Image"),
    tensor=TEXTS,
    options=OPTIONS,
    trigger=st.just(True),
    max_age_ms=st.none() | st.floats(1, 1e6),
    qos=QOS,
)
OUTPUTS = st.builds(OutputConfig, topic=TEXTS, type=st.just("std_msgs/msg/Header"), options=OPTIONS, qos=QOS)
STAGES = st.builds(
    StageConfig,
    robot=TEXTS,
    stage=NAMES,
    model=st.builds(ModelConfig, path=NAMES.map(Path), name=NAMES, version=TEXTS, threads=st.integers(1, 8)),
    key=NAMES.map(Path),
    inputs=st.dictionaries(NAMES, INPUTS, min_size=1, max_size=3),
    outputs=st.dictionaries(NAMES, OUTPUTS, min_size=1, max_size=2),
    registry=st.none() | NAMES.map(Path),
    require_certified=st.booleans(),
    queue=st.integers(1, 1000),
)


@settings(max_examples=150, deadline=None)
@given(STAGES, st.randoms())
def test_parameters_say_all_of_a_stage_in_any_order(stage: StageConfig, random: object) -> None:
    parameters = list(to_parameters(stage).items())
    random.shuffle(parameters)  # type: ignore[attr-defined]
    found = from_parameters(dict(parameters))
    assert found == stage
    assert list(found.inputs) == list(stage.inputs)


def test_what_ros_parameters_cannot_say_is_refused() -> None:
    port = InputConfig("/a", "sensor_msgs/msg/Image", options={"x": [[1]]})
    out = OutputConfig("/b", "std_msgs/msg/Header")
    stage = StageConfig("r", "s", ModelConfig(Path("m"), "m"), Path("k"), {"i": port}, {"o": out})
    with pytest.raises(ConfigError, match=r"inputs\.i\.options\.x"):
        to_parameters(stage)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"robot": "r"}, "stage is missing"),
        ({"model": "x", "model.path": "y"}, "both as a value and as a section"),
        ({"model.path": "y", "model": "x"}, "both as a value and as a section"),
    ],
)
def test_parameters_that_are_no_stage(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_parameters(parameters)


def test_one_topic_has_one_digest(tmp_path: Path) -> None:
    one = GOOD.replace("type: sensor_msgs/msg/Image", "type: sensor_msgs/msg/Image\n        digest: sha256-tree")
    (stage,) = load(tmp_path, one).stages.values()
    assert (stage.inputs["image"].digest, stage.outputs["line"].digest) == ("sha256-tree", "sha256")
    other = GOOD[GOOD.index("  perception:") : GOOD.index("auditor:")].replace("perception", "second")
    with pytest.raises(ConfigError, match="of the same topic is sha256-tree"):
        load(tmp_path, one.replace("auditor:", f"{other}auditor:"))
    with pytest.raises(ConfigError, match="digest"):
        load(tmp_path, GOOD.replace("type: sensor_msgs/msg/Image", "type: sensor_msgs/msg/Image\n        digest: md5"))
