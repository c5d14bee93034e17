"""A block that never was, with the receipts of settled checkpoints in it: what a test of parsers needs no node for."""

from __future__ import annotations

import eth_abi

from og_ros.settlement import trie
from og_ros.settlement.checkpoints import NO_HEAD, ChainName, Entry
from og_ros.settlement.evm_chain import SETTLED_TOPIC, robot_id
from og_ros.settlement.receipt import Inclusion, Receipt

CHAIN = ChainName(31337, "0x" + "11" * 20, "0x" + "22" * 20, robot_id("robot-7"))


def transaction_receipt(entry: Entry, signed: bool = True) -> dict[str, object]:
    """A transaction's receipt as JSON-RPC gives it, with the contract's event."""
    data = eth_abi.encode(
        ["bytes32", "uint256", "uint256", "bytes32", "bool"],
        [entry.previous, entry.sequence, entry.size, entry.root, signed],
    )
    topics = [SETTLED_TOPIC, bytes(12) + bytes.fromhex(entry.chain.submitter[2:]), entry.chain.robot_id, entry.head()]
    log = {"address": entry.chain.contract, "topics": [f"0x{t.hex()}" for t in topics], "data": f"0x{data.hex()}"}
    bloom = f"0x{bytes(256).hex()}"
    return {"status": "0x1", "cumulativeGasUsed": "0xe000", "type": "0x2", "logsBloom": bloom, "logs": [log]}


def receipts_of_a_block(count: int) -> list[Receipt]:
    """So many checkpoints in a chain, all in one block; the signatures are no signatures."""
    entries: list[Entry] = []
    for number in range(count):
        previous = entries[-1].head() if entries else NO_HEAD
        entries.append(Entry(CHAIN, number, 10 * number + 10, bytes([number % 255 + 1]) * 32, previous))
    return in_a_block(entries)


def in_a_block(entries: list[Entry]) -> list[Receipt]:
    """Receipts of these checkpoints, a transaction each, in one block; the signatures are no signatures."""
    values = [trie.encode_receipt(transaction_receipt(entry)) for entry in entries]
    made = []
    for number, entry in enumerate(entries):
        root, proof = trie.prove(values, number)
        sizes = {name: f"0x{'01' * (size or 1)}" for name, size in trie.HEADER_FIELDS}
        header = trie.encode_header({**sizes, "receiptsRoot": f"0x{root.hex()}"})
        inclusion = Inclusion(trie.header_hash(header), header, number, tuple(proof))
        made.append(Receipt(entry, bytes(range(64)), bytes([number % 256]) * 32, inclusion))
    return made
