"""A node that is really gone while a log goes on, and ten minutes of back-off by a clock of the test's own."""

from __future__ import annotations

import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from anvil import KEYS, Anvil
from settlement_place import ROBOT, Place
from settler_run import Run

from og_ros.attest import SoftwareSigner, keys
from og_ros.errors import BackendUnreachable
from og_ros.log import Ledger, StoredCheckpoint
from og_ros.settlement import deploy, settler
from og_ros.settlement.account import Account
from og_ros.settlement.backend import Attempt, Item, Seen
from og_ros.settlement.local import LocalBackend
from og_ros.settlement.receipt import Level


def test_a_node_that_is_gone_for_many_checkpoints_loses_nothing_and_gets_nothing_twice(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends with a transaction on its way; the same chain comes back on the same port."""
    monkeypatch.setattr(settler, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(settler, "LONGEST_PAUSE_S", 0.05)
    state = ("--state", str(tmp_path / "chain.json"))
    node = Anvil(*state)
    owner, operator, stranger = (Account(bytes.fromhex(key)) for key in KEYS)
    registry, contract = deploy.deploy(node.rpc, owner)
    place = Place(node, registry, contract, owner, operator, stranger, SoftwareSigner(keys.generate()))
    deploy.propose(node.rpc, operator, registry, ROBOT, place.signer)
    deploy.approve(node.rpc, owner, registry, place.signer.key_id, place.now() + 3600)
    run = Run(ledger, tmp_path, [place.backend(), LocalBackend("local", partial(Ledger.open, ledger.directory))])

    def grow() -> None:
        ledger.append([f"{ledger.size} {time.time_ns()}".encode() for _ in range(3)])
        ledger.checkpoint()

    grow()
    run.until("3 final")
    node.automine(False)
    grow()
    run.settler.step()
    assert run.levels() == ["3 final", "6 submitted"]
    node.stop()
    for _ in range(40):
        grow()
        run.settler.step()
        time.sleep(0.01)
    assert run.levels() == ["3 final", "6 submitted"]
    assert sum("does not answer" in line for line in run.said) == 1, "an outage is told once"
    assert run.levels("local")[-1] == f"{ledger.size} final", "one that is away holds up no other"
    assert ledger.size == 126

    back = Anvil(*state, port=node.port)
    try:
        run.until("3 final", "6 final", "126 final")
        assert any("answers again" in line for line in run.said)
        place.node = back
        name = place.chain.name(operator.address, ROBOT)
        events = place.chain.events(name)
        assert [(event.entry.sequence, event.entry.size) for event in events] == [(0, 3), (1, 6), (2, 126)]
        assert all(ledger.root(event.entry.size) == event.entry.root for event in events)
        assert back.rpc.number("eth_getTransactionCount", operator.address, "latest") == 1 + len(events)
    finally:
        run.outbox.close()
        back.stop()


class Away:
    """A backend whose node is away until a time of the test's clock."""

    name = "away"

    def __init__(self, clock: SimpleNamespace, until: float) -> None:
        self._clock, self._until = clock, until
        self.tries: list[float] = []
        self.sent: list[int] = []

    def _reach(self) -> None:
        self.tries.append(self._clock.now)
        if self._clock.now < self._until:
            raise BackendUnreachable("node: does not answer")

    def covered(self) -> tuple[int, bytes | None]:
        self._reach()
        return 0, None

    def prepare(self, checkpoint: StoredCheckpoint, before: Item | None) -> Attempt:
        self._reach()
        return Attempt(b"", checkpoint.root, str(checkpoint.size))

    def send(self, attempt: Attempt) -> None:
        self._reach()
        self.sent.append(int(attempt.detail))

    def look(self, item: Item) -> Seen:
        return Seen(Level.FINAL, receipt="r")

    def renew(self, item: Item, now_ns: int) -> Attempt | None:
        return None

    def close(self) -> None:
        pass


def test_ten_minutes_of_back_off(tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step each 2 s, a checkpoint each 20: it asks seldom, is back within a minute, and sends the newest once."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(
        settler, "time", SimpleNamespace(monotonic=lambda: clock.now, time_ns=lambda: int(clock.now * 1e9))
    )
    away = Away(clock, until=1600.0)
    run = Run(ledger, tmp_path, [away])
    while not away.sent:
        if int(clock.now) % 20 == 0:
            ledger.append([str(clock.now).encode()])
            ledger.checkpoint()
        run.settler.step()
        clock.now += 2.0
        assert clock.now < 1664, "it came back later than its longest pause"
    down = [at for at in away.tries if at < 1600]
    assert 10 < len(down) < 40
    gaps = [after - before for before, after in pairwise(down)]
    assert max(gaps) <= settler.LONGEST_PAUSE_S + 2
    assert gaps[-1] >= settler.LONGEST_PAUSE_S / 2
    assert away.sent == [ledger.size]
    for _ in range(5):
        run.settler.step(ending=True)
        clock.now += 1.0
    assert away.sent == [ledger.size]
    assert sum("does not answer" in line for line in run.said) == 1
    run.outbox.close()
