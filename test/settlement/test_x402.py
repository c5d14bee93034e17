"""Payments by x402 on a node, with the x402 package's own facilitator: paid, refused, underfunded, replayed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from anvil import Anvil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from endpoint_place import VKEY, Place, endpoint
from settler_run import Run

from og_ros.cli.main import main
from og_ros.errors import BackendUnreachable, SettlementError
from og_ros.log import Ledger, VerifierKey, sign_checkpoint
from og_ros.log.checkpoint import Checkpoint
from og_ros.settlement.account import KEY_VARIABLE, Account
from og_ros.settlement.config import Allowance
from og_ros.settlement.endpoint import EndpointLog
from og_ros.settlement.log_receipt import checkpoint_id
from og_ros.settlement.outbox import FILE, Outbox
from og_ros.settlement.payments import DAY_NS, Payments, read_payments

pytest.importorskip("x402")
pytest.importorskip("web3")

from x402_place import SELLER, Facilitator, Money

from og_ros.settlement.payer import Payer
from og_ros.settlement.till import SETTLING, Till, Unpaid

Grow = Callable[[int], None]
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = "example.com/robot-7"
LOGS = {LOG: VerifierKey.of(LOG, LOG_KEY)}


@pytest.fixture(scope="module")
def facilitator(node: Anvil) -> Iterator[Facilitator]:
    one = Facilitator(node)
    yield one
    one.close()


@pytest.fixture(scope="module")
def money(node: Anvil, facilitator: Facilitator) -> Money:
    return Money(node, facilitator.url)


class Robot:
    """A robot with a purse of its own, its outbox, and a settler."""

    def __init__(self, money: Money, ledger: Ledger, folder: Path) -> None:
        self.money, self.ledger, self.folder = money, ledger, folder
        self.account = Account(Ed25519PrivateKey.generate().private_bytes_raw())

    def payer(self, *allowed: Allowance, folder: str = "state") -> Payer:
        payments = Payments(self.folder / folder / FILE)
        return Payer("http", VKEY.public_key, self.account, allowed or (self.money.allowance(),), payments)

    def run(self, place: Place, *allowed: Allowance) -> Run:
        return Run(self.ledger, self.folder, [place.backend(self.payer(*allowed))])

    @property
    def paid(self) -> int:
        return sum(one.amount for one in read_payments(self.folder / "state" / FILE))


@pytest.fixture
def robot(money: Money, ledger: Ledger, tmp_path: Path) -> Robot:
    one = Robot(money, ledger, tmp_path)
    money.mint(one.account.address, 5000)
    return one


def selling(money: Money, folder: Path, **changed: Any) -> AbstractContextManager[Place]:
    return endpoint(folder / "endpoint", LOGS, till=Till(money.price(**changed), "test"))


def test_a_checkpoint_is_paid_once_and_its_receipt_is_kept(
    money: Money, robot: Robot, grow: Grow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = money.balance(SELLER)
    with selling(money, tmp_path) as place:
        run = robot.run(place)
        for count in (5, 4):
            grow(count)
            run.settler.step()
            place.log.publish()
            run.settler.step()
    assert run.levels("http") == ["5 final", "9 final"]
    assert money.balance(SELLER) - before == 2000 == robot.paid
    assert money.balance(robot.account.address) == 3000
    run.outbox.close()
    (tmp_path / "p.yaml").write_text(
        f"robot: r\nsettlement:\n  state: state\n  backends:\n    http: {{type: http, url: 'https://e', "
        f"endpoint_key: '{VKEY.format()}'}}\n"
    )
    assert main(["settle", "status", "--config", str(tmp_path / "p.yaml"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["payment"]["amount"] for one in told] == [1000, 1000]
    for one in told:
        receipt = money.node.rpc.call("eth_getTransactionReceipt", one["payment"]["receipt"]["transaction"])
        assert receipt["to"] == money.token
    assert main(["settle", "status", "--config", str(tmp_path / "p.yaml")]) == 0
    table = capsys.readouterr().out
    assert table.count(money.token) == 2
    assert told[0]["payment"]["receipt"]["transaction"] in table


def test_a_run_by_the_command_line_pays(
    money: Money, robot: Robot, grow: Grow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, (b"\11" * 32).hex())
    payer = Account(b"\11" * 32).address
    money.mint(payer, 1000)
    terms = f"network: '{money.network}', asset: '{money.token}', pay_to: '{SELLER}', per_payment: 1000, per_day: 1000"
    grow(5)
    with selling(money, tmp_path) as place:
        (tmp_path / "p.yaml").write_text(
            f"robot: r\nsettlement:\n  state: state\n  backends:\n    paid: {{type: http, url: '{place.server.url}', "
            f"endpoint_key: '{VKEY.format()}', poll_s: 0.01, payment: {{allowed: [{{{terms}}}]}}}}\n"
        )
        command = ["settle", "run", str(robot.ledger.directory), "--config", str(tmp_path / "p.yaml"), "--once"]
        assert main([*command, "--drain", "0"]) == 2, "it is taken, and its endpoint has not published yet"
        place.log.publish()
        assert main(command) == 0
    assert money.balance(payer) == 0
    assert (tmp_path / "state" / "receipts.json").is_file()


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "above-the-cap-a-payment": ({"amount": 1001}, {}, "above the cap of 1000 a payment"),
    "other-asset": ({"asset": "0x" + "11" * 20}, {}, "asset 0x1111111111111111111111111111111111111111 is not allowed"),
    "other-network": ({"network": "eip155:1"}, {}, "network eip155:1 is not allowed"),
    "other-recipient": ({"pay_to": "0x" + "66" * 20}, {}, "recipient 0x6666666666666666666666666666666666666666"),
    "above-the-cap-a-day": ({}, {"per_payment": 999, "per_day": 999}, "above the cap of 999"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_payment_is_refused(money: Money, robot: Robot, grow: Grow, tmp_path: Path, name: str) -> None:
    asked, allowed, words = REFUSED[name]
    before = money.balance(SELLER)
    with selling(money, tmp_path, **asked) as place:
        run = robot.run(place, money.allowance(**allowed))
        grow(5)
        run.settler.step()
        assert place.log._ledger.size == 0
    assert any(words in line for line in run.said), run.said
    assert (robot.paid, money.balance(SELLER) - before) == (0, 0)
    assert run.levels("http") == ["5 submitted"]


def test_the_cap_a_day_holds_over_a_restart_and_a_clock_that_is_put_back(
    money: Money, robot: Robot, grow: Grow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with selling(money, tmp_path) as place:
        Outbox(tmp_path / "state").close()
        allowed = money.allowance(per_day=2500)
        for size in (1, 2):
            place.backend(robot.payer(allowed)).send(attempt(size))
        start = time.time_ns()
        for moved in (0, -365 * DAY_NS, DAY_NS - 10**10):
            monkeypatch.setattr("og_ros.settlement.payer.time.time_ns", lambda now=start + moved: now)
            with pytest.raises(SettlementError, match="above the cap of 2500 a day: 2000 went"):
                place.backend(robot.payer(allowed)).send(attempt(3))
        monkeypatch.setattr("og_ros.settlement.payer.time.time_ns", lambda: start + DAY_NS)
        place.backend(robot.payer(allowed)).send(attempt(3))
    assert money.balance(robot.account.address) == 2000


def note_of(size: int) -> str:
    return sign_checkpoint(Checkpoint(LOG, size, b"r" * 32), LOG_KEY)


def attempt(size: int) -> Any:
    from og_ros.settlement.backend import Attempt

    return Attempt(note_of(size).encode(), checkpoint_id(note_of(size)), "{}")


def test_an_empty_purse_is_told_and_the_same_authorization_goes_through_later(
    money: Money, robot: Robot, grow: Grow, tmp_path: Path
) -> None:
    robot.account = Account(b"\7" * 32)
    with selling(money, tmp_path) as place:
        run = robot.run(place)
        grow(5)
        run.settler.step()
        assert any("does not take the payment: invalid_exact_evm_insufficient_balance" in line for line in run.said)
        assert run.levels("http") == ["5 submitted"]
        signed = read_payments(tmp_path / "state" / FILE)
        money.mint(robot.account.address, 1000)
        run.settler._courses[0].again_at = 0.0
        run.settler.step()
        after = read_payments(tmp_path / "state" / FILE)
        assert [one.authorization for one in after] == [one.authorization for one in signed]
        assert after[0].taken
    assert money.balance(robot.account.address) == 0


def test_an_endpoint_that_asks_again_and_again_is_paid_once(money: Money, robot: Robot, tmp_path: Path) -> None:
    """After a crash, with an expired authorization, and with a lost outbox: the token executes one nonce once."""
    Outbox(tmp_path / "state").close()
    Outbox(tmp_path / "fresh").close()
    till = Till(money.price(), "test")
    asked = till.ask("")
    name = checkpoint_id(note_of(5))
    first = robot.payer().pay(name, asked)
    assert robot.payer().pay(name, asked) == first, "a crash before it was sent: the same one is sent"
    log = EndpointLog(tmp_path / "endpoint", "settle.example/log", Ed25519PrivateKey.generate(), LOGS)
    till.take(log, name, first)
    assert money.balance(robot.account.address) == 4000
    other = EndpointLog(tmp_path / "forgetful", "settle.example/log", Ed25519PrivateKey.generate(), LOGS)
    for header in (
        first,
        robot.payer(folder="fresh").pay(name, asked),
        expired(robot, name, Till(money.price(valid_s=60), "test").ask("")),
    ):
        with pytest.raises(Unpaid, match="nonce_already_used"):
            till.take(other, name, header)
    with pytest.raises(Unpaid, match="nonce_already_used"):
        till.take(other, checkpoint_id(note_of(6)), first)
    assert money.balance(robot.account.address) == 4000
    assert robot.paid == 1000
    log.close()
    other.close()


def expired(robot: Robot, name: bytes, asked: str) -> str:
    payments = Payments(robot.folder / "state" / FILE)
    one = payments.find("http", name)
    assert one is not None
    payments.put(replace(one, valid_before=1), 10**9)
    payments.close()
    again = robot.payer().pay(name, asked)
    assert again != one.authorization
    return again


def test_an_endpoint_that_asks_for_less_later_does_not_get_round_the_cap(
    money: Money, robot: Robot, tmp_path: Path
) -> None:
    """The first authorization may have been executed; it counts, and its receipt and first time are kept."""
    Outbox(tmp_path / "state").close()
    name = checkpoint_id(note_of(5))
    payer = robot.payer(money.allowance(per_day=1500))
    payer.pay(name, Till(money.price(), "test").ask(""))
    payments = Payments(tmp_path / "state" / FILE)
    one = payments.find("http", name)
    assert one is not None
    payments.done("http", name, '{"success":true}')
    payments.put(replace(one, valid_before=1), 10**9)
    payer.pay(name, Till(money.price(amount=1), "test").ask(""))
    again = payments.find("http", name)
    assert again is not None
    assert (again.amount, again.made_ns, again.response, again.taken) == (1000, one.made_ns, '{"success":true}', False)
    with pytest.raises(SettlementError, match="1000 went"):
        payer.pay(checkpoint_id(note_of(6)), Till(money.price(), "test").ask(""))


def test_a_checkpoint_is_not_bound_to_two_assets(money: Money, robot: Robot, tmp_path: Path) -> None:
    Outbox(tmp_path / "state").close()
    name = checkpoint_id(note_of(5))
    second = "0x" + "22" * 20
    allowed = (money.allowance(), money.allowance(asset=second))
    robot.payer(*allowed).pay(name, Till(money.price(), "test").ask(""))
    payments = Payments(tmp_path / "state" / FILE)
    one = payments.find("http", name)
    assert one is not None
    payments.put(replace(one, valid_before=1), 10**9)
    with pytest.raises(SettlementError, match="another asset than the one that was authorised"):
        robot.payer(*allowed).pay(name, Till(money.price(asset=second), "test").ask(""))


def test_an_endpoint_that_crashed_while_it_was_paid_does_not_ask_twice(
    money: Money, robot: Robot, tmp_path: Path, facilitator: Facilitator
) -> None:
    Outbox(tmp_path / "state").close()
    with selling(money, tmp_path) as place:
        one = attempt(5)
        till = place.options["till"]
        header = robot.payer().pay(one.reference, till.ask(""))
        spare = EndpointLog(tmp_path / "spare", "settle.example/log", Ed25519PrivateKey.generate(), LOGS)
        till.take(spare, one.reference, header)  # it is executed, and the endpoint does not get to know
        spare.close()
        place.log.note_payment(one.reference, header, SETTLING)
        place.backend(robot.payer()).send(one)
        assert place.log._ledger.size == 1
        # Paid, and stopped before it was entered: it is entered, and nobody pays.
        two = attempt(6)
        till.take(place.log, two.reference, robot.payer().pay(two.reference, till.ask("")))
        place.backend(robot.payer()).send(two)
        assert place.log._ledger.size == 2
    assert money.balance(robot.account.address) == 3000


def test_a_checkpoint_that_was_paid_and_not_taken_for_a_day_is_given_up(
    money: Money, robot: Robot, grow: Grow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot.account = Account(b"\10" * 32)
    with selling(money, tmp_path) as place:
        run = robot.run(place)
        grow(5)
        run.settler.step()
        later = time.time_ns() + DAY_NS
        monkeypatch.setattr("og_ros.settlement.payer.time.time_ns", lambda: later)
        run.settler._courses[0].again_at = 0.0
        run.settler.step()
        assert any("the next checkpoint pays anew" in line for line in run.said)
        assert len(run.outbox.rows("http")) == 1, "it is not taken up again"
    assert next(row.dead for row in run.outbox.rows("http")) == (
        "the endpoint has had a payment for it for a day, and does not have it"
    )


MALFORMED = ["", "x", "e30=", "bnVsbA==", "W10=", "eyJ4NDAyVmVyc2lvbiI6IDF9", "A" * 20_000]


@pytest.mark.parametrize("header", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_headers_are_one_line(money: Money, robot: Robot, tmp_path: Path, header: str) -> None:
    Outbox(tmp_path / "state").close()
    with pytest.raises(SettlementError) as caught:
        robot.payer().pay(b"n" * 32, header)
    assert "\n" not in str(caught.value)
    log = EndpointLog(tmp_path / "e", "settle.example/log", Ed25519PrivateKey.generate(), LOGS)
    with pytest.raises(Unpaid):
        Till(money.price(), "test").take(log, b"n" * 32, header)
    log.close()
    assert robot.paid == 0


def test_a_facilitator_that_is_away_is_no_refusal(money: Money, robot: Robot, tmp_path: Path) -> None:
    Outbox(tmp_path / "state").close()
    with selling(money, tmp_path, facilitator="http://127.0.0.1:9") as place:
        with pytest.raises(BackendUnreachable, match="status 503"):
            place.backend(robot.payer()).send(attempt(5))
        assert place.log._ledger.size == 0
