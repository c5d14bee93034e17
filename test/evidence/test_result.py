"""Results: EAR and back, its signature, the cache by key, the digest of a policy, and the tiers."""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from og_ros.attest import SoftwareSigner, keys
from og_ros.attest.signer import P256_ORDER
from og_ros.attest.statement import Algorithm
from og_ros.errors import EvidenceError
from og_ros.evidence import ear
from og_ros.evidence.appraisal import Appraisal, Reason, Tier, worst
from og_ros.evidence.appraisal_cache import AppraisalCache
from og_ros.evidence.interface import AppraisalPolicy
from og_ros.evidence.policy_digest import policy_digest

KEY = keys.spki(keys.generate().public_key())
AT = 1_770_000_000_000_000_123
HOUR = 3600 * 10**9


def appraisal(**changes: Any) -> Appraisal:
    found = Appraisal(
        format="tdx",
        key=KEY,
        submodules={"platform": {"hardware": Tier.AFFIRMING}, "tee": {"runtime_opaque": Tier.AFFIRMING}},
        claims={"level": "tee", "key_bound": True, "key_provenance": "tee", "advisories": [], "tcb": {"snp": 8}},
        reasons=(),
        not_checked=("when it was made",),
        verified_at_ns=AT,
        valid_until_ns=AT + 4 * HOUR,
        policy="ab" * 32,
        verifier="og_ros 0.1.0",
    )
    return replace(found, **changes)


BAD = Reason("debug", "it runs in debug mode")
WEAK = Reason("tcb_status", "it is out of date", Tier.WARNING)


@pytest.mark.parametrize(
    "changes",
    [{}, {"reasons": (WEAK,)}, {"reasons": (BAD, WEAK)}, {"cap": Tier.WARNING}, {"submodules": {}, "claims": {}},
     {"key": b""}, {"claims": {"text": "ünïcode \u2028 \x00", "float": 0.5, "none": None}}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("algorithm", [Algorithm.ES256, Algorithm.EDDSA])
def test_ear_and_back(changes: dict[str, Any], algorithm: Algorithm) -> None:
    signer = SoftwareSigner(keys.generate(algorithm))
    found = appraisal(**changes)
    assert ear.from_claims(ear.to_claims(found)) == found
    assert ear.verify(ear.sign(found, signer), signer.public_key) == found


def test_what_ear_says() -> None:
    """The claims of draft-ietf-rats-ear-04, by name."""
    tree = ear.to_claims(appraisal(cap=Tier.WARNING))
    assert tree["eat_profile"] == "tag:ietf.org,2026:rats/ear#04"
    assert (tree["iat"], tree["exp"]) == (1_770_000_000, 1_770_014_400)
    assert tree["ear_verifier_id"] == {"developer": "og_ros", "build": "og_ros 0.1.0"}
    assert tree["submods"].keys() == {"platform", "tee", "inference"}
    assert tree["submods"]["platform"]["ear_status"] == "warning"
    assert tree["submods"]["platform"]["ear_trustworthiness_vector"] == {"hardware": 2}
    assert tree["submods"]["tee"]["ear_trustworthiness_vector"] == {"runtime-opaque": 2}
    # Nothing was said of inferences: none, never affirming.
    assert tree["submods"]["inference"]["ear_status"] == "none"
    assert tree["og_ros"]["verified_at_ns"] == "1770000000000000123"


def test_any_jwt_library_verifies_it() -> None:
    jwt = pytest.importorskip("jwt", reason="PyJWT is not installed")
    key = keys.generate()
    token = ear.sign(appraisal(), SoftwareSigner(key))
    claims = jwt.decode(token, key.public_key(), algorithms=["ES256"], options={"verify_exp": False})
    assert claims == ear.to_claims(appraisal())
    # And one that such a library made is read here.
    headers = {"kid": keys.key_id(key.public_key()).hex(), "typ": ear.TYPE}
    other = jwt.encode(claims, key, algorithm="ES256", headers=headers)
    s = int.from_bytes(base64.urlsafe_b64decode(other.split(".")[2] + "==")[32:], "big")
    if s > P256_ORDER // 2:  # half of such signatures; one message has one signature here
        with pytest.raises(EvidenceError, match="low-S"):
            ear.verify(other, key.public_key())
    else:
        assert ear.verify(other, key.public_key()) == appraisal()


def _changed(tree: Any, path: tuple[str, ...], value: Any) -> Any:
    copy = json.loads(json.dumps(tree))
    at = copy
    for name in path[:-1]:
        at = at[name]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("submods", "platform", "ear_status"), "affirming"), (("submods", "inference", "ear_status"), "affirming"),
        (("iat",), 1), (("exp",), 9_999_999_999), (("eat_profile",), "tag:ietf.org,2026:rats/ear#03"),
        (("og_ros", "level"), "tee"), (("og_ros", "cap"), "best"), (("og_ros", "verified_at_ns"), 1770000000000000123),
        (("og_ros", "verified_at_ns"), "1e18"), (("og_ros", "policy"), None), (("og_ros",), ...),
        (("submods", "tee", "ear_trustworthiness_vector"), {}), (("more",), 1), (("og_ros", "more"), 1),
        (("submods", "tee", "ear_trustworthiness_vector"), {"hardware": 3}),
        (("submods", "tee", "ear_trustworthiness_vector"), {"mood": 2}), (("submods", "other"), {}),
        (("og_ros", "reasons"), [{}]), (("og_ros", "not_checked"), [1]), (("submods",), []),
        (("og_ros", "key"), "=="), (("og_ros", "claims"), []), (("ear_verifier_id",), "og_ros"),
    ],
    ids=str,
)  # fmt: skip
def test_a_result_that_says_two_things_is_refused(path: tuple[str, ...], value: Any) -> None:
    tree = ear.to_claims(appraisal(reasons=(BAD,)))
    ear.from_claims(tree)
    with pytest.raises(EvidenceError):
        ear.from_claims(_changed(tree, path, value))


