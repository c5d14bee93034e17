"""The settler against a real node: count, age and end; crashes, reorganisations, stuck fees, a lost outbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from anvil import KEYS, wait_for
from settlement_place import ROBOT, Place
from settler_run import Run

from og_ros.errors import BackendUnreachable, SettlementError
from og_ros.log import Ledger
from og_ros.settlement import receipt, trie
from og_ros.settlement.evm import Fees
from og_ros.settlement.evm_chain import SETTLED_TOPIC, read_event
from og_ros.settlement.local import LocalBackend
from og_ros.settlement.outbox import Outbox
from og_ros.settlement.receipt import Level
from og_ros.settlement.settler import Due

Grow = Callable[[int], None]


def events(place: Place) -> list[int]:
    return [e.entry.size for e in place.chain.events(place.chain.name(place.operator.address, ROBOT))]


def test_checkpoints_become_final_and_their_receipts_hold_offline(
    place: Place, ledger: Ledger, grow: Grow, tmp_path: Path
) -> None:
    run = Run(ledger, tmp_path, [place.backend(), LocalBackend("local", partial(Ledger.open, ledger.directory))])
    grow(5)
    run.until("5 final")
    grow(7)
    run.until("5 final", "12 final")
    assert run.levels("local") == ["5 final", "12 final"]
    assert run.settler.unsettled() == []
    assert events(place) == [5, 12]
    for row in run.outbox.rows("evm"):
        one = receipt.from_json(row.receipt, "receipt")
        assert one.inclusion is not None
        assert trie.header_hash(one.inclusion.header) == one.inclusion.block_hash
        assert place.chain.canonical(trie.read_header(one.inclusion.header)[0]) == one.inclusion.block_hash
        root = trie.read_header(one.inclusion.header)[2]
        logs = trie.receipt_logs(trie.verify(root, one.inclusion.index, one.inclusion.proof))
        assert [t[0] for _, t, _ in logs] == [SETTLED_TOPIC]
        assert read_event(one.entry.chain, logs[0][1], logs[0][2]) == (one.entry, one.entry.head(), True)
        bad = [*one.inclusion.proof[:-1], one.inclusion.proof[-1][:-1] + b"\0"]
        with pytest.raises(SettlementError, match="does not give the receipts root"):
            trie.verify(root, one.inclusion.index, bad)


def test_a_checkpoint_leaves_by_count_age_and_end(place: Place, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    run = Run(ledger, tmp_path, [place.backend()], Due(10, 1e9))
    grow(3)
    run.until("3 final")  # the first at once
    grow(4)
    run.settler.step()
    assert events(place) == [3]
    grow(6)
    run.until("3 final", "13 final")
    grow(1)
    run.settler.step(ending=True)
    run.until("3 final", "13 final", "14 final")
    run.settler._due = Due(10, 0.0)
    grow(1)
    run.until("3 final", "13 final", "14 final", "15 final")


def test_while_one_waits_the_newest_replaces_those_between(
    place: Place, ledger: Ledger, grow: Grow, tmp_path: Path
) -> None:
    run = Run(ledger, tmp_path, [place.backend()])
    place.node.automine(False)
    for _ in range(4):
        grow(2)
        run.settler.step()
    assert run.levels() == ["2 submitted"]
    place.node.mine()
    place.node.automine(True)
    run.until("2 final", "8 final")
    assert events(place) == [2, 8]


def test_a_crash_between_storing_and_sending_settles_once(
    place: Place, ledger: Ledger, grow: Grow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = place.backend()
    run = Run(ledger, tmp_path, [backend])
    grow(4)

    def die(attempt: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backend, "send", die)
    with pytest.raises(KeyboardInterrupt):
        run.settler.step()
    run.outbox.close()
    again = Run(ledger, tmp_path, [place.backend()])
    assert again.levels() == ["4 submitted"]
    again.until("4 final")
    for _ in range(3):
        again.settler.step(ending=True)
    assert events(place) == [4]


def test_a_lost_outbox_resumes_from_the_chains_head(place: Place, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    run = Run(ledger, tmp_path, [place.backend()])
    grow(4)
    run.until("4 final")
    fresh = Run(ledger, tmp_path / "fresh", [place.backend()])
    fresh.settler.step(ending=True)
    assert fresh.levels() == []
    grow(4)
    fresh.until("8 final")
    assert events(place) == [4, 8]


def test_a_reorganisation_is_noticed_and_everything_sent_again(
    place: Place, ledger: Ledger, grow: Grow, tmp_path: Path
) -> None:
    run = Run(ledger, tmp_path, [place.backend(finality=12)])
    for count in (2, 3):
        place.node.mine()
        grow(count)
        run.settler.step()
        run.settler.step()
    assert run.levels() == ["2 included", "5 included"]
    place.node.automine(False)
    place.node.rpc.call("anvil_reorg", 3, [])
    assert events(place) == []
    run.until("2 submitted", "5 submitted")
    assert any("reorganisation" in line for line in run.said)
    place.node.automine(True)
    run.settler.step()
    wait_for(lambda: run.settler.step() or run.levels() == ["2 included", "5 included"], f"{run.said}", 30)
    place.node.mine(12)
    run.until("2 final", "5 final")
    assert events(place) == [2, 5]


def test_a_stuck_transaction_pays_more_with_the_same_nonce(
    place: Place, ledger: Ledger, grow: Grow, tmp_path: Path
) -> None:
    run = Run(ledger, tmp_path, [place.backend(fees=Fees(1000.0, 1.0, bump_after_s=1e-6))])
    place.node.automine(False)
    sent = place.node.rpc.number("eth_getTransactionCount", place.operator.address, "latest")
    grow(2)
    for _ in range(3):
        run.settler.step()
    attempts = run.outbox.open_items("evm")[0].attempts
    assert len(attempts) >= 3
    place.node.mine()
    place.node.automine(True)
    run.until("2 final")
    assert events(place) == [2]
    assert place.node.rpc.number("eth_getTransactionCount", place.operator.address, "latest") == sent + 1


def test_a_cap_on_fees_holds_and_says_so(place: Place, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    run = Run(ledger, tmp_path, [place.backend(fees=Fees(0.5, 0.4))])
    place.node.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(10**9))
    place.node.mine()
    grow(2)
    run.settler.step()
    assert run.levels() == []
    assert any("above the cap" in line for line in run.said)


def test_a_nonce_that_another_transaction_used_loses_nothing(
    place: Place, ledger: Ledger, grow: Grow, tmp_path: Path
) -> None:
    run = Run(ledger, tmp_path, [place.backend()])
    place.node.automine(False)
    grow(2)
    run.settler.step()
    transaction = run.outbox.open_items("evm")[0].attempts[0].reference
    place.node.rpc.call("anvil_dropTransaction", f"0x{transaction.hex()}")
    place.node.automine(True)
    place.node.rpc.call("eth_sendTransaction", {"from": place.operator.address, "to": place.owner.address})
    run.until("2 final")
    assert events(place) == [2]
    assert [bool(row.dead) for row in run.outbox.rows("evm")] == [True, False]


def test_what_a_contract_refuses_is_told_and_tried_on(place: Place, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    from og_ros.settlement import deploy

    deploy.revoke(place.node.rpc, place.owner, place.registry, place.signer.key_id)
    run = Run(ledger, tmp_path, [place.backend(), LocalBackend("local", partial(Ledger.open, ledger.directory))])
    grow(2)
    run.settler.step()
    assert any("no valid key" in line for line in run.said)
    assert run.levels("local") == ["2 final"], "one backend does not hold up another"
    assert "no valid key" in run.settler.unsettled()[0]


def test_a_node_that_is_away_is_waited_for(place: Place, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    backend = place.backend()
    right = backend._chain.rpc.url
    backend._chain.rpc.url = "http://127.0.0.1:9"
    run = Run(ledger, tmp_path, [backend])
    grow(2)
    run.settler.step()
    assert any("does not answer" in line for line in run.said)
    backend._chain.rpc.url = right
    run.until("2 final")


def test_a_ledger_that_was_rewound_settles_nothing(place: Place, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    run = Run(ledger, tmp_path, [place.backend()])
    grow(9)
    run.until("9 final")
    other = Ledger.create(tmp_path / "rewound", ledger.origin, ledger._signer.classical)  # type: ignore[union-attr]
    other.append([b"x"])
    other.checkpoint()
    late = Run(other, tmp_path / "other", [place.backend()])
    late.settler.step(ending=True)
    assert any("rewound" in line for line in late.said)
    assert events(place) == [9]


def test_a_node_that_lies_about_an_inclusion_is_found(place: Place, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    run = Run(ledger, tmp_path, [place.backend()])
    grow(3)
    run.until("3 final")
    one = receipt.from_json(run.outbox.rows("evm")[0].receipt, "receipt")
    told = place.node.rpc.call("eth_getTransactionReceipt", f"0x{one.transaction.hex()}")
    real = place.node.rpc.call

    def lie(method: str, *parameters: object) -> object:
        result = real(method, *parameters)
        if method == "eth_getBlockReceipts":
            result[0]["logs"][0]["data"] = result[0]["logs"][0]["data"][:-1] + "0"
        return result

    chain = place.chain
    chain.rpc = replace_call(place, lie)
    with pytest.raises(BackendUnreachable, match="its hash stands for"):
        chain.inclusion(told)
    assert replace(one, inclusion=place.chain.inclusion(told)) == one


def replace_call(place: Place, call: Callable[..., object]) -> object:
    from og_ros.settlement.rpc import Rpc

    rpc = Rpc(place.node.url)
    rpc.call = call  # type: ignore[method-assign]
    return rpc


def test_unsigned_checkpoints_settle_where_the_registry_allows_it(
    place: Place, ledger: Ledger, grow: Grow, tmp_path: Path
) -> None:
    run = Run(ledger, tmp_path, [place.backend(signed=False)])
    grow(3)
    run.until("3 final")
    assert receipt.from_json(run.outbox.rows("evm")[0].receipt, "receipt").signature == b""
    assert Level.FINAL > Level.INCLUDED


def test_one_outbox_has_one_writer(place: Place, ledger: Ledger, tmp_path: Path) -> None:
    run = Run(ledger, tmp_path, [place.backend()])
    with pytest.raises(SettlementError, match="another run"):
        Outbox(tmp_path / "state")
    assert Outbox(tmp_path / "state", read_only=True).rows() == []
    run.outbox.close()
    Outbox(tmp_path / "state").close()


def test_a_kill_at_any_moment_settles_everything_once(
    place: Place, ledger: Ledger, grow: Grow, tmp_path: Path
) -> None:
    """SIGKILL at six moments of a run by the command line; the last run is left alone."""
    import os
    import subprocess
    import sys

    from og_ros.attest import keys
    from og_ros.settlement.account import KEY_VARIABLE

    keys.save_private(place.signer._key, tmp_path / "settlement.pem")
    (tmp_path / "p.yaml").write_text(
        f"robot: {ROBOT}\nsettlement:\n  state: state\n  every_leaves: 1\n  backends:\n    evm: {{type: evm, "
        f'rpc: "{place.node.url}", contract: "{place.contract}", key: settlement.pem, finality: 1}}\n'
    )
    verb = ["settle", "run", str(ledger.directory), "--config", str(tmp_path / "p.yaml")]
    environment = {**os.environ, KEY_VARIABLE: KEYS[1]}
    command = [sys.executable, "-m", "og_ros.cli.main", *verb]
    for moment in range(6):
        grow(2)
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        reached = place.node.rpc.number("eth_blockNumber") + moment % 2
        wait_for(
            lambda: (tmp_path / "state" / "outbox.db").is_file()
            and place.node.rpc.number("eth_blockNumber") >= reached,  # noqa: B023
            "the run does not settle",
        )
        process.kill()
        process.wait()
    done = subprocess.run([*command, "--once"], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    settled = events(place)
    assert settled[-1] == 12
    assert settled == sorted(set(settled))
