"""Fork proofs: that a key signed two histories, as NodeRegistry takes them and pays for them out of the key's bond.

Two checkpoints of one size with different roots, or two attestations of one session with one sequence number. The
contract checks the very bytes that were signed, so nothing but a fork of that key passes.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import cbor2
from eth_utils import keccak

from og_ros.attest.statement import Algorithm, Attestation, Statement
from og_ros.errors import BackendUnreachable, SettlementError
from og_ros.settlement import contracts
from og_ros.settlement.account import Account
from og_ros.settlement.deploy import Done, transact
from og_ros.settlement.evm_chain import encode_call, reason
from og_ros.settlement.node_registry import require_our_code
from og_ros.settlement.receipt import Receipt
from og_ros.settlement.rpc import Refused, Rpc

MAX_SIGNED: Final = 16_384
"""Bytes of a signed statement that the contract takes."""
_NOT_COMMITTED: Final = "not committed before"
_TAIL: Final = (
    "session", "previous", "sequence", "algorithm", "mode_used", "signed_at", "duration_ns", "format_version",
    "mode_requested", "start_monotonic_ns",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fork:
    """A proof against a key: the two messages that it signed, and the contract's function with all but the salt."""

    key_id: bytes
    first: bytes
    second: bytes
    function: str
    arguments: tuple[Any, ...]

    def commitment(self, reporter: str, salt: bytes) -> bytes:
        """Return what a reporter announces before he shows the proof."""
        words = (bytes(12) + bytes.fromhex(reporter[2:]), self.key_id, _hash(self.first), _hash(self.second), salt)
        return bytes(keccak(b"".join(words)))

    def call(self, salt: bytes) -> bytes:
        """Return the data of the call that shows the proof."""
        return encode_call(contracts.NODE_REGISTRY, self.function, *self.arguments, salt)


def of_checkpoints(key_id: bytes, first: Receipt, second: Receipt) -> Fork:
    """Return the proof that two signed checkpoints make; raises SettlementError where they are no fork."""
    one, other = first.entry, second.entry
    if not (first.signature and second.signature):
        raise SettlementError("no fork: a checkpoint that no key signed binds nobody")
    if one.chain.robot_id != other.chain.robot_id or one.chain.chain_id != other.chain.chain_id:
        raise SettlementError("no fork: the checkpoints are of two robots, or of two blockchains")
    if one.size != other.size:
        raise SettlementError(f"no fork: the checkpoints are of {one.size} and {other.size} leaves")
    if one.root == other.root:
        raise SettlementError("no fork: both checkpoints have the same root")
    arguments = (key_id, one.size, _checkpoint(first), _checkpoint(second))
    return Fork(key_id, one.message(), other.message(), "slash_checkpoints", arguments)


def find_checkpoints(first: Sequence[Receipt], second: Sequence[Receipt]) -> tuple[Receipt, Receipt]:
    """Return the pair out of two lists that is a fork; raises SettlementError where there is none."""
    for one in first:
        for other in second:
            try:
                of_checkpoints(bytes(32), one, other)
            except SettlementError:
                continue
            return one, other
    raise SettlementError("no fork: no two of these signed checkpoints have one size and different roots")


def of_attestations(first: Attestation, second: Attestation) -> Fork:
    """Return the proof that two attestations make; raises SettlementError where they are no fork."""
    one, other = first.statement, second.statement
    if one.key_id != other.key_id:
        raise SettlementError("no fork: the attestations are of two keys")
    if one.algorithm is not Algorithm.ES256:
        raise SettlementError("no contract can check it: the key is not on P-256 (ES256)")
    if (one.session, one.sequence) != (other.session, other.sequence):
        raise SettlementError("no fork: the attestations have not one session and one sequence number")
    if first.signed_bytes == second.signed_bytes:
        raise SettlementError("no fork: both attestations say the same")
    arguments: list[Any] = [one.key_id]
    for attestation in (first, second):
        if len(attestation.signed_bytes) > MAX_SIGNED:
            raise SettlementError(f"an attestation has over {MAX_SIGNED} bytes, more than the contract takes")
        signature = attestation.signature
        arguments += [attestation.signed_bytes, tail_of(attestation), signature[:32], signature[32:]]
    return Fork(one.key_id, first.signed_bytes, second.signed_bytes, "slash_attestations", tuple(arguments))


def tail_of(attestation: Attestation) -> int:
    """Return where in its signed bytes the statement's field `session` begins; it and all behind it are of fixed form.

    Keys of a statement's map are in deterministic order, so these are its last ten fields.
    """
    tail = b"".join(cbor2.dumps(name) + cbor2.dumps(_value(attestation.statement, name)) for name in _TAIL)
    assert attestation.signed_bytes.endswith(tail), "a statement's encoding has another end"
    return len(attestation.signed_bytes) - len(tail)


def report(rpc: Rpc, reporter: Account, registry: str, fork: Fork, wait_s: float = 120.0) -> Done:
    """Commit to a proof, show it in a later block, and be paid. Raises SettlementError with the contract's reason.

    The contract is asked first, so that a proof that does not hold costs nothing.
    """
    require_our_code(rpc, contracts.NODE_REGISTRY, registry)
    salt = secrets.token_bytes(32)
    refused = _refusal(rpc, reporter, registry, fork.call(salt))
    if refused is None or _NOT_COMMITTED not in refused:
        raise SettlementError(refused or "the contract takes a proof that nobody committed to: it is not ours")
    commitment = fork.commitment(reporter.address, salt)
    transact(rpc, reporter, registry, encode_call(contracts.NODE_REGISTRY, "commit_fork", commitment), wait_s)
    end = time.monotonic() + wait_s
    while True:  # a node may try a call in the block of the commitment, where it does not count yet
        refused = _refusal(rpc, reporter, registry, fork.call(salt))
        if refused is None:
            return transact(rpc, reporter, registry, fork.call(salt), wait_s)
        if _NOT_COMMITTED not in refused:
            raise SettlementError(refused)
        if time.monotonic() > end:
            raise BackendUnreachable(f"the chain made no block after the commitment within {wait_s:g} s")
        time.sleep(0.5)


def _refusal(rpc: Rpc, sender: Account, registry: str, data: bytes) -> str | None:
    """Say why the contract would refuse a call; None where it would not."""
    try:
        rpc.call("eth_estimateGas", {"from": sender.address, "to": registry, "data": f"0x{data.hex()}"})
    except Refused as error:
        return reason(error)
    return None


def _checkpoint(receipt: Receipt) -> tuple[Any, ...]:
    entry, signature = receipt.entry, receipt.signature
    chain = entry.chain
    return (
        chain.contract, chain.submitter, entry.previous, entry.sequence, entry.root, signature[:32], signature[32:]
    )  # fmt: skip


def _value(statement: Statement, name: str) -> int | bytes:
    value = getattr(statement, "signed_at_ns" if name == "signed_at" else name)
    return value if isinstance(value, bytes) else int(value)


def _hash(message: bytes) -> bytes:
    return sha256(message).digest()
