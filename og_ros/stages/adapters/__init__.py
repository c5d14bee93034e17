"""Adapters: one message type each, between raw CDR bytes and tensors. Other packages add theirs by entry point.

An adapter of your own is a frozen dataclass that fits og_ros.stages.adapters.Adapter, offered in your pyproject.toml:

    [project.entry-points."og_ros.adapters"]
    point_cloud = "my_package.point_cloud:PointCloudAdapter"
"""

from og_ros.stages.adapters.adapter import Adapter, Sample, digest_parts
from og_ros.stages.adapters.registered import adapter_for, create, names

__all__ = ["Adapter", "Sample", "adapter_for", "create", "digest_parts", "names"]
