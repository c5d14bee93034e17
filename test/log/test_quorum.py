"""Witness policies (C2SP tlog-policy): read strictly, and the quorum counted as the text says."""

from __future__ import annotations

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from witnesses import witness_key

from og_ros.errors import PolicyError
from og_ros.log import VerifierKey
from og_ros.log.quorum import any_of, parse_witness_policy

LOG = VerifierKey.of("example.com/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
KEYS = [witness_key(n) for n in range(6)]
X = "".join(f"witness X{n} {KEYS[n].format()}\n" for n in range(3))
Y = "".join(f"witness Y{n} {KEYS[n].format()} https://w.example/{n}\n" for n in range(3, 6))
EXAMPLE = f"""\
# as in the specification
log {LOG.format()}

{X}group X-witnesses 2 X0 X1 X2
 \t
{Y}  group\tY-witnesses any Y3 Y4 Y5
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def test_the_quorum_is_what_the_groups_say() -> None:
    policy = parse_witness_policy(EXAMPLE)
    assert policy.knows_log(LOG)
    assert policy.witnesses["Y4"].url == "https://w.example/4"
    assert policy.describe() == "2 of (2 of X0, X1, X2), (1 of Y3, Y4, Y5)"
    for size in range(7):
        for chosen in itertools.combinations(range(6), size):
            expected = sum(n < 3 for n in chosen) >= 2 and any(n >= 3 for n in chosen)
            assert policy.is_met([KEYS[n] for n in chosen]) is expected
    assert not policy.knows_log(VerifierKey(LOG.name, bytes(32)))


def test_one_witness_none_and_any() -> None:
    one = parse_witness_policy(X + "quorum X1\n")
    assert one.is_met(KEYS[1:2])
    assert not one.is_met([KEYS[0], KEYS[2]])
    assert one.knows_log(LOG), "no logs are listed, so any is meant"
    nobody = parse_witness_policy("quorum none")
    assert nobody.is_met([])
    assert nobody.describe() == "no witness"
    assert any_of(KEYS[:3], 2).is_met(KEYS[1:3])
    assert not any_of(KEYS[:3], 2).is_met([KEYS[1], KEYS[1]])
    assert not any_of([], 1).is_met([])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", "has no quorum", id="empty"),
        pytest.param("quorum none\nquorum none\n", ":2: there is a second quorum", id="two quorums"),
        pytest.param("quorum X0\n" + X, ":1: 'X0' is not defined", id="quorum before its witness"),
        pytest.param(X + "group g 2 X0\nquorum g\n", "2 of 1 members", id="more than there are"),
        pytest.param(X + "group g 0 X0\nquorum g\n", "0 of 1 members", id="none of them"),
        pytest.param(X + "group g -1 X0\nquorum g\n", "is not a decimal", id="less than none"),
        pytest.param(X + "group g any X0 X0\nquorum g\n", "counts once", id="twice in a group"),
        pytest.param(X + "group g any X0\ngroup h any X0\nquorum g\n", "counts once", id="in two groups"),
        pytest.param(X + "group g any g\nquorum g\n", "'g' is not defined", id="in itself"),
        pytest.param(X + "group X0 any X1\nquorum X0\n", "name X0 is taken", id="name of a witness"),
        pytest.param(X + "group none any X1\nquorum none\n", "name none is taken", id="named none"),
        pytest.param(X + "group g any none\nquorum g\n", "'none' is not defined", id="none as a member"),
        pytest.param(X + "group g any\nquorum g\n", "is no log, witness", id="group of nobody"),
        pytest.param(X + f"witness Z {KEYS[0].format()}\nquorum Z\n", "stands twice", id="one key twice"),
        pytest.param(f"log {LOG.format()}\nlog {LOG.format()}\nquorum none\n", "stands twice", id="one log twice"),
        pytest.param(f"witness a {LOG.format()}\nquorum a\n", "0x04", id="log key as a witness"),
        pytest.param(f"log {KEYS[0].format()}\nquorum none\n", "0x01", id="witness key as a log"),
        pytest.param("quorum none\r\n", "control character", id="carriage return"),
        pytest.param("quorum none extra\n", "is no log, witness", id="too many words"),
        pytest.param("witnes a b\nquorum none\n", "is no log, witness", id="misspelt"),
        pytest.param("#" * 100_001, "longer than", id="long"),
        pytest.param("\n" * 2000, "lines", id="many lines"),
        pytest.param("witness a w+00000000+BA== \nquorum a\n", "witness key", id="bad key"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        parse_witness_policy(text)


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(PolicyError, match="UTF-8"):
        parse_witness_policy(b"quorum \xff")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(EXAMPLE)), st.text(max_size=4), st.integers(0, 8))
def test_no_mutation_escapes(place: int, patch: str, removed: int) -> None:
    try:
        parse_witness_policy(EXAMPLE[:place] + patch + EXAMPLE[place + removed :])
    except PolicyError as error:
        assert "\n" not in str(error)  # noqa: PT017  it need not be raised
