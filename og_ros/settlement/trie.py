"""Proves what is in a block: RLP, Merkle-Patricia tries of its receipts and of the state after it, and its header.

A block's header holds the root of a trie over its receipts (Ethereum Yellow Paper, sections 4.3 and appendix D), and
the block's hash is keccak256 of the header. So header and proof show offline what a receipt says; that the block is
part of the chain they do not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from og_ros.errors import ConfigError, SettlementError

try:
    import rlp
    from eth_utils import keccak
    from rlp.exceptions import RLPException
except ImportError as error:
    raise ConfigError(f"receipts of a chain need og_ros[evm], which is not installed ({error})") from error

_Item: TypeAlias = Any  # RLP: bytes, or a list of such
MAX_PROOF: Final = 64
"""Nodes in a proof: a key of one to nine bytes has at most 18 nibbles."""
EMPTY_ROOT: Final = keccak(rlp.encode(b""))

# The fields of a header in order; those from base fee on came with later forks, one after the other.
HEADER_FIELDS: Final = (
    ("parentHash", 32), ("sha3Uncles", 32), ("miner", 20), ("stateRoot", 32), ("transactionsRoot", 32),
    ("receiptsRoot", 32), ("logsBloom", 256), ("difficulty", 0), ("number", 0), ("gasLimit", 0), ("gasUsed", 0),
    ("timestamp", 0), ("extraData", None), ("mixHash", 32), ("nonce", 8), ("baseFeePerGas", 0), ("withdrawalsRoot", 32),
    ("blobGasUsed", 0), ("excessBlobGas", 0), ("parentBeaconBlockRoot", 32), ("requestsHash", 32),
)  # fmt: skip
_FIRST_OPTIONAL: Final = 15
_STATE_ROOT, _RECEIPTS_ROOT, _NUMBER, _TIMESTAMP = 3, 5, 8, 11


def decode(data: bytes, what: str) -> _Item:
    """Decode strict RLP; raises SettlementError, naming `what`."""
    try:
        return rlp.decode(data)
    except (RLPException, RecursionError) as error:
        raise SettlementError(f"{what} is no RLP: {error}") from error


def encode_header(block: dict[str, Any]) -> bytes:
    """Return a block's header in RLP from the block as JSON-RPC gives it; raises SettlementError."""
    values: list[bytes] = []
    for place, (name, size) in enumerate(HEADER_FIELDS):
        value = block.get(name)
        if value is None and place >= _FIRST_OPTIONAL:
            break
        if not isinstance(value, str) or not value.startswith("0x"):
            raise SettlementError(f"the block has no field {name}")
        digits = value[2:]
        try:
            raw = bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")
        except ValueError:
            raise SettlementError(f"the block's field {name} is not hex") from None
        if size and len(raw) != size:
            raise SettlementError(f"the block's field {name} has {len(raw)} bytes, not {size}")
        values.append(raw.lstrip(b"\0") if size == 0 else raw)
    return bytes(rlp.encode(values))


def header_hash(header: bytes) -> bytes:
    """Return the hash of a block with this header."""
    return bytes(keccak(header))


def read_header(header: bytes) -> tuple[int, int, bytes]:
    """Return number, timestamp (Unix s) and receipts root of a header; raises SettlementError."""
    fields = decode(header, "the header")
    if not isinstance(fields, list) or len(fields) < _FIRST_OPTIONAL:
        raise SettlementError("the header has too few fields")
    number, stamp, root = fields[_NUMBER], fields[_TIMESTAMP], fields[_RECEIPTS_ROOT]
    if not all(isinstance(field, bytes) for field in (number, stamp, root)) or len(root) != 32 or len(number) > 8:
        raise SettlementError("the header's fields are not those of a block")
    return int.from_bytes(number, "big"), int.from_bytes(stamp, "big"), root


def state_root(header: bytes) -> bytes:
    """Return the root of the state after a block, from its header; raises SettlementError."""
    read_header(header)
    root = decode(header, "the header")[_STATE_ROOT]
    if not isinstance(root, bytes) or len(root) != 32:
        raise SettlementError("the header's fields are not those of a block")
    return root


