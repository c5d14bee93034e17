"""The event of OpenGradient's settlement contract: BatchSettlement(bytes32 root, uint256 size, bytes blobId)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from og_ros.errors import ConfigError

try:
    import eth_abi
    from eth_abi.exceptions import DecodingError
    from eth_utils import keccak
except ImportError as error:
    raise ConfigError(f"OpenGradient's formats need og_ros[evm], which is not installed ({error})") from error

BATCH_TOPIC: Final = bytes(keccak(b"BatchSettlement(bytes32,uint256,bytes)"))


@dataclass(frozen=True, slots=True)
class Batch:
    """What the event says: root, number of rows, id of the blob that has them; its transaction (empty: not known)."""

    root: bytes
    size: int
    blob: bytes
    transaction: bytes = b""


def read_batch(topics: Sequence[bytes], data: bytes) -> Batch | None:
    """Read the event, whether or not its root is indexed (the formats do not say); None where it is another."""
    if not topics or topics[0] != BATCH_TOPIC or len(topics) > 2:
        return None
    try:
        if len(topics) == 2:
            size, blob = eth_abi.decode(["uint256", "bytes"], data)
            return Batch(topics[1], size, blob)
        root, size, blob = eth_abi.decode(["bytes32", "uint256", "bytes"], data)
        return Batch(root, size, blob)
    except (DecodingError, OverflowError, ValueError):
        return None
