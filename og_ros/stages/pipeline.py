"""The description of a pipeline in one YAML file, and of a stage in ROS parameters: the same fields in two forms."""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from og_ros.attest.key_reference import beside
from og_ros.attest.statement import MAX_REFERENCES
from og_ros.errors import ConfigError
from og_ros.stages.model import Optimization, SessionOptions
from og_ros.stages.providers import Providers
from og_ros.stages.schema import build
from og_ros.stages.yaml_file import YamlFile

Parameter: TypeAlias = str | int | float | bool | list[str] | list[int] | list[float] | list[bool]

# How an attestation names a message: by its digest, by a commitment to it, or not at all.
DisclosureMode: TypeAlias = Literal["clear", "committed", "absent"]

# How a message is hashed; og_ros.attest.digest.ALGORITHMS. One topic has one algorithm, in every stage that names it.
DigestAlgorithm: TypeAlias = Literal["sha256", "blake3", "sha256-tree"]

# An output's attestations are published beside it: /wheel_command has /wheel_command/attestation.
ATTESTATION_SUFFIX: Final = "/attestation"
# Least and greatest value of each number; the stage node's ROS parameters have the same bounds.
BOUNDS: Final[dict[str, tuple[int, int] | tuple[float, float]]] = {
    "depth": (1, 100_000),
    "threads": (1, 1024),
    "max_age_ms": (0.001, 86_400_000.0),
    "queue": (1, 1_000_000),
    "signing_lag_ms": (1, 60_000),
    "journal_limit_mb": (1, 1_000_000),
    "journal_days": (0.001, 36_500.0),
    "disclosure_limit_mb": (8, 10_000_000),
    "evidence_renew_s": (1.0, 86_400.0),
}
_BOUNDED: Final = (
    "queue", "signing_lag_ms", "journal_limit_mb", "journal_days", "disclosure_limit_mb", "evidence_renew_s",
)  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}", re.ASCII)
_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*", re.ASCII)


@dataclass(frozen=True)
class QosConfig:
    """Quality of service of a subscription or publisher."""

    reliability: Literal["reliable", "best_effort"] = "reliable"
    durability: Literal["volatile", "transient_local"] = "volatile"
    depth: int = 10

    def __post_init__(self) -> None:
        _check_bounds("depth", self.depth)


@dataclass(frozen=True)
class ModelConfig:
    """The model file, its name and version in the registry, and how onnxruntime runs it.

    Attributes:
        path, name, version: of the model; name and version as in the registry.
        threads: of onnxruntime; with more than one, results may differ in their last bits.
        optimization: of the graph.
        provider: execution provider: cpu, cuda, tensorrt, openvino, or onnxruntime's own name of one.
        provider_options: its options, as onnxruntime documents them, such as {device_id: 0}.
        fallback: providers that may run what it does not, in order; none: the model runs on it alone, or not at all.
    """

    path: Path
    name: str
    version: str = ""
    threads: int = 1
    optimization: Optimization = "all"
    provider: str = "CPUExecutionProvider"
    provider_options: Mapping[str, object] = field(default_factory=dict)
    fallback: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_bounds("threads", self.threads)
        self.session_options()

    def session_options(self) -> SessionOptions:
        """Return the options of the model's session; raises ConfigError for a provider or options that cannot be."""
        chosen = Providers.of(self.provider, self.provider_options, self.fallback)
        return SessionOptions(self.threads, self.optimization, chosen.name, chosen.options, chosen.fallback)


