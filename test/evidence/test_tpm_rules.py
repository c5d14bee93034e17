"""The rules of tpm2-quote, one case each with its reason; the evidence is made by software, as a TPM would."""

from __future__ import annotations

import dataclasses
import inspect
import re
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from made_tpm_quote import (
    AK,
    MANIFEST,
    NONCE,
    NOW_NS,
    RELEASE,
    Made,
    appraise,
    codes,
    key_of,
    launch_log,
    manifest_of,
    policy,
    public_area,
    record_of,
    signature_of,
)

from og_ros.attest import keys
from og_ros.attest.signer import SoftwareSigner
from og_ros.errors import PolicyError
from og_ros.evidence import interface
from og_ros.evidence import manifest as manifests
from og_ros.evidence.appraisal import Tier
from og_ros.evidence.binding import Context
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.tpm import document, event_log, launch_rules, verifier
from og_ros.evidence.tpm import public_area as areas
from og_ros.evidence.tpm.document import FORMAT
from og_ros.evidence.tpm.event_log import Event
from og_ros.evidence.tpm.public_area import parse_public
from og_ros.evidence.tpm.quote import Clock
from og_ros.evidence.tpm.verifier import VERIFIER

ATTACKER = key_of("attacker")
ATTACKER_SPKI = keys.spki(ATTACKER.public_key())
LOG = launch_log()
CHANGED_MODEL, CHANGED_ADAPTER = manifest_of(model=b"another"), manifest_of(adapter=b"another")
AK_NAME = parse_public(public_area()).name
SIGNER = {"release": keys.public_pem(RELEASE.public_key())}
SIGNED = {"manifest:perception": manifests.sign(MANIFEST, SoftwareSigner(RELEASE))}
FORGED = {"manifest:perception": manifests.sign(CHANGED_MODEL, SoftwareSigner(ATTACKER))}


def by_signer(collateral: dict[str, bytes] = SIGNED) -> AppraisalPolicy:
    return policy(manifests=None, manifest_signers=SIGNER, collateral=collateral)


def seen(clock_ms: int, resets: int) -> AppraisalPolicy:
    clock = {"clock_ms": clock_ms, "reset_count": resets, "restart_count": 0}
    return policy(nonce=None, last_seen={AK_NAME.hex(): clock})


def altered(made: Made, **changes: Any) -> Evidence:
    """Return evidence whose document was changed after it was signed."""
    evidence = made.evidence()
    changed = dataclasses.replace(document.decode(evidence.document), **changes)
    return dataclasses.replace(evidence, document=document.encode(changed))


def resigned(quote: Callable[[bytes], bytes]) -> Evidence:
    """Return evidence whose quote was changed and signed anew, as a key that is not restricted does."""
    changed = quote(document.decode(Made().evidence().document).quote)
    return altered(Made(), quote=changed, signature=signature_of(changed))


def of_key(clear: int = 0, extra: int = 0) -> tuple[Callable[[], Made], AppraisalPolicy]:
    """Return evidence by a key with other attributes, and a policy that names the very key."""
    area = public_area(clear=clear, extra=extra)
    names = {"amr-1": [parse_public(area).name.hex()]}
    return lambda: Made(area=area, record=b""), policy(attestation_keys=names, enrollers=None)


