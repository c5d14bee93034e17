"""The sample: exact fractions and counts, the same for everybody with the same beacon, and what it proves."""

from __future__ import annotations

import hashlib
import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from og_ros.audit.reexecution.confidence import bad_at_most
from og_ros.audit.reexecution.sampling import (
    ALL,
    Beacon,
    Identity,
    fresh_beacon,
    parse_beacon,
    parse_sample,
    rank,
    selection,
    threshold_for,
)
from og_ros.errors import ConfigError

RUN = [Identity(b"k" * 32, b"s" * 16, n) for n in range(2000)] + [Identity(b"l" * 32, b"t" * 16, n) for n in range(500)]


def below(beacon: bytes, threshold: int) -> list[Identity]:
    return [inference for inference in RUN if rank(beacon, inference) < threshold]


def test_rank_is_the_hash_that_the_guide_gives() -> None:
    data = b"og_ros re-execution v1" + b"beacon" + b"k" * 32 + b"s" * 16 + (7).to_bytes(8, "big")
    expected = int.from_bytes(hashlib.sha256(data).digest(), "big")
    assert rank(b"beacon", Identity(b"k" * 32, b"s" * 16, 7)) == expected


@pytest.mark.parametrize(
    ("text", "fraction", "count"),
    [
        ("all", Fraction(1), None), ("100%", Fraction(1), None), ("2.5%", Fraction(1, 40), None),
        ("0.025", Fraction(1, 40), None), ("1.0", Fraction(1), None), (".5", Fraction(1, 2), None),
        ("1", None, 1), ("500", None, 500), (" 500 ", None, 500), ("0.1 %", Fraction(1, 1000), None),
    ],
)  # fmt: skip
def test_samples_that_are_understood(text: str, fraction: Fraction | None, count: int | None) -> None:
    sample = parse_sample(text)
    assert (sample.fraction, sample.count) == (fraction, count)
    assert parse_sample(sample.text) == sample


@pytest.mark.parametrize("text", ["", "0", "0%", "0.0", "101%", "1.5", "-1", "1e3", "٣", "some", "nan", "9" * 10])
def test_samples_that_are_not(text: str) -> None:
    with pytest.raises(ConfigError, match="is not understood; give all, a share such as"):
        parse_sample(text)


@pytest.mark.parametrize("value", [b"\0", b"hello", bytes(32), b"\xff" * 100, b"ab" * 32, b"0xfe"])
def test_a_beacon_is_shown_so_that_it_can_be_given_again(value: bytes) -> None:
    assert parse_beacon(Beacon(value).text).value == value


def test_beacons_as_they_are_given() -> None:
    assert parse_beacon("tomorrow's lottery numbers").value == b"tomorrow's lottery numbers"
    assert parse_beacon("c0ffee").value == b"c0ffee", "short text that looks like hexadecimal is text"
    assert parse_beacon("0xc0ffee").value == bytes.fromhex("c0ffee")
    assert parse_beacon("AB" * 32).value == b"\xab" * 32, "the randomness of a drand round"
    for text in ("", "x" * 1025, "\ud800"):
        with pytest.raises(ConfigError):
            parse_beacon(text)
    assert fresh_beacon() != fresh_beacon()
    assert not fresh_beacon().given


@given(st.binary(min_size=1, max_size=40), st.integers(1, 2600))
def test_a_count_takes_exactly_so_many(beacon: bytes, count: int) -> None:
    shuffled = random.Random(count).sample(RUN, len(RUN))
    taken = below(beacon, threshold_for(count, beacon, [*shuffled, *shuffled[:100]]))  # some were read twice
    assert len(taken) == min(count, len(RUN))
    ranks = sorted(rank(beacon, inference) for inference in RUN)
    assert sorted(rank(beacon, inference) for inference in taken) == ranks[: len(taken)]


def test_a_fraction_takes_about_its_share_and_all_takes_all() -> None:
    beacon = Beacon(b"beacon")
    assert len(below(beacon.value, selection(ALL, beacon).threshold)) == len(RUN)
    taken = below(beacon.value, selection(parse_sample("10%"), beacon).threshold)
    assert 200 < len(taken) < 300
    more = below(beacon.value, selection(parse_sample("20%"), beacon).threshold)
    assert set(taken) < set(more), "a larger share with the same beacon adds to the smaller one"
    other = below(b"another", selection(parse_sample("10%"), Beacon(b"another")).threshold)
    assert len(set(taken) & set(other)) < len(taken) / 2


def test_what_a_sample_proves() -> None:
    assert bad_at_most(1000, 1000, 0) == 0, "all were run again"
    assert bad_at_most(1000, 1000, 7) == 7
    assert bad_at_most(1000, 0, 0) == 1000, "nothing was"
    assert bad_at_most(10**6, 300, 0) / 10**6 == pytest.approx(3 / 300, rel=0.02), "the rule of three"


@pytest.mark.parametrize(
    ("population", "sampled", "bad"), [(50, 10, 0), (50, 10, 3), (40, 35, 1), (12, 3, 3), (9, 9, 0)]
)
def test_the_bound_is_the_hypergeometric_one(population: int, sampled: int, bad: int) -> None:
    def probability(total_bad: int) -> float:
        ways = sum(
            math.comb(total_bad, k) * math.comb(population - total_bad, sampled - k)
            for k in range(bad + 1)
            if sampled - k <= population - total_bad
        )
        return ways / math.comb(population, sampled)

    possible = range(bad, population - (sampled - bad) + 1)
    assert bad_at_most(population, sampled, bad) == max(m for m in possible if probability(m) > 0.05)


def test_a_bound_of_a_large_run_is_quick_and_sane() -> None:
    at_most = bad_at_most(10**6, 3 * 10**5, 2 * 10**5)
    assert 0.667 < at_most / 10**6 < 0.669


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="is impossible"):
        bad_at_most(10, 11, 0)
