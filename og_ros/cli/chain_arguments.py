"""Arguments that actions of og-ros chain share, as they are read."""

from __future__ import annotations

import argparse

from og_ros.errors import ConfigError


def registry_address(args: argparse.Namespace) -> str:
    """Return the address of NodeRegistry; raises SettlementError."""
    from og_ros.settlement.checkpoints import check_address

    return check_address("--registry-address", args.registry_address)


def models_address(args: argparse.Namespace) -> str:
    """Return the address of ModelRegistry; raises SettlementError."""
    from og_ros.settlement.checkpoints import check_address

    return check_address("--models-address", args.models_address)


def key_id_of(text: str) -> bytes:
    """Read a key id; raises ConfigError."""
    return digest_of(text, "key id")


def digest_of(text: str, what: str) -> bytes:
    """Read 32 bytes in hex, with `sha256:` or `0x` before them or not; raises ConfigError, naming `what`."""
    try:
        found = bytes.fromhex(text.removeprefix("sha256:").removeprefix("0x"))
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ConfigError(f"{text[:80]!a} is no {what}: 64 hex digits")
    return found
