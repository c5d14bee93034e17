"""The witness node: attests what another node was seen to do, C++ included, without a change to it.

It subscribes to the node's inputs and outputs, pairs them by a rule that each record states, and signs records of mode
OBSERVED. They show which messages passed, and that the rule pairs them. They do not show that the output came of these
inputs, nor which model ran: an audit calls them `observed`, and never more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from og_ros.attest import Mode
from og_ros.attest.digest import ALGORITHMS, is_computable
from og_ros.audit.examine import stamp_of
from og_ros.errors import ConfigError
from og_ros.nodes.attestation_publisher import Message
from og_ros.nodes.node_parameters import SIGNING, TEXTS, NodeParameters
from og_ros.nodes.process import run_node
from og_ros.nodes.record_session import RecordSession, named_model, runtime_of
from og_ros.nodes.topics import ATTESTATION_SUFFIX, attestation_qos, has_header, message_class, publisher_problem
from og_ros.stages import pairing
from og_ros.stages.pairing import RULES, Pair, Pairing, Rule, Seen
from og_ros.stages.runtime import source_of

_PARAMETERS: Final[dict[str, tuple[Any, str]]] = {
    "stage": ("", "name of the stage that is observed (default: node name)"),
    "inputs": (TEXTS, "topics that the observed node reads, each as TOPIC:TYPE; the first is the one that starts it"),
    "outputs": (TEXTS, "topics that it publishes, each as TOPIC:TYPE"),
    "rule": ("stamp", "how an output is paired with inputs: stamp or latest_before"),
    "max_age_ms": (1000.0, "inputs that came longer before an output are not paired with it, ms"),
    "patience_ms": (100.0, "so long an output waits for the input with its stamp, ms"),
    "observed_node": ("", "full name of the observed node; messages of any other are not attested"),
    "model": ("", "file of the model that the node is said to run; its digest is named, and remains a claim"),
    "model_name": ("", "name of that model in the registry"),
    "model_version": ("", "version of that model in the registry"),
    "model_format": ("onnx", "format of that model"),
    **SIGNING,
}


class Witness(Node):
    """Observes one node; publishes a signed record of each output on `<first output>/attestation`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("witness", **options)
        given = NodeParameters(self, _PARAMETERS)
        inputs, outputs = given.topics("inputs"), given.topics("outputs")
        if not outputs:
            raise ConfigError("parameter outputs is empty: name the topics that the observed node publishes")
        both = inputs.keys() & outputs.keys()
        if both:
            raise ConfigError(f"{', '.join(sorted(both))} is among both inputs and outputs")
        self._digest = given.choice("digest", tuple(ALGORITHMS))
        if not is_computable(self._digest):
            raise ConfigError(f"digest {self._digest} needs the PyPI package {self._digest}")
        given.choice("rule", RULES)
        self._rule = Rule(
            given.text("rule"),  # type: ignore[arg-type]
            int(given.number("max_age_ms") * 1e6),
            int(given.number("patience_ms") * 1e6),
        )
        self._pairing = Pairing(list(inputs), self._rule)
        self._observed_node = given.text("observed_node")
        kinds = {topic: message_class(kind) for topic, kind in {**inputs, **outputs}.items()}
        if self._rule.name == "stamp":
            for topic in (next(iter(inputs)), *outputs):
                if not has_header(kinds[topic]):
                    raise ConfigError(f"rule stamp needs a Header in the messages on {topic}; use rule latest_before")
        model = given.path("model")
        name = given.text("model_name") or (model.stem if model is not None else "not_known")
        self._session = RecordSession(
            self,
            given.signing(given.text("stage") or self.get_name()),
            topic=given.text("attestation_topic") or next(iter(outputs)) + ATTESTATION_SUFFIX,
            model=named_model(model, name, given.text("model_version"), given.text("model_format")),
            runtime=runtime_of("witness", self._rule.text(list(inputs)), source_of(pairing), source_of(type(self))),
            mode=Mode.OBSERVED,
        )
        self.faults = self._session.faults
        qos = given.qos()
        for topic, kind in inputs.items():
            self.create_subscription(
                kinds[topic], topic, partial(self._input, topic, kind, kinds[topic]), qos, raw=True
            )
            attestation = message_class("og_ros/msg/Attestation")
            note = partial(self._session.arrived, topic)
            self.create_subscription(attestation, topic + ATTESTATION_SUFFIX, note, attestation_qos(), raw=True)
        for topic, kind in outputs.items():
            self.create_subscription(
                kinds[topic], topic, partial(self._output, topic, kind, kinds[topic]), qos, raw=True
            )
        if self._rule.name == "stamp":
            self.create_timer(0.02, self._pair, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Publish every record that is due."""
        self._pair(final=True)
        self._session.close()
        self.get_logger().info(f"{self._session.published} outputs observed")

    def _message(self, topic: str, kind: str, found: Any, payload: bytes) -> Message:
        return Message(topic, kind, payload, stamp_of(payload, has_header(found)), algorithm=self._digest)

    def _input(self, topic: str, kind: str, found: Any, payload: bytes) -> None:
        message = self._message(topic, kind, found, payload)
        message.sample = self._session.now_ns()
        self._session.begin(message)
        self._pairing.add_input(topic, Seen(message.stamp_ns, message.taken_ns, message))
        if self._rule.name == "stamp":
            self._pair()

    def _output(self, topic: str, kind: str, found: Any, payload: bytes) -> None:
        message = self._message(topic, kind, found, payload)
        wrong = publisher_problem(self, topic, self._observed_node)
        if wrong:
            self.faults.report(f"not attested on {topic}", wrong)
            return
        self._session.begin(message)
        self._pairing.add_output(Seen(message.stamp_ns, message.taken_ns, message))
        self._pair()

    def _pair(self, final: bool = False) -> None:
        for pair in self._pairing.take(time.monotonic_ns() + (self._rule.patience_ns if final else 0)):
            if pair.why:
                self.faults.report(f"not attested on {pair.output.message.topic}", pair.why)
            else:
                self._attest(pair)

    def _attest(self, pair: Pair) -> None:
        """Sign what was seen: it began when the last of the inputs came, and ended when the output did."""
        last = max(pair.inputs, key=lambda seen: seen.at_ns)
        self._session.submit(
            tuple(seen.message for seen in pair.inputs),
            (pair.output.message,),
            last.message.sample,
            last.at_ns,
            max(0, pair.output.at_ns - last.at_ns),
        )


def main(args: Sequence[str] | None = None) -> int:
    """Run a witness as a process."""
    return run_node(Witness, args, events=True)


if __name__ == "__main__":
    raise SystemExit(main())
