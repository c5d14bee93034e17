"""The kinds of receipts that a receipts file may hold: of a chain, of an endpoint's log, of OpenGradient's relay."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from og_ros.errors import RegistryError, SettlementError
from og_ros.registry import strict_json
from og_ros.settlement import log_receipt, receipt, relay_receipt
from og_ros.settlement.log_receipt import LogReceipt
from og_ros.settlement.receipt import MAX_FILE, Receipt
from og_ros.settlement.relay_receipt import RelayReceipt

AnyReceipt: TypeAlias = Receipt | LogReceipt | RelayReceipt


def chain_of(one: AnyReceipt) -> tuple[int, str] | None:
    """Return chain id and contract by which a receipt is checked; None where it is of no chain."""
    if isinstance(one, LogReceipt):
        return None if one.settlement is None else chain_of(one.settlement)
    return one.entry.chain.chain_id, one.entry.chain.contract


def plain(one: AnyReceipt) -> dict[str, Any]:
    """Return a receipt as a JSON object; one of a chain has no `kind`."""
    if isinstance(one, LogReceipt):
        return log_receipt.plain(one)
    if isinstance(one, RelayReceipt):
        return relay_receipt.plain(one)
    return receipt.plain(one)


def read(item: Any, what: str) -> AnyReceipt:
    """Read a receipt of any kind from a JSON object, strictly; raises SettlementError or RegistryError."""
    if type(item) is not dict or "kind" not in item:
        return receipt.from_plain(item, what)
    if item["kind"] == relay_receipt.KIND:
        return relay_receipt.read(item, what)
    return log_receipt.read(item, what)


def to_json(one: AnyReceipt) -> str:
    """Return one receipt as compact JSON."""
    return json.dumps(plain(one), separators=(",", ":"))


def from_json(text: str, what: str) -> AnyReceipt:
    """Read one receipt of any kind; raises SettlementError."""
    try:
        return read(strict_json.loads(text.encode(), what, MAX_FILE), what)
    except RegistryError as error:
        raise SettlementError(str(error)) from error
