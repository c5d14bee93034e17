"""The gate node's ROS parameters: what each is for, its default and bounds, and the settings that they make."""

from __future__ import annotations

from typing import Any, Final

from rclpy.node import Node

from og_ros.errors import ConfigError
from og_ros.gate.parameters import COUNT_BOUNDS, COUNTS, DEFAULTS, LISTS, NUMBERS, SWITCHES, TEXTS
from og_ros.gate.settings import GateSettings, SafeBehaviour
from og_ros.nodes.parameters import declare, describe
from og_ros.nodes.safe_motion import parse_fields

_WHEN: Final = ". Read when the node is configured"


class GateParameters:
    """Declares the parameters of a node, and reads them; every error is a ConfigError that names the parameter."""

    def __init__(self, node: Node) -> None:
        self._node = node
        for name, text in TEXTS.items():
            declare(node, name, DEFAULTS.get(name, ""), describe(text + _WHEN))
        for name, text in LISTS.items():
            declare(node, name, [""], describe(text + _WHEN))
        for name, (default, least, most, text) in NUMBERS.items():
            declare(node, name, default, describe(text + _WHEN, (least, most)))
        for name, (count, text) in COUNTS.items():
            declare(node, name, count, describe(text + _WHEN, COUNT_BOUNDS))
        for name, text in SWITCHES.items():
            declare(node, name, True, describe(text + _WHEN))

    def settings(self) -> GateSettings:
        """Return what the parameters ask for; topics are resolved by the node's namespace and remappings."""
        numbers = {name: int(self.number(name) * 1e9) for name in NUMBERS}
        behaviour = SafeBehaviour(
            self._one_of("safe_behaviour", ("stop", "hold", "decelerate", "hand_over")),
            numbers["safe_duration"],
            numbers["safe_period"],
            parse_fields(self.list("neutral")),
            tuple(self.list("scaled")),
        )
        command, resolve = self.text("input"), self._node.resolve_topic_name
        return GateSettings(
            command=resolve(command) if command else "",
            sensors=tuple(resolve(text.partition(":")[0]) for text in self.list("sensors")),
            stages=tuple(self.list("stages")),
            robot=self.text("robot"),
            mode=self._one_of("mode", ("enforce", "monitor")),
            deadline_ns=numbers["deadline"],
            max_command_age_ns=numbers["max_command_age"],
            clock_tolerance_ns=numbers["clock_tolerance"],
            stall_ns=numbers["stall"],
            healthy_ns=numbers["healthy"],
            max_waiting=self.count("max_waiting"),
            memory_ns=numbers["memory"],
            max_records=self.count("max_records"),
            behaviour=behaviour,
        )

    def text(self, name: str) -> str:
        """Return a text."""
        return str(self._node.get_parameter(name).value)

    def list(self, name: str) -> list[str]:
        """Return a list of texts; ROS has no empty one, so empty texts count as none."""
        return [text for text in self._node.get_parameter(name).value if text]

    def switch(self, name: str) -> bool:
        """Return a switch."""
        return bool(self._node.get_parameter(name).value)

    def number(self, name: str) -> float:
        """Return a number, which rclpy keeps within its bounds."""
        return float(self._node.get_parameter(name).value)

    def count(self, name: str) -> int:
        """Return a count, which rclpy keeps within its bounds."""
        return int(self._node.get_parameter(name).value)

    def _one_of(self, name: str, choices: tuple[str, ...]) -> Any:
        value = self.text(name)
        if value not in choices:
            raise ConfigError(f"{name} is {value!a}; it must be one of {', '.join(choices)}")
        return value
