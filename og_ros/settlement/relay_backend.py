"""The backend `opengradient`: hands checkpoints to OpenGradient's facilitator and finds them in its batches on a chain.

Speaks the formats of OpenGradient's public code (inference-facilitator, 2026): POST /settle_data, GET /settle/{jobId},
the event BatchSettlement, a tree's dump in a Walrus blob. Never run live. A job says `succeeded` once a row is
buffered, and not in which batch it goes: that is looked for in the contract's events.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote

from og_ros.attest import keys
from og_ros.attest.signer import Signer
from og_ros.attest.statement import Algorithm
from og_ros.errors import BackendUnreachable, ConfigError, RegistryError, SettlementError
from og_ros.log import StoredCheckpoint
from og_ros.registry import strict_json
from og_ros.settlement import relay_receipt, standard_tree
from og_ros.settlement.backend import Attempt, Item, Seen
from og_ros.settlement.checkpoints import NO_HEAD, ChainName, Entry
from og_ros.settlement.evm_chain import EvmChain, robot_id
from og_ros.settlement.http_client import HttpClient, printable, reason
from og_ros.settlement.receipt import MAX_FILE, Level
from og_ros.settlement.relay_event import BATCH_TOPIC, Batch, read_batch
from og_ros.settlement.relay_receipt import NOBODY, RelayReceipt
from og_ros.settlement.rpc import data_of, quantity
from og_ros.settlement.standard_tree import Row

_PAGE: Final = 2000
"""Blocks a question for events: what nodes with limits allow."""
_REORGANISED: Final = 128
"""So many blocks are looked at again each time."""
_RETRY_S: Final = 30.0
"""So long a row is not handed over again though its job failed or is forgotten."""
_KEPT: Final = 64
"""Batches whose rows are kept, so that several checkpoints do not fetch them again."""


@dataclass(frozen=True, slots=True)
class Relay:
    """The facilitator, the Walrus aggregator, how often they are asked, when a row in no batch is sent again."""

    facilitator: HttpClient
    blobs: HttpClient
    poll_s: float = 1.0
    resend_s: float = 1800.0


@dataclass
class _Course:
    """What this run knows of an item: its job, when it was handed over and last looked at, its batch once found."""

    job: str = ""
    sent_at: float = float("-inf")
    looked_at: float = float("-inf")
    seen: Seen = field(default_factory=lambda: Seen(Level.SUBMITTED))
    next_block: int = -1
    batch: RelayReceipt | None = None


class RelayBackend:
    """A robot's checkpoints as rows of OpenGradient's batches, signed by its settlement key (P-256).

    `finality` is a depth in blocks, None for the node's `finalized` tag.
    """

    def __init__(
        self, name: str, chain: EvmChain, relay: Relay, robot: str, signer: Signer, finality: int | None = None
    ) -> None:
        if signer.algorithm is not Algorithm.ES256:
            raise ConfigError(f"settlement {name}: the key must be on P-256 (ES256)")
        self.name = name
        self._chain, self._relay, self._robot, self._signer = chain, relay, robot, signer
        self._finality = finality
        self._courses: dict[bytes, _Course] = {}
        self._rows: dict[bytes, tuple[bytes, ...]] = {}

    def close(self) -> None:
        """Close the connections."""
        self._chain.rpc.close()
        self._relay.facilitator.close()
        self._relay.blobs.close()

    def covered(self) -> tuple[int, bytes | None]:
        """Nothing but the outbox knows: the contract keeps no chain of checkpoints."""
        return 0, None

    def prepare(self, checkpoint: StoredCheckpoint, before: Item | None) -> Attempt:
        """Sign a row that settles a checkpoint next."""
        name = ChainName(self._chain.chain_id, self._chain.contract, NOBODY, robot_id(self._robot))
        last = _receipt(before.attempts[-1]).entry if before is not None else None
        if last is not None and checkpoint.size <= last.size:
            raise SettlementError("the ledger's newest checkpoint is smaller than what settled: the ledger was rewound")
        entry = Entry(
            name, last.sequence + 1 if last else 0, checkpoint.size, checkpoint.root, last.head() if last else NO_HEAD
        )
        row = Row(tee_id(self._signer.public_key), entry.previous, entry.head(), b"\0", int(time.time()))
        row = replace(row, signature=self._signer.sign(row.message()))
        receipt = RelayReceipt(entry, row.tee_id, row.signature, row.timestamp)
        start = self._chain.rpc.number("eth_blockNumber")
        detail = {"receipt": json.dumps(relay_receipt.plain(receipt)), "from_block": start}
        return Attempt(base64.b64encode(_payload(row)), row.leaf(), json.dumps(detail))

    def send(self, attempt: Attempt) -> None:
        """Hand the row to the facilitator, unless it has it: it would put it into a batch twice."""
        course = self._courses.setdefault(attempt.reference, _Course())
        pause = self._relay.resend_s if course.job else min(_RETRY_S, self._relay.resend_s)
        if time.monotonic() < course.sent_at + pause:
            return
        headers = {
            "Content-Type": "application/json", "X-SETTLEMENT-TYPE": "batch",
            "x-settlement-data": attempt.payload.decode(),
        }  # fmt: skip
        what = self._relay.facilitator.what
        answer = self._relay.facilitator.request("POST", "/settle_data", b"{}", headers)
        if answer.status not in (200, 202):
            raise SettlementError(f"{what}: refuses with status {answer.status}{reason(answer)}")
        job = answer.json(what).get("settlementJob")
        if not isinstance(job, dict) or not isinstance(job.get("jobId"), str):
            raise BackendUnreachable(f"{what}: its answer names no job")
        course.job, course.sent_at = job["jobId"], time.monotonic()

    def look(self, item: Item) -> Seen:
        """Look for the row in the contract's batches, and whether the block is in the node's chain now."""
        attempt = item.attempts[-1]
        course = self._courses.setdefault(attempt.reference, _Course())
        if time.monotonic() < course.looked_at + self._relay.poll_s:
            return course.seen
        if course.batch is None:
            self._search(attempt, course)
        course.seen = self._state(course) if course.batch is not None else Seen(Level.SUBMITTED)
        if course.seen.level is Level.SUBMITTED:
            self._ask_job(course)
        course.looked_at = time.monotonic()
        if course.seen.level is Level.FINAL:  # it is not looked at again
            del self._courses[attempt.reference]
        return course.seen

    def renew(self, item: Item, now_ns: int) -> Attempt | None:
        """There is nothing to renew: whoever relays pays the fee."""
        return None

    def _state(self, course: _Course) -> Seen:
        assert course.batch is not None
        name = course.batch.transaction
        told = self._chain.rpc.call("eth_getTransactionReceipt", f"0x{name.hex()}")
        number = quantity(told.get("blockNumber"), "a receipt's block") if isinstance(told, dict) else 0
        block = data_of(told.get("blockHash"), "a receipt's block", 32) if isinstance(told, dict) else b""
        if not block or self._chain.canonical(number) != block:
            course.batch, course.next_block = None, -1  # a reorganisation: looked for from the start again
            return Seen(Level.SUBMITTED)
        if not self._chain.is_final(number, self._finality):
            return Seen(Level.INCLUDED)
        whole = replace(course.batch, inclusion=self._chain.inclusion(told))
        return Seen(Level.FINAL, receipt=json.dumps(relay_receipt.plain(whole), separators=(",", ":")))

    def _search(self, attempt: Attempt, course: _Course) -> None:
        """Go through the contract's events since the row was made; raises BackendUnreachable for a missing blob."""
        newest = self._chain.rpc.number("eth_blockNumber")
        start = int(json.loads(attempt.detail)["from_block"])
        # Blocks that were looked at may have been replaced by others since.
        first, unread = max(start, min(course.next_block, newest + 1) - _REORGANISED), ""
        while first <= newest:
            last = min(newest, first + _PAGE - 1)
            for batch in self._batches(first, last):
                try:
                    rows = self._rows_of(batch)
                except BackendUnreachable as error:
                    unread = unread or str(error)
                    continue
                if attempt.reference in rows:
                    course.batch = _placed(_receipt(attempt), attempt.reference, rows, batch)
                    return
            first = last + 1
            if not unread:
                course.next_block = first
        if unread:
            raise BackendUnreachable(unread)

    def _batches(self, first: int, last: int) -> list[Batch]:
        question = {
            "address": self._chain.contract, "topics": [f"0x{BATCH_TOPIC.hex()}"],
            "fromBlock": hex(first), "toBlock": hex(last),
        }  # fmt: skip
        found = self._chain.rpc.call("eth_getLogs", question)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise BackendUnreachable("eth_getLogs: the node gives no list of events")
        batches = []
        for one in found:
            topics = [data_of(topic, "a topic", 32) for topic in one.get("topics") or ()]
            told = read_batch(topics, data_of(one.get("data"), "an event's data"))
            if told is not None:
                batches.append(replace(told, transaction=data_of(one.get("transactionHash"), "an event's name", 32)))
        return batches

    def _rows_of(self, batch: Batch) -> tuple[bytes, ...]:
        """Return the leaves of a batch whose root its blob gives; none where it gives another, or is no dump."""
        if (known := self._rows.get(batch.root)) is not None:
            return known
        name = quote(batch.blob.decode("utf-8", "replace"), safe="")
        answer = self._relay.blobs.request("GET", f"/v1/blobs/{name}")
        if answer.status != 200:
            raise BackendUnreachable(
                f"{self._relay.blobs.what}: does not have the blob of a batch (status {answer.status})"
            )
        try:
            leaves = [row.leaf() for row in standard_tree.read_dump(answer.body, "a batch")]
            right = standard_tree.tree(leaves)[0] == batch.root
        except SettlementError:
            right = False
        if not right:
            return ()
        while len(self._rows) >= _KEPT:
            del self._rows[next(iter(self._rows))]
        self._rows[batch.root] = tuple(leaves)
        return self._rows[batch.root]

    def _ask_job(self, course: _Course) -> None:
        """Find out whether the facilitator failed, or forgot; then it is handed over again, soon."""
        if not course.job:
            return
        what = self._relay.facilitator.what
        answer = self._relay.facilitator.request("GET", f"/settle/{quote(course.job, safe='')}")
        if answer.status == 404:
            course.job = ""
            return
        told: dict[str, Any] = answer.json(what)
        if told.get("status") == "failed":
            course.job = ""
            raise SettlementError(f"{what}: could not settle: {printable(str(told.get('error') or 'no reason given'))}")


