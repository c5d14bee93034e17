"""An auditor's catch-up over ROS: asks the journals of stages for what is missing, and has it checked and logged."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Collection
from typing import Any, Final

from rclpy.node import Node

from og_ros.attest import Attestation, cose
from og_ros.audit.auditor import Auditor
from og_ros.audit.catchup import CatchUp, Request
from og_ros.errors import AttestationError, LogError
from og_ros.log.merkle import leaf_hash
from og_ros.nodes.arrival_clock import ArrivalClock
from og_ros.nodes.journal_service import SERVICE, TYPE, read_answer, service_request
from og_ros.nodes.log_writer import LogWriter
from og_ros.srv import GetAttestations

# So many of the log's newest leaves are read at the start, to go on from there.
RECALLED: Final = 20_000
# So often it is looked for what to ask, and whenever an answer came: looking takes longer the more is missing.
ASK_PERIOD_S: Final = 0.1


class CatchingUp:
    """Two sides: the executor's thread sends requests and takes answers, the auditor's worker decides and feeds."""

    def __init__(self, node: Node, auditor: Auditor, clock: ArrivalClock, *, log_all: bool) -> None:
        """`log_all`: there is a log, so that sessions that ended before are asked for too."""
        self._node, self._auditor, self._clock = node, auditor, clock
        self._catch_up = CatchUp(earlier_sessions=log_all)
        self._since_ns = time.time_ns()
        self._clients: dict[str, Any] = {}
        self._asked: dict[str, deque[Any]] = {}
        self._reachable: frozenset[str] = frozenset()
        self._outbox: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._inbox: deque[tuple[Request, Any]] = deque()
        self._log: LogWriter | None = None
        self._ask_at = 0.0

    @property
    def recovered(self) -> int:
        """How many attestations came from journals."""
        return self._catch_up.recovered

    # On the executor's thread.

    def discover(self, within: str, heard: Collection[str]) -> None:
        """Look which nodes offer their journal: those in the namespace `within` (ends with a slash), and `heard`."""
        offered = {
            name[: -len(SERVICE) - 1]
            for name, types in self._node.get_service_names_and_types()
            if TYPE in types and name.endswith(f"/{SERVICE}")
        }
        found = {name for name in offered if name.startswith(within) or name in heard}
        for name in found - self._clients.keys():
            self._clients[name] = self._node.create_client(GetAttestations, f"{name}/{SERVICE}")
        self._reachable = frozenset(name for name in found if self._clients[name].service_is_ready())

    def send(self) -> None:
        """Send what the worker wants to ask."""
        while not self._outbox.empty():
            request = self._outbox.get()
            client = self._clients[request.node]
            future = client.call_async(service_request(request))
            future.add_done_callback(lambda done, request=request: self._inbox.append((request, done)))
            # Forget those whose answer got lost: only one is open at a node, and few late ones may still come.
            asked = self._asked.setdefault(request.node, deque())
            asked.append(future)
            if len(asked) > 8:
                client.remove_pending_request(asked.popleft())

    # On the worker's thread.

    def resume(self, log: LogWriter) -> None:
        """Go on from what the log has."""
        self._log, ledger = log, log.ledger
        for leaf in ledger.leaves(max(0, ledger.size - RECALLED)):
            try:
                self._auditor.recall(cose.decode(leaf.data))
            except AttestationError:
                continue  # some other leaf; an audit of the log says so

    def defer(self, attestation: Attestation) -> None:
        """Ask for an attestation again, once the log works: it was checked, and found no room to wait for the log."""
        self._catch_up.defer(attestation.statement)

    def work(self) -> None:
        """Take answers, and decide what to ask next."""
        now = time.monotonic()
        self._catch_up.log_works = self._log is None or not self._log.failed
        chains = self._auditor.sessions.sessions
        if self._inbox:
            self._ask_at = now
        while self._inbox:
            request, done = self._inbox.popleft()
            self._take(request, done, now)
        self._forget()
        if now >= self._ask_at:
            self._ask_at = now + ASK_PERIOD_S
            for request in self._catch_up.requests(now, chains, self._reachable):
                self._outbox.put(request)
        self._report()

    def finish(self) -> None:
        """Say what is still missing."""
        self._forget()
        for finding in self._catch_up.finish(self._auditor.sessions.sessions):
            self._auditor.report(finding)

    def _forget(self) -> None:
        forgotten, self._auditor.forgotten = self._auditor.forgotten, []
        for gone in forgotten:
            self._catch_up.forget(gone)

    def _take(self, request: Request, done: Any, now: float) -> None:
        chains = self._auditor.sessions.sessions
        try:
            answer = read_answer(done.result())
        except (AttestationError, RuntimeError) as error:
            self._node.get_logger().warning(f"{request.node}: its journal's answer cannot be read: {error}")
            return
        given: dict[int, bool] = {}
        for attestation in self._catch_up.answered(request, answer, now):
            sequence = attestation.statement.sequence
            deferred = self._catch_up.is_deferred(request.session, sequence)
            if self._is_logged(attestation):
                if not deferred:
                    self._auditor.recall(attestation)
                given[sequence] = False
            elif deferred and self._log is not None and self._auditor.has_checked(attestation):
                self._log.add(attestation)
                given[sequence] = True
            else:
                new = self._auditor.recover(attestation, self._clock.now_ns(), self._since_ns)
                if new or self._has(attestation):
                    given[sequence] = new
        self._catch_up.judged(request, answer, given, now, chains)

    def _is_logged(self, attestation: Attestation) -> bool:
        try:
            return self._log is not None and bool(self._log.ledger.find(leaf_hash(attestation.cose)))
        except LogError:
            return False

    def _has(self, attestation: Attestation) -> bool:
        chain = self._auditor.sessions.find(attestation.statement)
        return chain is not None and chain.has(attestation.statement.sequence)

    def _report(self) -> None:
        for finding in self._catch_up.findings():
            self._auditor.report(finding)