@dataclass(frozen=True)
class InputConfig:
    """A topic that feeds a tensor.

    Attributes:
        topic, type: of the message.
        adapter: name of the adapter; none: og_ros's own for the type.
        tensor: name of the model's input; none: the name of this section.
        options: of the adapter.
        trigger: whether its messages start an inference; other inputs give their newest message.
        max_age_ms: for inputs that do not trigger: no inference when the newest message arrived longer ago.
        attestation: topic of the attestations of what publishes this input; empty: `<topic>/attestation`; `none`.
        disclosure: whether attestations name its messages by their digest (clear), by a commitment, or not at all.
        digest: algorithm of the digest: sha256, blake3 (fast on large messages) or sha256-tree (on all cores, and
            regions can be proven). The same in every stage that names the topic.
    """

    topic: str
    type: str
    adapter: str = ""
    tensor: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    trigger: bool = False
    max_age_ms: float | None = None
    attestation: str = ""
    disclosure: DisclosureMode = "clear"
    digest: DigestAlgorithm = "sha256"
    qos: QosConfig = field(default_factory=QosConfig)

    def __post_init__(self) -> None:
        _check_type(self.type)
        if self.max_age_ms is not None:
            _check_bounds("max_age_ms", self.max_age_ms)


@dataclass(frozen=True)
class OutputConfig:
    """A topic that a tensor is published on; `frame_id` of its header: none takes that of the trigger input.

    `disclosure` and `digest` are as for an input.
    """

    topic: str
    type: str
    adapter: str = ""
    tensor: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    frame_id: str = ""
    disclosure: DisclosureMode = "clear"
    digest: DigestAlgorithm = "sha256"
    qos: QosConfig = field(default_factory=QosConfig)

    def __post_init__(self) -> None:
        _check_type(self.type)


@dataclass(frozen=True)
class StageConfig:
    """One stage: a model between topics, and the key that signs what it does.

    Attributes:
        robot, stage: names in the attestations.
        model, inputs, outputs: see there. An input or output is named as its tensor, or has `tensor`. Whatever
            order they are given in, they are kept and attested in that of their names.
        key: PEM file of the private key, which only its owner may read, or the URI of one in a PKCS#11 token.
        registry: directory of the registry, or a chain's snapshot; none: nothing is checked before the stage starts.
        registry_root: fingerprint (sha256:...) that the registry's root must have.
        require_certified: refuse to start with a model or key that the registry does not certify.
        attestation_topic: none: `<topic of the first output, by name>/attestation`.
        queue: inferences that may wait for their signature; then the stage waits.
        signing_lag_ms: the stage also waits while an output has been without its signature for so long.
        disclosure_key: file of the robot's disclosure secret (32 bytes), which committed inputs and outputs need.
        disclosure_directory: where sealed side files go, with what was committed to; none: nothing can be revealed.
        disclosure_recipients: PEM files of the public keys (P-256) of those who can open the side files.
        disclosure_limit_mb: all side files of this stage together; the oldest make room.
        journal: directory of the journal, from which the stage serves attestations that an auditor missed, those of its
            earlier sessions too; none: only the newest, from memory.
        journal_limit_mb: size of the journal; the oldest attestations make room.
        journal_days: age at which attestations leave the journal.
        evidence: the attester that shows where the key lives: software (which shows nothing, and says so), tpm2-quote …
            or a plug-in's; none: no evidence is published.
        evidence_file: evidence that was made before the stage started, as a measured launch does; in place of an
            attester. A file that changes is published anew.
        evidence_renew_s: s after which evidence is made anew.
    """

    robot: str
    stage: str
    model: ModelConfig
    key: Path
    inputs: Mapping[str, InputConfig]
    outputs: Mapping[str, OutputConfig]
    registry: Path | None = None
    registry_root: str = ""
    require_certified: bool = True
    attestation_topic: str = ""
    queue: int = 256
    signing_lag_ms: int = 500
    disclosure_key: Path | None = None
    disclosure_directory: Path | None = None
    disclosure_recipients: tuple[Path, ...] = ()
    disclosure_limit_mb: int = 1024
    journal: Path | None = None
    journal_limit_mb: int = 64
    journal_days: float = 7.0
    evidence: str = "none"
    evidence_file: Path | None = None
    evidence_renew_s: float = 240.0

    def __post_init__(self) -> None:
        for side, ports in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not 1 <= len(ports) <= MAX_REFERENCES:
                raise ConfigError(f"{side} must name 1 to {MAX_REFERENCES} topics")
            for name in ports:
                _check_name(f"{side}.{name}", name)
            # ROS parameters come in no order, and the order is part of what is attested: so it is that of the names.
            object.__setattr__(self, side, dict(sorted(ports.items())))
        if not any(port.trigger for port in self.inputs.values()):
            if len(self.inputs) > 1:
                raise ConfigError("inputs: none has trigger: true, so no inference would ever start")
            name, port = next(iter(self.inputs.items()))
            object.__setattr__(self, "inputs", {name: replace(port, trigger=True)})
        for name in _BOUNDED:
            _check_bounds(name, getattr(self, name))
        self._check_disclosure()

    def _check_disclosure(self) -> None:
        for side, ports in (("inputs", self.inputs), ("outputs", self.outputs)):
            for name, port in ports.items():
                if port.disclosure == "committed" and self.disclosure_key is None:
                    raise ConfigError(f"disclosure_key is missing, which {side}.{name}.disclosure: committed needs")
        if (self.disclosure_directory is None) != (not self.disclosure_recipients):
            raise ConfigError("disclosure_directory and disclosure_recipients go together")


