"""The service by which a node gives attestations of its journal to whoever missed them, and the client's side of it."""

from __future__ import annotations

from array import array
from typing import Any

from rclpy.node import Node

from og_ros.attest import cose
from og_ros.attest.statement import SESSION_SIZE
from og_ros.audit.catchup import NO_SESSION, Answer, Request
from og_ros.errors import AttestationError
from og_ros.log.journal import Journal, KeptSession
from og_ros.srv import GetAttestations

SERVICE: str = "attestations"
TYPE: str = "og_ros/srv/GetAttestations"


def serve(node: Node, journal: Journal) -> Any:
    """Offer ~/attestations on a node; returns the service. An answer reads at most 256 kB of a file."""

    def answer(request: Any, response: Any) -> Any:
        session = bytes(request.session)
        found = []
        if session != NO_SESSION:
            found = journal.read(session, request.first, request.last, request.limit)
        kept = journal.sessions()  # after reading: what was removed meanwhile is not said to be there
        response.present = array("B", journal.session)
        response.sessions = array("B", b"".join(item.session for item in kept))
        response.oldest = array("Q", [item.oldest for item in kept])
        response.newest = array("Q", [item.newest for item in kept])
        response.ended = [item.ended for item in kept]
        response.keeps = journal.keeps
        newest = next((item.newest for item in kept if item.session == session), -1)
        wanted = min(request.last, newest) - request.first + 1
        response.complete = len(found) == wanted
        response.attestations = array("B", b"".join(data for _, data in found))
        return response

    return node.create_service(GetAttestations, f"~/{SERVICE}", answer)


def service_request(request: Request) -> Any:
    """Return a catch-up's request as the service takes it."""
    return GetAttestations.Request(
        session=array("B", request.session), first=request.first, last=request.last, limit=request.limit
    )


def read_answer(response: Any) -> Answer:
    """Return what a service answered; raises AttestationError where it is malformed. Nothing is verified here."""
    ids = bytes(response.sessions)
    sessions = [ids[at : at + SESSION_SIZE] for at in range(0, len(ids), SESSION_SIZE)]
    if not len(sessions) == len(response.oldest) == len(response.newest) == len(response.ended):
        raise AttestationError("the lists of sessions in an answer differ in length")
    kept = tuple(
        KeptSession(session, int(oldest), int(newest), bool(ended))
        for session, oldest, newest, ended in zip(
            sessions, response.oldest, response.newest, response.ended, strict=True
        )
    )
    attestations = tuple(cose.decode(data) for data in cose.split(bytes(response.attestations)))
    return Answer(kept, int(response.keeps), bytes(response.present), attestations, bool(response.complete))
