"""The gate node's parameters: what each is for, its default, its bounds; docs/reference/gate.md is made of this."""

from __future__ import annotations

from typing import Final

TEXTS: Final = {
    "robot": "name of the robot: in the gate's attestations, and of those that it accepts",
    "registry": "directory of the registry",
    "registry_root": "sha256:... fingerprint that the registry's root must have",
    "policy": "policy file (YAML); empty: what every honest chain has",
    "key": "PEM file of the gate's own private key (mode 0600), certified for the stage gate",
    "input": "topic of the commands, as a stage attests them",
    "output": "topic that the driver reads; nobody else may publish on it",
    "type": "type of the commands, such as geometry_msgs/msg/Twist",
    "mode": "enforce, or monitor: everything passes but in an emergency stop, and verdicts say what would not",
    "safe_behaviour": "stop, hold, decelerate or hand_over: what is published once the gate latched",
    "hand_over": "with safe_behaviour hand_over: the topic that a multiplexer lets through",
    "state": "directory where the gate remembers envelopes and emergency stops; required with envelopes",
    "bypass": "latch, report or ignore: what to do about another publisher on the output",
}
LISTS: Final = {
    "sensors": "topics that a chain may begin with, as TOPIC or TOPIC:TYPE",
    "attestations": "attestation topics; empty: every one that appears",
    "stages": "stages that each chain must have, from the sensors on; the last one makes the commands",
    "envelopes": "files of the signed envelopes that bound the commands, the owner's first; empty: none, and no "
    "emergency stop",
    "neutral": "fields of the neutral message that are not zero, as FIELD=VALUE (YAML), such as data=[0.0, 0.0]",
    "scaled": "with safe_behaviour decelerate: the fields to scale, such as twist.linear.x; empty: every number",
}
NUMBERS: Final[dict[str, tuple[float, float, float, str]]] = {
    "deadline": (0.05, 0.001, 10.0, "seconds that a command may wait for what proves it"),
    "max_command_age": (0.2, 0.001, 60.0, "seconds from the end of a command's inference to its passing, at most"),
    "clock_tolerance": (1.0, 0.0, 3600.0, "seconds that the wall clocks of stages and gate may be apart"),
    "stall": (0.5, 0.0, 3600.0, "seconds without a verified command after which an open gate latches; 0: never"),
    "healthy": (0.3, 0.001, 60.0, "seconds without a refusal before a reset is granted"),
    "memory": (10.0, 0.1, 3600.0, "seconds for which messages and attestations are remembered"),
    "safe_duration": (0.5, 0.001, 60.0, "seconds that hold or decelerate last"),
    "safe_period": (0.05, 0.001, 10.0, "seconds between two messages of the safe behaviour"),
}
COUNTS: Final = {
    "max_waiting": (64, "commands that may wait at once; one more is overload"),
    "max_records": (2048, "messages and attestations remembered of each topic"),
    "queue": (1024, "records that may wait for the worker; one more is overload"),
}
COUNT_BOUNDS: Final = (1, 1_000_000)
SWITCHES: Final = {
    "autostart": "configure and activate at start, without a lifecycle manager",
    "require_certified": "refuse to activate with a key or policy that the registry does not certify for stage gate",
}
DEFAULTS: Final = {"mode": "enforce", "safe_behaviour": "stop", "bypass": "latch"}
