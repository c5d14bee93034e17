"""The stage node: runs an ONNX model between topics by configuration alone, and attests every inference."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from rclpy.exceptions import InvalidParameterValueException
from rclpy.impl.implementation_singleton import rclpy_implementation as rclpy_native
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from og_ros.attest import Clock, Disclosure, ModelReference, Session
from og_ros.attest.digest import is_computable
from og_ros.attest.key_reference import load_signer
from og_ros.attest.signer import Signer
from og_ros.errors import ConfigError, OgError
from og_ros.evidence.binding import Context
from og_ros.log.journal import Journal
from og_ros.nodes.attestation_publisher import AttestationPublisher, Message
from og_ros.nodes.attestation_publisher import Inference as Attested
from og_ros.nodes.disclosing import SessionDisclosure
from og_ros.nodes.evidence_publisher import EvidenceChoice, EvidencePublisher, publish_evidence
from og_ros.nodes.faults import Faults
from og_ros.nodes.journal_service import serve
from og_ros.nodes.parameters import Bounds, describe
from og_ros.nodes.process import run_node
from og_ros.nodes.topics import ATTESTATION_SUFFIX, attestation_qos, message_class, usable_names, wait_until_heard
from og_ros.registry import Registry
from og_ros.stages.certified import require_certified
from og_ros.stages.inference import Inference, output_stamp
from og_ros.stages.pipeline import (
    BOUNDS,
    InputConfig,
    OutputConfig,
    QosConfig,
    StageConfig,
    from_parameters,
    load_pipeline,
    to_parameters,
)

# Parameters of the node itself and of rclpy; every other one describes the stage.
_OWN: Final = ("autostart", "pipeline", "use_sim_time", "start_type_description_service", "qos_overrides")
_DESCRIPTIONS: Final = {
    "robot": "name of the robot in every attestation",
    "stage": "role in the chain, such as perception; with `pipeline`: which of its stages (default: node name)",
    "model.path": "ONNX file; its bytes are hashed, and the model is built from those bytes",
    "model.name": "name of the model in the registry",
    "model.version": "version of the model in the registry",
    "model.threads": "threads of onnxruntime; with more than one, results may differ in their last bits",
    "model.optimization": "graph optimisation: disabled, basic, extended or all",
    "model.provider": "execution provider: cpu, cuda, tensorrt, openvino, or onnxruntime's own name of one",
    "model.fallback": "providers that may run what it does not, in order; none: it alone, or the stage does not start",
    "key": "PEM file of the private key (mode 0600), or a pkcs11: URI",
    "registry": "directory of the registry that must certify model and key",
    "registry_root": "sha256:... fingerprint that the registry's root must have",
    "require_certified": "refuse to activate with a model or key that the registry does not certify",
    "attestation_topic": "topic of the attestations; default: <first output>/attestation",
    "queue": "inferences that may wait for their signature before the stage waits",
    "signing_lag_ms": "the stage waits while an output has been without its signature for so long, ms",
    "disclosure_key": "file of the robot's disclosure secret (32 bytes, mode 0600), for what is committed",
    "disclosure_directory": "where sealed side files go, with what was committed to",
    "disclosure_recipients": "PEM files of the public keys (P-256) of those who can open the side files",
    "disclosure_limit_mb": "size of all side files of this stage together, MB; the oldest make room",
    "journal": "directory of the journal, from which it serves attestations that somebody missed; empty: memory",
    "journal_limit_mb": "size of the journal, MB; the oldest attestations make room",
    "journal_days": "age at which attestations leave the journal, days",
    "evidence": "attester that shows where the key lives, such as software or tpm2-quote; none: no evidence",
    "evidence_file": "evidence that a measured launch made, in place of an attester",
    "evidence_renew_s": "s after which evidence is made anew, or the file is looked at again",
    "disclosure": "how attestations name these messages: clear (digest), committed (salted digest) or absent",
    "digest": "algorithm of these messages' digest: sha256, blake3 or sha256-tree",
    "topic": "topic of this input or output",
    "type": "message type, such as sensor_msgs/msg/Image",
    "adapter": "adapter between message and tensor; default: og_ros's own for the type",
    "tensor": "name of the model's tensor; default: the name of this input or output",
    "trigger": "whether a message on this input starts an inference",
    "max_age_ms": "no inference when this input's newest message arrived longer ago, ms",
    "attestation": "topic of the attestations of what publishes this input; none: do not listen",
    "frame_id": "frame of this output's header; default: that of the triggering input",
    "depth": "messages that may wait in the middleware",
}

# Declared whether given or not, so that ROS tools show their bounds.
_NUMBERS: Final = (
    "model.threads", "queue", "journal_limit_mb", "journal_days", "disclosure_limit_mb", "evidence_renew_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _InputPort:
    """An input as its callback needs it: nothing is looked up while a message waits."""

    name: str
    config: InputConfig
    topic: str
    disclosure: Disclosure


@dataclass
class _Work:
    """What exists between configure and cleanup."""

    config: StageConfig
    inference: Inference
    signer: Signer
    attestations: AttestationPublisher
    disclosure: SessionDisclosure
    journal: Journal
    evidence: EvidencePublisher | None
    journal_service: Any
    publishers: list[Any]
    attestation_publisher: Any
    subscriptions: list[Any]
    input_topics: list[str]
    output_topics: list[str]
    input_ports: list[_InputPort]
    newest: list[tuple[Message, int] | None]


class Stage(LifecycleNode):
    """A lifecycle node of one stage; see og_ros.stages.pipeline.StageConfig for its parameters.

    Output first, signature after: an inference's outputs are published, then it is queued for the signing thread.
    Messages are taken and sent as raw bytes, which are the bytes that are hashed. Anything wrong with a message or an
    inference is counted and logged; the node goes on, and its sequence has no gap.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "stage",
            allow_undeclared_parameters=True,
            automatically_declare_parameters_from_overrides=True,
            **options,
        )
        self._declare("autostart", True, "configure and activate at start, without a lifecycle manager")
        self._declare("pipeline", "", "pipeline file (YAML) that describes the stage; parameters override its fields")
        for name in self._stage_parameters():
            self._describe(name)
        for name in _NUMBERS:
            if not self.has_parameter(name):
                kind = Parameter.Type.from_parameter_value(BOUNDS[_last(name)][0])
                self.declare_parameter(name, kind, describe(_text(name), _bounds(name)))
        self.faults = Faults(self.get_logger())
        self._active = False
        self._work: _Work | None = None
        self._failure: OgError | None = None

    def start(self) -> None:
        """Configure and activate, if `autostart` says so; raises the OgError that stands in the way."""
        if not self.get_parameter("autostart").value:
            return
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                raise self._failure or ConfigError("the stage could not be started; its log says why")

    def close(self) -> None:
        """Stop taking messages, and publish every attestation that is due."""
        self._active = False
        self._release()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load model and key, begin a new session, make publishers and subscriptions."""
        try:
            with usable_names():
                self._configure(self._config())
        except OgError as error:
            return self._refuse(error)
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check model and key against the registry, if there is one, and take messages."""
        try:
            self._check_certified()
        except OgError as error:
            return self._refuse(error)
        self._active = True
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take no more messages; return when every inference has its attestation."""
        self._active = False
        if self._work is not None:
            self._work.attestations.drain()
            self._work.newest = [None] * len(self._work.newest)
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the session."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the session."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the session; the node can be configured again."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def _describe(self, name: str) -> None:
        """Describe a parameter of the stage; one whose value is out of bounds is left for `configure` to refuse."""
        try:
            self.set_descriptor(name, describe(_text(name), _bounds(name), dynamic_typing=True))
        except InvalidParameterValueException:
            self.set_descriptor(name, describe(_text(name), dynamic_typing=True))

    def _declare(self, name: str, default: Any, text: str) -> None:
        descriptor = describe(text, dynamic_typing=True)
        if self.has_parameter(name):
            self.set_descriptor(name, descriptor)
        else:
            self.declare_parameter(name, default, descriptor)

    def _stage_parameters(self) -> list[str]:
        return [
            name
            for name, parameter in self._parameters.items()
            if name.partition(".")[0] not in _OWN and parameter.type_ != Parameter.Type.NOT_SET
        ]

    def _config(self) -> StageConfig:
        given = {name: self.get_parameter(name).value for name in self._stage_parameters()}
        path = self.get_parameter("pipeline").value
        if not path:
            return from_parameters(given)
        pipeline = load_pipeline(Path(path))
        name = str(given.get("stage") or self.get_name())
        if name not in pipeline.stages:
            raise ConfigError(f"{path} has no stage {name}; it has {', '.join(pipeline.stages)} (parameter stage)")
        return from_parameters({**to_parameters(pipeline.stages[name]), **given})

    def _configure(self, config: StageConfig) -> None:
        for port in (*config.inputs.values(), *config.outputs.values()):
            if not is_computable(port.digest):
                raise ConfigError(f"digest {port.digest} needs the PyPI package {port.digest}")
        signer = load_signer(config.key)
        inference = Inference.configure(config)
        input_types = [message_class(port.type) for port in config.inputs.values()]
        output_types = [message_class(port.type) for port in config.outputs.values()]
        attestation_type = message_class("og_ros/msg/Attestation")
        session = Session(
            robot=config.robot,
            stage=config.stage,
            node=self.get_fully_qualified_name(),
            model=ModelReference(config.model.name, config.model.version, inference.model.digest),
            runtime=inference.runtime,
            signer=signer,
        )
        disclosure = SessionDisclosure(
            session,
            self.faults.report,
            key=config.disclosure_key,
            directory=config.disclosure_directory,
            recipients=config.disclosure_recipients,
            limit_mb=config.disclosure_limit_mb,
        )
        journal = Journal(
            config.journal,
            config.stage,
            session.id,
            limit_bytes=config.journal_limit_mb * 10**6,
            age_s=config.journal_days * 86_400,
            report=self.faults.report,
        )
        outputs = [
            self.create_publisher(kind, port.topic, _qos(port.qos))
            for kind, port in zip(output_types, config.outputs.values(), strict=True)
        ]
        topic = config.attestation_topic or outputs[0].topic_name + ATTESTATION_SUFFIX
        publisher = self.create_publisher(attestation_type, topic, attestation_qos())
        input_topics = [self.resolve_topic_name(port.topic) for port in config.inputs.values()]
        whose = Context(config.robot, config.stage)
        chosen = EvidenceChoice(config.evidence, config.evidence_file, config.evidence_renew_s)
        evidence = publish_evidence(self, publisher.topic_name, signer, whose, chosen, self.faults.report)
        self._work = _Work(
            config=config,
            inference=inference,
            signer=signer,
            attestations=AttestationPublisher(
                session,
                publisher.publish,
                self.faults.report,
                config.queue,
                disclosure.rules,
                journal,
                config.signing_lag_ms,
            ),
            disclosure=disclosure,
            journal=journal,
            evidence=evidence,
            journal_service=serve(self, journal),
            publishers=outputs,
            attestation_publisher=publisher,
            subscriptions=[],
            input_topics=input_topics,
            output_topics=[output.topic_name for output in outputs],
            input_ports=[
                _InputPort(name, port, topic, _disclosure(port))
                for (name, port), topic in zip(config.inputs.items(), input_topics, strict=True)
            ],
            newest=[None] * len(input_types),
        )
        for index, port in enumerate(config.inputs.values()):
            callback = partial(self._receive, index)
            self._subscribe(input_types[index], input_topics[index], callback, _qos(port.qos))
            if port.attestation != "none":
                source = port.attestation or input_topics[index] + ATTESTATION_SUFFIX
                note = partial(self._work.attestations.arrived, input_topics[index])
                self._subscribe(attestation_type, source, note, attestation_qos())
        self.get_logger().info(
            f"{config.stage}: {config.model.name} {config.model.version} sha256 {inference.model.digest.hex()[:16]}, "
            f"key {signer.key_id.hex()[:16]}, attestations on {publisher.topic_name}"
        )

    def _subscribe(self, kind: Any, topic: str, callback: Any, qos: QoSProfile) -> None:
        assert self._work is not None
        self._work.subscriptions.append(self.create_subscription(kind, topic, callback, qos, raw=True))

    def _check_certified(self) -> None:
        assert self._work is not None
        config = self._work.config
        if config.registry is None or not config.require_certified:
            return
        session = self._work.attestations.session
        require_certified(
            Registry.open(config.registry, pinned_root=config.registry_root or None),
            robot=config.robot,
            stage=config.stage,
            model=session.model,
            runtime=session.runtime,
            key_id=self._work.signer.key_id,
            now_ns=time.time_ns(),
        )

    def _receive(self, index: int, payload: bytes) -> None:
        work = self._work
        if not self._active or work is None:
            return
        began = time.monotonic_ns()
        known = work.input_ports[index]
        port = known.config
        message = Message(known.topic, port.type, payload, disclosure=known.disclosure, algorithm=port.digest)
        try:
            message.sample = work.inference.decode(index, payload)
        except OgError as error:
            self.faults.report(f"input {known.name}", error)
            return
        message.stamp_ns = message.sample.stamp_ns
        work.newest[index] = (message, began)
        if port.trigger:
            inputs = self._inputs(work, began)
            if inputs is not None:
                self._infer(work, inputs, index, began)

    def _inputs(self, work: _Work, now: int) -> tuple[Message, ...] | None:
        """Return the newest message of every input, or None when one is missing or too old."""
        found = []
        for (name, port), newest in zip(work.config.inputs.items(), work.newest, strict=True):
            if newest is None:
                self.faults.report(f"input {name}", "no message yet; inferences start with the first one")
                return None
            message, received = newest
            age_ms = (now - received) / 1e6
            if port.max_age_ms is not None and age_ms > port.max_age_ms:
                self.faults.report(f"input {name}", f"the newest message is {age_ms:.0f} ms old; no inference")
                return None
            found.append(message)
        return tuple(found)

    def _infer(self, work: _Work, inputs: tuple[Message, ...], trigger: int, began: int) -> None:
        start_ns = self.get_clock().now().nanoseconds
        for message in inputs:
            message.hash_beside(work.attestations.pool)
        samples = [message.sample for message in inputs]
        stamp_ns = output_stamp(work.inference.inputs, samples, trigger, start_ns)
        try:
            result = work.inference.run(samples, stamp_ns=stamp_ns, frame_id=samples[trigger].frame_id)
        except OgError as error:
            self.faults.report("inference", error)
            return
        outputs = []
        for index, port in enumerate(work.config.outputs.values()):
            payload = result.outputs[index]
            stamp = result.stamp_ns if work.inference.outputs[index].adapter.stamped else 0
            try:
                work.publishers[index].publish(payload)
            except rclpy_native.RCLError as error:
                self.faults.report("publishing", error)
                continue
            topic = work.output_topics[index]
            outputs.append(
                Message(topic, port.type, payload, stamp, disclosure=_disclosure(port), algorithm=port.digest)
            )
        duration = time.monotonic_ns() - began
        clock = Clock.SIM if self.get_clock().ros_time_is_active else Clock.SYSTEM
        if outputs:
            work.attestations.submit(Attested(inputs, tuple(outputs), start_ns, clock, began, duration))

    def _refuse(self, error: OgError) -> TransitionCallbackReturn:
        self._failure = error
        self.get_logger().error(str(error))
        if not self._active and self._state_machine.current_state[1] == "configuring":
            self._release()
        return TransitionCallbackReturn.FAILURE

    def _release(self) -> None:
        work, self._work = self._work, None
        if work is None:
            return
        for subscription in work.subscriptions:
            self.destroy_subscription(subscription)
        if work.evidence is not None:
            work.evidence.close()
        work.attestations.close()
        self.destroy_service(work.journal_service)
        work.journal.close()
        kept = work.disclosure.close()
        evidence = [work.evidence.publisher] if work.evidence is not None else []
        publishers = [*work.publishers, work.attestation_publisher, *evidence]
        wait_until_heard(publishers)
        for publisher in publishers:
            self.destroy_publisher(publisher)
        faults = ", ".join(f"{count} × {kind}" for kind, count in self.faults.counts.items())
        self.get_logger().info(
            f"{work.config.stage}: {work.attestations.published} inferences attested"
            + (f"; {kept}" if kept else "")
            + (f"; {faults}" if faults else "")
        )


def _disclosure(port: InputConfig | OutputConfig) -> Disclosure:
    return Disclosure[port.disclosure.upper()]


def _text(name: str) -> str:
    text = _DESCRIPTIONS.get(name, _DESCRIPTIONS.get(_last(name), "option of the adapter"))
    return f"{text}. Read when the node is configured"


def _bounds(name: str) -> Bounds | None:
    """Return the bounds of a number of the stage; an adapter's option may have the name of one, and has none."""
    return None if ".options." in name else BOUNDS.get(_last(name))


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _qos(config: QosConfig) -> QoSProfile:
    return QoSProfile(
        depth=config.depth,
        reliability=ReliabilityPolicy[config.reliability.upper()],
        durability=DurabilityPolicy[config.durability.upper()],
    )


def run_stage(kind: type[Stage], args: Sequence[str] | None = None) -> int:
    """Run a stage node of some class as a process, started if `autostart` says so."""

    def make() -> Stage:
        node = kind()
        try:
            node.start()
        except OgError:
            node.destroy_node()
            raise
        return node

    return run_node(make, args, events=True)


def main(args: Sequence[str] | None = None) -> int:
    """Run a stage as a process."""
    return run_stage(Stage, args)


if __name__ == "__main__":
    raise SystemExit(main())
