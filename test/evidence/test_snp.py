"""sev-snp: the real report of a Milan processor, and reports under an ARK of our own that bind a key end to end."""

from __future__ import annotations

import struct
import warnings
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from evidence_vectors import CONTEXT, DATA, DAY, NONCE, SECOND, SNP_AT, bare, codes, snp_policy, under
from made_nitro import MADE_AT
from made_snp import CHIP, TCB, SnpMaker, table

from og_ros.attest import keys
from og_ros.errors import PolicyError
from og_ros.evidence import der
from og_ros.evidence.appraisal import Appraisal, Tier
from og_ros.evidence.binding import binding
from og_ros.evidence.interface import AppraisalPolicy, Evidence, verifier

KEY = keys.spki(keys.generate().public_key())
REPORT = (DATA / "attestation.bin").read_bytes()
BOUND = binding("sev-snp", NONCE, KEY, CONTEXT) + bytes(32)
GOOD = {"measurement": "11" * 48}
# notBefore and notAfter of the real VCEK.
VCEK_BEGIN, VCEK_END = 1_663_980_928 * SECOND, 1_884_905_728 * SECOND


@pytest.fixture(scope="module")
def maker() -> SnpMaker:
    return SnpMaker()


def expecting(maker: SnpMaker, **values: object) -> AppraisalPolicy:
    policy = AppraisalPolicy(
        collateral={"sev-snp/vcek": maker.vcek, "sev-snp/ask": maker.ask},
        reference_values={"sev-snp": {**GOOD, **values}},
    )
    return under(policy, maker.ark)


def judge(document: bytes, policy: AppraisalPolicy) -> Appraisal:
    return verifier("sev-snp").appraise(Evidence("sev-snp", document, KEY, NONCE, CONTEXT, 0), policy, MADE_AT)


def real(policy: AppraisalPolicy, at: int = SNP_AT) -> Appraisal:
    return verifier("sev-snp").appraise(bare("sev-snp", REPORT), policy, at)


# ---- the real report -------------------------------------------------------------------------------------------------


def test_the_real_report_is_refused_for_its_debug_bit_alone() -> None:
    found = real(snp_policy())
    assert codes(found) == ["debug"]
    assert found.claims["product"] == "Milan-B0"
    assert found.claims["tcb"]["reported"] == {"bootloader": 2, "tee": 0, "snp": 5, "microcode": 68}


def test_the_real_report_is_a_warning_where_debugging_is_allowed() -> None:
    found = real(snp_policy(allow_debug=True, measurement=REPORT[0x90:0xC0].hex(), min_tcb={"snp": 5}))
    assert [reason.tier for reason in found.reasons] == [Tier.WARNING]
    assert found.status("tee") == Tier.WARNING
    assert found.accepted


def test_the_real_report_fails_a_day_outside_its_certificates() -> None:
    policy = snp_policy(allow_debug=True)
    assert codes(real(policy, VCEK_BEGIN)) == codes(real(policy, VCEK_END)) == ["debug"]
    assert codes(real(policy, VCEK_BEGIN - DAY)) == ["certificate_expired"]
    assert codes(real(policy, VCEK_END + DAY)) == ["certificate_expired"]


def test_a_serial_number_of_zero_raises_no_warning() -> None:
    """cryptography warns that it will refuse such certificates, which are all that AMD's key service gives."""
    der.certificate.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codes(real(snp_policy(allow_debug=True))) == ["debug"]


def test_the_unsigned_end_of_a_report_is_refused() -> None:
    """Bytes 816 to 1183 are signed by nobody; a report that carries something there is not the firmware's."""
    for at in (816, 1000, 1183):
        changed = bytearray(REPORT)
        changed[at] = 1
        found = verifier("sev-snp").appraise(bare("sev-snp", bytes(changed)), snp_policy(), SNP_AT)
        assert codes(found) == ["malformed"]


def test_low_firmware_is_refused() -> None:
    assert "out_of_date" in codes(real(snp_policy(allow_debug=True, min_tcb={"microcode": 69})))


# ---- reports of our own ----------------------------------------------------------------------------------------------


def test_a_bound_key_in_expected_software_is_in_a_tee(maker: SnpMaker) -> None:
    found = judge(maker.report(BOUND), expecting(maker, chip_id=CHIP.hex(), host_data="22" * 32))
    assert codes(found) == []
    assert found.level() == "tee"
    assert found.status("platform") == Tier.WARNING  # for the test root
    assert codes(judge(maker.report(BOUND), replace(expecting(maker), roots={}))) == ["unknown_root"]


def test_certificates_may_travel_in_the_hosts_table(maker: SnpMaker) -> None:
    policy = replace(expecting(maker), collateral={})
    assert codes(judge(maker.report(BOUND), policy)) == ["no_collateral"]
    for little in (False, True):
        carried = table({"vcek": maker.vcek, "ask": maker.ask}, little)
        assert judge(maker.report(BOUND) + carried, policy).level() == "tee"
    # What is free in the table does not matter: it is not signed, and nothing is named by its digest.
    assert judge(maker.report(BOUND) + carried + b"more", policy) == judge(maker.report(BOUND) + carried, policy)
    beyond = carried[:16] + struct.pack("<II", 24, 99_999) + carried[24:]
    assert codes(judge(maker.report(BOUND) + beyond, policy)) == ["malformed"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"policy": 0x30000 | 1 << 19}, "debug"),
        ({"policy": 0x30000 | 1 << 18}, "configuration"),
        ({"vmpl": 1}, "configuration"),
        ({"measurement": bytes(48)}, "measurement_mismatch"),
        ({"tcb": {**TCB, "snp": 7}}, "tcb_mismatch"),
        ({"chip": bytes(64)}, "tcb_mismatch"),
        ({"version": 9}, "malformed"),
        ({"algorithm": 2}, "malformed"),
        ({"policy": 0x10000}, "malformed"),
        ({"vmpl": 4}, "malformed"),
        ({"key_info": 7 << 2}, "malformed"),
    ],
    ids=str,
)
def test_reports_that_are_refused(maker: SnpMaker, changes: dict[str, object], code: str) -> None:
    found = judge(maker.report(BOUND, **changes), expecting(maker))
    assert codes(found) == [code]
    assert found.level() == "none"


