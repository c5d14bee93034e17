"""Attestation for an engineer's own rclpy node, with any framework in place of ONNX, in three lines.

    class Planner(Node):
        def __init__(self):
            super().__init__("planner")
            self.attest = Attestor(self, stage="planning", model="planner.pt", key="planning.pem")
            self.commands = self.attest.create_publisher(Twist, "/cmd_vel", 10)
            self.attest.create_subscription(LaserScan, "/scan", self.on_scan, 10)

        def on_scan(self, scan):
            self.commands.publish(self.plan(scan))

What a callback publishes through an attested publisher is the output of one inference, whose input is the message that
the callback got. Where several messages go in, or a timer starts the inference, name them:

        @attested                                    # the messages among the arguments are the inputs
        def plan(self, scan, odometry): ...

        with self.attest.inference(self.scan, self.odometry):
            self.commands.publish(command)

The wire bytes are what is attested: inputs are subscribed raw and deserialised for the callback, outputs are serialised
once. `publish` returns before anything is signed. Run the node with og_ros.nodes.process.run_node, which publishes the
last attestations before it leaves; with rclpy.spin, call `attest.close()` while the context is still up.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeVar

from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message

from og_ros.attest import Clock, Disclosure, ModelReference, Runtime, Session
from og_ros.attest.key_reference import load_signer
from og_ros.errors import AttestationError, ConfigError
from og_ros.evidence.binding import Context
from og_ros.evidence.supply import NONE
from og_ros.log.journal import Journal
from og_ros.nodes.attestation_publisher import AttestationPublisher, Inference, Message
from og_ros.nodes.attested_calls import action_callback, service_callback
from og_ros.nodes.disclosing import SessionDisclosure
from og_ros.nodes.evidence_publisher import EvidenceChoice, EvidencePublisher, publish_evidence
from og_ros.nodes.faults import Faults
from og_ros.nodes.journal_service import serve
from og_ros.nodes.signing_queue import LAG_MS
from og_ros.nodes.topics import (
    ATTESTATION_SUFFIX,
    attestation_qos,
    has_header,
    message_class,
    type_name,
    wait_until_heard,
)
from og_ros.registry import Registry
from og_ros.stages.certified import require_certified
from og_ros.stages.runtime import cpu_class, file_digest, processing_digest, source_of

F = TypeVar("F", bound=Callable[..., Any])

# A message can be named as an input as long as it is one of the newest of its topic.
REMEMBERED: Final = 64
_NAMES: Final = "_og_ros_attestor"


class Run:
    """One inference while it runs; `publish` takes a publisher that is not attested."""

    def __init__(self, attestor: Attestor, inputs: tuple[Message, ...]) -> None:
        self._attestor = attestor
        self.inputs = inputs
        self.outputs: list[Message] = []
        self.began = time.monotonic_ns()
        self.start_ns = attestor.now_ns()

    def publish(self, publisher: Any, message: Any) -> None:
        """Serialise a message once, publish those bytes, and count it as an output of this inference."""
        payload = message if isinstance(message, bytes) else serialize_message(message)
        publisher.publish(payload)
        self.outputs.append(self._attestor.message(publisher.topic_name, publisher.msg_type, payload, message))


class AttestedPublisher:
    """A publisher whose messages are outputs of the inference at hand; otherwise as rclpy's."""

    def __init__(self, attestor: Attestor, publisher: Any) -> None:
        self._attestor = attestor
        self._publisher = publisher

    def publish(self, message: Any) -> None:
        """Publish a message; raises AttestationError outside an inference, before anything is sent."""
        self._attestor.current(self._publisher.topic_name).publish(self._publisher, message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)


