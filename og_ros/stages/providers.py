"""Execution providers of onnxruntime by name: which one runs a model, with which options, and what may stand in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from og_ros.errors import ConfigError, ModelError

CPU: Final = "CPUExecutionProvider"
# Short names; onnxruntime's own names, and those of plugins, are taken as they are.
SHORT: Final = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "azure": "AzureExecutionProvider",
}
MAX_TEXT: Final = 320
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
# What parts the text of a statement's runtime options, and what YAML could make of a value, stays out.
_VALUE: Final = re.compile(r"[A-Za-z0-9_./\-]{1,128}", re.ASCII)


def full_name(name: str) -> str:
    """Return onnxruntime's name of a provider; raises ConfigError for a name that cannot be one."""
    found = SHORT.get(name.lower(), name)
    if not _NAME.fullmatch(found) or not found.endswith("ExecutionProvider"):
        raise ConfigError(f"provider is {name!r}; give {', '.join(SHORT)}, or a name such as {CPU}")
    return found


@dataclass(frozen=True)
class Providers:
    """The provider of a model, its options (text by name), and the providers that may stand in for it, in order.

    Without a fallback nothing else may run any part of the model: not even the CPU, to which onnxruntime otherwise
    gives whatever a provider does not take.
    """

    name: str = CPU
    options: Mapping[str, str] = field(default_factory=dict)
    fallback: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", full_name(self.name))
        object.__setattr__(self, "fallback", tuple(full_name(name) for name in self.fallback))
        if len({self.name, *self.fallback}) != 1 + len(self.fallback):
            raise ConfigError("fallback names a provider twice, or the one that it stands in for")
        for name, value in self.options.items():
            if not _VALUE.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ConfigError(f"provider_options.{name}: names and values have 1 to 128 of A-Z a-z 0-9 _ . / -")
        if len(self.text()) > MAX_TEXT:
            raise ConfigError(
                f"provider_options and fallback are {len(self.text())} bytes long; {MAX_TEXT} are allowed"
            )

    @classmethod
    def of(cls, name: str, options: Mapping[str, object], fallback: Sequence[str]) -> Providers:
        """Return the providers of a configuration, where an option may be a number, true or false."""
        return cls(name, {key: _text(key, value) for key, value in options.items()}, tuple(fallback))

    def text(self) -> str:
        """Return what a statement's runtime options say of it; empty for a provider alone."""
        if not self.fallback and not self.options:
            return ""
        parts = [f"provider={self.name}"]
        if self.fallback:
            parts.append(f"fallback={'+'.join(self.fallback)}")
        if self.options:
            parts.append("provider_options=" + ",".join(f"{k}:{v}" for k, v in sorted(self.options.items())))
        return ";".join(parts)

    def chosen(self, available: Sequence[str], model: str) -> list[Any]:
        """Return what to give to onnxruntime, the first to run; raises ModelError when nothing of it is installed."""
        wanted = [self.name, *self.fallback]
        found: list[Any] = [name for name in wanted if name in available]
        if not found:
            which = f"none of {', '.join(wanted)} is" if self.fallback else f"{self.name} is not"
            raise ModelError(f"{model}: {which} installed; there is {', '.join(available)}")
        if found[0] == self.name and self.options:
            found[0] = (self.name, dict(self.options))
        return found

    def check_used(self, used: Sequence[str], chosen: Sequence[Any], model: str) -> None:
        """Raise ModelError unless a session has the providers that it was given: one that does not start drops out."""
        first = chosen[0] if isinstance(chosen[0], str) else chosen[0][0]
        if used and used[0] != first and used[0] not in self.fallback:
            raise ModelError(f"{model}: onnxruntime fell back from {first} to {used[0]}, which fallback does not name")


def parse(text: str, name: str) -> Providers | None:
    """Return the providers that the text of a statement and its provider name; None for what og_ros never wrote."""
    named = dict(part.partition("=")[::2] for part in text.split(";"))
    fallback = tuple(filter(None, named.get("fallback", "").split("+")))
    options = dict(part.partition(":")[::2] for part in named.get("provider_options", "").split(",") if part)
    try:
        return Providers(named.get("provider", name), options, fallback)
    except ConfigError:
        return None


def recorded(used: Sequence[str], limit: int = 64) -> str:
    """Return the providers that a session has, as a statement names them: the first whole, as many others as fit."""
    text = used[0] if used else ""
    for name in used[1:]:
        if len(text) + 1 + len(name) > limit:
            break
        text += f",{name}"
    return text


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if not isinstance(value, (str, int, float)):
        raise ConfigError(f"provider_options.{name} is no text, number, true or false")
    return str(value)
