"""aws-nitro: OpenGradient's real document, and documents under a root of our own that bind a key end to end."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from evidence_vectors import CONTEXT, DAY, NITRO_AT, NONCE, SECOND, bare, codes, nitro_document, under
from made_nitro import MADE_AT, NitroMaker, certificate

from og_ros.attest import keys
from og_ros.errors import PolicyError
from og_ros.evidence.appraisal import Appraisal, Tier
from og_ros.evidence.binding import Context, binding
from og_ros.evidence.interface import AppraisalPolicy, Evidence, verifier
from og_ros.evidence.nitro_document import parse

KEY = keys.spki(keys.generate().public_key())
PCR0 = "9baef83909784e4d2cb84466c02931bb8125e948b62029029e80bfa1698bfd7069408e4ab20d1c99c859e8f774cce0ff"


@pytest.fixture(scope="module")
def maker() -> NitroMaker:
    return NitroMaker()


def expecting(maker: NitroMaker, **values: object) -> AppraisalPolicy:
    return under(AppraisalPolicy(reference_values={"aws-nitro": {"pcrs": {0: "01" * 48}, **values}}), maker.der[0])


def judged(
    maker: NitroMaker, policy: AppraisalPolicy | None = None, at: int = MADE_AT + SECOND, **changes: object
) -> Appraisal:
    document = maker.document(**{"user_data": binding("aws-nitro", NONCE, KEY, CONTEXT), **changes})
    evidence = Evidence("aws-nitro", document, KEY, NONCE, CONTEXT, 0)
    return verifier("aws-nitro").appraise(evidence, policy or expecting(maker), at)


# ---- the real document -----------------------------------------------------------------------------------------------


def real(policy: AppraisalPolicy, at: int = NITRO_AT) -> Appraisal:
    return verifier("aws-nitro").appraise(bare("aws-nitro", nitro_document()), policy, at)


def test_the_real_document_holds_at_its_date() -> None:
    found = real(AppraisalPolicy())
    assert codes(found) == []
    assert found.status("platform") == Tier.AFFIRMING
    assert found.claims["pcrs"]["0"] == PCR0
    assert found.claims["document_time"] == "2026-02-12T17:56:02.724Z"
    # Nobody said which key and which software: so nothing follows.
    assert found.level() == "none"
    assert found.valid_until_ns == 1_770_929_762 * SECOND  # the leaf's end


def test_the_real_document_fails_a_day_outside_its_date() -> None:
    assert codes(real(AppraisalPolicy(), NITRO_AT + DAY)) == ["certificate_expired"]
    assert codes(real(AppraisalPolicy(), NITRO_AT - DAY)) == ["certificate_expired"]


def test_the_real_document_with_reference_values() -> None:
    good = AppraisalPolicy(reference_values={"aws-nitro": {"pcrs": {"0": PCR0}}})
    assert real(good).status("tee") == Tier.AFFIRMING
    bad = AppraisalPolicy(reference_values={"aws-nitro": {"pcrs": {"0": "00" * 48}}})
    assert codes(real(bad)) == ["measurement_mismatch"]


def test_opengradients_pcr_hash_and_user_data() -> None:
    pytest.importorskip("eth_hash")
    from eth_hash.auto import keccak

    document = parse(nitro_document())
    approved = keccak(document.pcrs[0] + document.pcrs[1] + document.pcrs[2]).hex()
    values = {"pcr_hash": f"0x{approved}", "binding": "nitriding"}
    found = real(AppraisalPolicy(reference_values={"aws-nitro": values}))
    assert codes(found) == []
    assert found.claims["key_sha256"] == "abf9d7453422eb419fc1391604b070a81bd6a61f4d9ae0ee71ab24d77670c154"
    assert found.status("tee") == Tier.AFFIRMING
    values["pcr_hash"] = "00" * 32
    assert codes(real(AppraisalPolicy(reference_values={"aws-nitro": values}))) == ["measurement_mismatch"]


def test_another_key_in_nitridings_form_is_refused() -> None:
    policy = AppraisalPolicy(reference_values={"aws-nitro": {"binding": "nitriding"}})
    evidence = replace(bare("aws-nitro", nitro_document()), key=KEY)
    assert codes(verifier("aws-nitro").appraise(evidence, policy, NITRO_AT)) == ["not_bound"]


# ---- documents of our own --------------------------------------------------------------------------------------------


def test_a_bound_key_in_expected_software_is_in_a_tee_and_a_test_root_is_a_warning(maker: NitroMaker) -> None:
    found = judged(maker, public_key=KEY, nonce=NONCE)
    assert codes(found) == []
    assert found.level() == "tee"
    assert found.claims["key_provenance"] == "tee"
    assert {found.status("platform"), found.status("tee")} == {Tier.WARNING}
    real_root = replace(expecting(maker), test_roots=frozenset())
    assert judged(maker, real_root).status("platform") == Tier.AFFIRMING
    # The vendor's own root is not trusted in vain: this document is not under it.
    assert codes(judged(maker, replace(real_root, roots={}))) == ["unknown_root"]


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("another key", {"key": keys.spki(keys.generate().public_key())}),
        ("another nonce", {"nonce": bytes(32)}),
        ("another robot", {"context": replace(CONTEXT, robot="amr-2")}),
        ("another stage", {"context": replace(CONTEXT, stage="control")}),
        ("another manifest", {"context": replace(CONTEXT, manifest=bytes(32))}),
        ("robot and stage shifted", {"context": Context("amr-1pl", "anning", CONTEXT.manifest)}),
    ],
)
def test_evidence_of_another_is_refused(maker: NitroMaker, what: str, changes: dict[str, object]) -> None:
    document = maker.document(user_data=binding("aws-nitro", NONCE, KEY, CONTEXT))
    evidence = replace(Evidence("aws-nitro", document, KEY, NONCE, CONTEXT, 0), **changes)
    found = verifier("aws-nitro").appraise(evidence, expecting(maker), MADE_AT)
    assert codes(found) == ["not_bound"], what
    assert found.level() == "none"


def test_a_nonce_that_was_asked_with_must_be_the_evidences(maker: NitroMaker) -> None:
    assert codes(judged(maker, replace(expecting(maker), nonce=NONCE))) == []
    assert codes(judged(maker, replace(expecting(maker), nonce=bytes(32)))) == ["wrong_nonce"]


def test_age_and_skew(maker: NitroMaker) -> None:
    assert codes(judged(maker, at=MADE_AT + 300 * SECOND)) == []
    assert codes(judged(maker, at=MADE_AT + 301 * SECOND)) == ["too_old"]
    assert codes(judged(maker, at=MADE_AT - 60 * SECOND)) == []
    assert codes(judged(maker, at=MADE_AT - 61 * SECOND)) == ["from_the_future"]


def test_debug_mode_is_refused(maker: NitroMaker) -> None:
    zeros = {number: bytes(48) for number in range(16)}
    found = judged(maker, expecting(maker, pcrs={0: "00" * 48}), pcrs=zeros)
    assert codes(found) == ["debug"]
    assert found.level() == "none"


def test_software_that_nobody_expects_is_no_tee(maker: NitroMaker) -> None:
    """Anybody can rent an enclave: without reference values, its software could be the attacker's."""
    found = judged(maker, under(AppraisalPolicy(), maker.der[0]))
    assert codes(found) == []
    assert found.level() == "none"
    assert any("reference values" in sentence for sentence in found.not_checked)


