"""Reads the contracts on an EVM chain: heads, code, events, and the inclusion of a transaction with its proof."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from og_ros.errors import BackendUnreachable, ConfigError, SettlementError
from og_ros.settlement import contracts, trie
from og_ros.settlement.checkpoints import ChainName, Entry, check_address
from og_ros.settlement.receipt import Inclusion
from og_ros.settlement.rpc import Limited, Refused, Rpc, data_of, quantity

try:
    import eth_abi
    from eth_abi.exceptions import DecodingError
    from eth_utils import keccak
except ImportError as error:
    raise ConfigError(f"settling on a chain needs og_ros[evm], which is not installed ({error})") from error

SETTLED_TOPIC: Final = keccak(b"Settled(address,bytes32,bytes32,bytes32,uint256,uint256,bytes32,bool)")
_EVENT_DATA: Final = ["bytes32", "uint256", "uint256", "bytes32", "bool"]
MAX_PAGES: Final = 20_000
"""Questions for events, at most: at 1,000 blocks each that is 20 million blocks."""
_ERROR_STRING: Final = bytes.fromhex("08c379a0")


def robot_id(name: str) -> bytes:
    """Return what the contracts call a robot: keccak256 of its name."""
    return bytes(keccak(name.encode()))


def encode_call(contract: str, function: str, *arguments: Any) -> bytes:
    """Return the data of a call to a function of one of our contracts; raises SettlementError for other arguments."""
    for item in contracts.load(contract).abi:
        if item["type"] == "function" and item["name"] == function:
            kinds = [_kind(one) for one in item["inputs"]]
            selector = keccak(f"{function}({','.join(kinds)})".encode())[:4]
            try:
                return bytes(selector + eth_abi.encode(kinds, arguments))
            except Exception as error:  # eth-abi raises several families
                raise SettlementError(f"{contract}.{function}: {error}") from error
    raise SettlementError(f"{contract} has no function {function}")


def decode_result(contract: str, function: str, data: bytes) -> tuple[Any, ...]:
    """Read what a function returned; raises BackendUnreachable where it is not that."""
    for item in contracts.load(contract).abi:
        if item["type"] == "function" and item["name"] == function:
            try:
                return tuple(eth_abi.decode([_kind(one) for one in item["outputs"]], data))
            except (DecodingError, ValueError, OverflowError) as error:
                raise BackendUnreachable(f"{contract}.{function}: no such contract is there") from error
    raise SettlementError(f"{contract} has no function {function}")


def _kind(item: dict[str, Any]) -> str:
    kind = str(item["type"])
    if kind.startswith("tuple"):
        return f"({','.join(_kind(one) for one in item['components'])}){kind.removeprefix('tuple')}"
    return kind


def reason(refused: Refused) -> str:
    """Return why a contract refused, in its words where it gave any."""
    if refused.data[:4] == _ERROR_STRING:
        try:
            return f"the contract refuses: {eth_abi.decode(['string'], refused.data[4:])[0]}"
        except (DecodingError, ValueError, OverflowError):
            pass
    return str(refused)


@dataclass(frozen=True, slots=True)
class Head:
    """A chain of checkpoints as the contract has it: head, how many checkpoints, leaves under the newest."""

    head: bytes
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Settled:
    """One event of the contract: the checkpoint, whether its key signed it, transaction and block."""

    entry: Entry
    head: bytes
    signed: bool
    transaction: bytes
    block_number: int


class EvmChain:
    """A DecisionChain contract behind a node. Methods raise BackendUnreachable or Refused as Rpc does."""

    def __init__(self, rpc: Rpc, contract: str) -> None:
        self.rpc = rpc
        self.contract = check_address("contract", contract)
        self._chain_id = 0

    @property
    def chain_id(self) -> int:
        """The chain's id; asked once."""
        if not self._chain_id:
            self._chain_id = self.rpc.number("eth_chainId")
        return self._chain_id

    def name(self, submitter: str, robot: str) -> ChainName:
        """Return which chain of checkpoints a submitter's for a robot is."""
        return ChainName(self.chain_id, self.contract, check_address("submitter", submitter), robot_id(robot))

    def head(self, chain: ChainName, at: str = "latest") -> Head:
        """Return the head of a chain of checkpoints."""
        call = encode_call(contracts.DECISION_CHAIN, "state", chain.submitter, chain.robot_id)
        data = self.rpc.read(self.contract, call, at)
        return Head(*decode_result(contracts.DECISION_CHAIN, "state", data))

    def has_our_code(self) -> bool:
        """Say whether the contract's code is the one of this package, whatever registry it was made with."""
        code = data_of(self.rpc.call("eth_getCode", self.contract, "latest"), "eth_getCode")
        runtime = contracts.load(contracts.DECISION_CHAIN).runtime
        return len(code) == len(runtime) + 32 and code.startswith(runtime)

    def registry(self) -> str:
        """Return the node registry that the contract asks."""
        data = self.rpc.read(self.contract, encode_call(contracts.DECISION_CHAIN, "registry"))
        return str(decode_result(contracts.DECISION_CHAIN, "registry", data)[0]).lower()

    def events(self, chain: ChainName, since: int = 0) -> list[Settled]:
        """Return the checkpoints of a chain from a block on, in order, as the node tells them.

        Where the node limits the range of a question, smaller ones are asked.
        """
        topics = [f"0x{SETTLED_TOPIC.hex()}", f"0x{bytes(12).hex()}{chain.submitter[2:]}", f"0x{chain.robot_id.hex()}"]
        events = []
        for log in self._logs(topics, since):
            try:
                names = [data_of(topic, "a topic", 32) for topic in log["topics"]]
                told = read_event(chain, names, data_of(log["data"], "an event's data"))
                place = quantity(log["blockNumber"], "an event's block")
                transaction = data_of(log["transactionHash"], "an event's transaction", 32)
            except (KeyError, TypeError) as error:
                raise BackendUnreachable("eth_getLogs: an event is malformed") from error
            if told is not None:
                events.append(Settled(told[0], told[1], told[2], transaction, place))
        return sorted(events, key=lambda event: event.entry.sequence)

    def _logs(self, topics: Sequence[str], since: int) -> Iterator[Any]:
        """Yield the contract's logs: all blocks at once, or half as many each time that the node refuses."""
        last = self.rpc.number("eth_blockNumber")
        span, pages = max(1, last - since + 1), 0
        while since <= last:
            until = min(last, since + span - 1)
            asked = {"fromBlock": hex(since), "toBlock": hex(until), "address": self.contract, "topics": topics}
            try:
                found = self.rpc.call("eth_getLogs", asked)
            except (Refused, Limited):
                if until == since:
                    raise
                span = (until - since + 1) // 2
                if pages + (last - since) // span >= MAX_PAGES:
                    text = f"the node gives fewer than {2 * span} of {last - since + 1} blocks at once; ask another one"
                    raise BackendUnreachable(f"eth_getLogs: {text}") from None
                continue
            if not isinstance(found, list):
                raise BackendUnreachable("eth_getLogs: the node gives no list")
            yield from found
            since, pages = until + 1, pages + 1

    def canonical(self, number: int) -> bytes | None:
        """Return the hash of the node's block with a number; None where it has none."""
        block = self.rpc.block(number)
        return None if block is None else data_of(block.get("hash"), "a block's hash", 32)

    def is_final(self, number: int, finality: int | None) -> bool:
        """Say whether a block is final: `finality` blocks deep, or, for None, by the node's `finalized` tag."""
        if finality is not None:
            return self.rpc.number("eth_blockNumber") - number + 1 >= finality
        block = self.rpc.block("finalized")
        return block is not None and quantity(block.get("number"), "the finalized block") >= number

    def inclusion(self, receipt: dict[str, Any]) -> Inclusion:
        """Return where a transaction is, proven: the header gives the block's hash, the proof the header's root.

        Raises BackendUnreachable when what the node gives does not fit together.
        """
        name = data_of(receipt.get("blockHash"), "a receipt's block", 32)
        index = quantity(receipt.get("transactionIndex"), "a receipt's index")
        block = self.rpc.block(f"0x{name.hex()}")
        if block is None:
            raise BackendUnreachable("the node does not have the block that its receipt names")
        header = trie.encode_header(block)
        values = [trie.encode_receipt(one) for one in self._receipts(block)]
        root, proof = trie.prove(values, index) if index < len(values) else (b"", [])
        if trie.header_hash(header) != name or trie.read_header(header)[2] != root:
            raise BackendUnreachable("the node's block has not the header or the receipts that its hash stands for")
        return Inclusion(name, header, index, tuple(proof))

    def _receipts(self, block: dict[str, Any]) -> Sequence[dict[str, Any]]:
        name = block.get("hash")
        found = self.rpc.call("eth_getBlockReceipts", name)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise BackendUnreachable("eth_getBlockReceipts: the node gives no list of receipts")
        return found


def read_event(chain: ChainName, topics: Sequence[bytes], data: bytes) -> tuple[Entry, bytes, bool] | None:
    """Read an event of the contract: checkpoint, head, signed; None where it is of another chain, or no such event."""
    ours = [SETTLED_TOPIC, bytes(12) + bytes.fromhex(chain.submitter[2:]), chain.robot_id]
    if list(topics[:3]) != ours or len(topics) != 4 or len(data) != 32 * len(_EVENT_DATA):
        return None
    try:
        previous, sequence, size, root, signed = eth_abi.decode(_EVENT_DATA, data)
        return Entry(chain, sequence, size, root, previous), topics[3], signed
    except (DecodingError, SettlementError):
        return None
