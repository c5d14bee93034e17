"""Pairing from outside: what the stated rule gives, and what it gives nothing for."""

from __future__ import annotations

import pytest

from og_ros.errors import ConfigError
from og_ros.stages.pairing import Pair, Pairing, Rule, Seen

MS = 1_000_000


def pairs(pairing: Pairing, now_ms: int) -> list[Pair]:
    return list(pairing.take(now_ms * MS))


def seen(stamp: int, at_ms: float, name: str = "") -> Seen:
    return Seen(stamp, int(at_ms * MS), name)


def names(pair: Pair) -> list[str]:
    return [one.message for one in pair.inputs]


def test_by_stamp_the_others_are_as_they_were_when_the_first_came() -> None:
    pairing = Pairing(["/image", "/odom"], Rule("stamp"))
    pairing.add_input("/odom", seen(1, 0, "odom0"))
    pairing.add_input("/image", seen(7, 10, "image7"))
    pairing.add_input("/odom", seen(2, 12, "odom1"))  # came while the node was at work
    pairing.add_input("/image", seen(8, 15, "image8"))
    pairing.add_output(seen(7, 20, "out"))
    (pair,) = pairs(pairing, 20)
    assert (pair.why, names(pair)) == ("", ["image7", "odom0"])
    assert pairs(pairing, 500) == []


def test_by_stamp_an_output_waits_for_an_input_that_it_overtook() -> None:
    pairing = Pairing(["/image"], Rule("stamp", patience_ns=50 * MS))
    pairing.add_output(seen(7, 20))
    assert pairs(pairing, 60) == []
    pairing.add_input("/image", seen(7, 61, "image7"))
    (pair,) = pairs(pairing, 62)
    assert names(pair) == ["image7"]
    pairing.add_output(seen(9, 70))
    assert pairs(pairing, 119) == []
    (pair,) = pairs(pairing, 120)
    assert pair.inputs == ()
    assert "no message on /image had its stamp, 9 ns" in pair.why


def test_no_stamp_pairs_with_nothing_by_stamp() -> None:
    pairing = Pairing(["/image"], Rule("stamp", patience_ns=0))
    pairing.add_input("/image", seen(0, 1))
    pairing.add_output(seen(0, 2))
    assert pairs(pairing, 2)[0].why


def test_latest_before_decides_at_once() -> None:
    pairing = Pairing(["/scan", "/goal"], Rule("latest_before", max_age_ns=100 * MS))
    pairing.add_output(seen(0, 1))
    (early,) = pairs(pairing, 1)
    assert "no message on /scan came before it" in early.why
    pairing.add_input("/goal", seen(0, 2, "goal"))
    pairing.add_input("/scan", seen(0, 3, "scan"))
    pairing.add_output(seen(0, 50))
    pairing.add_input("/scan", seen(0, 60, "later"))
    (pair,) = pairs(pairing, 60)
    assert names(pair) == ["scan", "goal"]
    pairing.add_output(seen(0, 110))
    (stale,) = pairs(pairing, 110)
    assert "the message on /goal had come 108 ms before it" in stale.why


def test_memory_is_bounded() -> None:
    pairing = Pairing(["/image"], Rule("stamp"), memory=4)
    for number in range(1, 10):
        pairing.add_input("/image", seen(number, number))
        pairing.add_output(seen(1000 + number, number))
    assert len(pairs(pairing, 10)) == 5, "the ones that no longer fit are given up"
    pairing.add_output(seen(5, 10))
    pairing.add_output(seen(6, 10))
    found = [pair for pair in pairs(pairing, 10_000) if not pair.why]
    assert [pair.output.stamp_ns for pair in found] == [6]


def test_the_rule_is_stated() -> None:
    assert Rule("stamp").text(["/image", "/odom"]) == "rule=stamp;first=/image;max_age_ms=1000"
    assert Rule("latest_before", 5 * MS).text(["/scan"]) == "rule=latest_before;max_age_ms=5"
    with pytest.raises(ConfigError, match="rule is 'causal'"):
        Rule("causal")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="inputs is empty"):
        Pairing([], Rule("stamp"))
