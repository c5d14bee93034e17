"""Holds a robot's commands against its chain of envelopes: every envelope of the chain must allow a command.

Pure: the caller gives messages and the monotonic time. Listen to `inputs` and hand each message to `observe`; ask the
check itself before a command is forwarded; tell `forwarded` what was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from og_ros.errors import EnvelopeError
from og_ros.gate import zones
from og_ros.gate.bounds import Limit, compile_bound, least_of, most_of
from og_ros.gate.coverage import unbounded
from og_ros.gate.envelope import Condition, Envelope, Pose, TopicBounds
from og_ros.gate.hours import minute_of_week, minutes_of
from og_ros.gate.message_fields import Field, FieldError, Layout, MessageTypes, Tree
from og_ros.gate.verdict import Reason
from og_ros.registry.timestamp import show_time

MAX_COMMAND: Final = 2**20
"""Bytes of a command; a trajectory of 1,000 points for 7 joints has 220 kB."""


class _Known:
    """What is known from one message of another topic, until it is too old."""

    def __init__(self, stale_after_s: float) -> None:
        self._stale_ns = int(stale_after_s * 1e9)
        self._at_ns: int | None = None

    def fresh(self, now_ns: int) -> bool:
        return self._at_ns is not None and now_ns - self._at_ns <= self._stale_ns


class _Condition(_Known):
    """A condition, which holds unless a fresh message says that it does not."""

    def __init__(self, condition: Condition, layout: Layout) -> None:
        super().__init__(condition.stale_after_s)
        self._condition, self._field = condition, layout.field(condition.field)
        if condition.of == "count" and not self._field.is_sequence:
            raise EnvelopeError(f"condition {condition.name}: {condition.field} is no sequence, whose elements count")
        if condition.of != "count" and not self._field.code:
            raise EnvelopeError(f"condition {condition.name}: {condition.field} is no number")
        self._holds = True

    def observe(self, tree: Tree | None, now_ns: int) -> None:
        self._at_ns = now_ns
        try:
            self._holds = tree is None or self._value_holds(self._field.pick(tree))
        except FieldError:
            self._holds = True

    def _value_holds(self, values: Sequence[Any]) -> bool:
        c = self._condition
        if not len(values):
            return True  # a scan without a reading shows nobody, and nobody's absence
        value = most_of(values) if c.of == "max" else least_of(values)
        if value != value:
            return True  # NaN: nothing is known
        return value < c.below if c.below is not None else value > (c.above or 0.0)

    def holds(self, now_ns: int) -> bool:
        return self._holds or not self.fresh(now_ns)


class _Place(_Known):
    """Where the robot is, in the frame of a pose; None when that cannot be known."""

    def __init__(self, pose: Pose, layout: Layout) -> None:
        super().__init__(pose.stale_after_s)
        self._frame, self._fields = pose.frame, _pose_fields(layout)
        self._point: zones.Point | None = None

    def observe(self, tree: Tree | None, now_ns: int) -> None:
        self._at_ns, self._point = now_ns, None
        if tree is not None and tree.get("header.frame_id") == self._frame:
            x, y = (float(field.pick(tree)[0]) for field in self._fields)
            if x - x == 0 and y - y == 0:  # neither NaN nor infinite
                self._point = (x, y)

    def point(self, now_ns: int) -> zones.Point | None:
        return self._point if self.fresh(now_ns) else None


def _pose_fields(layout: Layout) -> tuple[Field, Field]:
    for prefix in ("pose.pose.position", "pose.position"):  # nav_msgs/Odometry, geometry_msgs/Pose*Stamped
        try:
            return layout.field(f"{prefix}.x"), layout.field(f"{prefix}.y")
        except EnvelopeError:
            continue
    raise EnvelopeError(f"pose: {layout.type} has no pose.position; take an Odometry or a PoseStamped")


class _Zone:
    def __init__(self, polygon: zones.Polygon, place: _Place) -> None:
        self.polygon, self._place = polygon, place
        self._seen: tuple[zones.Point, bool] | None = None

    def holds(self, now_ns: int) -> bool:
        """Say whether the robot is in the zone, or might be."""
        point = self._place.point(now_ns)
        if point is None:
            return True
        if self._seen is None or self._seen[0] != point:
            self._seen = point, zones.contains(self.polygon, point)
        return self._seen[1]


class _Command:
    """The bounds of one topic, of every envelope of the chain, each with what it depends on."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.limits: list[tuple[Limit, _Condition | _Zone | None]] = []
        self.last: tuple[bytes, Tree] | None = None