# The attack by its name: the evidence, the policy, and exactly the reasons that it must be refused for.
CASES: dict[str, tuple[Callable[[], Made | Evidence], AppraisalPolicy, set[str]]] = {
    "another key shown with the same quote": (
        lambda: dataclasses.replace(Made().evidence(), key=ATTACKER_SPKI), policy(), {"not_bound", "key_not_measured"},
    ),
    "another key quoted by the same attestation key": (lambda: Made(session=ATTACKER), policy(), {"key_not_measured"}),
    "another key in a log of its own": (
        lambda: Made(log=launch_log(key=ATTACKER), session=ATTACKER, pcr14=event_log.replay(LOG)), policy(),
        {"pcr14_mismatch"},
    ),
    "extended after the cap, and the log says so": (
        lambda: Made(log=(*LOG, Event("key", "amr-1", "perception", bytes(32)))), policy(), {"extended_after_cap"},
    ),
    "a second launch behind the cap of the first": (
        lambda: Made(log=(*LOG, *launch_log(key=ATTACKER)), session=ATTACKER), policy(),
        {"extended_after_cap", "manifest_not_measured"},
    ),
    "a second launch that begins where the first ended": (
        lambda: Made(log=launch_log(key=ATTACKER), session=ATTACKER, log_start=event_log.replay(LOG)), policy(),
        {"log_start"},
    ),
    "extended after the cap, and the log is silent": (
        lambda: Made(pcr14=sha256(event_log.replay(LOG) + bytes(32)).digest()), policy(), {"pcr14_mismatch"},
    ),
    "no cap": (lambda: Made(log=LOG[:-1]), policy(), {"not_capped"}),
    "a key before the manifest": (lambda: Made(log=(LOG[2], LOG[0], LOG[1], LOG[3])), policy(), {"log_order"}),
    "a launch of two robots": (
        lambda: Made(log=(Event("manifest", "amr-2", "planning", bytes(32)), *LOG)), policy(),
        {"log_order", "another_robot"},
    ),
    "a resettable PCR": (lambda: Made(boot={16: bytes(32)}), policy(pcrs=None), {"resettable_pcr"}),
    "a policy over a resettable PCR": (Made, policy(pcrs={"23": "00" * 32}), {"resettable_pcr"}),
    "PCR values of another boot": (
        lambda: altered(Made(), pcrs={**document.decode(Made().evidence().document).pcrs, 7: bytes(32)}), policy(),
        {"pcr_digest_mismatch"},
    ),
    "another boot": (lambda: Made(boot={0: bytes(32)}), policy(pcrs={"0": "11" * 32}), {"pcr_mismatch"}),
    "a boot that was not quoted": (lambda: Made(boot={}), policy(pcrs={"7": "11" * 32}), {"pcr_missing"}),
    "an attestation key without restricted": (*of_key(areas.RESTRICTED), {"attestation_key_not_restricted"}),
    "an attestation key without fixedTPM": (*of_key(areas.FIXED_TPM), {"attestation_key_not_fixed_tpm"}),
    "an attestation key without fixedParent": (*of_key(areas.FIXED_PARENT), {"attestation_key_not_fixed_parent"}),
    "an attestation key that was imported": (
        *of_key(areas.SENSITIVE_DATA_ORIGIN), {"attestation_key_not_sensitive_data_origin"},
    ),
    "an attestation key without sign": (*of_key(areas.SIGN), {"attestation_key_not_sign"}),
    "an attestation key that decrypts": (*of_key(0, areas.DECRYPT), {"attestation_key_decrypts"}),
    "signed by another key": (lambda: Made(ak=ATTACKER, area=public_area()), policy(), {"bad_signature"}),
    "signed data that is no quote": (lambda: resigned(lambda q: bytes(4) + q[4:]), policy(), {"not_a_quote"}),
    "a certification in place of a quote": (
        lambda: resigned(lambda q: q[:4] + b"\x80\x17" + q[6:]), policy(), {"not_a_quote"},
    ),
    "a quote with bytes behind it": (lambda: resigned(lambda q: q + b"\0"), policy(), {"malformed"}),
    "a document that is none": (
        lambda: dataclasses.replace(Made().evidence(), document=b"\xa0"), policy(), {"malformed"},
    ),
    "another format": (lambda: dataclasses.replace(Made().evidence(), format="software"), policy(), {"wrong_format"}),
    "a wrong nonce": (lambda: Made(nonce=b"another nonce...."), policy(), {"wrong_nonce"}),
    "a nonce that was only changed beside the quote": (
        lambda: dataclasses.replace(Made(nonce=b"another nonce.....").evidence(), nonce=NONCE), policy(),
        {"not_bound"},
    ),
    "replayed evidence": (Made, seen(1000, 3), {"replayed"}),
    "evidence from before the last restart": (Made, seen(5, 4), {"replayed"}),
    "old evidence": (
        lambda: dataclasses.replace(Made().evidence(), collected_at_ns=NOW_NS - 301 * 10**9), policy(nonce=None),
        {"too_old"},
    ),
    "evidence from the future": (
        lambda: dataclasses.replace(Made().evidence(), collected_at_ns=NOW_NS + 61 * 10**9), policy(nonce=None),
        {"from_the_future"},
    ),
    "another robot's evidence under this robot's name": (
        lambda: Made(record=record_of("amr-2")), policy(), {"another_robot"},
    ),
    "another robot's key by the policy": (
        Made, policy(attestation_keys={"amr-2": [AK_NAME.hex()]}), {"another_robot"},
    ),
    "this robot's evidence under another name": (
        lambda: dataclasses.replace(Made().evidence(), context=Context("amr-2", "perception", MANIFEST.digest)),
        policy(), {"not_bound", "another_robot", "manifest_of_another_stage"},
    ),
    "another stage's evidence": (
        lambda: Made(stage="planning"), policy(),
        {"key_not_measured", "manifest_not_measured", "manifest_of_another_stage"},
    ),
    "no enrolment": (lambda: Made(record=b""), policy(), {"not_enrolled"}),
    "an enrolment by nobody known": (
        lambda: Made(record=record_of(signer=ATTACKER)), policy(), {"enrolment_untrusted"},
    ),
    "an enrolment of another key": (
        lambda: Made(record=record_of(name=bytes(34))), policy(), {"enrolment_of_another_key"},
    ),
    "an enrolment that is over": (
        lambda: Made(record=record_of(not_after_ns=NOW_NS - 1)), policy(), {"enrolment_expired"},
    ),
    "an enrolment that is none": (lambda: Made(record=b"\xd2\x80"), policy(), {"malformed"}),
    "a revoked attestation key": (Made, policy(revoked=[AK_NAME.hex()]), {"attestation_key_revoked"}),
    "no endorsement certificate": (
        Made, dataclasses.replace(policy(), roots={"maker": b"0"}), {"endorsement_missing"},
    ),
    "a changed model file": (
        lambda: Made(manifest=CHANGED_MODEL, log=launch_log(CHANGED_MODEL)), by_signer(), {"model_changed"},
    ),
    "a changed adapter": (
        lambda: Made(manifest=CHANGED_ADAPTER, log=launch_log(CHANGED_ADAPTER)), by_signer(), {"adapter_changed"},
    ),
    "a changed model file and no manifest to compare": (
        lambda: Made(manifest=CHANGED_MODEL, log=launch_log(CHANGED_MODEL)), policy(), {"manifest_not_allowed"},
    ),
    "a model that is not allowed": (Made, policy(models=["11" * 32]), {"model_not_allowed"}),
    "a manifest that nobody measured": (
        lambda: Made(manifest=CHANGED_MODEL, log=LOG), policy(manifests=[CHANGED_MODEL.digest.hex()]),
        {"manifest_not_measured"},
    ),
    "a manifest shown that is not the one measured": (
        lambda: Made(carried=manifests.encode(CHANGED_MODEL)), policy(), {"manifest_altered"},
    ),
    "a manifest signed by nobody known": (
        lambda: Made(manifest=CHANGED_MODEL, log=launch_log(CHANGED_MODEL)),
        by_signer({**SIGNED, "manifest:forged": FORGED["manifest:perception"]}), {"model_changed"},
    ),
}  # fmt: skip