class Attestor:
    """Attests what a node's model does."""

    def __init__(
        self,
        node: Node,
        *,
        stage: str,
        model: str | Path | None = None,
        key: str | Path,
        robot: str | None = None,
        model_digest: bytes | None = None,
        model_name: str | None = None,
        model_version: str = "",
        model_format: str | None = None,
        framework: str = "",
        attestation_topic: str | None = None,
        registry: str | Path | None = None,
        registry_root: str | None = None,
        queue: int = 256,
        signing_lag_ms: int = LAG_MS,
        disclosure: Mapping[str, Disclosure] | None = None,
        disclosure_key: str | Path | None = None,
        disclosure_directory: str | Path | None = None,
        disclosure_recipients: Sequence[str | Path] = (),
        disclosure_limit_mb: int = 1024,
        journal: str | Path | None = None,
        journal_limit_mb: int = 64,
        journal_days: float = 7.0,
        evidence: str = NONE,
        evidence_file: str | Path | None = None,
        evidence_renew_s: float = 240.0,
    ) -> None:
        """Begin a session.

        Args:
            node: the node; its class's source file is the pre- and post-processing whose digest is attested.
            stage: role in the decision chain.
            model: the model's file, which is hashed now. For rules in code give the source file.
            key: PEM file of the private key (mode 0600), or the URI of one in a PKCS#11 token.
            robot: name of the robot; none: OG_ROS_ROBOT in the environment, or the node's namespace, or "robot".
            model_digest: 32 bytes that name the model, in place of `model` (weights that are in no single file).
            model_name, model_version, model_format: as in the registry; none: from the file's name.
            framework: name of the Python package that runs the model, such as "torch".
            attestation_topic: none: `<topic of the first attested publisher>/attestation`.
            registry, registry_root: when given, model and key must be certified there.
            queue: inferences that may wait for their signature; then `publish`'s callback waits.
            signing_lag_ms: the callback also waits while an output has been without its signature for so long.
            disclosure: topics that attestations are not to name by their digest, such as {"/image": COMMITTED}.
            disclosure_key, disclosure_directory, disclosure_recipients, disclosure_limit_mb: as for a stage, see
                og_ros.stages.pipeline.StageConfig.
            journal, journal_limit_mb, journal_days: as for a stage, see there.
            evidence, evidence_file, evidence_renew_s: as for a stage, see there.

        Raises KeyFileError, ModelError, RegistryError, DisclosureError, LogError or ConfigError.
        """
        if (model is None) == (model_digest is None):
            raise ConfigError("Attestor needs either model (a file) or model_digest (32 bytes)")
        path = Path(model) if model is not None else None
        self.node = node
        self.faults = Faults(node.get_logger())
        signer = load_signer(key)
        reference = ModelReference(
            name=model_name or (path.stem if path is not None else stage),
            version=model_version,
            digest=file_digest(path) if path is not None else model_digest or b"",
            format=model_format or _format(path),
        )
        runtime = Runtime(
            name=framework or "python",
            version=_version(framework),
            cpu=cpu_class(),
            processing_digest=processing_digest([source_of(type(node))]),
        )
        robot = robot or os.environ.get("OG_ROS_ROBOT") or node.get_namespace().strip("/") or "robot"
        if registry is not None:
            require_certified(
                Registry.open(registry, pinned_root=registry_root),
                robot=robot,
                stage=stage,
                model=reference,
                runtime=runtime,
                key_id=signer.key_id,
                now_ns=time.time_ns(),
            )
        name = node.get_fully_qualified_name()
        session = Session(robot=robot, stage=stage, node=name, model=reference, runtime=runtime, signer=signer)
        self._topic = attestation_topic
        self._publisher: Any = None
        self._hidden = {node.resolve_topic_name(topic): mode for topic, mode in (disclosure or {}).items()}
        if Disclosure.COMMITTED in self._hidden.values() and disclosure_key is None:
            raise ConfigError("disclosure_key is missing: the robot's disclosure secret, for the committed topics")
        self._disclosure = SessionDisclosure(
            session,
            self.faults.report,
            key=Path(disclosure_key) if disclosure_key is not None else None,
            directory=Path(disclosure_directory) if disclosure_directory is not None else None,
            recipients=[Path(path) for path in disclosure_recipients],
            limit_mb=disclosure_limit_mb,
        )
        self._journal = Journal(
            Path(journal) if journal is not None else None,
            stage,
            session.id,
            limit_bytes=journal_limit_mb * 10**6,
            age_s=journal_days * 86_400,
            report=self.faults.report,
        )
        self._service = serve(node, self._journal)
        file = Path(evidence_file) if evidence_file is not None else None
        self._choice = EvidenceChoice(evidence, file, evidence_renew_s)
        self._evidence: EvidencePublisher | None = None
        self._signer = signer
        self._attestations = AttestationPublisher(
            session, self._send, self.faults.report, queue, self._disclosure.rules, self._journal, signing_lag_ms
        )
        self._remembered: dict[str, deque[tuple[Any, Message]]] = {}
        self._lock = threading.Lock()
        self._order = threading.Lock()
        self._began = 0
        self._current: ContextVar[Run | None] = ContextVar("run", default=None)
        setattr(node, _NAMES, self)

    @property
    def session(self) -> Session:
        """The session whose attestations are published."""
        return self._attestations.session

    def create_publisher(self, msg_type: Any, topic: str, qos_profile: Any, **options: Any) -> AttestedPublisher:
        """As Node.create_publisher; what it publishes is attested."""
        publisher = self.node.create_publisher(msg_type, topic, qos_profile, **options)
        self.announce(publisher)
        return AttestedPublisher(self, publisher)

    def create_service(self, srv_type: Any, srv_name: str, callback: Callable[[Any, Any], Any], **options: Any) -> Any:
        """As Node.create_service; each response is attested as the output of one inference, over its request.

        Both are published too, on `<service>/request` and `<service>/response`: see og_ros.nodes.attested_calls.
        """
        name = self.node.resolve_service_name(srv_name)
        return self.node.create_service(srv_type, srv_name, service_callback(self, name, srv_type, callback), **options)

    def create_action_server(
        self, action_type: Any, action_name: str, execute_callback: Callable[[Any], Any], **options: Any
    ) -> Any:
        """As rclpy.action.ActionServer; each result, and each feedback, is attested over its goal.

        They are published too, on `<action>/goal`, `<action>/feedback` and `<action>/result`.
        """
        from rclpy.action import ActionServer

        name = self.node.resolve_service_name(action_name)
        execute = action_callback(self, name, action_type, execute_callback)
        return ActionServer(self.node, action_type, action_name, execute, **options)

    def announce(self, publisher: Any) -> None:
        """Publish attestations, and evidence of the key, beside a publisher, if it is the first.

        Raises EvidenceError where there is to be evidence, and it cannot be had.
        """
        if self._publisher is None:
            kind = message_class("og_ros/msg/Attestation")
            where = self._topic or publisher.topic_name + ATTESTATION_SUFFIX
            self._publisher = self.node.create_publisher(kind, where, attestation_qos())
            whose = Context(self.session.robot, self.session.stage)
            self._evidence = publish_evidence(
                self.node, self._publisher.topic_name, self._signer, whose, self._choice, self.faults.report
            )

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[[Any], None], qos_profile: Any, **options: Any
    ) -> Any:
        """As Node.create_subscription; the callback gets the message, and what it publishes has it as input."""
        name = self.node.resolve_topic_name(topic)

        def receive(payload: bytes) -> None:
            message = deserialize_message(payload, msg_type)
            known = self.message(name, msg_type, payload, message)
            with self._lock:
                self._remembered.setdefault(name, deque(maxlen=REMEMBERED)).append((message, known))
            with self._run((known,)):
                callback(message)

        kind = message_class("og_ros/msg/Attestation")
        note = functools.partial(self._attestations.arrived, name)
        self.node.create_subscription(kind, name + ATTESTATION_SUFFIX, note, attestation_qos(), raw=True)
        return self.node.create_subscription(msg_type, topic, receive, qos_profile, raw=True, **options)

    @contextmanager
    def inference(self, *messages: Any) -> Iterator[Run]:
        """Mark one inference: what is published inside is its output, `messages` are its inputs.

        Raises AttestationError for no message, or one that did not come through this attestor's subscriptions.
        """
        with self._run(self._inputs(messages)) as run:
            yield run

    @contextmanager
    def inference_over(self, *messages: Message) -> Iterator[Run]:
        """As `inference`, over messages whose records are at hand."""
        with self._run(messages) as run:
            yield run

    def begin(self, *messages: Message) -> Run:
        """Begin an inference that others may overtake; `end` attests it."""
        return Run(self, messages)

    def is_input(self, message: Any) -> bool:
        """Say whether an object is a message that came through this attestor's subscriptions lately."""
        return self._find(message) is not None

    def current(self, topic: str) -> Run:
        """Return the inference at hand; raises AttestationError when there is none, naming the topic."""
        run = self._current.get()
        if run is None:
            raise AttestationError(
                f"{topic}: published outside an inference, so no input could be named; publish in the callback of an "
                "attested subscription, or in `with attestor.inference(message):`"
            )
        return run

    def message(self, topic: str, kind: Any, payload: bytes, message: Any) -> Message:
        """Return the record of a message and its bytes."""
        name = type_name(kind)
        stamp = 0
        if has_header(kind):
            stamped = deserialize_message(payload, kind) if isinstance(message, bytes) else message
            stamp = stamped.header.stamp.sec * 10**9 + stamped.header.stamp.nanosec
        disclosure = self._hidden.get(topic, Disclosure.CLEAR)
        found = Message(topic, name, payload, max(stamp, 0), disclosure=disclosure)
        found.hash_beside(self._attestations.pool)
        return found

    def now_ns(self) -> int:
        """The node's clock, ns."""
        return int(self.node.get_clock().now().nanoseconds)

    def close(self) -> None:
        """Publish every attestation that is due, and end the session; waits shortly until subscribers have them."""
        if self._evidence is not None:
            self._evidence.close()
        self._attestations.close()
        self._journal.close()
        self._disclosure.close()
        if self._publisher is not None and self.node.context.ok():
            wait_until_heard([self._publisher])

    @contextmanager
    def _run(self, inputs: tuple[Message, ...]) -> Iterator[Run]:
        run = Run(self, inputs)
        token = self._current.set(run)
        try:
            yield run
        finally:
            # What was published stays published when the callback fails afterwards, so it is attested in any case.
            self._current.reset(token)
            self.end(run)

    def end(self, run: Run) -> None:
        """Attest an inference, if it published anything.

        Records of a session begin in order. One that began before its predecessor, such as an action's result after its
        feedback, is said to begin with it.
        """
        if not run.outputs:
            return
        clock = Clock.SIM if self.node.get_clock().ros_time_is_active else Clock.SYSTEM
        ended = time.monotonic_ns()
        with self._order:
            began = self._began = max(run.began, self._began)
            start_ns = run.start_ns if clock is Clock.SIM else run.start_ns + began - run.began
            self._attestations.submit(
                Inference(run.inputs, tuple(run.outputs), start_ns, clock, began, max(0, ended - began))
            )

    def _inputs(self, messages: tuple[Any, ...]) -> tuple[Message, ...]:
        if not messages:
            raise AttestationError("an inference needs at least one message as input")
        found = []
        for message in messages:
            known = self._find(message)
            if known is None:
                raise AttestationError(
                    f"{type(message).__name__} is not one of the last {REMEMBERED} messages that came through "
                    "attestor.create_subscription, so its bytes are not known"
                )
            found.append(known)
        return tuple(found)

    def _find(self, message: Any) -> Message | None:
        with self._lock:
            for known in self._remembered.values():
                for candidate, record in reversed(known):
                    if candidate is message:
                        return record
        return None

    def _send(self, payload: bytes) -> None:
        self._publisher.publish(payload)


def attested(function: F) -> F:
    """Make one inference of each call of a node's method: the messages among its arguments are the inputs."""

    @functools.wraps(function)
    def call(node: Any, *args: Any, **kwargs: Any) -> Any:
        attestor: Attestor | None = getattr(node, _NAMES, None)
        if attestor is None:
            raise ConfigError(f"@attested {function.__name__}: {type(node).__name__} has no Attestor; make one first")
        inputs = [argument for argument in (*args, *kwargs.values()) if attestor.is_input(argument)]
        with attestor.inference(*inputs):
            return function(node, *args, **kwargs)

    return call  # type: ignore[return-value]


def _format(path: Path | None) -> str:
    if path is None:
        return "unknown"
    return {".py": "rules", ".pt": "torch", ".pth": "torch"}.get(path.suffix, path.suffix[1:] or "unknown")


def _version(framework: str) -> str:
    try:
        return version(framework) if framework else ""
    except PackageNotFoundError as error:
        raise ConfigError(f"framework {framework!r} is no installed Python package") from error
