"""What an adapter is: the two-way bridge between one message type and a model's tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from og_ros.errors import ConfigError
from og_ros.stages.model import Tensor
from og_ros.stages.runtime import source_of


@dataclass(frozen=True, slots=True)
class Sample:
    """A message as a model takes it: an array (a view of the message's bytes where possible), stamp, frame."""

    array: NDArray[Any]
    stamp_ns: int = 0
    frame_id: str = ""


@runtime_checkable
class Adapter(Protocol):
    """Turns messages of one type into arrays, and back, on their raw CDR bytes.

    An adapter is a frozen dataclass whose fields are its options, with every option validated in `__post_init__`
    (raise ConfigError). It keeps no state: the same bytes give the same array on every machine, since an audit runs it
    again. Options must be plain values (see og_ros.stages.schema). Rules that lie in other files of its package are
    named in a class attribute `modules`, so that the processing digest covers them.
    """

    @property
    def name(self) -> str:
        """The name in configurations; a class attribute."""

    @property
    def message_type(self) -> str:
        """The message type, such as "sensor_msgs/msg/Image"; a class attribute."""

    @property
    def stamped(self) -> bool:
        """Whether the message begins with a std_msgs/Header; a class attribute."""

    def check_input(self, tensor: Tensor) -> None:
        """Raise ConfigError when decoded messages can never be this input of a model."""

    def check_output(self, tensor: Tensor) -> None:
        """Raise ConfigError when this output of a model can never become a message."""

    def decode(self, payload: bytes | memoryview) -> Sample:
        """Read a message; raises an OgError for a malformed one."""

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """Write a message; raises an OgError for an array that it cannot express."""


def digest_parts(adapter: Adapter) -> Iterator[bytes]:
    """Yield what makes an adapter what it is: name, source bytes, options, versions of libraries."""
    yield adapter.name.encode()
    yield source_of(type(adapter))
    for module in getattr(adapter, "modules", ()):  # beside the adapter's own file, what its rules are in
        yield source_of(module)
    options = {field.name: getattr(adapter, field.name) for field in fields(_dataclass(adapter))}
    yield json.dumps(options, sort_keys=True, separators=(",", ":"), default=_refuse).encode()
    libraries = getattr(adapter, "libraries", None)
    if libraries is not None:
        yield json.dumps(libraries(), sort_keys=True, separators=(",", ":")).encode()


def no_output(name: str) -> ConfigError:
    """Return the error of an adapter that only reads messages."""
    return ConfigError(f"adapter {name} reads messages for inputs; it cannot make one of an output")


def mismatch(name: str, shape: tuple[int | None, ...], dtype: str, tensor: Tensor) -> ConfigError:
    """Return the error of an adapter whose arrays do not fit a tensor."""
    return ConfigError(f"adapter {name} gives {Tensor('', shape, dtype)}, but tensor {tensor.name} is {tensor}")


def _dataclass(adapter: Any) -> Any:
    if not is_dataclass(adapter):
        raise ConfigError(f"adapter {adapter.name} is no dataclass, so its options cannot be attested")
    return adapter


def _refuse(value: object) -> object:
    raise ConfigError(f"an adapter's option must be a plain value, not {type(value).__name__}")