def storage_at(
    header: bytes, address: bytes, slot: int, account: Sequence[bytes], storage: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Return the hash of a contract's code and 32 bytes of its storage, as proven under a block's header (EIP-1186).

    Raises SettlementError when they are not proven; a slot that holds zero has no such proof.
    """
    fields = decode(look_up(state_root(header), keccak(address), account, "contract"), "the contract's account")
    if not isinstance(fields, list) or len(fields) != 4 or not all(isinstance(field, bytes) for field in fields):
        raise SettlementError("the contract's account has not the four fields of one")
    value = decode(look_up(fields[2], keccak(slot.to_bytes(32, "big")), storage, "slot"), "the slot's value")
    if not isinstance(value, bytes) or len(value) > 32:
        raise SettlementError("the slot's value is no word")
    return fields[3], value.rjust(32, b"\0")


def encode_receipt(receipt: dict[str, Any]) -> bytes:
    """Return a receipt as its trie holds it (EIP-2718), from JSON-RPC; raises SettlementError for one that is not."""
    try:
        logs = [
            [bytes.fromhex(log["address"][2:]), [bytes.fromhex(topic[2:]) for topic in log["topics"]],
             bytes.fromhex(log["data"][2:])]
            for log in receipt["logs"]
        ]  # fmt: skip
        status, gas, kind = (int(receipt[name], 16) for name in ("status", "cumulativeGasUsed", "type"))
        body = rlp.encode([status, gas, bytes.fromhex(receipt["logsBloom"][2:]), logs])
    except (KeyError, TypeError, ValueError, RLPException) as error:
        raise SettlementError(f"a receipt cannot be encoded: {type(error).__name__} {error}") from error
    return bytes([kind] if kind else []) + bytes(body)


def receipt_logs(data: bytes) -> list[tuple[bytes, list[bytes], bytes]]:
    """Return the logs (address, topics, data) of an encoded receipt of a transaction that succeeded.

    Raises SettlementError, also for one that failed.
    """
    fields = decode(data[1:] if data[:1] and data[0] < 0x80 else data, "the receipt")
    if not isinstance(fields, list) or len(fields) != 4 or not isinstance(fields[3], list):
        raise SettlementError("the receipt has not the four fields of one")
    if fields[0] != b"\x01":
        raise SettlementError("the receipt is of a transaction that failed")
    found = []
    for log in fields[3]:
        if not isinstance(log, list) or len(log) != 3 or not isinstance(log[1], list):
            raise SettlementError("a log of the receipt is malformed")
        address, topics, payload = log
        if not all(isinstance(part, bytes) for part in (address, payload, *topics)):
            raise SettlementError("a log of the receipt is malformed")
        found.append((address, topics, payload))
    return found


def prove(values: Sequence[bytes], index: int) -> tuple[bytes, list[bytes]]:
    """Return the root of the trie over a block's receipts in order, and the nodes that prove one of them."""
    items = [(_nibbles(rlp.encode(place)), value) for place, value in enumerate(values)]
    nodes: dict[bytes, bytes] = {}
    top = rlp.encode(_build(items, nodes))
    proof, key = [top], _nibbles(rlp.encode(index))
    while True:
        found, item, key = _walk(rlp.decode(proof[-1]), key, "receipt")
        if found:
            return keccak(top), proof
        proof.append(nodes[item])


def verify(root: bytes, index: int, proof: Sequence[bytes]) -> bytes:
    """Return the receipt at an index of the trie with this root; raises SettlementError when that is not proven."""
    return look_up(root, rlp.encode(index), proof, "receipt")


def look_up(root: bytes, key: bytes, proof: Sequence[bytes], what: str) -> bytes:
    """Return the value under a key of the trie with this root; raises SettlementError, naming `what`, if not proven."""
    if not 0 < len(proof) <= MAX_PROOF:
        raise SettlementError(f"the {what}'s proof has {len(proof)} nodes")
    expected, rest = root, _nibbles(key)
    for place, node in enumerate(proof):
        if keccak(node) != expected:
            raise SettlementError(f"the {what}'s proof does not give the {what}s root: node {place} is another")
        found, expected, rest = _walk(decode(node, f"a node of the {what}'s proof"), rest, what)
        if found:
            if place != len(proof) - 1:
                raise SettlementError(f"the {what}'s proof goes on behind the {what}")
            return expected
    raise SettlementError(f"the {what}'s proof ends before the {what}")


def _walk(node: _Item, key: tuple[int, ...], what: str) -> tuple[bool, bytes, tuple[int, ...]]:
    """Follow a key through a node and those within it: whether it ends there, the value or next hash, the key's rest.

    No key of these tries is a prefix of another, so values are in leaves only.
    """
    while isinstance(node, list):
        if len(node) == 17 and key:
            node, key = node[key[0]], key[1:]
            continue
        if len(node) != 2 or not isinstance(node[0], bytes) or not node[0]:
            break
        path = _nibbles(node[0])
        leaf, path = path[0] & 2, path[1 if path[0] & 1 else 2 :]
        if leaf:
            if path == key and isinstance(node[1], bytes):
                return True, node[1], ()
            break
        if not path or key[: len(path)] != path:
            break
        node, key = node[1], key[len(path) :]
    else:
        if node:
            return False, node, key
    raise SettlementError(f"the {what}'s proof leads to no {what}")


def _nibbles(key: bytes) -> tuple[int, ...]:
    return tuple(nibble for byte in key for nibble in (byte >> 4, byte & 15))


def _compact(path: tuple[int, ...], leaf: bool) -> bytes:
    """Hex-prefix encoding (Yellow Paper, appendix C)."""
    flag = 2 * leaf + len(path) % 2
    whole = (flag, *path) if len(path) % 2 else (flag, 0, *path)
    return bytes(high << 4 | low for high, low in zip(whole[::2], whole[1::2], strict=True))


def _build(items: list[tuple[tuple[int, ...], bytes]], nodes: dict[bytes, bytes]) -> _Item:
    """Return the node over some keys and values; keys of a block are such that none is a prefix of another."""
    if not items:
        return b""
    if len(items) == 1:
        return [_compact(items[0][0], True), items[0][1]]
    first, last = min(items)[0], max(items)[0]
    shared = next(place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    if shared:
        below = _build([(key[shared:], value) for key, value in items], nodes)
        return [_compact(first[:shared], False), _reference(below, nodes)]
    branch: list[_Item] = []
    for nibble in range(16):
        under = [(key[1:], value) for key, value in items if key[0] == nibble]
        branch.append(_reference(_build(under, nodes), nodes) if under else b"")
    return [*branch, b""]


def _reference(node: _Item, nodes: dict[bytes, bytes]) -> _Item:
    encoded = rlp.encode(node)
    if len(encoded) < 32:
        return node
    nodes[keccak(encoded)] = encoded
    return keccak(encoded)
