"""tdx and sgx: real quotes with Intel's collateral, and quotes under a root of our own that bind a key end to end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evidence_vectors import CONTEXT, DATA, DAY, DCAP_AT, NONCE, SECOND, bare, codes, dcap_policy, under
from made_nitro import MADE_AT
from made_quote import FMSPC, QuoteMaker

from og_ros.attest import keys
from og_ros.errors import PolicyError
from og_ros.evidence.appraisal import Appraisal, Tier
from og_ros.evidence.binding import binding
from og_ros.evidence.interface import AppraisalPolicy, Evidence, verifier
from og_ros.evidence.roots import builtin

pytest.importorskip("dcap_qvl", reason="dcap-qvl is not installed")

KEY = keys.spki(keys.generate().public_key())
EXPECTED = {"tdx": {"mr_td": "31" * 48}, "sgx": {"mr_enclave": "51" * 32}}
# Of the collateral: issued on 2025-06-19, to be renewed by 2025-07-19.
TDX_BEGIN, TDX_END = 1_750_329_147 * SECOND, 1_752_919_235 * SECOND - 1
SGX_BEGIN, SGX_END = 1_750_330_571 * SECOND, 1_752_919_278 * SECOND - 1
LAX_SGX = {"tcb_status": ["UpToDate", "ConfigurationAndSWHardeningNeeded"]}


@pytest.fixture(scope="module")
def maker() -> QuoteMaker:
    return QuoteMaker()


def real(kind: str, at: int = DCAP_AT, **values: object) -> Appraisal:
    quote = (DATA / f"{kind}_quote").read_bytes()
    return verifier(kind).appraise(bare(kind, quote), dcap_policy(kind, **values), at)


def bound(kind: str) -> bytes:
    return binding(kind, NONCE, KEY, CONTEXT) + bytes(32)


def expecting(maker: QuoteMaker, kind: str, collateral: bytes | None = None, **values: object) -> AppraisalPolicy:
    policy = AppraisalPolicy(
        collateral={"dcap": collateral or maker.collateral(kind)},
        reference_values={kind: {**EXPECTED[kind], **values}},
    )
    return under(policy, maker.root_der)


def judge(kind: str, quote: bytes, policy: AppraisalPolicy, at: int = MADE_AT) -> Appraisal:
    return verifier(kind).appraise(Evidence(kind, quote, KEY, NONCE, CONTEXT, 0), policy, at)


# ---- real quotes -----------------------------------------------------------------------------------------------------


def test_the_real_tdx_quote_holds_at_its_date() -> None:
    found = real("tdx")
    assert codes(found) == []
    assert found.status("platform") == Tier.AFFIRMING
    claims = [found.claims[name] for name in ("tcb_status", "fmspc", "debug")]
    assert claims == ["UpToDate", "b0c06f000000", False]
    assert found.level() == "none"  # nobody said which software and which key


def test_the_real_tdx_quote_fails_a_day_outside_its_collateral() -> None:
    assert codes(real("tdx", TDX_BEGIN)) == codes(real("tdx", TDX_END)) == []
    assert codes(real("tdx", TDX_BEGIN - DAY)) == ["certificate_expired"]
    assert codes(real("tdx", TDX_END + DAY)) == ["certificate_expired"]


def test_the_real_sgx_quote_is_refused_for_its_platform_and_a_warning_where_that_is_allowed() -> None:
    assert codes(real("sgx")) == ["tcb_status"]
    found = real("sgx", **LAX_SGX)
    assert (codes(found), found.status("platform")) == (["tcb_status"], Tier.WARNING)
    assert "INTEL-SA-00615" in found.reasons[0].message
    assert codes(real("sgx", **LAX_SGX, rejected_advisories="INTEL-SA-00615")) == ["tcb_status"]
    assert real("sgx", **LAX_SGX, rejected_advisories="INTEL-SA-00615").status("platform") == Tier.CONTRAINDICATED


def test_the_real_sgx_quote_fails_a_day_outside_its_collateral() -> None:
    assert codes(real("sgx", SGX_BEGIN, **LAX_SGX)) == codes(real("sgx", SGX_END, **LAX_SGX)) == ["tcb_status"]
    assert codes(real("sgx", SGX_BEGIN - DAY, **LAX_SGX)) == ["certificate_expired"]
    assert codes(real("sgx", SGX_END + DAY, **LAX_SGX)) == ["certificate_expired"]


@pytest.mark.parametrize("kind", ["tdx", "sgx"])
def test_the_free_end_of_a_quote_does_not_matter(kind: str) -> None:
    """From the root certificate on nothing is signed: another document, and the very same appraisal."""
    quote = (DATA / f"{kind}_quote").read_bytes()
    policy = dcap_policy(kind, **(LAX_SGX if kind == "sgx" else {}))
    expected = real(kind, **(LAX_SGX if kind == "sgx" else {}))
    root = quote.rindex(b"-----BEGIN")
    for other in (quote + b"more", quote[: root + 40] + b"AAAA" + quote[root + 44 :]):
        assert other != quote
        assert verifier(kind).appraise(bare(kind, other), policy, DCAP_AT) == expected


def test_a_quote_of_the_other_kind_is_refused() -> None:
    quote = (DATA / "sgx_quote").read_bytes()
    assert codes(verifier("tdx").appraise(bare("tdx", quote), dcap_policy("tdx"), DCAP_AT)) == ["malformed"]


def test_collateral_must_be_there_and_fit() -> None:
    quote = (DATA / "tdx_quote").read_bytes()
    policy = dcap_policy("tdx")

    def codes_with(**collateral: bytes) -> list[str]:
        given = {name.replace("_", ":"): value for name, value in collateral.items()}
        return codes(verifier("tdx").appraise(bare("tdx", quote), replace(policy, collateral=given), DCAP_AT))

    good = policy.collateral["dcap"]
    assert codes_with() == ["no_collateral"]
    assert codes_with(dcap_b0c06f000000=good) == []
    assert codes_with(dcap_000000000000=good) == ["no_collateral"]
    assert codes_with(dcap=b"{}") == codes_with(dcap=b"\xff") == ["malformed_collateral"]
    other = (DATA / "sgx_quote_collateral.json").read_bytes()
    assert codes_with(dcap=other)


@pytest.mark.parametrize("document", [b"", b"\x04", bytes(700), b"\x04\x00" * 400, bytes(70_000)], ids=len)
def test_malformed_quotes(document: bytes) -> None:
    assert codes(verifier("tdx").appraise(bare("tdx", document), dcap_policy("tdx"), DCAP_AT)) == ["malformed"]


# ---- quotes of our own -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tdx", "sgx"])
def test_a_bound_key_in_expected_software_is_in_a_tee(maker: QuoteMaker, kind: str) -> None:
    quote = getattr(maker, kind)(bound(kind))
    found = judge(kind, quote, expecting(maker, kind))
    assert codes(found) == []
    assert (found.level(), found.claims["key_provenance"], found.claims["fmspc"]) == ("tee", "tee", FMSPC)
    assert {found.status("platform"), found.status("tee")} == {Tier.WARNING}
    # Intel's root did not sign this, and another vendor's neither.
    assert codes(judge(kind, quote, replace(expecting(maker, kind), roots={}, test_roots=frozenset()))) != []
    assert codes(judge(kind, quote, under(expecting(maker, kind), builtin("aws-nitro")))) == ["unknown_root"]
    both = replace(expecting(maker, kind), roots={"aws": builtin("aws-nitro"), "made": maker.root_der})
    assert judge(kind, quote, both).claims["root"] == "made"


@pytest.mark.parametrize("kind", ["tdx", "sgx"])
@pytest.mark.parametrize(
    "changes",
    [
        {"key": keys.spki(keys.generate().public_key())},
        {"nonce": bytes(32)},
        {"context": replace(CONTEXT, robot="amr-2")},
        {"context": replace(CONTEXT, stage="control")},
        {"context": replace(CONTEXT, manifest=bytes(32))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_evidence_of_another_is_refused(maker: QuoteMaker, kind: str, changes: dict[str, object]) -> None:
    evidence = replace(Evidence(kind, getattr(maker, kind)(bound(kind)), KEY, NONCE, CONTEXT, 0), **changes)
    found = verifier(kind).appraise(evidence, expecting(maker, kind), MADE_AT)
    assert (codes(found), found.level()) == (["not_bound"], "none")


def test_the_second_half_of_report_data_must_be_zero(maker: QuoteMaker) -> None:
    quote = maker.tdx(binding("tdx", NONCE, KEY, CONTEXT) + bytes(31) + b"\1")
    assert codes(judge("tdx", quote, expecting(maker, "tdx"))) == ["not_bound"]


@pytest.mark.parametrize("kind", ["tdx", "sgx"])
def test_a_binding_for_another_format_is_refused(maker: QuoteMaker, kind: str) -> None:
    other = "sgx" if kind == "tdx" else "tdx"
    assert codes(judge(kind, getattr(maker, kind)(bound(other)), expecting(maker, kind))) == ["not_bound"]


@pytest.mark.parametrize("kind", ["tdx", "sgx"])
def test_debug_mode_is_refused_by_default(maker: QuoteMaker, kind: str) -> None:
    quote = maker.tdx(bound(kind), b"\1" + bytes(7)) if kind == "tdx" else maker.sgx(bound(kind), 0x07)
    found = judge(kind, quote, expecting(maker, kind))
    assert (codes(found), found.level()) == (["debug"], "none")


@pytest.mark.parametrize(
    "status", ["OutOfDate", "OutOfDateConfigurationNeeded", "ConfigurationNeeded", "SWHardeningNeeded"]
)
def test_a_platform_that_is_not_up_to_date_is_refused_by_default(maker: QuoteMaker, status: str) -> None:
    old = maker.collateral("tdx", status, advisories=["INTEL-SA-99999"])
    quote = maker.tdx(bound("tdx"))
    found = judge("tdx", quote, expecting(maker, "tdx", old))
    assert (codes(found), found.level()) == (["tcb_status"], "none")
    allowed = judge("tdx", quote, expecting(maker, "tdx", old, tcb_status=["UpToDate", status]))
    assert (codes(allowed), allowed.level()) == (["tcb_status"], "tee")
    assert allowed.status("platform") == Tier.WARNING
    if status.startswith("OutOfDate"):  # of 2026-01-01, judged 32 days later
        lately = expecting(maker, "tdx", old, tcb_status=["UpToDate", status], grace_days=30)
        assert (codes(judge("tdx", quote, lately)), judge("tdx", quote, lately).level()) == (["tcb_status"], "none")


def test_a_revoked_platform_is_always_refused(maker: QuoteMaker) -> None:
    quote = maker.tdx(bound("tdx"))
    assert judge("tdx", quote, expecting(maker, "tdx", maker.collateral("tdx", revoked=True))).level() == "none"
    assert judge("tdx", quote, expecting(maker, "tdx", maker.collateral("tdx", "Revoked"))).level() == "none"
    with pytest.raises(PolicyError, match="tcb_status"):
        judge("tdx", quote, expecting(maker, "tdx", tcb_status="Revoked"))


def test_an_old_evaluation_can_be_refused(maker: QuoteMaker) -> None:
    quote = maker.tdx(bound("tdx"))
    assert codes(judge("tdx", quote, expecting(maker, "tdx", min_tcb_evaluation=20))) == []
    assert judge("tdx", quote, expecting(maker, "tdx", min_tcb_evaluation=21)).level() == "none"


@pytest.mark.parametrize(
    ("kind", "values", "code"),
    [
        ("tdx", {"mr_td": "00" * 48}, "measurement_mismatch"),
        ("tdx", {"rtmr1": "00" * 48}, "measurement_mismatch"),
        ("tdx", {"td_attributes": "00" * 8}, "measurement_mismatch"),
        ("sgx", {"mr_enclave": "00" * 32}, "measurement_mismatch"),
        ("sgx", {"mr_signer": "00" * 32}, "measurement_mismatch"),
        ("sgx", {"isv_prod_id": 8}, "measurement_mismatch"),
        ("sgx", {"min_isv_svn": 4}, "out_of_date"),
    ],
    ids=str,
)
def test_demands_of_a_policy(maker: QuoteMaker, kind: str, values: dict[str, object], code: str) -> None:
    found = judge(kind, getattr(maker, kind)(bound(kind)), expecting(maker, kind, **values))
    assert (codes(found), found.level()) == ([code], "none")


def test_registers_alone_do_not_say_which_software_runs(maker: QuoteMaker) -> None:
    """RTMRs are extended by software: a guest of the attacker's extends them to any published value."""
    policy = expecting(maker, "tdx")
    policy = replace(policy, reference_values={"tdx": {"rtmr1": "41" * 48}})
    found = judge("tdx", maker.tdx(bound("tdx")), policy)
    assert (codes(found), found.level()) == ([], "none")


def test_a_nonce_that_was_asked_with_must_be_the_evidences(maker: QuoteMaker) -> None:
    quote = maker.tdx(bound("tdx"))
    asked = judge("tdx", quote, replace(expecting(maker, "tdx"), nonce=NONCE))
    assert not any("nobody asked" in sentence for sentence in asked.not_checked)
    assert codes(judge("tdx", quote, replace(expecting(maker, "tdx"), nonce=bytes(32)))) == ["wrong_nonce"]


@pytest.mark.parametrize(
    "values", [{"mr_td": "31"}, {"tcb_status": "Fine"}, {"mr_enclave": "51" * 32}, {"rtmr0": 1}], ids=str
)
def test_reference_values_that_cannot_be_read(values: dict[str, object]) -> None:
    with pytest.raises(PolicyError, match=r"reference_values\.tdx"):
        real("tdx", **values)
