"""tpm2-quote over the real protocol, with swtpm: launch, quote, enrolment, and what must be refused."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import cbor2
import pytest
import swtpm
from made_tpm_quote import MANIFEST, NONCE, RELEASE, ROBOT, STAGE, codes, key_of, manifest_of
from swtpm import Machine, Maker

from og_ros.attest import keys
from og_ros.attest.signer import SoftwareSigner
from og_ros.attest.verifier import verify_signature
from og_ros.errors import EvidenceError
from og_ros.evidence import manifest as manifests
from og_ros.evidence.appraisal import Appraisal, Tier
from og_ros.evidence.binding import Context, binding
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.manifest import Manifest
from og_ros.evidence.tpm import document, enrolment, event_log, kept_key, templates
from og_ros.evidence.tpm.attester import TpmQuoteAttester
from og_ros.evidence.tpm.credential import make_credential
from og_ros.evidence.tpm.device import Tpm
from og_ros.evidence.tpm.document import FORMAT, Document
from og_ros.evidence.tpm.ek_certificate import endorsement_key, fingerprint
from og_ros.evidence.tpm.enrolment_desk import Admission, DeskRules, EnrolmentDesk, Refused
from og_ros.evidence.tpm.enrolment_http import EnrolmentServer, enrol
from og_ros.evidence.tpm.launch import LaunchSettings, golden_events, launch, read_launch
from og_ros.evidence.tpm.public_area import attribute_problem, parse_public, signature_holds
from og_ros.evidence.tpm.quote import digest_of, parse_quote
from og_ros.evidence.tpm.verifier import VERIFIER

pytestmark = pytest.mark.xdist_group("tpm")
ENROLLER = SoftwareSigner(key_of("enroller"))
CONTEXT = Context(ROBOT, STAGE)
BOOT = (0, 7)


@pytest.fixture(scope="module")
def desk(maker: Maker, first_tpm: Path, second_tpm: Path, tmp_path_factory: pytest.TempPathFactory) -> EnrolmentDesk:
    rules = DeskRules(
        robots={ROBOT: Admission(token=sha256(b"token").digest()), "amr-2": Admission(token=sha256(b"two").digest())},
        roots={"swtpm": maker.root},
        test_roots=frozenset({"swtpm"}),
        intermediates=[maker.intermediate],
    )
    return EnrolmentDesk(ENROLLER, rules, tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def service(desk: EnrolmentDesk) -> Iterator[EnrolmentServer]:
    server = EnrolmentServer(desk)
    yield server
    server.close()


@pytest.fixture(scope="module")
def enrolled(service: EnrolmentServer, first_tpm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the first TPM's enrolment."""
    path = tmp_path_factory.mktemp("enrolled") / "enrolment"
    with swtpm.machine(first_tpm) as machine, Tpm(machine.tcti) as tpm:
        record = enrol(tpm, service.url, ROBOT, path, token="token")
    assert (record.robot, record.test, len(record.key_name)) == (ROBOT, True, 34)
    return path


def settings(machine: Machine, enrolled: Path | None = None) -> LaunchSettings:
    return LaunchSettings(machine.tcti, BOOT, "ecc", enrolled)


def launched(machine: Machine, folder: Path, manifest: Manifest = MANIFEST, enrolled: Path | None = None) -> bytes:
    """Launch one stage; returns the public key of its session."""
    with Tpm(machine.tcti) as tpm:
        launch(tpm, folder, [manifest], settings(machine, enrolled))
    return keys.spki(keys.load_private(folder / f"{manifest.stage}.pem").public_key())


def policy(maker: Maker, nonce: bytes | None = NONCE, **changes: Any) -> AppraisalPolicy:
    reference = {"enrollers": {"fleet": keys.public_pem(ENROLLER.public_key)}, "manifests": [MANIFEST.digest.hex()]}
    return AppraisalPolicy(
        roots={"swtpm": maker.root},
        test_roots=frozenset({"swtpm"}),
        reference_values={FORMAT: {**reference, **changes}},
        nonce=nonce,
    )