def tee_id(public_key: keys.PublicKey) -> bytes:
    """Return what stands for a key in a row: keccak256 of its SubjectPublicKeyInfo (DER), as for a TEE node's key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from eth_utils import keccak

    return bytes(keccak(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)))


def _placed(receipt: RelayReceipt, leaf: bytes, rows: Collection[bytes], batch: Batch) -> RelayReceipt:
    siblings = standard_tree.prove(standard_tree.tree(list(rows)), leaf)
    return replace(receipt, siblings=siblings, batch=batch.size, blob=batch.blob, transaction=batch.transaction)


def _payload(row: Row) -> bytes:
    """Return the JSON of the header x-settlement-data, as OpenGradient's gateway writes it."""
    tree = {
        "tee_id": f"0x{row.tee_id.hex()}",
        "input_hash": f"0x{row.input_hash.hex()}",
        "output_hash": f"0x{row.output_hash.hex()}",
        "tee_signature": base64.b64encode(row.signature).decode(),
        "tee_timestamp": row.timestamp,
        "timestamp": row.timestamp,
    }
    return json.dumps(tree, separators=(",", ":")).encode()


def _receipt(attempt: Attempt) -> RelayReceipt:
    text = json.loads(attempt.detail)["receipt"]
    try:
        return relay_receipt.read(strict_json.loads(text.encode(), "the outbox", MAX_FILE), "the outbox")
    except RegistryError as error:
        raise SettlementError(str(error)) from error
