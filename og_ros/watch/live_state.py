"""What a robot's auditor and gate last said, as JSON for browsers; it tells listeners of every change."""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict, deque
from typing import Any, Final

from og_ros.watch.broadcast import Broadcast, encode_event
from og_ros.watch.live_chain import LiveChain

MAX_FINDINGS: Final = 200
MAX_REFUSALS: Final = 20


class LiveState:
    """The present state. Any thread may tell it news; it never waits for a browser.

    Its events: `about` (once), `status`, `checkpoint`, `finding`, `gate`, `refusal`, `chain`, and `begin` before a
    snapshot, upon which a page forgets what it had.
    """

    def __init__(self, about: dict[str, Any]) -> None:
        self._about = about
        self._lock = threading.Lock()
        self._latest: dict[str, Any] = {}
        self._findings: deque[dict[str, Any]] = deque(maxlen=MAX_FINDINGS)
        self._known: OrderedDict[tuple[Any, ...], None] = OrderedDict()
        self._numbered = 0
        self._refusals: deque[dict[str, Any]] = deque(maxlen=MAX_REFUSALS)
        self._chain = LiveChain()
        self._unreadable = 0
        self._changed = False
        self._gate_pending = False
        self.broadcast = Broadcast(self._snapshot)

    def status(self, status: dict[str, Any]) -> None:
        """Take the auditor's status, and its recent findings: those from before this process, or that were missed."""
        for finding in reversed(status.get("recent", ())):
            self.finding(finding)
        self._set("status", status)

    def checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take a checkpoint of the log."""
        self._set("checkpoint", checkpoint)

    def finding(self, finding: dict[str, Any]) -> None:
        """Take a finding, and tell it at once; the same one again is no news. It gets a number, in order of arrival."""
        known = (finding.get("stamp_ms"), finding["kind"], finding.get("topic"), finding.get("message"))
        with self._lock:
            if known in self._known:
                return
            self._known[known] = None
            if len(self._known) > 2 * MAX_FINDINGS:
                self._known.popitem(last=False)
            self._numbered += 1
            finding = {**finding, "number": self._numbered}
            self._findings.append(finding)
        self.broadcast.send("finding", finding)

    def verdict(self, verdict: dict[str, Any]) -> None:
        """Take a gate's verdict; a refusal or a change of its state is told at once, the rest with the next tick."""
        with self._lock:
            before = self._latest.get("gate")
            self._latest["gate"] = verdict
            self._gate_pending = True
            refused = not verdict["accepted"]
            if refused:
                self._refusals.append(verdict)
        if refused:
            self.broadcast.send("refusal", verdict)
        if before is None or (before["state"], before["mode"]) != (verdict["state"], verdict["mode"]):
            self._tell_gate()

    def attestation(self, topic: str, payload: bytes, now_ns: int) -> None:
        """Take a serialised attestation; the next tick shows the chain that it is part of."""
        with self._lock:
            self._unreadable += not self._chain.add(topic, payload, now_ns)
            self._changed = True

    def tick(self, now_ns: int) -> None:
        """Tell the newest chain and the gate's state, if they changed; a few times a second."""
        with self._lock:
            changed, self._changed = self._changed, False
            if changed:
                self._latest["chain"] = self._chain_json(now_ns)
        if changed:
            self.broadcast.send("chain", self._latest["chain"])
        if self._gate_pending:
            self._tell_gate()

    def _tell_gate(self) -> None:
        with self._lock:
            self._gate_pending = False
            gate = self._latest["gate"]
        self.broadcast.send("gate", gate)

    def _set(self, name: str, data: dict[str, Any]) -> None:
        with self._lock:
            self._latest[name] = data
        self.broadcast.send(name, data)

    def _chain_json(self, now_ns: int) -> dict[str, Any]:
        records = [
            {"topic": topic, "cdr": base64.b64encode(payload).decode("ascii")}
            for topic, payload in self._chain.newest_chain(now_ns)
        ]
        return {"records": records, "unreadable": self._unreadable}

    def _snapshot(self) -> list[bytes]:
        with self._lock:
            events = [encode_event("begin", {}), encode_event("about", self._about)]
            events += [encode_event(name, data) for name, data in self._latest.items()]
            events += [encode_event("finding", {**finding, "old": True}) for finding in self._findings]
            events += [encode_event("refusal", refusal) for refusal in self._refusals]
        return events