def test_evidence_that_holds_gives_the_level_measured() -> None:
    found = appraise(Made())
    assert found.reasons == ()
    assert (found.level(), found.status("platform"), found.accepted) == ("measured", Tier.AFFIRMING, True)
    assert found.claims["key_provenance"] == "tpm-quoted"
    assert (found.claims["reset_count"], found.claims["clock_safe"]) == (3, True)
    assert found.claims["models"] == [sha256(b"model").hexdigest()]
    assert [line.split()[0] for line in found.claims["launch"]] == ["manifest", "model", "key", "cap"]
    assert any("memory" in line for line in found.not_checked)
    assert NOW_NS < found.valid_until_ns <= NOW_NS + 86_400 * 10**9


def test_the_entry_point_names_the_verifier() -> None:
    assert interface.verifier(FORMAT) is VERIFIER


@pytest.mark.parametrize("name", CASES)
def test_refused_for_its_reason(name: str) -> None:
    make, chosen, expected = CASES[name]
    found = appraise(make(), chosen)
    assert codes(found) == expected, found.reasons
    assert (found.level(), found.accepted) == ("none", False)
    assert found.claims["key_provenance"] == "software"


def test_every_reason_has_a_case() -> None:
    """What the code can say is what the cases make it say; reasons of certificates are tested with a TPM."""
    with_certificates = {"endorsement_untrusted", "endorsement_of_another_tpm", "pcr14_not_quoted"}
    covered = set().union(*(expected for _, _, expected in CASES.values())) | with_certificates
    text = "".join(inspect.getsource(module) for module in (areas, event_log, launch_rules, verifier))
    said = set(re.findall(r'(?:against|refused)\(\s*"([a-z0-9_]+)"', text))
    said |= set(re.findall(r'return "([a-z_]+)", "the', text))
    assert len(said) > 25
    assert said <= covered


