"""OpenZeppelin's StandardMerkleTree (format standard-v1) over the rows of OpenGradient's batches, and its proofs.

leaf = keccak256(keccak256(abi.encode(bytes32 teeId, bytes32 inputHash, bytes32 outputHash, bytes signature, uint256
timestamp))); leaves in ascending order; node = keccak256 of its two children in ascending order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from og_ros.errors import ConfigError, RegistryError, SettlementError
from og_ros.log.merkle import HASH_SIZE
from og_ros.registry import strict_json

try:
    import eth_abi
    from eth_utils import keccak
except ImportError as error:
    raise ConfigError(f"OpenGradient's formats need og_ros[evm], which is not installed ({error})") from error

FORMAT: Final = "standard-v1"
ENCODING: Final = ("bytes32", "bytes32", "bytes32", "bytes", "uint256")
MAX_DUMP: Final = 16 * 2**20
MAX_ROWS: Final = 10_000
MAX_SIGNATURE: Final = 4096


@dataclass(frozen=True, slots=True)
class Row:
    """One settled item: keccak256 of its signer's SubjectPublicKeyInfo, two 32-byte hashes, signature, Unix time, s."""

    tee_id: bytes
    input_hash: bytes
    output_hash: bytes
    signature: bytes
    timestamp: int

    def __post_init__(self) -> None:
        if any(len(value) != HASH_SIZE for value in (self.tee_id, self.input_hash, self.output_hash)):
            raise SettlementError("a row's id or hash is not 32 bytes long")
        if not 0 < len(self.signature) <= MAX_SIGNATURE or not 0 <= self.timestamp < 2**256:
            raise SettlementError("a row's signature or time stamp is out of range")

    def message(self) -> bytes:
        """Return what its signer signs: keccak256(inputHash ‖ outputHash ‖ uint256 timestamp)."""
        return bytes(keccak(self.input_hash + self.output_hash + self.timestamp.to_bytes(32, "big")))

    def leaf(self) -> bytes:
        """Return its hash in the tree."""
        values = (self.tee_id, self.input_hash, self.output_hash, self.signature, self.timestamp)
        return bytes(keccak(keccak(eth_abi.encode(ENCODING, values))))


def tree(leaves: Sequence[bytes]) -> list[bytes]:
    """Return all nodes, root first: node i has the children 2i + 1 and 2i + 2. Raises SettlementError for no leaves."""
    if not leaves:
        raise SettlementError("a tree without leaves has no root")
    nodes = [b""] * (2 * len(leaves) - 1)
    for position, leaf in enumerate(sorted(leaves)):
        nodes[-1 - position] = leaf
    for index in reversed(range(len(leaves) - 1)):
        nodes[index] = node(nodes[2 * index + 1], nodes[2 * index + 2])
    return nodes


def node(one: bytes, other: bytes) -> bytes:
    """Return the hash of two children, whichever order they are given in."""
    return bytes(keccak(min(one, other) + max(one, other)))


def prove(nodes: Sequence[bytes], leaf: bytes) -> tuple[bytes, ...]:
    """Return the siblings from a leaf up to the root; raises SettlementError where the tree lacks the leaf."""
    start = len(nodes) // 2
    try:
        index = nodes.index(leaf, start)
    except ValueError:
        raise SettlementError("the leaf is not in the tree") from None
    siblings = []
    while index:
        siblings.append(nodes[index + 1 if index % 2 else index - 1])
        index = (index - 1) // 2
    return tuple(siblings)


def root_from(leaf: bytes, siblings: Sequence[bytes]) -> bytes:
    """Return the root that a proof gives."""
    for sibling in siblings:
        leaf = node(leaf, sibling)
    return leaf


def read_dump(data: bytes, what: str) -> list[Row]:
    """Read the rows of a tree's dump (JSON); its own hashes are not looked at. Raises SettlementError."""
    try:
        top = strict_json.loads(data, what, MAX_DUMP)
        top = strict_json.fields(top, what, {"format": str, "leafEncoding": list, "values": list}, open_ended=True)
    except RegistryError as error:
        raise SettlementError(str(error)) from error
    if top["format"] != FORMAT or tuple(map(str, top["leafEncoding"])) != ENCODING:
        raise SettlementError(f"{what}: is no {FORMAT} tree over ({', '.join(ENCODING)})")
    if not 0 < len(top["values"]) <= MAX_ROWS:
        raise SettlementError(f"{what}: has {len(top['values'])} rows; 1 to {MAX_ROWS} are read")
    return [_row(item, f"{what}: row {number}") for number, item in enumerate(top["values"])]


def _row(item: Any, what: str) -> Row:
    values = item.get("value") if isinstance(item, dict) else None
    if not isinstance(values, list) or len(values) != len(ENCODING):
        raise SettlementError(f"{what}: has not the {len(ENCODING)} values of its encoding")
    tee_id, first, second, signature, stamp = values
    hashes = [_bytes(value, what) for value in (tee_id, first, second, signature)]
    if isinstance(stamp, str) and stamp.isascii() and stamp.isdigit() and len(stamp) <= 78:
        stamp = int(stamp)
    if type(stamp) is not int:
        raise SettlementError(f"{what}: its time stamp is no number")
    return Row(hashes[0], hashes[1], hashes[2], hashes[3], stamp)


def _bytes(value: object, what: str) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise SettlementError(f"{what}: a value is not hex with 0x")
    try:
        return bytes.fromhex(value[2:])
    except ValueError:
        raise SettlementError(f"{what}: a value is not hex with 0x") from None