def test_a_token_that_was_altered_is_refused() -> None:
    signer, other = SoftwareSigner(keys.generate()), SoftwareSigner(keys.generate())
    token = ear.sign(appraisal(), signer)
    head, body, signature = token.split(".")

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    none = encoded(b'{"alg":"none","kid":"' + signer.key_id.hex().encode() + b'","typ":"eat+jwt"}')
    better = encoded(json.dumps(ear.to_claims(appraisal(cap=Tier.WARNING))).encode())
    for bad in (
        ear.sign(appraisal(), other), f"{none}.{body}.{signature}", f"{none}.{body}.", f"{head}.{better}.{signature}",
        f"{head}.{body}", f"{head}.{body}.{signature}.", f"{head}.{body}.{signature}=", "", "a.b.c", "." * 9,
        f"{head}.{body}.{signature[:-4]}", token.replace(body[:8], body[:7] + "!"), "x" * 300_000,
    ):  # fmt: skip
        with pytest.raises(EvidenceError):
            ear.verify(bad, signer.public_key)


PUBLIC = keys.generate().public_key()


@given(st.text(max_size=200))
def test_any_text_is_no_token(text: str) -> None:
    with pytest.raises(EvidenceError):
        ear.verify(text, PUBLIC)


@pytest.mark.parametrize(
    "text",
    ['{"a":1,"a":2}', '{"a":NaN}', '{"a":1e999}', "[" * 100_000, "{", "", '{"a":Infinity}'],
    ids=lambda text: text[:9],
)
def test_json_that_two_readers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(EvidenceError):
        ear.load_json(text)


# ---- tiers and levels ------------------------------------------------------------------------------------------------


def test_the_worst_of_nothing_is_none() -> None:
    assert worst([]) == Tier.NONE
    assert worst([Tier.AFFIRMING, Tier.NONE]) == Tier.NONE
    assert worst([Tier.NONE, Tier.WARNING]) == Tier.WARNING