@pytest.mark.parametrize("end", [bytes(31) + b"\1", b"\1" * 32])
def test_report_data_is_the_binding_and_zeros(maker: SnpMaker, end: bytes) -> None:
    assert codes(judge(maker.report(BOUND[:32] + end), expecting(maker))) == ["not_bound"]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"host_data": "00" * 32}, "measurement_mismatch"),
        ({"id_key_digest": "01" * 48}, "measurement_mismatch"),
        ({"chip_id": "00" * 64}, "measurement_mismatch"),
        ({"min_tcb": {"fmc": 1}}, "out_of_date"),
        ({"allow_smt": False}, "configuration"),
        ({"vmpl": [1, 2]}, "configuration"),
    ],
    ids=str,
)
def test_demands_of_a_policy(maker: SnpMaker, values: dict[str, object], code: str) -> None:
    assert codes(judge(maker.report(BOUND), expecting(maker, **values))) == [code]


def test_a_masked_chip_id_is_taken(maker: SnpMaker) -> None:
    found = judge(maker.report(BOUND, chip=bytes(64), key_info=2), expecting(maker))
    assert (codes(found), found.claims["chip_id"]) == ([], "")


def test_a_leased_key_has_no_chip(maker: SnpMaker) -> None:
    vlek = maker.endorsement(chip=b"")
    carried = table({"vlek": vlek, "ask": maker.ask})
    found = judge(maker.report(BOUND, key_info=1 << 2) + carried, replace(expecting(maker), collateral={}))
    assert (codes(found), found.claims["signed_by"]) == ([], "vlek")


def test_turins_firmware_versions_have_another_order() -> None:
    turin = SnpMaker(product="Turin-B0")
    tcb = {**TCB, "fmc": 2}
    turin.vcek = turin.endorsement(tcb=tcb)
    found = judge(turin.report(BOUND, tcb=tcb), expecting(turin, min_tcb={"fmc": 2, "microcode": 100}))
    assert (codes(found), found.claims["tcb"]["reported"]) == ([], tcb)


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("another issuer's key", "certificate_invalid"), ("another name", "certificate_invalid"),
        ("a leaf that is a CA", "certificate_invalid"), ("the issuer may not sign", "certificate_invalid"),
        ("the issuer has CAs below", "certificate_invalid"), ("not on P-384", "malformed"),
        ("without versions", "malformed"), ("without a product", "malformed"), ("no certificate", "malformed"),
        ("another root of that name", "certificate_invalid"),
    ],
)  # fmt: skip
def test_bad_certificates(maker: SnpMaker, case: str, code: str) -> None:
    policy = expecting(maker)
    leaf, issuer, root = maker.vcek, maker.ask, maker.ark
    if case == "another issuer's key":
        leaf = maker.endorsement(issuer_key=maker.ark_key)
    elif case == "another name":
        leaf = maker.endorsement(issuer="ARK")
    elif case == "a leaf that is a CA":
        leaf = maker.endorsement(ca=True)
    elif case == "the issuer may not sign":
        issuer = maker.issuer("ASK", maker.ask_key, "ARK", maker.ark_key, sign=False)
    elif case == "the issuer has CAs below":
        issuer = maker.issuer("ASK", maker.ask_key, "ARK", maker.ark_key, path=1)
    elif case == "not on P-384":
        leaf = maker.endorsement(key=ec.generate_private_key(ec.SECP256R1()))
    elif case == "without versions":
        leaf = maker.endorsement(without=("1.3.6.1.4.1.3704.1.3.8",))
    elif case == "without a product":
        leaf = maker.endorsement(without=("1.3.6.1.4.1.3704.1.2",))
    elif case == "no certificate":
        leaf = b"\x30\x03\x02\x01\x00"
    else:
        root = maker.issuer("ARK", maker.ask_key, "ARK", maker.ask_key, path=None)
    policy = under(replace(policy, collateral={"sev-snp/vcek": leaf, "sev-snp/ask": issuer}), root)
    assert codes(judge(maker.report(BOUND), policy)) == [code]


def test_a_report_of_another_key_is_refused(maker: SnpMaker) -> None:
    other = SnpMaker(ark_key=maker.ark_key, ask_key=maker.ask_key)
    assert codes(judge(other.report(BOUND), expecting(maker))) == ["bad_signature"]


@pytest.mark.parametrize("values", [{"measurement": "11"}, {"vmpl": 4}, {"min_tcb": {"snp": "5"}}, {"debug": True},
                                    {"allow_debug": 1}], ids=str)  # fmt: skip
def test_reference_values_that_cannot_be_read(values: dict[str, object]) -> None:
    with pytest.raises(PolicyError, match=r"reference_values\.sev-snp"):
        real(snp_policy(**values))
