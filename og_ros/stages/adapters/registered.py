"""Finds adapters by name or message type: the package's own, and those that other packages offer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, Final

from og_ros.errors import ConfigError
from og_ros.stages.adapters.adapter import Adapter
from og_ros.stages.adapters.compressed_image import CompressedImageAdapter
from og_ros.stages.adapters.detection2d_array import Detection2DArrayAdapter
from og_ros.stages.adapters.float32_multi_array import Float32MultiArrayAdapter
from og_ros.stages.adapters.float64_multi_array import Float64MultiArrayAdapter
from og_ros.stages.adapters.image import ImageAdapter
from og_ros.stages.adapters.joint_state import JointStateAdapter
from og_ros.stages.adapters.joint_trajectory import JointTrajectoryAdapter
from og_ros.stages.adapters.laser_scan import LaserScanAdapter
from og_ros.stages.adapters.occupancy_grid import OccupancyGridAdapter
from og_ros.stages.adapters.odometry import OdometryAdapter
from og_ros.stages.adapters.path import PathAdapter
from og_ros.stages.adapters.twist import TwistAdapter
from og_ros.stages.adapters.twist_stamped import TwistStampedAdapter
from og_ros.stages.schema import build

ENTRY_POINT_GROUP: Final = "og_ros.adapters"
_OWN: Final[tuple[Any, ...]] = (
    ImageAdapter,
    LaserScanAdapter,
    TwistAdapter,
    TwistStampedAdapter,
    OdometryAdapter,
    Float32MultiArrayAdapter,
    Float64MultiArrayAdapter,
    CompressedImageAdapter,
    Detection2DArrayAdapter,
    OccupancyGridAdapter,
    PathAdapter,
    JointStateAdapter,
    JointTrajectoryAdapter,
)


@lru_cache(maxsize=1)
def _offered() -> dict[str, Any]:
    """Return every adapter's class, or entry point, by name. The package's own names cannot be taken."""
    found: dict[str, Any] = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    found.update({kind.name: kind for kind in _OWN})
    return found


def names() -> list[str]:
    """Return the names of all adapters, sorted."""
    return sorted(_offered())


def create(name: str, options: Mapping[str, object], path: str = "options") -> Adapter:
    """Make an adapter from its name and options; raises ConfigError, naming the field behind `path`."""
    kind = _offered().get(name)
    if kind is None:
        raise ConfigError(f"{path}: there is no adapter {name!r}; there is {', '.join(names())}")
    if hasattr(kind, "load"):
        try:
            kind = kind.load()
        except Exception as error:  # somebody else's package may raise anything when it is imported
            raise ConfigError(f"{path}: adapter {name} cannot be imported: {error}") from error
    adapter = build(kind, options, path)
    if not isinstance(adapter, Adapter):
        raise ConfigError(f"{path}: {kind.__name__} is no adapter; see og_ros.stages.adapters.Adapter")
    return adapter


def adapter_for(message_type: str) -> str:
    """Return the name of the package's own adapter for a message type; raises ConfigError when there is none."""
    for kind in _OWN:
        if kind.message_type == message_type:
            return str(kind.name)
    raise ConfigError(f"there is no adapter for {message_type}; name one (adapter: ...): {', '.join(names())}")
