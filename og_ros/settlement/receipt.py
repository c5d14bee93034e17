"""Receipts: that a checkpoint settled, in a file that anybody can check offline as far as that goes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.errors import RegistryError, SettlementError
from og_ros.registry import strict_json
from og_ros.settlement.checkpoints import ChainName, Entry, check_address

if TYPE_CHECKING:
    from og_ros.settlement.receipt_kinds import AnyReceipt

FORMAT: Final = 1
MAX_FILE: Final = 256 * 2**20
MAX_RECEIPTS: Final = 100_000
_MAX_NODE: Final = 2**20


class Level(IntEnum):
    """How far a checkpoint came."""

    NONE = 0
    SUBMITTED = 1
    INCLUDED = 2
    FINAL = 3


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Where a transaction is: block hash and header (RLP), its index in the block, the proof of its receipt (nodes)."""

    block_hash: bytes
    header: bytes
    index: int
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A submitted checkpoint: what was signed, the settlement key's signature (empty: none), transaction and inclusion.

    `inclusion` is None until the block is final by the rule of whoever submitted it.
    """

    entry: Entry
    signature: bytes
    transaction: bytes
    inclusion: Inclusion | None = None


def encode(robot: str, receipts: Sequence[AnyReceipt]) -> bytes:
    """Return a receipts file; `robot` is the name whose keccak256 the entries have."""
    from og_ros.settlement import receipt_kinds

    listed = [receipt_kinds.plain(one) for one in receipts]
    return strict_json.dumps({"format": FORMAT, "robot": robot, "receipts": listed}) + b"\n"


def decode(data: bytes, what: str = "receipts") -> tuple[str, list[AnyReceipt]]:
    """Read a receipts file: the robot's name and the receipts. Raises SettlementError; checks no signature or proof."""
    from og_ros.settlement import receipt_kinds

    try:
        tree = strict_json.loads(data, what, MAX_FILE)
        top = strict_json.fields(tree, what, {"format": int, "robot": str, "receipts": list})
        if top["format"] != FORMAT:
            raise SettlementError(f"{what}: is of format {top['format']}; this software knows {FORMAT}")
        if len(top["receipts"]) > MAX_RECEIPTS:
            raise SettlementError(f"{what}: has {len(top['receipts'])} receipts, more than {MAX_RECEIPTS}")
        try:
            top["robot"].encode()
        except UnicodeEncodeError:
            raise SettlementError(f"{what}: the robot's name is not valid Unicode") from None
        listed = enumerate(top["receipts"])
        return top["robot"], [receipt_kinds.read(item, f"{what}: receipt {n}") for n, item in listed]
    except RegistryError as error:
        raise SettlementError(str(error)) from error


def read_file(path: Path) -> tuple[str, list[AnyReceipt]]:
    """Read a receipts file; raises SettlementError."""
    try:
        with open(path, "rb") as file:
            return decode(file.read(MAX_FILE + 1), str(path))
    except OSError as error:
        raise SettlementError(f"cannot read {path}: {error.strerror}") from error


def write_file(path: Path, robot: str, receipts: Sequence[AnyReceipt]) -> None:
    """Write a receipts file, whole or not at all; raises SettlementError."""
    partial = path.with_name(f"{path.name}.new")
    try:
        with open(partial, "wb") as file:
            file.write(encode(robot, receipts))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise SettlementError(f"cannot write {path}: {error.strerror}") from error


def to_json(receipt: Receipt) -> str:
    """Return one receipt as compact JSON."""
    return json.dumps(plain(receipt), separators=(",", ":"))


def from_json(text: str, what: str) -> Receipt:
    """Read one receipt; raises SettlementError."""
    try:
        return from_plain(strict_json.loads(text.encode(), what, MAX_FILE), what)
    except RegistryError as error:
        raise SettlementError(str(error)) from error


def plain(receipt: Receipt) -> dict[str, Any]:
    """Return a receipt as a JSON object."""
    entry, chain, where = receipt.entry, receipt.entry.chain, receipt.inclusion
    return {
        "chain_id": chain.chain_id,
        "contract": chain.contract,
        "submitter": chain.submitter,
        "robot_id": chain.robot_id.hex(),
        "sequence": entry.sequence,
        "size": entry.size,
        "root": entry.root.hex(),
        "previous": entry.previous.hex(),
        "signature": receipt.signature.hex(),
        "transaction": receipt.transaction.hex(),
        "inclusion": None if where is None else plain_inclusion(where),
    }


def plain_inclusion(where: Inclusion) -> dict[str, Any]:
    """Return an inclusion as a JSON object."""
    return {
        "block_hash": where.block_hash.hex(),
        "header": where.header.hex(),
        "index": where.index,
        "proof": [node.hex() for node in where.proof],
    }


def from_plain(item: Any, what: str) -> Receipt:
    """Read a receipt from a JSON object, strictly; raises SettlementError or RegistryError."""
    numbers = dict.fromkeys(("chain_id", "sequence", "size"), int)
    texts = ("contract", "submitter", "robot_id", "root", "previous", "signature", "transaction")
    if type(item) is not dict or "inclusion" not in item:
        raise SettlementError(f"{what}: is not a receipt with its inclusion, or null for it")
    where = item["inclusion"]
    kinds: dict[str, type] = {**numbers, **dict.fromkeys(texts, str), "inclusion": type(where)}
    tree = strict_json.fields(item, what, kinds)
    chain = ChainName(
        tree["chain_id"],
        check_address(f"{what}: contract", tree["contract"]),
        check_address(f"{what}: submitter", tree["submitter"]),
        read_hex(tree["robot_id"], f"{what}: robot_id", 32),
    )
    root, previous = read_hex(tree["root"], f"{what}: root", 32), read_hex(tree["previous"], f"{what}: previous", 32)
    entry = Entry(chain, tree["sequence"], tree["size"], root, previous)
    signature = read_hex(tree["signature"], f"{what}: signature")
    if len(signature) not in (0, 64):
        raise SettlementError(f"{what}: the signature has {len(signature)} bytes, not 64")
    transaction = read_hex(tree["transaction"], f"{what}: transaction", 32)
    return Receipt(entry, signature, transaction, None if where is None else read_inclusion(where, what))


def read_inclusion(item: Any, what: str) -> Inclusion:
    """Read an inclusion from a JSON object, strictly; raises SettlementError or RegistryError."""
    kinds = {"block_hash": str, "header": str, "index": int, "proof": list}
    tree = strict_json.fields(item, f"{what}: inclusion", kinds)
    if not 0 <= tree["index"] < 2**32:
        raise SettlementError(f"{what}: index {tree['index']} is out of range")
    if len(tree["proof"]) > 64 or not all(isinstance(node, str) for node in tree["proof"]):
        raise SettlementError(f"{what}: the proof is not a list of at most 64 nodes in hex")
    return Inclusion(
        read_hex(tree["block_hash"], f"{what}: block_hash", 32),
        read_hex(tree["header"], f"{what}: header"),
        tree["index"],
        tuple(read_hex(node, f"{what}: a node of the proof") for node in tree["proof"]),
    )


def read_hex(text: str, what: str, size: int | None = None) -> bytes:
    """Read plain lower-case hex of at most 1 MiB, of `size` bytes where given; raises SettlementError."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise SettlementError(f"{what} is not hex") from None
    if data.hex() != text or len(data) > _MAX_NODE:
        raise SettlementError(f"{what} is not plain lower-case hex of at most {_MAX_NODE} bytes")
    if size is not None and len(data) != size:
        raise SettlementError(f"{what} has {len(data)} bytes, not {size}")
    return data