@dataclass(frozen=True)
class Pipeline:
    """A pipeline file: its stages by name, and the sections that other parts of og_ros read, as they are."""

    path: Path
    robot: str
    registry: Path | None
    stages: Mapping[str, StageConfig]
    sections: Mapping[str, Mapping[str, object]]


def load_pipeline(path: Path) -> Pipeline:
    """Read a pipeline file; paths in its stages are relative to it.

    `robot`, `registry` and `registry_root` at the top hold for every stage that does not set its own.
    Raises ConfigError, naming file, line and field.
    """
    file = YamlFile(path)
    try:
        return _pipeline(file)
    except ConfigError as error:
        raise file.error(error) from error


def _pipeline(file: YamlFile) -> Pipeline:
    data = dict(file.data)
    stages = data.pop("stages", None)
    if not isinstance(stages, dict) or not stages:
        raise ConfigError("stages is missing: a mapping with one section a stage")
    shared = {name: data.pop(name) for name in ("robot", "registry", "registry_root") if name in data}
    found: dict[str, StageConfig] = {}
    base = file.path.resolve().parent
    for name, section in stages.items():
        where = f"stages.{name}"
        if not isinstance(name, str):
            raise ConfigError(f"{where}: the name must be text (quote it)")
        _check_name(where, name)
        if not isinstance(section, dict):
            raise ConfigError(f"{where} must be a mapping")
        if "robot" not in shared and "robot" not in section:
            raise ConfigError("robot is missing: the name of the robot in every attestation")
        stage = build(StageConfig, {"stage": name, **shared, **section}, where)
        found[name] = _absolute(stage, base)
    for name, section in data.items():
        if not isinstance(section, dict):
            raise ConfigError(f"{name} must be a mapping; known at the top: robot, registry, registry_root, stages")
    _check_disclosed(found)
    _check_digests(found)
    first = next(iter(found.values()))
    registry = shared.get("registry")
    return Pipeline(
        path=file.path,
        robot=str(shared.get("robot", first.robot)),
        registry=base / str(registry) if registry else None,
        stages=found,
        sections=data,
    )


def _check_disclosed(stages: Mapping[str, StageConfig]) -> None:
    """Refuse a topic that one stage hides and another names by its digest: the one would tell what the other hides."""
    modes: dict[str, tuple[str, str]] = {}
    for stage, config in stages.items():
        for side, ports in (("inputs", config.inputs), ("outputs", config.outputs)):
            for name, port in ports.items():
                where = f"stages.{stage}.{side}.{name}.disclosure"
                first, mode = modes.setdefault(port.topic, (where, port.disclosure))
                if (mode == "clear") != (port.disclosure == "clear"):
                    raise ConfigError(f"{where} is {port.disclosure}, and {first} of the same topic is {mode}")