def appraise(evidence: Evidence, chosen: AppraisalPolicy) -> Appraisal:
    return VERIFIER.appraise(evidence, chosen, time.time_ns())


def quoted_by_hand(
    machine: Machine,
    key: bytes,
    log: tuple[event_log.Event, ...],
    enrolled: Path,
    pcr: int = event_log.PCR,
) -> Evidence:
    """Return what an attacker on the robot can get of its TPM: a quote for any key, with any log."""
    context = Context(ROBOT, STAGE, MANIFEST.digest)
    record, certificates = enrolment.read_file(enrolled)
    with Tpm(machine.tcti) as tpm:
        quote, signature, area = tpm.quote([pcr], binding(FORMAT, NONCE, key, context))
        values = tpm.read_pcrs([pcr])
    made = Document(
        quote, signature, area, values, event_log.START, log, record, certificates, manifests.encode(MANIFEST)
    )
    return Evidence(FORMAT, document.encode(made), key, NONCE, context, time.time_ns())


def test_a_measured_stage_is_measured(robot: Machine, maker: Maker, enrolled: Path, tmp_path: Path) -> None:
    key = launched(robot, tmp_path, enrolled=enrolled)
    attester = TpmQuoteAttester(tmp_path)
    assert attester.available() == ""
    evidence = attester.attest(key, NONCE, CONTEXT)
    found = appraise(evidence, policy(maker))
    assert found.reasons == ()
    assert (found.level(), found.status("platform")) == ("measured", Tier.WARNING)  # swtpm is worth no more
    assert found.claims["tpm"]["model"] == "swtpm"
    assert found.claims["pcrs"] == [0, 7, 14]
    # The rules that are tested without a TPM are tested on the like of this.
    read = document.decode(evidence.document)
    assert attribute_problem(parse_public(read.key)) == ("", "")
    assert (tmp_path / f"{STAGE}.pem").stat().st_mode & 0o777 == 0o600
    # A root that is none of a test's does not lift the cap: the certificate says that the TPM is a program.
    assert (
        appraise(evidence, dataclasses.replace(policy(maker), test_roots=frozenset())).status("platform")
        == Tier.WARNING
    )
    # Evidence is renewed while nothing changed; the TPM's clock tells which came later.
    again = attester.attest(key, NONCE, CONTEXT)
    name, clock = (
        found.claims["attestation_key"],
        {n: found.claims[n] for n in ("clock_ms", "reset_count", "restart_count")},
    )
    replayed = policy(maker, nonce=None, last_seen={name: clock})
    assert codes(appraise(evidence, replayed)) == {"replayed"}
    assert codes(appraise(again, replayed)) <= {"replayed"}  # within the same millisecond