def test_another_public_key_in_the_document_is_refused(maker: NitroMaker) -> None:
    assert codes(judged(maker, public_key=b"other")) == ["not_bound"]


def test_evidence_of_another_format_is_refused(maker: NitroMaker) -> None:
    document = maker.document(user_data=binding("tdx", NONCE, KEY, CONTEXT))
    evidence = Evidence("tdx", document, KEY, NONCE, CONTEXT, 0)
    assert "wrong_format" in codes(verifier("aws-nitro").appraise(evidence, expecting(maker), MADE_AT))


@pytest.mark.parametrize(
    "changes",
    [
        {"module_id": ...}, {"timestamp": ...}, {"pcrs": ...}, {"cabundle": ...}, {"certificate": ...},
        {"extra": b""}, {"digest": "SHA256"}, {"timestamp": 0}, {"timestamp": "now"}, {"module_id": ""},
        {"module_id": "a\nb"}, {"pcrs": {}}, {"pcrs": {0: bytes(48)}}, {"pcrs": {0: b"", 1: b"", 2: b""}},
        {"pcrs": {n: bytes(48) for n in (0, 1, 2, 99)}}, {"cabundle": []}, {"cabundle": [b"x"] * 9},
        {"certificate": b""}, {"certificate": b"\x30\x00"}, {"user_data": b"x" * 1025}, {"user_data": "text"},
        {"pcrs": {"0": bytes(48)}},
    ],
    ids=str,
)  # fmt: skip
def test_malformed_payloads(maker: NitroMaker, changes: dict[str, object]) -> None:
    assert codes(judged(maker, **changes)) == ["malformed"]


