"""The backend `http`: sends checkpoints to an endpoint (docs/reference/settlement_http.md) and checks its receipts."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from og_ros.errors import BackendUnreachable, LogError, RegistryError, SettlementError
from og_ros.log import StoredCheckpoint, VerifierKey
from og_ros.settlement import log_receipt
from og_ros.settlement.backend import Attempt, Item, Seen
from og_ros.settlement.http_client import Answer, HttpClient, reason
from og_ros.settlement.log_receipt import MAX_NOTE, LogReceipt, checkpoint_id
from og_ros.settlement.receipt import Level

if TYPE_CHECKING:
    from og_ros.settlement.payer import Payer

PATH: Final = "/v1/checkpoints"
# x402 version 2, in lower case as answers have them; HTTP itself does not mind.
PAYMENT_REQUIRED: Final = "payment-required"
PAYMENT_SIGNATURE: Final = "payment-signature"
PAYMENT_RESPONSE: Final = "payment-response"
STATUSES: Final = {"submitted": Level.SUBMITTED, "included": Level.INCLUDED, "final": Level.FINAL}


class HttpBackend:
    """An endpoint that logs checkpoints. `key` is the one of its log, known from elsewhere; `payer` pays where it asks.

    An item is looked at every `poll_s` seconds, however often the settler asks. Nothing is paid twice for a checkpoint.
    """

    def __init__(
        self, name: str, client: HttpClient, key: VerifierKey, payer: Payer | None = None, poll_s: float = 1.0
    ) -> None:
        self.name = name
        self._client, self._key, self._payer, self._poll_s = client, key, payer, poll_s
        self._taken: set[bytes] = set()  # what this run knows to be there: it is not sent again
        self._seen: dict[bytes, tuple[float, Seen]] = {}

    def close(self) -> None:
        """Close the connection, and the accounts of what was paid."""
        self._client.close()
        if self._payer is not None:
            self._payer.close()

    def covered(self) -> tuple[int, bytes | None]:
        """Nothing but the outbox knows; without one, everything is sent again, which does nothing twice."""
        return 0, None

    def prepare(self, checkpoint: StoredCheckpoint, before: Item | None) -> Attempt:
        """Take the note; raises SettlementError where it is too long, or was given up."""
        if len(checkpoint.note.encode()) > MAX_NOTE:
            raise SettlementError(f"the checkpoint with its signatures is longer than {MAX_NOTE} bytes")
        name = _id(checkpoint.note)
        if self._payer is not None and (gone := self._payer.given_up(name)):
            raise SettlementError(f"{gone}; the next checkpoint pays anew")
        return Attempt(checkpoint.note.encode(), name, "{}")

    def send(self, attempt: Attempt) -> None:
        """Send it, and pay once where that is asked."""
        if attempt.reference in self._taken:
            return
        kind = {"Content-Type": "text/plain; charset=utf-8"}
        answer = self._client.request("POST", PATH, attempt.payload, kind)
        if answer.status == 402:
            if self._payer is None:
                raise SettlementError(f"{self._client.what}: asks for payment; the configuration has no `payment`")
            payment = self._payer.pay(attempt.reference, answer.headers.get(PAYMENT_REQUIRED, ""))
            answer = self._client.request("POST", PATH, attempt.payload, {**kind, PAYMENT_SIGNATURE: payment})
            if answer.status == 402:
                why = self._payer.refusal(answer.headers.get(PAYMENT_REQUIRED, ""))
                raise SettlementError(f"{self._client.what}: does not take the payment{why}")
        self._check(answer, attempt.reference)
        if self._payer is not None:
            self._payer.done(attempt.reference, answer.headers.get(PAYMENT_RESPONSE, ""))
        self._taken.add(attempt.reference)

    def look(self, item: Item) -> Seen:
        """Ask how far it came; a receipt counts once it holds."""
        attempt = item.attempts[-1]
        asked, seen = self._seen.get(attempt.reference, (0.0, Seen(Level.SUBMITTED)))
        if asked and time.monotonic() < asked + self._poll_s:
            return seen
        answer = self._client.request("GET", f"{PATH}/{attempt.reference.hex()}")
        if answer.status == 404:
            if item.level > Level.SUBMITTED:
                raise SettlementError(f"{self._client.what}: no longer has a checkpoint that it had included")
            self._taken.discard(attempt.reference)
            if self._payer is not None and (gone := self._payer.given_up(attempt.reference)):
                return Seen(Level.NONE, dead=gone)
            seen = Seen(Level.SUBMITTED)
        else:
            seen = self._read(self._check(answer, attempt.reference), attempt)
            if seen.level < item.level:
                raise SettlementError(f"{self._client.what}: takes back what it said: the checkpoint was further")
            if self._payer is not None and attempt.reference not in self._taken:
                self._payer.done(attempt.reference, "")  # a crash may have hidden the answer
            self._taken.add(attempt.reference)
        if seen.level is Level.FINAL:  # it is not looked at again
            self._seen.pop(attempt.reference, None)
            self._taken.discard(attempt.reference)
        else:
            self._seen[attempt.reference] = time.monotonic(), seen
        return seen

    def renew(self, item: Item, now_ns: int) -> Attempt | None:
        """There is nothing to renew."""
        return None

    def _check(self, answer: Answer, name: bytes) -> dict[str, Any]:
        """Return the JSON of an answer that takes a checkpoint."""
        if answer.status not in (200, 202):
            raise SettlementError(f"{self._client.what}: refuses with status {answer.status}{reason(answer)}")
        tree = answer.json(self._client.what)
        if tree.get("id") != name.hex() or tree.get("status") not in STATUSES:
            raise BackendUnreachable(f"{self._client.what}: its answer is not about this checkpoint")
        return tree

    def _read(self, tree: dict[str, Any], attempt: Attempt) -> Seen:
        level = STATUSES[tree["status"]]
        if level is Level.SUBMITTED:
            return Seen(level)
        receipt = _receipt(tree.get("receipt"), f"{self._client.what}: its receipt")
        try:
            receipt.check(self._key)
        except SettlementError as error:
            raise SettlementError(f"{self._client.what}: its receipt does not hold: {error}") from error
        if _id(receipt.checkpoint) != attempt.reference:
            raise SettlementError(f"{self._client.what}: its receipt is of another checkpoint")
        return Seen(level, receipt=json.dumps(log_receipt.plain(receipt), separators=(",", ":")))


def _receipt(item: object, what: str) -> LogReceipt:
    try:
        return log_receipt.read(item, what)
    except RegistryError as error:
        raise SettlementError(str(error)) from error


def _id(note: str) -> bytes:
    try:
        return checkpoint_id(note)
    except LogError as error:
        raise SettlementError(str(error)) from error