def test_a_level_takes_a_claim_and_nothing_against_it() -> None:
    assert appraisal().level() == "tee"
    assert appraisal(reasons=(WEAK,)).level() == "tee"
    assert appraisal(reasons=(BAD,)).level() == "none"
    assert appraisal(claims={}).level() == "none"
    assert appraisal(submodules={}).level() == "none"
    assert appraisal(format="software", submodules={}).level() == "software_key"
    assert appraisal(format="software", submodules={}, reasons=(BAD,)).level() == "none"


# ---- the cache -------------------------------------------------------------------------------------------------------


def test_a_verdict_is_found_as_of_its_time(tmp_path: Path) -> None:
    first, second = appraisal(), appraisal(verified_at_ns=AT + 3 * HOUR, valid_until_ns=AT + 9 * HOUR, reasons=(WEAK,))
    with AppraisalCache(tmp_path / "verdicts.db") as cache:
        cache.put(first)
        cache.put(second)
    with AppraisalCache(tmp_path / "verdicts.db") as cache:
        found = {hours: cache.at(KEY, first.policy, AT + hours * HOUR) for hours in (-1, 0, 2, 3, 5, 9, 10)}
        assert found == {-1: None, 0: first, 2: first, 3: second, 5: second, 9: second, 10: None}
        assert cache.at(b"another key", first.policy, AT) is None
        assert cache.at(KEY, "cd" * 32, AT) is None
        assert cache.forget(AT + 5 * HOUR) == 1
        assert cache.at(KEY, first.policy, AT) is None


def test_renewal_is_due_before_the_end(tmp_path: Path) -> None:
    with AppraisalCache(tmp_path / "verdicts.db") as cache:
        assert cache.due(KEY, "ab" * 32, AT)
        cache.put(appraisal())
        due = [cache.due(KEY, "ab" * 32, AT + minutes * HOUR // 60) for minutes in (0, 179, 180, 239, 241)]
        assert due == [False, False, True, True, True]
        cache.put(appraisal(verified_at_ns=AT + 1, reasons=(BAD,)))
        assert cache.due(KEY, "ab" * 32, AT + 2)  # a refusal is not kept for an answer


def test_a_cache_that_was_altered_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.db"
    with AppraisalCache(file) as cache:
        cache.put(appraisal(reasons=(BAD,)))
    for change in ("valid_until_ns = valid_until_ns + 1", "body = '{}'", "body = 'x'", "key_id = x'00'"):
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            before = database.execute("SELECT * FROM appraisals").fetchall()
            database.execute(f"UPDATE appraisals SET {change}")
        with AppraisalCache(file) as cache:
            if change.startswith("key_id"):
                assert cache.at(KEY, "ab" * 32, AT) is None
            else:
                with pytest.raises(EvidenceError):
                    cache.at(KEY, "ab" * 32, AT)
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            database.execute("DELETE FROM appraisals")
            database.executemany("INSERT INTO appraisals VALUES (?, ?, ?, ?, ?)", before)
    (tmp_path / "none.db").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(EvidenceError, match="cannot use"):
        AppraisalCache(tmp_path / "none.db")


# ---- the digest of a policy ------------------------------------------------------------------------------------------


def test_equal_policies_have_one_digest() -> None:
    policy = AppraisalPolicy(roots={"a": b"1", "b": b"2"}, reference_values={"tdx": {"mr_td": "00", "rtmr0": "11"}})
    same = AppraisalPolicy(
        roots={"b": b"2", "a": b"1"}, reference_values={"tdx": {"rtmr0": "11", "mr_td": "00"}}, max_age_s=300,
        nonce=b"n" * 16, collateral={"dcap": b"{}"},
    )  # fmt: skip
    assert policy_digest(policy) == policy_digest(same)
    changes = ({"max_age_s": 301}, {"roots": {"a": b"1"}}, {"test_roots": frozenset("a")}, {"reference_values": {}})
    for change in changes:
        assert policy_digest(replace(policy, **change)) != policy_digest(policy)
