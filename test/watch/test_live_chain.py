"""The newest chain among the attestations that were heard: the command and all that it rests on, in bounded memory."""

from __future__ import annotations

from scenario import honest_run

from og_ros.attest import decode_attestation
from og_ros.watch import live_chain
from og_ros.watch.live_chain import LiveChain

NOW = 10**18


def filled(ticks: int) -> LiveChain:
    chain = LiveChain()
    run = honest_run(ticks)
    for record in run.records:
        if record.type == "og_ros/msg/Attestation":
            assert chain.add(record.topic, record.payload, NOW)
    return chain


def test_the_newest_command_and_what_it_rests_on() -> None:
    statements = [decode_attestation(payload).statement for _, payload in filled(6).newest_chain(NOW)]
    assert [s.stage for s in statements] == ["control", "planning", "perception"]
    topics = {o.topic: o.digest for s in statements for o in s.outputs}
    for reader in statements[:2]:
        assert any(topics.get(i.topic) == i.digest for i in reader.inputs)


def test_a_stage_that_fell_silent_is_no_chain() -> None:
    assert filled(3).newest_chain(NOW + 60 * 10**9) == []


def test_what_is_no_attestation_is_counted_and_dropped() -> None:
    chain = LiveChain()
    assert not chain.add("/x", b"", NOW)
    assert not chain.add("/x", b"\0\1\0\0" + bytes(64), NOW)
    assert chain.newest_chain(NOW) == []


def test_memory_is_bounded(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(live_chain, "MAX_RECORDS", 8)
    chain = filled(20)
    assert len(chain._payloads) == len(chain._records) == 8
    assert len(chain._outputs) <= 8
    assert chain.newest_chain(NOW)