def test_every_bit_that_the_tpm_signed_counts(robot: Machine, maker: Maker, enrolled: Path, tmp_path: Path) -> None:
    evidence = TpmQuoteAttester(_launched_in(robot, tmp_path, enrolled)).attest(_key(tmp_path), NONCE, CONTEXT)
    read = document.decode(evidence.document)
    chosen = policy(maker)
    assert appraise(evidence, chosen).level() == "measured"
    for bit in range(8 * len(read.quote)):
        changed = bytearray(read.quote)
        changed[bit // 8] ^= 1 << bit % 8
        turned = document.encode(dataclasses.replace(read, quote=bytes(changed)))
        assert appraise(dataclasses.replace(evidence, document=turned), chosen).level() == "none", bit


def _launched_in(robot: Machine, folder: Path, enrolled: Path) -> Path:
    launched(robot, folder, enrolled=enrolled)
    return folder


def _key(folder: Path) -> bytes:
    return keys.spki(keys.load_private(folder / f"{STAGE}.pem").public_key())


def test_another_key_quoted_by_the_robots_own_tpm(robot: Machine, maker: Maker, enrolled: Path, tmp_path: Path) -> None:
    """The attack that worked on evidence which names the key in qualifyingData alone."""
    launched(robot, tmp_path, enrolled=enrolled)
    attacker = keys.spki(key_of("attacker").public_key())
    evidence = quoted_by_hand(robot, attacker, read_launch(tmp_path).log, enrolled)
    assert codes(appraise(evidence, policy(maker))) == {"key_not_measured"}
    with pytest.raises(EvidenceError, match="measured another key"):
        TpmQuoteAttester(tmp_path).attest(attacker, NONCE, CONTEXT)


def test_pcr_14_extended_after_the_cap(robot: Machine, maker: Maker, enrolled: Path, tmp_path: Path) -> None:
    key = launched(robot, tmp_path, enrolled=enrolled)
    late = event_log.Event("key", ROBOT, STAGE, sha256(b"late").digest())
    with Tpm(robot.tcti) as tpm:
        tpm.extend(event_log.PCR, late.digest)
    log = read_launch(tmp_path).log
    silent = quoted_by_hand(robot, key, log, enrolled)
    assert codes(appraise(silent, policy(maker))) == {"pcr14_mismatch"}
    told = quoted_by_hand(robot, key, (*log, late), enrolled)
    assert codes(appraise(told, policy(maker))) == {"extended_after_cap"}
    with pytest.raises(EvidenceError, match="extended since"):
        TpmQuoteAttester(tmp_path).attest(key, NONCE, CONTEXT)
    with pytest.raises(EvidenceError, match="restart the machine"):
        launched(robot, tmp_path)


def test_a_launch_in_a_resettable_pcr(robot: Machine, maker: Maker, enrolled: Path, tmp_path: Path) -> None:
    key = launched(robot, tmp_path, enrolled=enrolled)
    log = read_launch(tmp_path).log
    with Tpm(robot.tcti) as tpm:
        for event in log:
            tpm.extend(16, event.digest)
    evidence = quoted_by_hand(robot, key, log, enrolled, pcr=16)
    assert codes(appraise(evidence, policy(maker))) == {"resettable_pcr"}
    with pytest.raises(EvidenceError, match="PCR 16"):
        LaunchSettings(robot.tcti, (0, 16))


def test_a_quote_by_a_key_that_is_not_restricted(robot: Machine, maker: Maker, enrolled: Path, tmp_path: Path) -> None:
    """It signs forged quotes: the policy names it, and it is refused all the same."""
    key = launched(robot, tmp_path, enrolled=enrolled)
    genuine = document.decode(TpmQuoteAttester(tmp_path).attest(key, NONCE, CONTEXT).document)
    with Tpm(robot.tcti) as tpm:
        kept = kept_key.make_resident(tpm)
        with tpm.signing(kept.public, kept.private) as sign:
            r, s = sign(sha256(genuine.quote).digest())
    signature = b"\x00\x18\x00\x0b" + b"".join(b"\x00\x20" + part.to_bytes(32, "big") for part in (r, s))
    forged = dataclasses.replace(genuine, key=kept.public, signature=signature, enrolment=b"")
    evidence = Evidence(
        FORMAT, document.encode(forged), key, NONCE, Context(ROBOT, STAGE, MANIFEST.digest), time.time_ns()
    )
    names = {ROBOT: [parse_public(kept.public).name.hex()]}
    assert codes(appraise(evidence, policy(maker, attestation_keys=names))) == {"attestation_key_not_restricted"}


def test_nonce_and_robot(robot: Machine, maker: Maker, enrolled: Path, tmp_path: Path) -> None:
    key = launched(robot, tmp_path, enrolled=enrolled)
    evidence = TpmQuoteAttester(tmp_path).attest(key, NONCE, CONTEXT)
    assert codes(appraise(evidence, policy(maker, nonce=bytes(32)))) == {"wrong_nonce"}
    stolen = dataclasses.replace(evidence, context=dataclasses.replace(evidence.context, robot="amr-2"))
    assert {"not_bound", "another_robot"} <= codes(appraise(stolen, policy(maker)))
    old = dataclasses.replace(evidence, collected_at_ns=evidence.collected_at_ns - 400 * 10**9)
    assert codes(appraise(old, policy(maker, nonce=None))) == {"too_old"}


def test_another_robots_tpm_under_this_robots_name(
    second_tpm: Path, service: EnrolmentServer, maker: Maker, tmp_path: Path
) -> None:
    with swtpm.machine(second_tpm) as other:
        with Tpm(other.tcti) as tpm:
            enrol(tpm, service.url, "amr-2", tmp_path / "enrolment", token="two")
        key = launched(other, tmp_path, enrolled=tmp_path / "enrolment")
        evidence = TpmQuoteAttester(tmp_path).attest(key, NONCE, CONTEXT)
    assert codes(appraise(evidence, policy(maker))) == {"another_robot"}


@pytest.mark.parametrize(
    ("change", "code"), [({"model": b"other"}, "model_changed"), ({"adapter": b"x"}, "adapter_changed")]
)
def test_changed_files(
    change: dict[str, bytes], code: str, robot: Machine, maker: Maker, enrolled: Path, tmp_path: Path
) -> None:
    key = launched(robot, tmp_path, manifest_of(**change), enrolled)
    evidence = TpmQuoteAttester(tmp_path).attest(key, NONCE, CONTEXT)
    release = {"release": keys.public_pem(RELEASE.public_key())}
    chosen = dataclasses.replace(
        policy(maker, manifests=[], manifest_signers=release),
        collateral={"manifest:perception": manifests.sign(MANIFEST, SoftwareSigner(RELEASE))},
    )
    assert codes(appraise(evidence, chosen)) == {code}


def test_a_launch_is_taken_up_and_not_made_twice(robot: Machine, tmp_path: Path) -> None:
    first = launched(robot, tmp_path)
    assert launched(robot, tmp_path) == first
    with pytest.raises(EvidenceError, match=r"model changed; restart the machine"):
        launched(robot, tmp_path, manifest_of(model=b"other"))
    with pytest.raises(EvidenceError, match="has no launch"):
        launched(robot, tmp_path / "elsewhere")
    robot.restart()
    assert launched(robot, tmp_path, manifest_of(model=b"other")) != first


def test_a_launch_that_fails_is_capped(robot: Machine, tmp_path: Path) -> None:
    def fail(_: str) -> Any:
        raise RuntimeError

    with Tpm(robot.tcti) as tpm:
        with pytest.raises(RuntimeError):
            launch(tpm, tmp_path, [MANIFEST], settings(robot), key_for=fail)
        golden = event_log.replay(golden_events([MANIFEST]))
        assert tpm.read_pcrs([14])[14] == sha256(golden + event_log.cap(ROBOT).digest).digest()


def test_a_sealed_key_opens_in_the_launch_of_its_software_and_never_else(robot: Machine, tmp_path: Path) -> None:
    identity = key_of("identity")
    with Tpm(robot.tcti) as tpm:
        kept = kept_key.seal(tpm, identity, event_log.replay(golden_events([MANIFEST])))
        kept_key.write(kept, tmp_path / "sealed")
        kept = kept_key.read(tmp_path / "sealed")
        with pytest.raises(EvidenceError, match="policy check failed"):
            kept_key.unseal(tpm, kept)  # before the launch
        launch(tpm, tmp_path / "a", [MANIFEST], settings(robot), key_for=lambda _: kept_key.unseal(tpm, kept))
        assert keys.load_private(tmp_path / "a" / f"{STAGE}.pem").private_numbers() == identity.private_numbers()  # type: ignore[union-attr]
        with pytest.raises(EvidenceError, match="policy check failed"):
            kept_key.unseal(tpm, kept)  # behind the cap
    robot.restart()
    other = manifest_of(model=b"other")
    with Tpm(robot.tcti) as tpm, pytest.raises(EvidenceError, match="policy check failed"):
        launch(tpm, tmp_path / "b", [other], settings(robot), key_for=lambda _: kept_key.unseal(tpm, kept))


def test_a_key_that_stays_in_the_tpm_signs(robot: Machine) -> None:
    with Tpm(robot.tcti) as tpm:
        free, bound = kept_key.make_resident(tpm), kept_key.make_resident(tpm, [14])
        with pytest.raises(EvidenceError, match="can be reset"):
            kept_key.make_resident(tpm, [16])
    signed: list[bytes] = []
    with kept_key.TpmSigner(free, robot.tcti) as signer:
        threads = [threading.Thread(target=lambda: signed.append(signer.sign(b"message"))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for signature in signed:
            verify_signature(signer.public_key, b"message", signature)
    assert len(signed) == 4
    with Tpm(robot.tcti) as tpm, tpm.signing(bound.public, bound.private, bound.pcrs) as sign:
        assert sign(bytes(32))[0] > 0
        tpm.extend(14, bytes(32))
        with pytest.raises(EvidenceError, match="policy check failed"):
            sign(bytes(32))


def test_rsa_quotes_and_an_independent_reader(robot: Machine, tmp_path: Path) -> None:
    """tpm2-pytss reads a quote as our strict reader does; tpm2_checkquote of tpm2-tools finds it good."""
    from tpm2_pytss import TPMS_ATTEST

    with Tpm(robot.tcti) as tpm:
        for kind in ("ecc", "rsa"):
            quote, signature, area = tpm.quote([0, 14], NONCE, kind)  # type: ignore[arg-type]
            ours, theirs = parse_quote(quote), TPMS_ATTEST.unmarshal(quote)[0]
            assert signature_holds(parse_public(area), quote, signature)
            assert attribute_problem(parse_public(area)) == ("", "")
            assert ours.extra_data == bytes(theirs.extraData) == NONCE
            assert ours.clock.clock_ms == theirs.clockInfo.clock
            assert (
                ours.pcr_digest == bytes(theirs.attested.quote.pcrDigest) == digest_of([0, 14], tpm.read_pcrs([0, 14]))
            )
            if shutil.which("tpm2_checkquote") is None:
                continue
            pem = keys.public_pem(parse_public(area).key)  # type: ignore[arg-type]
            files = {"key.pem": pem.encode(), "quote": quote, "signature": signature}
            for name, data in files.items():
                (tmp_path / name).write_bytes(data)
            command = [
                "tpm2_checkquote",
                "-u",
                "key.pem",
                "-m",
                "quote",
                "-s",
                "signature",
                "-g",
                "sha256",
                "-q",
                NONCE.hex(),
            ]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


def test_handles_are_flushed_and_errors_say_what(robot: Machine) -> None:
    with Tpm(robot.tcti) as tpm:
        for _ in range(5):
            tpm.quote([14], NONCE)
            with pytest.raises(EvidenceError, match="the TPM refused Load"):
                tpm.unseal(templates.sealed_data(bytes(32)) + b"", b"\x00", [14])
        tpm.quote([14], NONCE)
    robot.stop()
    with pytest.raises(EvidenceError, match="cannot reach the TPM at swtpm:path="):
        Tpm(robot.tcti)
    with pytest.raises(EvidenceError, match="cannot reach the TPM at nonsense"):
        Tpm("nonsense")
    robot.start()


def request_of(tpm: Tpm, **changes: Any) -> bytes:
    _, certificate = tpm.endorsement_certificate()
    tree = {"robot": ROBOT, "token": "token", "key": tpm.attestation_key(), "certificates": [certificate]}
    return cbor2.dumps({**tree, **changes}, canonical=True)


def test_the_desk_refuses(robot: Machine, desk: EnrolmentDesk, maker: Maker, second_tpm: Path) -> None:
    with Tpm(robot.tcti) as tpm:
        good = request_of(tpm)
        unfit = kept_key.make_resident(tpm).public
        wrong = {
            "token": (request_of(tpm, token="guess"), 403, "no robot of this name"),
            "robot": (request_of(tpm, robot="nobody"), 403, "no robot of this name"),
            "key": (request_of(tpm, key=unfit), 403, "not restricted"),
            "bytes": (b"\xff", 400, "malformed"),
            "size": (bytes(40_000), 400, "allowed"),
            "fields": (cbor2.dumps({"robot": ROBOT}), 400, "no map of"),
            "certificate": (request_of(tpm, certificates=[b"x"]), 403, "cannot be read"),
            "root": (request_of(tpm, certificates=[maker.root]), 403, "CA"),
        }
        for name, (request, status, message) in wrong.items():
            with pytest.raises(Refused, match=message) as raised:
                desk.challenge(request)
            assert raised.value.status == status, name
        # One try for each credential, and only the secret in it counts.
        challenge = cbor2.loads(desk.challenge(good))
        answer = cbor2.dumps({"id": challenge["id"], "secret": bytes(32)}, canonical=True)
        with pytest.raises(Refused, match="did not open"):
            desk.activate(answer)
        with pytest.raises(Refused, match="no such enrolment"):
            desk.activate(answer)
    # The one TPM's certificate with the other's attestation key: the TPM refuses to open it.
    with swtpm.machine(second_tpm) as other, Tpm(other.tcti) as tpm:
        foreign = tpm.attestation_key()
        with pytest.raises(Refused, match="another TPM"):
            desk.activate(_completed(desk, tpm))
    with Tpm(robot.tcti) as tpm:
        mixed = cbor2.loads(desk.challenge(request_of(tpm, key=foreign)))
        with pytest.raises(EvidenceError, match="refused ActivateCredential"):
            tpm.activate("EK-RSA2048", mixed["id_object"], mixed["secret"])


def _completed(desk: EnrolmentDesk, tpm: Tpm) -> bytes:
    """Return the answer of another TPM that also knows the first robot's token."""
    challenge = cbor2.loads(desk.challenge(request_of(tpm)))
    secret = tpm.activate("EK-RSA2048", challenge["id_object"], challenge["secret"])
    return cbor2.dumps({"id": challenge["id"], "secret": secret}, canonical=True)


@pytest.mark.parametrize("template", ["EK-RSA2048", "EK-HIGH-ECC384"])
def test_the_tpm_opens_credentials_made_in_python(template: str, robot: Machine) -> None:
    with Tpm(robot.tcti) as tpm:
        name, certificate = tpm.endorsement_certificate(template)
        made = make_credential(endorsement_key(certificate), parse_public(tpm.attestation_key()).name, b"s" * 32)
        assert (name, tpm.activate(name, *made)) == (template, b"s" * 32)


def test_pending_enrolments_are_bounded(robot: Machine, desk: EnrolmentDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("og_ros.evidence.tpm.enrolment_desk.MAX_PENDING", 2)
    monkeypatch.setattr(desk, "_pending", {})
    with Tpm(robot.tcti) as tpm:
        good = request_of(tpm)
    for _ in range(2):
        desk.challenge(good)
    with pytest.raises(Refused, match="too many") as raised:
        desk.challenge(good)
    assert raised.value.status == 429


def test_endorsement_certificates_of_another_maker(
    robot: Machine, maker: Maker, enrolled: Path, tmp_path: Path
) -> None:
    key = launched(robot, tmp_path, enrolled=enrolled)
    evidence = TpmQuoteAttester(tmp_path).attest(key, NONCE, CONTEXT)
    other = dataclasses.replace(policy(maker), roots={"other": maker.intermediate[:-1] + b"\0"})
    assert codes(appraise(evidence, other)) == {"endorsement_untrusted"}
    read = document.decode(evidence.document)
    _, certificates = enrolment.read_file(enrolled)
    assert fingerprint(certificates[0]) == enrolment.read(read.enrolment)[0].certificate
    swapped = document.encode(dataclasses.replace(read, certificates=certificates[1:]))
    found = appraise(dataclasses.replace(evidence, document=swapped), policy(maker))
    assert codes(found) == {"endorsement_of_another_tpm", "endorsement_untrusted"}
    late = VERIFIER.appraise(evidence, policy(maker), time.time_ns() + 400 * 86_400 * 10**9)
    assert "enrolment_expired" in codes(late)
