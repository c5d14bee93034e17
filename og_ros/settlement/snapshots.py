"""Takes snapshots of the registries on a chain from a node, and checks what proves them.

Each registry keeps in one slot, `history`, a hash over every event that bears on a certificate, in order. A proof of
that slot (EIP-1186) under a block's header shows that a snapshot has all of them, and the account's code hash that the
contract is the one of this package; what is left to trust is that the block is the chain's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from og_ros.errors import BackendUnreachable, ConfigError, SettlementError
from og_ros.registry.snapshot import EVENTS, MODEL_REGISTRY, NODE_REGISTRY, Contract, Event, Snapshot, contracts_pin
from og_ros.settlement import contracts, trie
from og_ros.settlement.checkpoints import check_address
from og_ros.settlement.rpc import Rpc, data_of, quantity

try:
    import eth_abi
    from eth_abi.exceptions import DecodingError, EncodingError
    from eth_utils import keccak
except ImportError as error:
    raise ConfigError(f"reading a chain needs og_ros[evm], which is not installed ({error})") from error

INVALID: Final = "registry_proof_invalid"
UNPROVEN: Final = "registry_unproven"
_TYPES: Final = {"a": "address", "b": "bytes32", "t": "string", "n": "uint256", "f": "bool"}


def take(
    rpc: Rpc, addresses: Mapping[str, str], max_age_s: int, *, block: int | str = "finalized", proofs: bool = True
) -> Snapshot:
    """Read the registries (address by NodeRegistry, ModelRegistry) as they were after a block (number, hash or tag).

    Raises BackendUnreachable where the node's answers do not fit together, also when it leaves an event out.
    """
    found = rpc.block(block)
    if found is None:
        raise BackendUnreachable(f"the node has no block {block}")
    header = trie.encode_header(found)
    block_hash = data_of(found.get("hash"), "a block's hash", 32)
    number, timestamp, _ = trie.read_header(header)
    taken = tuple(_contract(rpc, name, address, number, proofs) for name, address in addresses.items())
    snapshot = Snapshot(rpc.number("eth_chainId"), number, block_hash, timestamp, header, max_age_s, taken)
    problems = [text for kind, text in check(snapshot) if kind == INVALID]
    if problems:
        raise BackendUnreachable(f"the node's answers do not fit together: {problems[0]}")
    return snapshot


def check(
    snapshot: Snapshot,
    chain: Rpc | None = None,
    final_blocks: Collection[bytes] = (),
    pinned_contracts: str | None = None,
) -> list[tuple[str, str]]:
    """Return what does not hold of a snapshot, or is not shown: kind of finding and sentence.

    `chain` is a node that the reader trusts, `final_blocks` are hashes of blocks that he knows to be final,
    `pinned_contracts` is the pin (og_ros.registry.snapshot.contracts_pin) of the contracts that he believes.
    """
    try:
        number, timestamp, _ = trie.read_header(snapshot.header)
        if trie.header_hash(snapshot.header) != snapshot.block_hash:
            raise SettlementError("its header does not give its block's hash")
        if (number, timestamp) != (snapshot.number, snapshot.timestamp):
            raise SettlementError("its header is of another number or time than it says")
        found = [problem for one in snapshot.contracts for problem in _check_contract(snapshot, one)]
    except SettlementError as error:
        return [(INVALID, f"the snapshot: {error}")]
    return found + _vouched(snapshot, chain, final_blocks) + _pinned(snapshot, pinned_contracts)


def history(contract: Contract) -> bytes:
    """Return what the contract's `history` is after a snapshot's events; raises SettlementError for impossible ones."""
    head = bytes(32)
    for event in contract.events:
        kinds = EVENTS[contract.name][event.name]
        types = ["bytes32", *(_TYPES[kind] for kind in kinds.values())]
        try:
            payload = eth_abi.encode(types, [keccak(event.name.encode()), *(event.arguments[name] for name in kinds)])
        except EncodingError as error:
            raise SettlementError(f"{contract.name} cannot have said {event.name}: {error}") from error
        head = keccak(head + keccak(payload))
    return head


def _pinned(snapshot: Snapshot, pinned: str | None) -> list[tuple[str, str]]:
    found = contracts_pin(snapshot)
    if pinned is None:
        text = f"nobody pinned the contracts of the snapshot, {found}: anybody can deploy such (--contracts)"
        return [(UNPROVEN, text)]
    return [] if pinned == found else [(INVALID, f"the snapshot is of other contracts, {found}, than those pinned")]


def _vouched(snapshot: Snapshot, chain: Rpc | None, final_blocks: Collection[bytes]) -> list[tuple[str, str]]:
    if snapshot.block_hash in final_blocks:
        return []
    if chain is None:
        text = f"nobody vouches for block {snapshot.number} of the snapshot (--chain, or --final-block)"
        return [(UNPROVEN, text)]
    if chain.number("eth_chainId") != snapshot.chain_id:
        return [(INVALID, f"the snapshot is of chain {snapshot.chain_id}, and the node is not")]
    block = chain.block(snapshot.number)
    if block is None or data_of(block.get("hash"), "a block's hash", 32) != snapshot.block_hash:
        return [(INVALID, f"the node's chain has another block {snapshot.number} than the snapshot")]
    return []


def _check_contract(snapshot: Snapshot, contract: Contract) -> list[tuple[str, str]]:
    if not contract.account_proof or not contract.storage_proof:
        text = f"nothing proves that the snapshot has every event of {contract.name} at {contract.address}"
        return [(UNPROVEN, text)]
    artefact = contracts.load(contract.name)
    slot = artefact.storage["history"]
    code, value = trie.storage_at(
        snapshot.header, bytes.fromhex(contract.address[2:]), slot, contract.account_proof, contract.storage_proof
    )
    if code != keccak(artefact.runtime):
        raise SettlementError(f"the code at {contract.address} is not that of {contract.name} as og_ros has it")
    if value != history(contract):
        raise SettlementError(
            f"its events are not all, or not those, that {contract.name} at {contract.address} logged"
        )
    return []


def _contract(rpc: Rpc, name: str, address: str, number: int, proofs: bool) -> Contract:
    address = check_address(name, address)
    asked = {"fromBlock": "0x0", "toBlock": hex(number), "address": address}
    logs = rpc.call("eth_getLogs", asked)
    if not isinstance(logs, list):
        raise BackendUnreachable("eth_getLogs: the node gives no list")
    by_topic = {_topic(name, event): event for event in EVENTS[name]}
    events = []
    for log in logs:
        try:
            topics = [data_of(topic, "a topic", 32) for topic in log["topics"]]
            data = data_of(log["data"], "an event's data")
            place = (quantity(log["blockNumber"], "an event's block"), quantity(log["logIndex"], "an event's index"))
        except (KeyError, TypeError) as error:
            raise BackendUnreachable("eth_getLogs: an event is malformed") from error
        event = by_topic.get(topics[0]) if topics else None
        if event is not None:
            events.append((place, _decode(name, event, topics, data)))
    ordered = tuple(event for _, event in sorted(events, key=lambda one: one[0]))
    if not proofs:
        return Contract(name, address, ordered)
    slot = contracts.load(name).storage["history"]
    told = rpc.call("eth_getProof", address, [f"0x{slot:064x}"], hex(number))
    try:
        account = tuple(data_of(node, "a proof's node") for node in told["accountProof"])
        storage = tuple(data_of(node, "a proof's node") for node in told["storageProof"][0]["proof"])
    except (KeyError, TypeError, IndexError) as error:
        raise BackendUnreachable("eth_getProof: the node gives no proof") from error
    return Contract(name, address, ordered, account, storage)


def _decode(name: str, event: str, topics: list[bytes], data: bytes) -> Event:
    inputs = _abi(name, event)["inputs"]
    try:
        indexed = iter(topics[1:])
        rest = iter(eth_abi.decode([item["type"] for item in inputs if not item["indexed"]], data))
        arguments: dict[str, Any] = {}
        for item in inputs:
            if item["indexed"]:
                (value,) = eth_abi.decode([item["type"]], next(indexed))
            else:
                value = next(rest)
            arguments[item["name"]] = value.lower() if item["type"] == "address" else value
    except (DecodingError, ValueError, OverflowError, StopIteration) as error:
        raise BackendUnreachable(f"eth_getLogs: an event {event} is malformed") from error
    return Event(event, arguments)


def _abi(name: str, event: str) -> dict[str, Any]:
    return next(item for item in contracts.load(name).abi if item["type"] == "event" and item["name"] == event)


def _topic(name: str, event: str) -> bytes:
    kinds = ",".join(item["type"] for item in _abi(name, event)["inputs"])
    return bytes(keccak(f"{event}({kinds})".encode()))


def addresses_of(node_registry: str | None, model_registry: str | None) -> dict[str, str]:
    """Return the addresses to read by the contract's name; raises ConfigError where there is none."""
    found = {}
    if node_registry is not None:
        found[NODE_REGISTRY] = node_registry
    if model_registry is not None:
        found[MODEL_REGISTRY] = model_registry
    if not found:
        raise ConfigError("no registry is named: give --registry-address, --models-address, or both")
    return found
