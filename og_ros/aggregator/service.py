"""The HTTP face of an aggregator: docs/reference/settlement_http.md, and what anybody may read of the fleet's log."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from og_ros.aggregator import proofs
from og_ros.aggregator.admission import MAX_NOTE, Logs, Rates, Refusal, check_token
from og_ros.aggregator.intake import Intake
from og_ros.aggregator.store import Accepted, Store
from og_ros.errors import OgError

MAX_LISTED: Final = 1_000
BODY_S: Final = 10.0
"""Time that a robot has to send a checkpoint; who is slower holds a connection for nothing."""


@dataclass
class Desk:
    """What the requests work with. `logs` is exchanged as a whole when the registry changes; `tokens` None: none asked.

    `checkpoints` counts by log, `reads` by log and address, `peers` by address: what fails, and what was there already.
    """

    store: Store
    intake: Intake
    logs: Logs
    tokens: Mapping[bytes, bytes] | None
    checkpoints: Rates
    reads: Rates
    peers: Rates


def make_app(desk: Desk) -> Starlette:
    """Return the ASGI application."""
    routes = [
        Route("/v1/checkpoints", _guarded(desk, _take), methods=["POST"]),
        Route("/v1/checkpoints/{id}", _guarded(desk, _show), methods=["GET"]),
        Route("/v1/logs/{log}/checkpoints", _guarded(desk, _list), methods=["GET"]),
        Route("/checkpoint", _guarded(desk, _head), methods=["GET"]),
        Route("/healthz", _guarded(desk, _health), methods=["GET"]),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return app


def _guarded(desk: Desk, answer: Callable[[Desk, Request], Awaitable[Response]]) -> Any:
    async def call(request: Request) -> Response:
        peer = _peer(request)
        if wait := desk.peers.wait_s(peer):
            return _refused(Refusal(429, "too many requests of this address that changed nothing", wait))
        try:
            return await answer(desk, request)
        except Refusal as refusal:
            if refusal.status < 500 and refusal.status != 429:
                desk.peers.take(peer)
            return _refused(refusal)
        except ClientDisconnect:
            return Response(status_code=400)
        except OgError:
            return _refused(Refusal(503, "the storage does not answer", 5.0))

    return call


def _refused(refusal: Refusal) -> Response:
    headers = {"Retry-After": str(math.ceil(refusal.retry_after_s))} if refusal.retry_after_s else None
    return JSONResponse({"error": refusal.text[:500]}, refusal.status, headers)


async def _take(desk: Desk, request: Request) -> Response:
    raw = await _body(request)
    origin, arrival = desk.logs.open(raw, time.time_ns())
    check_token(desk.tokens, arrival.log, request.headers.get("authorization", ""))
    if desk.intake.is_new(arrival):
        if wait := desk.checkpoints.take(arrival.log):
            raise Refusal(429, "too many checkpoints of this log", wait)
    else:
        # Who holds a copy of an old checkpoint can send it again: that must not use up what its robot may.
        desk.peers.take(_peer(request))
    accepted = await asyncio.wrap_future(desk.intake.submit(origin, arrival))
    told = proofs.FINAL if accepted.number < desk.store.settled else proofs.SUBMITTED
    return JSONResponse({"id": accepted.id.hex(), "status": told}, 202)


async def _show(desk: Desk, request: Request) -> Response:
    identity = _hash(request.path_params["id"])
    accepted = await run_in_threadpool(desk.store.find, identity)
    if accepted is None:
        raise Refusal(404, "there is no such checkpoint")
    _may_read(desk, request, accepted.log)
    told = await run_in_threadpool(proofs.tell, desk.store, accepted)
    tree: dict[str, Any] = {"id": identity.hex(), "status": told.status}
    if told.receipt is not None:
        tree["receipt"] = told.receipt
    return JSONResponse(tree)


async def _list(desk: Desk, request: Request) -> Response:
    log = _hash(request.path_params["log"])
    if not desk.logs.knows(log):
        raise Refusal(404, "there is no such log")
    _may_read(desk, request, log)
    text = request.query_params.get("above", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) < 1 << 63):
        raise Refusal(400, "above is no size")
    found: list[Accepted] = await run_in_threadpool(desk.store.above, log, int(text), MAX_LISTED + 1)
    listed = [{"id": one.id.hex(), "size": one.size, "root": one.root.hex()} for one in found[:MAX_LISTED]]
    return JSONResponse({"checkpoints": listed, "more": len(found) > MAX_LISTED})


async def _head(desk: Desk, request: Request) -> Response:
    """The fleet's newest checkpoint, for witnesses and monitors."""
    desk.peers.take(_peer(request))
    latest = await run_in_threadpool(desk.store.latest_checkpoint)
    if latest is None:
        raise Refusal(404, "there is no checkpoint yet")
    return PlainTextResponse(latest.note)


async def _health(desk: Desk, request: Request) -> Response:
    desk.peers.take(_peer(request))
    await run_in_threadpool(desk.store.latest_checkpoint)
    return JSONResponse({"fleet": desk.store.name})


def _peer(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _may_read(desk: Desk, request: Request, log: bytes) -> None:
    check_token(desk.tokens, log, request.headers.get("authorization", ""))
    # By address, too: who knows an id must not use up what its robot may.
    if wait := desk.reads.take(f"{_peer(request)} {log.hex()}"):
        raise Refusal(429, "too many requests about this log", wait)


async def _body(request: Request) -> bytes:
    """Read a body that is not too long, in time. Raises Refusal."""
    told = request.headers.get("content-length", "0")
    if not (told.isascii() and told.isdigit()) or len(told) > 9 or int(told) > MAX_NOTE:
        raise Refusal(413, f"a checkpoint has at most {MAX_NOTE} bytes")
    try:
        return await asyncio.wait_for(_read(request), BODY_S)
    except asyncio.TimeoutError:
        raise Refusal(408, "the checkpoint did not arrive in time") from None


async def _read(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_NOTE:
            raise Refusal(413, f"a checkpoint has at most {MAX_NOTE} bytes")
    return bytes(data)


def _hash(text: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != 32 or data.hex() != text:
        raise Refusal(404, "that is no id: 64 lower-case hex digits")
    return data
