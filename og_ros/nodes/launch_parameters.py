"""Parameters as launch takes them: a text stays a text, whatever YAML would read in it."""

from __future__ import annotations

from collections.abc import Mapping

from launch_ros.parameter_descriptions import ParameterValue

from og_ros.stages.pipeline import Parameter


def exactly(parameters: Mapping[str, Parameter]) -> dict[str, ParameterValue | Parameter]:
    """Return parameters that stay what they are: launch reads a bare text as YAML, and "1.0" would become a number."""
    return {name: _exact(value) for name, value in parameters.items()}


def _exact(value: Parameter) -> ParameterValue | Parameter:
    if isinstance(value, str):
        return ParameterValue(value, value_type=str)
    if isinstance(value, list) and isinstance(value[0], str):
        return ParameterValue(value, value_type=list[str])
    return value