def _check_digests(stages: Mapping[str, StageConfig]) -> None:
    """Refuse a topic that two stages hash differently: an auditor could not join what they say of its messages."""
    algorithms: dict[str, tuple[str, str]] = {}
    for stage, config in stages.items():
        for side, ports in (("inputs", config.inputs), ("outputs", config.outputs)):
            for name, port in ports.items():
                where = f"stages.{stage}.{side}.{name}.digest"
                first, algorithm = algorithms.setdefault(port.topic, (where, port.digest))
                if algorithm != port.digest:
                    raise ConfigError(f"{where} is {port.digest}, and {first} of the same topic is {algorithm}")


def _absolute(stage: StageConfig, base: Path) -> StageConfig:
    return replace(
        stage,
        model=replace(stage.model, path=base / stage.model.path),
        key=beside(base, stage.key),
        registry=base / stage.registry if stage.registry is not None else None,
        journal=base / stage.journal if stage.journal is not None else None,
        evidence_file=base / stage.evidence_file if stage.evidence_file is not None else None,
        disclosure_key=base / stage.disclosure_key if stage.disclosure_key is not None else None,
        disclosure_directory=base / stage.disclosure_directory if stage.disclosure_directory is not None else None,
        disclosure_recipients=tuple(base / path for path in stage.disclosure_recipients),
    )


def to_parameters(stage: StageConfig) -> dict[str, Parameter]:
    """Return a stage as flat ROS parameters ("inputs.image.topic"); raises ConfigError for what ROS cannot express."""
    flat: dict[str, Parameter] = {}
    _flatten(stage, "", flat)
    return flat


def from_parameters(parameters: Mapping[str, Any]) -> StageConfig:
    """Return the stage that flat ROS parameters describe; an empty text counts as not given.

    Raises ConfigError, naming the parameter.
    """
    nested: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, str) and not value:
            continue
        *parents, last = name.split(".")
        section = nested
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise ConfigError(f"{name}: {parent} is given both as a value and as a section")
        if last in section:
            raise ConfigError(f"{name} is given both as a value and as a section")
        section[last] = list(value) if isinstance(value, array) else value
    return build(StageConfig, nested)


def _flatten(value: object, path: str, flat: dict[str, Parameter]) -> None:
    items: Mapping[str, object]
    if is_dataclass(value) and not isinstance(value, type):
        items = {f.name: getattr(value, f.name) for f in fields(value)}
    elif isinstance(value, Mapping):
        items = value
    else:
        if value is not None and value != ():
            flat[path] = _parameter(value, path)
        return
    for name, item in items.items():
        if "." in name:
            raise ConfigError(f"{path}.{name}: a ROS parameter's name must not have a dot in it")
        _flatten(item, f"{path}.{name}" if path else name, flat)


def _parameter(value: object, path: str) -> Parameter:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        items = [str(item) if isinstance(item, Path) else item for item in value]
        kinds = {type(item) for item in items}
        if kinds == {int, float}:
            return [float(item) for item in items]
        if len(kinds) == 1 and kinds <= {str, int, float, bool}:
            return items
        raise ConfigError(f"{path}: a ROS parameter can be a list of texts, of numbers or of booleans, and not empty")
    if isinstance(value, (str, int, float, bool)):
        return value
    raise ConfigError(f"{path}: a ROS parameter cannot be {type(value).__name__}")


def _check_bounds(name: str, value: float) -> None:
    low, high = BOUNDS[name]
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}; it must be from {low} to {high}")


def _check_type(name: str) -> None:
    if not _TYPE.fullmatch(name):
        raise ConfigError(f"type is {name!r}; a message type looks like sensor_msgs/msg/Image")


def _check_name(where: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: the name must be letters, digits and underscores; use tensor: for any other name")
