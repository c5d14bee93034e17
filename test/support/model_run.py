"""A run of the demo robot in one process: the real world, models and adapters, signed as the stage node does."""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import wire_messages as wire
from rosbags.rosbag2 import StoragePlugin
from scenario import MS, Run

from og_ros.attest import (
    ATTESTATION_TYPE,
    Clock,
    DataReference,
    ModelReference,
    Session,
    SoftwareSigner,
    cose,
    digest,
    encode_attestation,
    keys,
)
from og_ros.attest.digest import covered_size
from og_ros.audit.records import Record
from og_ros.registry import Registry, RegistryWriter
from og_ros.sim import World
from og_ros.stages.inference import Inference, output_stamp
from og_ros.stages.pipeline import Pipeline, StageConfig, load_pipeline

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "og_ros" / "sim" / "models"
STEP_NS = 25 * MS
# What a dishonest stage does: stage, tick and the honest output's bytes; returns what it publishes and signs instead.
Lie = Callable[[str, int, bytes], bytes]


class RunningStage:
    """A stage without its node: the newest message of each input, an inference when a trigger comes."""

    def __init__(self, config: StageConfig) -> None:
        self.config = config
        self.inference = Inference.configure(config)
        self.signer = SoftwareSigner(keys.generate())
        model = ModelReference(config.model.name, config.model.version, self.inference.model.digest)
        self.session = Session(
            robot=config.robot, stage=config.stage, node=f"/{config.stage}", model=model,
            runtime=self.inference.runtime, signer=self.signer,
        )  # fmt: skip
        self.session.began_ns = 0
        self.newest: list[bytes | None] = [None] * len(config.inputs)

    def receive(self, topic: str, payload: bytes, now_ns: int) -> tuple[list[DataReference], bytes, int] | None:
        """Take a message; returns references of the inputs, the output and its stamp, when it started an inference."""
        ports = list(self.config.inputs.values())
        index = next((i for i, port in enumerate(ports) if port.topic == topic), None)
        if index is None:
            return None
        self.newest[index] = payload
        if not ports[index].trigger or None in self.newest:
            return None
        samples = [self.inference.decode(i, p) for i, p in enumerate(self.newest) if p is not None]
        stamp_ns = output_stamp(self.inference.inputs, samples, index, now_ns)
        result = self.inference.run(samples, stamp_ns=stamp_ns, frame_id=samples[index].frame_id)
        inputs = [
            DataReference(port.topic, port.type, digest(p), covered_size(p), sample.stamp_ns)
            for port, p, sample in zip(ports, self.newest, samples, strict=True)
            if p is not None
        ]
        return inputs, result.outputs[0], stamp_ns if self.inference.outputs[0].adapter.stamped else 0


@dataclass
class ModelRun:
    """A run's records with its pipeline file and the models that ran."""

    directory: Path
    run: Run
    stages: dict[str, RunningStage]

    @property
    def pipeline(self) -> Path:
        return self.directory / "pipeline.yaml"

    def write_bag(self, name: str = "bag", storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
        return self.run.write_bag(self.directory / name, storage)

    def registry(self) -> Registry:
        """A registry that certifies every model, with its processing, and every key."""
        authority = SoftwareSigner(keys.generate())
        with RegistryWriter.create(self.directory / "registry", authority, "test", now_ns=10**9) as writer:
            for name, stage in self.stages.items():
                inference, model = stage.inference, stage.config.model
                writer.certify_model(
                    model.name, model.version, inference.model.digest, stages=(name,),
                    processing_digest=inference.runtime.processing_digest, not_before_ns=10**9,
                )  # fmt: skip
                writer.certify_key(stage.signer.public_key, robot="demo", stage=name, not_before_ns=10**9)
        return Registry.open(self.directory / "registry")


def demo_pipeline(directory: Path) -> Pipeline:
    """Copy the demo's pipeline file and its models."""
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copytree(MODELS, directory / "models")
    shutil.copyfile(ROOT / "config" / "demo.yaml", directory / "pipeline.yaml")
    return load_pipeline(directory / "pipeline.yaml")


def drive(directory: Path, ticks: int = 40, lie: Lie | None = None) -> ModelRun:
    """Drive the demo robot for some ticks of 25 ms, its three stages in this process; images come every other tick."""
    pipeline = demo_pipeline(directory)
    stages = {name: RunningStage(config) for name, config in pipeline.stages.items()}
    run = Run(signers={name: stage.signer for name, stage in stages.items()})
    world, command = World(1), (0.0, 0.0)
    began = time.time_ns() - ticks * STEP_NS
    for tick in range(ticks):
        world.step(STEP_NS / 1e9, command)
        wall = began + tick * STEP_NS
        for offset, (topic, kind, payload) in enumerate(_sensors(world, tick)):
            run.records.append(Record(topic, kind, payload, wall + offset * MS))
            for at, made in enumerate(_cascade(stages, topic, payload, world.time_ns), 1):
                name, inputs, output, stamp_ns = made
                stage = stages[name]
                port = next(iter(stage.config.outputs.values()))
                output = lie(name, tick, output) if lie else output
                if name == "control":
                    command = tuple(wire.deserialize(output, port.type).data.tolist())
                then = wall + offset * MS + at * MS // 4
                run.records.append(Record(port.topic, port.type, output, then))
                reference = DataReference(port.topic, port.type, digest(output), covered_size(output), stamp_ns)
                attestation = stage.session.attest(
                    inputs, [reference], start_ns=world.time_ns, clock=Clock.SIM, start_monotonic_ns=world.time_ns,
                    duration_ns=MS,
                )  # fmt: skip
                statement = dataclasses.replace(attestation.statement, signed_at_ns=then)
                attestation = cose.sign(statement, stage.signer)
                stage.session._previous = attestation.digest
                run.records.append(
                    Record(f"{port.topic}/attestation", ATTESTATION_TYPE, encode_attestation(attestation), then + 1000)
                )
    return ModelRun(directory, run, stages)


def _cascade(stages: dict[str, RunningStage], topic: str, payload: bytes, now_ns: int):
    """Yield what each stage makes of a message, and of what the stages before it made."""
    for name, stage in stages.items():
        made = stage.receive(topic, payload, now_ns)
        if made is not None:
            inputs, output, stamp_ns = made
            yield name, inputs, output, stamp_ns
            yield from _cascade(stages, next(iter(stage.config.outputs.values())).topic, output, now_ns)


def _sensors(world: World, tick: int):
    odometry = world.odometry()
    half = 0.5 * odometry.pose.theta
    pose = (odometry.pose.x, odometry.pose.y, 0.0, 0.0, 0.0, math.sin(half), math.cos(half))
    odom = wire.odometry(pose, (odometry.v, 0.0, 0.0), (0.0, 0.0, odometry.omega))
    if tick % 2 == 0:
        lidar = world.lidar
        scan = wire.scan(
            np.where(world.scan() >= lidar.range_max, np.inf, world.scan()).tolist(),
            angle_min=lidar.angle_min, angle_max=lidar.angle_max, angle_increment=lidar.angle_increment,
            range_min=lidar.range_min, range_max=lidar.range_max,
        )  # fmt: skip
        yield "/scan", "sensor_msgs/msg/LaserScan", _stamped(scan, world.time_ns)
        yield "/camera/image", "sensor_msgs/msg/Image", _stamped(wire.image(world.camera(), "rgb8"), world.time_ns)
    yield "/odom", "nav_msgs/msg/Odometry", _stamped(odom, world.time_ns)


def _stamped(message, stamp_ns: int) -> bytes:
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return wire.serialize(message)