class EnvelopeCheck:
    """The check of one robot's commands, to be called with (topic, type, payload, monotonic time in ns)."""

    def __init__(self, chain: Sequence[Envelope], robot: str, wall_ns: Callable[[], int] = time.time_ns) -> None:
        """`chain`: the envelopes from the owner's on, as og_ros.gate.delegation opened them.

        Raises EnvelopeError when a field, type or condition is unknown, a number has no bound, or `robot` is another.
        """
        self._wall_ns = wall_ns
        self._envelopes = tuple(chain)
        for envelope in chain:
            if not envelope.covers_robot(robot):
                raise EnvelopeError(f"the envelope {envelope.name} is not for the robot {robot}")
        self._hours = [(e.name, minutes_of(e.hours)) for e in chain if e.hours]
        self._types = MessageTypes({name: text for e in chain for name, text in e.definitions})
        self.inputs: dict[str, str] = {}
        """The topics that the envelope's conditions and zones need, with their types."""
        self._sinks: dict[str, list[_Condition | _Place]] = {}
        self._place = self._open_place()
        self._zones: list[tuple[str, str, list[_Zone]]] = []
        self._commands = self._open_commands(self._open_conditions())

    @property
    def topics(self) -> Mapping[str, str]:
        """The topics of commands that the envelope allows, with their types."""
        return {topic: command.layout.type for topic, command in self._commands.items()}

    def observe(self, topic: str, type: str, payload: bytes, now_ns: int) -> None:
        """Take a message of a topic of `inputs`; one that cannot be read makes its conditions hold."""
        sinks = self._sinks.get(topic)
        if not sinks:
            return
        tree: Tree | None = None
        if type == self.inputs[topic]:
            try:
                tree = self._types.layout(type).read(payload)
            except FieldError:
                tree = None
        for sink in sinks:
            sink.observe(tree, now_ns)

    def __call__(self, topic: str, type: str, payload: bytes, now_ns: int) -> Reason | None:
        """Return why a command must not be forwarded, all reasons in one; None when it may."""
        found = self.refusals(topic, type, payload, now_ns)
        return Reason(found[0].kind, "; ".join(r.message for r in found)) if found else None

    def refusals(self, topic: str, type: str, payload: bytes, now_ns: int) -> list[Reason]:
        """Return everything that speaks against a command."""
        command = self._commands.get(topic)
        if command is None:
            return [Reason("envelope_exceeded", f"{topic} is no topic that the envelope allows commands on")]
        found = self._in_force() + self._where(now_ns)
        try:
            if type != command.layout.type:
                raise FieldError(f"{topic} has the type {type[:80]!a}; {command.layout.type} is allowed")
            if len(payload) > MAX_COMMAND:
                raise FieldError(f"the command has {len(payload)} bytes; {MAX_COMMAND} are allowed")
            tree = command.layout.read(payload)
            name = command.layout.not_finite(tree)
            if name is not None:
                raise FieldError(f"{name} is not a finite number")
            command.last = (payload, tree)
            for limit, when in command.limits:
                if when is None or when.holds(now_ns):
                    problem = limit.problem(tree, now_ns)
                    if problem is not None:
                        found.append(Reason("envelope_exceeded", problem))
        except FieldError as error:
            found.append(Reason("envelope_exceeded", str(error)))
        return found

    def forwarded(self, topic: str, payload: bytes, now_ns: int) -> None:
        """Take note of what went to the motors, also of a safe command of the gate's own: rates count from it.

        Raises FieldError for what is no message of the topic's type.
        """
        command = self._commands.get(topic)
        if command is None:
            return
        same = command.last is not None and command.last[0] is payload
        tree = command.last[1] if same and command.last is not None else command.layout.read(payload)
        for limit, _ in command.limits:
            limit.forwarded(tree, now_ns)

    def _in_force(self) -> list[Reason]:
        now = self._wall_ns()
        found = []
        for envelope in self._envelopes:
            if not envelope.not_before_ns <= now <= envelope.not_after_ns:
                span = f"from {show_time(envelope.not_before_ns)} to {show_time(envelope.not_after_ns)}"
                found.append(Reason("envelope_not_in_force", f"the envelope {envelope.name} is in force {span}"))
        if self._hours:
            minute = minute_of_week(now)
            for name, minutes in self._hours:
                if minute not in minutes:
                    reason = f"it is outside of the shift hours of the envelope {name}"
                    found.append(Reason("envelope_not_in_force", reason))
        return found

    def _where(self, now_ns: int) -> list[Reason]:
        if not self._zones or self._place is None:
            return []
        if self._place.point(now_ns) is None:
            return [Reason("zone_violated", "where the robot is cannot be known: its pose is missing or stale")]
        found = []
        for name, kind, polygons in self._zones:
            inside = any(zone.holds(now_ns) for zone in polygons)
            if inside != (kind == "allowed"):
                word = "outside of the zones allowed" if kind == "allowed" else "in a zone forbidden"
                found.append(Reason("zone_violated", f"the robot is {word} by the envelope {name}"))
        return found

    def _open_place(self) -> _Place | None:
        pose = next((e.pose for e in self._envelopes if e.pose is not None), None)
        if pose is None:
            if any(e.zones for e in self._envelopes):
                raise EnvelopeError("the envelope has zones and no pose: name the topic that says where the robot is")
            return None
        found: _Place = self._listen(pose.topic, pose.type, lambda layout: _Place(pose, layout))
        return found

    def _open_conditions(self) -> dict[str, _Condition | _Zone]:
        found: dict[str, _Condition | _Zone] = {}
        for e in self._envelopes:
            for condition in e.conditions:
                if condition.name not in found:
                    found[condition.name] = self._listen(
                        condition.topic, condition.type, lambda layout, c=condition: _Condition(c, layout)
                    )
            for kind in ("allowed", "forbidden", "slow"):
                made = {z.name: _Zone(z.polygon, self._place) for z in e.zones if z.kind == kind and self._place}
                if kind == "slow":
                    found.update(made)
                elif made:
                    self._zones.append((e.name, kind, list(made.values())))
        return found

    def _open_commands(self, conditions: Mapping[str, _Condition | _Zone]) -> dict[str, _Command]:
        found = {}
        for root in self._envelopes[0].topics:
            layout = self._types.layout(root.type)
            missing = unbounded(root, layout)
            if missing:
                raise EnvelopeError(
                    f"{root.topic}: {missing[0]} of {root.type} has no bound from below and above"
                    + (f", nor have {len(missing) - 1} others" if len(missing) > 1 else "")
                    + "; give it min and max, or list it under free"
                )
            stated = [e.topic(root.topic) for e in self._envelopes]
            if any(t is None or t.type != root.type for t in stated):
                continue  # one envelope of the chain leaves the topic out
            command = found[root.topic] = _Command(layout)
            self._add_limits(command, [t for t in stated if t is not None], conditions)
        if not found:
            raise EnvelopeError("the envelopes have no topic of commands in common")
        return found

    def _add_limits(
        self, command: _Command, stated: Sequence[TopicBounds], conditions: Mapping[str, _Condition | _Zone]
    ) -> None:
        bounds = dict.fromkeys(bound for topic in stated for bound in topic.bounds)  # each once, in order
        for bound in bounds:
            if bound.when and bound.when not in conditions:
                raise EnvelopeError(f"{stated[0].topic}: {bound.when!a} is no condition and no slow zone")
            when = conditions[bound.when] if bound.when else None
            command.limits += [(limit, when) for limit in compile_bound(bound, command.layout)]

    def _listen(self, topic: str, type: str, make: Callable[..., Any]) -> Any:
        if self.inputs.setdefault(topic, type) != type:
            raise EnvelopeError(f"{topic} is named with two types: {self.inputs[topic]} and {type}")
        sink = make(self._types.layout(type))
        self._sinks.setdefault(topic, []).append(sink)
        return sink
