"""The appraisal policy's YAML: what it says, and the line of what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from evidence_vectors import DATA, SECOND
from hypothesis import given
from hypothesis import strategies as st

from og_ros.errors import OgError, PolicyError
from og_ros.evidence.policy_file import load_policy, parse_policy
from og_ros.evidence.roots import builtin

GOOD = """\
version: 1
max_age_s: 60
roots:
  ours: root.pem
test_roots: [ours]
collateral:
  dcap: collateral.json
reference_values:
  tdx:
    mr_td: "{mr_td}"
    tcb_status: [UpToDate, SWHardeningNeeded]
  aws-nitro:
    pcrs:
      0: ["{pcr}", "{pcr}"]
""".format(mr_td="11" * 48, pcr="22" * 48)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "root.pem").write_bytes((DATA / "ask_ark_milan.pem").read_bytes())
    (tmp_path / "root.der").write_bytes(builtin("amd-milan"))
    (tmp_path / "collateral.json").write_text("{}")
    return tmp_path


def test_what_a_policy_says(folder: Path) -> None:
    (folder / "p.yaml").write_text(GOOD)
    policy = load_policy(folder / "p.yaml")
    assert (policy.max_age_s, policy.max_skew_s, policy.test_roots) == (60, 60, {"ours"})
    assert policy.roots["ours"][:2] == b"\x30\x82"
    assert policy.collateral == {"dcap": b"{}"}
    assert policy.reference_values["tdx"]["tcb_status"] == ["UpToDate", "SWHardeningNeeded"]
    assert policy.reference_values["aws-nitro"]["pcrs"] == {"0": ["22" * 48] * 2}
    assert policy.nonce is None
    der = parse_policy(b"version: 1\nroots: {ours: root.der}\n", "it", folder)
    assert der.roots["ours"] == builtin("amd-milan")
    assert parse_policy(b"version: 1\n", "it", folder) == type(policy)()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 2\n", "it:1: version must be 1"),
        ("max_age_s: 1\n", "it:1: version is missing"),
        ("version: 1\nmax_age: 1\n", "it:2: max_age is unknown"),
        ("version: 1\nmax_age_s: -1\n", "it:2: max_age_s must be a number"),
        ("version: 1\nroots: {a: none.pem}\n", "it:2: a cannot be had: cannot read none.pem"),
        ("version: 1\nroots:\n  a: collateral.json\n", "it:3: a must be the file of one certificate"),
        ("version: 1\nroots:\n  a: 12\n", "it:3: a must be text"),
        ("version: 1\ntest_roots: [a]\n", "it:2: test_roots names 'a'"),
        ("version: 1\nreference_values: [tdx]\n", "it:2: reference_values must be a mapping"),
        ("version: 1\nreference_values:\n  foo: {a: 1}\n", "it:3: foo is a format without a verifier"),
        ("version: 1\nreference_values:\n  tdx:\n    mr_td: '11'\n", "it:4: mr_td must be 48 bytes in hex"),
        ("version: 1\nreference_values:\n  tdx:\n    mr_tdd: '11'\n", "it:4: mr_tdd is unknown; known:"),
        ("version: 1\nreference_values:\n  tdx: 5\n", "it:3: tdx must be a mapping"),
        ("version: 1\nreference_values:\n  sev-snp:\n    vmpl: 9\n", "it:4: vmpl must be integers"),
        ("version: 1\nreference_values:\n  tdx: &a {mr_td: *a}\n", "alias"),
        ("version: 1\nreference_values:\n  aws-nitro:\n    pcrs: {0: 12}\n", "it:4: pcrs 0: must be a value in hex"),
        ("version: 1\nreference_values:\n  tdx: {a: !!int ''}\n", "it:3: a is not understood"),
        ("[]", "must be a mapping"),
        ("a: [", "it:"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(folder: Path, text: str, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text.encode(), "it", folder)
    assert said in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot read"):
        load_policy(tmp_path / "none.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_an_error(data: bytes) -> None:
    try:
        parse_policy(b"version: 1\nreference_values:\n  " + data, "it", Path("/nonexistent"))
    except OgError:
        return


def test_seconds_are_seconds() -> None:
    assert parse_policy(b"version: 1\nmax_skew_s: 1.5\n", "it", Path()).max_skew_s * SECOND == 1.5e9