def test_malformed_envelopes(maker: NitroMaker) -> None:
    payload = cbor2.dumps(maker.fields())
    good = maker.sign(payload)
    other = [
        b"", b"\x84", good[:-1], good + b"\0", b"\xd2" + good + b"\0", b"\x83" + good[1:],
        b"\x9f" + good[1:] + b"\xff",  # an array of indefinite length
        maker.sign(payload, protected=bytes.fromhex("a10126")), maker.sign(payload, protected=b""),
        maker.sign(payload, unprotected={1: 2}), maker.sign(b"\x01"), maker.sign(payload + b"\0"),
        maker.sign(b"\xa2\x61a\x01\x61a\x02"),  # a key twice
        maker.sign(b"\xbf\x61a"), b"\x98\x04" + good[1:], bytes(40_000),
    ]  # fmt: skip
    for document in other:
        found = verifier("aws-nitro").appraise(bare("aws-nitro", document), expecting(maker), MADE_AT)
        assert codes(found) == ["malformed"], document[:20]
    tagged = verifier("aws-nitro").appraise(bare("aws-nitro", b"\xd2" + good), expecting(maker), MADE_AT)
    assert codes(tagged) == []


def test_the_module_may_write_maps_without_their_length(maker: NitroMaker) -> None:
    fields = maker.fields(user_data=binding("aws-nitro", NONCE, KEY, CONTEXT))
    payload = b"\xbf" + b"".join(cbor2.dumps(key) + cbor2.dumps(value) for key, value in fields.items()) + b"\xff"
    evidence = Evidence("aws-nitro", maker.sign(payload), KEY, NONCE, CONTEXT, 0)
    assert verifier("aws-nitro").appraise(evidence, expecting(maker), MADE_AT).level() == "tee"


# ---- chains ----------------------------------------------------------------------------------------------------------


def bad_chains(maker: NitroMaker) -> dict[str, list[x509.Certificate]]:
    root, middle, leaf = maker.keys
    top, _, _ = maker.certificates
    other = ec.generate_private_key(ec.SECP384R1())
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    good_middle, good_leaf = maker.certificates[1:]
    return {
        "a leaf of a leaf": [top, certificate("middle", middle, "root", root, ca=False), good_leaf],
        "an issuer that may not sign": [
            top, certificate("middle", middle, "root", root, True, usage={"key_cert_sign": False}), good_leaf],
        "an issuer without constraints": [
            top, certificate("middle", middle, "root", root, True, constraints=False), good_leaf],
        "another key of the same name": [top, certificate("middle", other, "root", root, ca=True), good_leaf],
        "signed by another": [top, certificate("middle", middle, "root", other, ca=True), good_leaf],
        "another name": [top, certificate("midle", middle, "root", root, ca=True), good_leaf],
        "longer than allowed": [
            top, good_middle, certificate("low", other, "middle", middle, ca=True),
            certificate("leaf", leaf, "low", other, ca=False)],
        "an unknown critical extension": [
            top, good_middle, certificate("leaf", leaf, "middle", middle, False, extensions=[odd])],
        "a CA signs the document": [top, good_middle, certificate("leaf", leaf, "middle", middle, ca=True)],
        "a leaf that may not sign": [
            top, good_middle, certificate("leaf", leaf, "middle", middle, False, usage={"digital_signature": False})],
        "the issuer is left out": [top, good_leaf],
    }  # fmt: skip


@pytest.mark.parametrize("case", [
    "a leaf of a leaf", "an issuer that may not sign", "an issuer without constraints", "another key of the same name",
    "signed by another", "another name", "longer than allowed", "an unknown critical extension",
    "a CA signs the document", "a leaf that may not sign", "the issuer is left out",
])  # fmt: skip
def test_bad_chains(maker: NitroMaker, case: str) -> None:
    *above, leaf = [found.public_bytes(Encoding.DER) for found in bad_chains(maker)[case]]
    assert codes(judged(maker, certificate=leaf, cabundle=above)) == ["certificate_invalid"]


def test_every_certificate_must_be_valid_then(maker: NitroMaker) -> None:
    root, middle, _ = maker.keys
    short = certificate("middle", middle, "root", root, True, days=0.5).public_bytes(Encoding.DER)
    found = judged(maker, cabundle=[maker.der[0], short])
    assert codes(found) == ["certificate_expired"]
    assert "2026-02-01 12:00:00" in found.reasons[0].message


@pytest.mark.parametrize(
    "values",
    [
        {"pcrs": {0: "zz"}}, {"pcrs": {99: "00" * 48}}, {"pcrs": "00"}, {"pcr_hash": 12}, {"binding": "other"},
        {"pcr": {0: "00" * 48}}, {"pcrs": {0: []}}, {"pcrs": {}}, {"binding": []},
    ],
    ids=str,
)  # fmt: skip
def test_reference_values_that_cannot_be_read(values: dict[str, object]) -> None:
    with pytest.raises(PolicyError, match=r"reference_values\.aws-nitro"):
        real(AppraisalPolicy(reference_values={"aws-nitro": values}))


def test_the_root_that_came_with_it_is_pinned() -> None:
    from og_ros.evidence.roots import builtin

    pin = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"
    assert sha256(builtin("aws-nitro")).hexdigest() == pin
    assert all(builtin(name) for name in ("amd-milan", "amd-genoa", "amd-turin"))
