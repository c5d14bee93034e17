"""Vectors of chosen message fields, and the velocity vector of geometry_msgs/Twist."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrWriter
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters.adapter import mismatch
from og_ros.stages.model import Tensor

TWIST_FIELDS: Final = ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z")


def check_fields(fields: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Raise ConfigError for no field, an unknown one, or one given twice."""
    for field in fields:
        if field not in known:
            raise ConfigError(f"fields has {field!r}; known: {', '.join(known)}")
    if not fields or len(set(fields)) != len(fields):
        raise ConfigError("fields must name at least one field, and none twice")


def check_vector(name: str, count: int, batch: bool, tensor: Tensor) -> None:
    """Raise ConfigError unless a float32 vector of `count` fits an input."""
    shape = (1, count) if batch else (count,)
    if not tensor.fits(shape) or tensor.dtype != "float32":
        raise mismatch(name, shape, "float32", tensor)


def check_count(name: str, count: int, tensor: Tensor) -> None:
    """Raise ConfigError unless an output is of floats and, where its shape is fixed, has `count` of them."""
    if tensor.dtype not in ("float32", "float64", "float16"):
        raise ConfigError(f"adapter {name} writes floating-point numbers, but tensor {tensor.name} is {tensor}")
    known = [size for size in tensor.shape if size is not None]
    if len(known) == len(tensor.shape) and int(np.prod(known)) != count:
        raise ConfigError(f"adapter {name} writes {count} fields, but tensor {tensor.name} is {tensor}")


def select(
    values: NDArray[np.float64], known: tuple[str, ...], fields: tuple[str, ...], batch: bool
) -> NDArray[np.float32]:
    """Return the chosen fields as float32."""
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite to the model
        chosen = values[[known.index(field) for field in fields]].astype(np.float32)
    return chosen[np.newaxis] if batch else chosen


def write_twist(writer: CdrWriter, array: NDArray[Any], fields: tuple[str, ...]) -> None:
    """Write a geometry_msgs/Twist, six doubles.

    Raises AttestationError for another count, and for a number that no motor can follow.
    """
    values = np.asarray(array, dtype=np.float64).reshape(-1)
    if values.size != len(fields):
        raise AttestationError(f"the model gave {values.size} values for the {len(fields)} fields of a twist")
    if not np.isfinite(values).all():
        raise AttestationError(f"the model gave a velocity that is not finite: {values.tolist()}")
    twist = np.zeros(len(TWIST_FIELDS), dtype="<f8")
    twist[[TWIST_FIELDS.index(field) for field in fields]] = values
    writer.raw(twist.tobytes(), 8)
