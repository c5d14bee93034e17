"""Opens the registry that an audit believes."""

from __future__ import annotations

from pathlib import Path

from og_ros.audit.policy import Policy
from og_ros.errors import RegistryError
from og_ros.registry import Registry


def open_registry(directory: Path, policy: Policy) -> Registry:
    """Open a registry under a policy's pin; raises RegistryError.

    One whose root is not the pinned one is opened all the same, not pinned: the audit then says so, as a violation.
    """
    try:
        return Registry.open(directory, pinned_root=policy.registry_root)
    except RegistryError:
        if policy.registry_root is None:
            raise
        return Registry.open(directory)
