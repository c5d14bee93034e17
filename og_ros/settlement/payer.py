"""Pays an endpoint by x402 version 2: scheme `exact`, EIP-3009 authorizations, within the caps of the configuration.

An authorization's nonce follows from endpoint and checkpoint. A token executes a nonce of an account once, so whatever
an endpoint answers, and even after an outbox was lost, nothing is paid twice for a checkpoint.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from og_ros.errors import ConfigError, SettlementError
from og_ros.settlement.account import Account
from og_ros.settlement.config import NETWORK, Allowance
from og_ros.settlement.http_client import printable
from og_ros.settlement.payments import DAY_NS, Payment, Payments

try:
    from eth_utils import to_checksum_address
    from x402 import x402ClientSync
    from x402.client_base import SpendControlAsset
    from x402.http.utils import (
        decode_payment_required_header,
        decode_payment_response_header,
        encode_payment_signature_header,
    )
    from x402.schemas import PaymentPayload, PaymentRequired, PaymentRequirements
except ImportError as error:
    raise ConfigError(f"paying an endpoint needs og_ros[x402], which is not installed ({error})") from error

SCHEME: Final = "exact"
LONGEST_VALID_S: Final = 600
_NONCE_DOMAIN: Final = b"og_ros x402 nonce v1\n"
_MAX_HEADER: Final = 16_384
_AMOUNT: Final = re.compile(r"[1-9][0-9]{0,77}", re.ASCII)
_TYPES: Final = {
    "TransferWithAuthorization": [
        {"name": "from", "type": "address"},
        {"name": "to", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "validAfter", "type": "uint256"},
        {"name": "validBefore", "type": "uint256"},
        {"name": "nonce", "type": "bytes32"},
    ]
}


class Payer:
    """Pays for the checkpoints of one backend from one account. `endpoint` is the 32-byte key of the endpoint's log.

    Methods raise SettlementError, naming what stands against a payment.
    """

    def __init__(
        self, backend: str, endpoint: bytes, account: Account, allowed: Sequence[Allowance], payments: Payments
    ) -> None:
        self._backend, self._endpoint, self._account, self._payments = backend, endpoint, account, payments
        self._allowed = {(one.network, one.asset, one.pay_to): one for one in allowed}

    def close(self) -> None:
        """Close the accounts."""
        self._payments.close()

    def pay(self, checkpoint: bytes, required: str) -> str:
        """Return the header PAYMENT-SIGNATURE for what a 402 asks; the one that was sent before, while it is valid.

        It is on the disk when this returns.
        """
        now = time.time()
        earlier = self._payments.find(self._backend, checkpoint)
        if earlier is not None and earlier.valid_before > now + 1:
            return earlier.authorization
        asked, terms = self._choose(_required(required))
        if earlier is not None and (earlier.network, earlier.asset) != (terms.network, terms.asset):
            raise SettlementError("it asks for another asset than the one that was authorised for this checkpoint")
        valid_before = int(now) + max(1, min(asked.max_timeout_seconds, LONGEST_VALID_S))
        payload = self._sign(asked, terms, checkpoint, valid_before)
        amount = int(asked.amount)
        now_ns = time.time_ns()
        payment = Payment(
            self._backend, checkpoint, terms.network, terms.asset, terms.pay_to, amount, now_ns, now_ns,
            valid_before, encode_payment_signature_header(payload),
        )  # fmt: skip
        caps = [
            one.per_day for one in self._allowed.values() if (one.network, one.asset) == (terms.network, terms.asset)
        ]
        self._payments.put(payment, min(caps))
        return payment.authorization

    def done(self, checkpoint: bytes, response: str) -> None:
        """Note that the endpoint took the checkpoint; `response` is its header PAYMENT-RESPONSE (empty: none)."""
        if self._payments.find(self._backend, checkpoint) is None:
            return
        text = ""
        if response and len(response) <= _MAX_HEADER:
            try:
                settled = decode_payment_response_header(response)
                text = settled.model_dump_json(
                    by_alias=True, exclude_none=True, include={"success", "transaction", "network"}
                )
            except (ValueError, RecursionError, AttributeError):
                text = ""  # a receipt that says nothing is none
        self._payments.done(self._backend, checkpoint, text)

    def given_up(self, checkpoint: bytes) -> str:
        """Say why a checkpoint is given up: its endpoint has had a payment for a day, and not taken it. Else empty."""
        payment = self._payments.find(self._backend, checkpoint)
        if payment is None or payment.taken or time.time_ns() - payment.made_ns < DAY_NS:
            return ""
        return "the endpoint has had a payment for it for a day, and does not have it"

    def refusal(self, required: str) -> str:
        """Return the reason that a second 402 gives, for a message."""
        try:
            text = _required(required).error
        except SettlementError:
            text = None
        return f": {printable(text)}" if text else ""

    def _choose(self, required: PaymentRequired) -> tuple[PaymentRequirements, Allowance]:
        """Return the first requirement that may be paid, and by which terms."""
        against = []
        for asked in required.accepts[:20]:
            network, asset, pay_to = str(asked.network), asked.asset.lower(), asked.pay_to.lower()
            method = asked.extra.get("assetTransferMethod", "eip3009")
            terms = self._allowed.get((network, asset, pay_to))
            if asked.scheme != SCHEME or method != "eip3009":
                against.append(f"scheme {asked.scheme} by {method} is not known")
            elif not any(one.network == network for one in self._allowed.values()):
                against.append(f"network {network} is not allowed")
            elif not any((one.network, one.asset) == (network, asset) for one in self._allowed.values()):
                against.append(f"asset {asset} is not allowed")
            elif terms is None:
                against.append(f"recipient {pay_to} is not allowed")
            elif not _AMOUNT.fullmatch(asked.amount):
                against.append(f"amount {asked.amount} is no number above 0")
            elif int(asked.amount) > terms.per_payment:
                against.append(f"{asked.amount} is above the cap of {terms.per_payment} a payment")
            else:
                return asked, terms
        raise SettlementError(
            f"it asks for payment, and that is refused: {printable('; '.join(against) or 'no terms')}"
        )

    def _sign(
        self, asked: PaymentRequirements, terms: Allowance, checkpoint: bytes, valid_before: int
    ) -> PaymentPayload:
        """Sign by the library, whose own spend controls hold the same caps."""
        nonce = sha256(_NONCE_DOMAIN + self._endpoint + checkpoint).digest()
        client = x402ClientSync()
        client.register(terms.network, _Exact(self._account, valid_before, nonce))
        cap: SpendControlAsset = {
            "network": terms.network,
            "asset": terms.asset,
            "max_amount_per_payment": str(terms.per_payment),
        }
        client.set_spend_controls({"allowed_assets": [cap]})
        try:
            payload = client.create_payment_payload(PaymentRequired(accepts=[asked]))
        except SettlementError:
            raise
        except Exception as error:  # the library and eth-account raise several families
            raise SettlementError(f"cannot sign what it asks for: {printable(str(error))}") from error
        assert isinstance(payload, PaymentPayload)
        return payload


class _Exact:
    """The scheme `exact` of x402's clients by EIP-3009; the library's own would import web3 for nothing here."""

    scheme = SCHEME

    def __init__(self, account: Account, valid_before: int, nonce: bytes) -> None:
        self._account, self._valid_before, self._nonce = account, valid_before, nonce

    def create_payment_payload(self, asked: PaymentRequirements, extensions: Any = None) -> dict[str, Any]:
        """Return the authorization and its signature (EIP-712); raises SettlementError."""
        name, version = asked.extra.get("name"), asked.extra.get("version")
        if not isinstance(name, str) or not isinstance(version, str):
            raise SettlementError("it does not say the token's name and version, which the signature needs")
        found = NETWORK.fullmatch(str(asked.network))
        assert found is not None
        domain = {"name": name, "version": version, "chainId": int(found[1]), "verifyingContract": asked.asset}
        # Facilitators on web3 take an address with its checksum (ERC-55) only.
        payer, seller = to_checksum_address(self._account.address), to_checksum_address(asked.pay_to)
        order = {
            "from": payer, "to": seller, "value": int(asked.amount), "validAfter": 0,
            "validBefore": self._valid_before, "nonce": self._nonce,
        }  # fmt: skip
        signature = self._account.sign_typed(domain, _TYPES, order)
        told = {key: value if key in ("from", "to") else str(value) for key, value in order.items()}
        return {"authorization": {**told, "nonce": f"0x{self._nonce.hex()}"}, "signature": f"0x{signature.hex()}"}


def _required(header: str) -> PaymentRequired:
    if not header or len(header) > _MAX_HEADER:
        raise SettlementError("it asks for payment, and its header PAYMENT-REQUIRED is missing or too long")
    try:
        found = decode_payment_required_header(header)
    except (ValueError, RecursionError, AttributeError) as error:  # the last for JSON that is no object
        raise SettlementError("it asks for payment, and its header PAYMENT-REQUIRED is malformed") from error
    if not isinstance(found, PaymentRequired):
        raise SettlementError("it asks for payment by version 1 of x402; this software pays by version 2")
    return found
