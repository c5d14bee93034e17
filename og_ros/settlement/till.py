"""An endpoint's till: asks for payment by x402 version 2, has a facilitator execute it, once for a checkpoint.

The facilitator is trusted by whoever runs the endpoint: that a payment was executed is its word.
"""

from __future__ import annotations

import json
import re
from typing import Final, TypeVar

from og_ros.errors import BackendUnreachable, ConfigError, SettlementError
from og_ros.settlement.endpoint import EndpointLog
from og_ros.settlement.endpoint_config import Price
from og_ros.settlement.http_client import HttpClient, printable

try:
    from x402.http.utils import (
        decode_payment_signature_header,
        encode_payment_required_header,
        encode_payment_response_header,
    )
    from x402.schemas import (
        PaymentPayload,
        PaymentRequired,
        PaymentRequirements,
        ResourceInfo,
        SettleResponse,
        VerifyResponse,
    )
except ImportError as error:
    raise ConfigError(f"asking for payment needs og_ros[x402], which is not installed ({error})") from error

_MAX_HEADER: Final = 16_384
_USED: Final = re.compile("nonce.*(used|consumed)", re.IGNORECASE)
_Told = TypeVar("_Told", VerifyResponse, SettleResponse)
SETTLING, PAID, FAILED = "settling", "paid", "failed"


class Unpaid(SettlementError):
    """A payment that is missing, or not taken; the message says why."""


class Till:
    """Takes payments for the checkpoints of one endpoint."""

    def __init__(self, price: Price, url: str) -> None:
        self._client = HttpClient(price.facilitator, timeout_s=30.0)
        self._resource = ResourceInfo(url=url, description="a robot's checkpoint in this log")
        extra = {"name": price.asset_name, "version": price.asset_version}
        self._terms = PaymentRequirements(
            scheme="exact", network=price.network, asset=price.asset, amount=str(price.amount), pay_to=price.pay_to,
            max_timeout_seconds=price.valid_s, extra=extra,
        )  # fmt: skip

    def close(self) -> None:
        """Close the connection to the facilitator."""
        self._client.close()

    def ask(self, error: str) -> str:
        """Return the header PAYMENT-REQUIRED."""
        return encode_payment_required_header(
            PaymentRequired(error=error, resource=self._resource, accepts=[self._terms])
        )

    def take(self, log: EndpointLog, name: bytes, header: str) -> str:
        """Have a checkpoint's payment executed; its header PAYMENT-RESPONSE. Not by two threads for one checkpoint.

        What is about to be executed is kept first: after a crash, an authorization that was executed is known to be
        this one. Raises Unpaid, or BackendUnreachable where the facilitator is away.
        """
        earlier = log.payment(name)
        if earlier is not None and earlier[1] == PAID:
            return earlier[2]
        payload = _payload(header)
        hidden = earlier is not None and earlier[:2] == (header, SETTLING)
        told = self._post("/verify", payload, VerifyResponse)
        if not told.is_valid:
            why = told.invalid_reason or "it is not valid"
            if not (hidden and _USED.search(why)):
                raise Unpaid(printable(why))
            done = SettleResponse(success=True, transaction="", network=self._terms.network)
        else:
            log.note_payment(name, header, SETTLING)
            done = self._post("/settle", payload, SettleResponse)
            if not done.success:
                log.note_payment(name, header, FAILED)
                raise Unpaid(printable(done.error_reason or "it was not executed"))
        response = encode_payment_response_header(done)
        log.note_payment(name, header, PAID, response)
        return response

    def _post(self, path: str, payload: PaymentPayload, kind: type[_Told]) -> _Told:
        request = {
            "x402Version": 2,
            "paymentPayload": payload.model_dump(by_alias=True, exclude_none=True),
            "paymentRequirements": self._terms.model_dump(by_alias=True, exclude_none=True),
        }
        headers = {"Content-Type": "application/json"}
        answer = self._client.request("POST", path, json.dumps(request).encode(), headers)
        if answer.status != 200:
            raise BackendUnreachable(f"the facilitator answers with status {answer.status}")
        try:
            return kind.model_validate(answer.json("the facilitator"))
        except ValueError as error:
            raise BackendUnreachable("the facilitator's answer makes no sense") from error


def _payload(header: str) -> PaymentPayload:
    if not header:
        raise Unpaid("payment is required")
    if len(header) > _MAX_HEADER:
        raise Unpaid("the header PAYMENT-SIGNATURE is too long")
    try:
        found = decode_payment_signature_header(header)
    except (ValueError, RecursionError, AttributeError) as error:  # JSON that is no object raises the last
        raise Unpaid("the header PAYMENT-SIGNATURE is malformed") from error
    if not isinstance(found, PaymentPayload):
        raise Unpaid("payments are taken by version 2 of x402")
    return found
