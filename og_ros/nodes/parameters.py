"""Declares a node's parameters with description and bounds, and says in one line what is wrong with a value."""

from __future__ import annotations

from typing import Any, TypeAlias

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from og_ros.errors import ConfigError

Bounds: TypeAlias = tuple[int, int] | tuple[float, float]
"""Least and greatest value, both allowed; of two integers for an integer parameter, of two floats for a number."""

_WORDS = {
    Parameter.Type.BOOL: "true or false",
    Parameter.Type.INTEGER: "an integer",
    Parameter.Type.DOUBLE: "a number with a decimal point, such as 2.0",
    Parameter.Type.STRING: "a text",
    Parameter.Type.STRING_ARRAY: "a list of texts",
}


def describe(text: str, bounds: Bounds | None = None, **more: Any) -> ParameterDescriptor:
    """Return a descriptor, whose bounds ROS tools show and rclpy enforces on every change; `more` are its fields."""
    descriptor = ParameterDescriptor(description=text, **more)
    if bounds is None:
        return descriptor
    low, high = bounds
    if isinstance(low, int) and isinstance(high, int):
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
    else:
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)]
    return descriptor


def declare(node: Node, name: str, default: Any, descriptor: ParameterDescriptor) -> Any:
    """Declare a parameter and return its value; `default` is a value, or the type of a parameter that has none.

    Raises ConfigError for a value that was given and is of another type or out of bounds.
    """
    try:
        return node.declare_parameter(name, default, descriptor).value
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        given = node._parameter_overrides[name].value
        raise ConfigError(f"parameter {name} is {_shown(given)}; it must be {_wanted(default, descriptor)}") from error


def _wanted(default: Any, descriptor: ParameterDescriptor) -> str:
    kind = default if isinstance(default, Parameter.Type) else Parameter.Type.from_parameter_value(default)
    words = _WORDS.get(kind, kind.name.lower())
    for limits in descriptor.integer_range:
        words += f", from {limits.from_value} to {limits.to_value}"
    for limits in descriptor.floating_point_range:
        words += f", from {limits.from_value:g} to {limits.to_value:g}"
    return words


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