def test_without_manifests_to_compare_there_is_no_level() -> None:
    found = appraise(Made(), policy(manifests=None))
    assert (found.reasons, found.level()) == ((), "none")
    assert any("no manifests" in line for line in found.not_checked)


def test_a_signed_manifest_is_allowed_and_a_forged_one_is_not() -> None:
    assert appraise(Made(), by_signer()).level() == "measured"
    forged = manifests.sign(MANIFEST, SoftwareSigner(ATTACKER))
    assert appraise(Made(), by_signer({"manifest:perception": forged})).level() == "none"


def test_a_key_that_only_the_policy_names_and_a_test_record_are_worth_a_warning() -> None:
    named = policy(attestation_keys={"amr-1": [AK_NAME.hex()]}, enrollers=None)
    for made, chosen in ((Made(record=b""), named), (Made(record=record_of(test=True)), policy())):
        found = appraise(made, chosen)
        assert (found.level(), found.status("platform")) == ("measured", Tier.WARNING)


def test_a_later_quote_is_no_replay_and_a_restart_is_later() -> None:
    assert appraise(Made(clock=Clock(1001, 3, 0, True)), seen(1000, 3)).level() == "measured"
    assert appraise(Made(clock=Clock(1, 4, 0, True)), seen(1000, 3)).level() == "measured"


def test_two_stages_of_one_launch() -> None:
    other = dataclasses.replace(MANIFEST, stage="planning")
    log = (*LOG[:2], Event("manifest", "amr-1", "planning", other.digest), LOG[2],
           Event("key", "amr-1", "planning", sha256(ATTACKER_SPKI).digest()), LOG[3])  # fmt: skip
    chosen = policy(manifests=[MANIFEST.digest.hex(), other.digest.hex()])
    assert appraise(Made(log=log), chosen).level() == "measured"
    assert appraise(Made(log=log, manifest=other, stage="planning", session=ATTACKER), chosen).level() == "measured"
    # The one stage's key does not pass for the other's.
    assert codes(appraise(Made(log=log, session=ATTACKER), chosen)) == {"key_not_measured"}


def test_every_bit_of_what_is_signed_counts() -> None:
    """Each bit of the quote, of the attestation key and of the enrolment record, turned on its own."""
    evidence = Made().evidence()
    read = document.decode(evidence.document)
    for name in ("quote", "key", "enrolment"):
        original = getattr(read, name)
        for bit in range(8 * len(original)):
            changed = bytearray(original)
            changed[bit // 8] ^= 1 << bit % 8
            turned = document.encode(dataclasses.replace(read, **{name: bytes(changed)}))
            found = appraise(dataclasses.replace(evidence, document=turned))
            assert found.reasons, (name, bit)
            assert (found.accepted, found.level()) == (False, "none")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("manifests", ["11" * 31]), ("manifests", [5]), ("pcrs", {"24": "11" * 32}), ("pcrs", {"x": "11" * 32}),
        ("pcrs", []), ("enrollers", {"a": "no key"}), ("enrollers", ["a"]), ("attestation_keys", {"r": ["11"]}),
        ("last_seen", {"11" * 34: {"clock_ms": 1}}), ("last_seen", {"11": {}}), ("revoked", "zz"), ("manifest", []),
    ],
)  # fmt: skip
def test_a_policy_is_not_guessed_at(field: str, value: object) -> None:
    with pytest.raises(PolicyError, match=f"reference_values.tpm2-quote.{field}"):
        VERIFIER.check_reference(policy(**{field: value}))


def test_an_appraisal_takes_less_than_a_millisecond() -> None:
    evidence, chosen = Made().evidence(), policy()
    best = 1.0
    for _ in range(50):
        began = time.perf_counter()
        appraise(evidence, chosen)
        best = min(best, time.perf_counter() - began)
    assert best < 0.001, f"{best * 1e3:.2f} ms"


def test_cut_evidence_is_malformed_and_raises_nothing() -> None:
    evidence = Made().evidence()
    for at in range(0, len(evidence.document), 37):
        assert codes(appraise(dataclasses.replace(evidence, document=evidence.document[:at]))) == {"malformed"}


def test_the_attestation_key_of_the_tests_is_one() -> None:
    assert areas.attribute_problem(parse_public(public_area(AK))) == ("", "")
