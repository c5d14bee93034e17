"""The audit of a cosigned and stamped log: what counts, what is found, and what the level is computed from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from scenario import honest_run
from time_stamp_authority import TimeStampAuthority
from witnesses import witness_key, witness_name, witness_secret

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.pack import PackOptions, verify_pack, write_pack
from og_ros.audit.policy import parse_policy
from og_ros.audit.run import audit_bag
from og_ros.audit.witnessed import PublicEvidence, Witnessed, check, open_public_evidence
from og_ros.errors import LogError
from og_ros.log import Ledger, VerifierKey, parse_note
from og_ros.log.cosignature import cosign
from og_ros.log.cosigned import CosignedCheckpoints
from og_ros.log.quorum import WitnessPolicy, parse_witness_policy
from og_ros.log.timestamps import Stamper, Timestamps, load_roots
from og_ros.registry import Registry, RegistryWriter

ORIGIN = "example.com/robot-7"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LEAVES = [b"leaf %d" % number for number in range(12)]


@dataclass
class Case:
    """A log with checkpoints at 5 and 9 of 12 leaves, and a registry that certifies witnesses 1 to 3."""

    ledger: Ledger
    registry: Registry
    folder: Path

    def cosign(self, size: int, *numbers: int, at: float | None = None, note: str | None = None) -> Path:
        """Keep cosignatures on a checkpoint of the log."""
        found = next(one.note for one in self.ledger.checkpoints() if one.size == size) if note is None else note
        when = int(time.time() if at is None else at)
        text = parse_note(found).text
        lines = [cosign(text, witness_name(n), witness_secret(n), when) for n in numbers]
        CosignedCheckpoints(self.ledger.directory).add(size, found, lines)
        return self.ledger.directory / "cosigned" / f"{size}.checkpoint"

    def check(
        self,
        least: int = 0,
        policy: WitnessPolicy | None = None,
        given: Sequence[tuple[str, str]] = (),
        roots: Sequence[Path] = (),
        registry: bool = True,
    ) -> Witnessed:
        evidence = PublicEvidence(given, [one for root in roots for one in load_roots(root)])
        return check(evidence, self.ledger, self.registry if registry else None, policy, least, 9)

    def other(self, leaves: Sequence[bytes]) -> str:
        """The checkpoint of another log under the same name and key."""
        with Ledger.create(self.folder / f"other{len(leaves)}", ORIGIN, KEY) as ledger:
            ledger.append(list(leaves))
            return ledger.checkpoint()


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with (
        Ledger.create(tmp_path / "ledger", ORIGIN, KEY) as ledger,
        RegistryWriter.create(tmp_path / "registry", SoftwareSigner(keys.generate()), "fleet") as writer,
    ):
        for start, stop in ((0, 5), (5, 9)):
            ledger.append(LEAVES[start:stop])
            ledger.checkpoint()
        ledger.append(LEAVES[9:])
        for number in (1, 2, 3):
            key = witness_secret(number).public_key()
            writer.certify_key(key, role="witness", origin=witness_name(number), not_before_ns=10**18)
        yield Case(ledger, writer.registry, tmp_path)


def kinds(found: Witnessed) -> set[str]:
    return {finding.kind for finding in found.findings}


def test_one_certified_witness_is_enough_where_nobody_asks_for_more(case: Case) -> None:
    assert case.check().covered == 0
    assert not case.check().findings
    assert any("may show two faces" in note for note in case.check().notes)
    case.cosign(5, 1)
    assert (case.check().covered, kinds(case.check())) == (5, {"witness_behind"})
    case.cosign(9, 2)
    assert (case.check().covered, kinds(case.check())) == (9, set())
    assert case.check().summary == f"9 leaves under a quorum of witnesses ({witness_name(1)}, {witness_name(2)})"


def test_a_quorum_is_on_one_checkpoint(case: Case) -> None:
    case.cosign(5, 1)
    case.cosign(9, 2)
    assert (case.check(2).covered, kinds(case.check(2))) == (0, {"witness_quorum_not_met"})
    case.cosign(9, 2)
    assert case.check(2).covered == 0, "one witness twice is one witness"
    case.cosign(9, 3)
    assert (case.check(2).covered, kinds(case.check(2))) == (9, set())
    assert kinds(case.check(4)) == {"witness_quorum_not_met"}


def test_cosignatures_that_were_attached_count(case: Case) -> None:
    newest = case.ledger.latest_checkpoint()
    assert newest is not None
    line = cosign(parse_note(newest.note).text, witness_name(1), witness_secret(1), int(time.time()))
    case.ledger.attach(parse_note(newest.note).with_signature(line).format())
    assert case.check().covered == 9


def test_a_policy_stands_for_itself(case: Case) -> None:
    text = f"log {case.ledger.vkey}\n" + "".join(f"witness w{n} {witness_key(n).format()}\n" for n in (4, 5, 6))
    policy = parse_witness_policy(text + "group two 2 w4 w5 w6\nquorum two\n")
    case.cosign(9, 1, 2, 3, 4)
    found = case.check(policy=policy)
    assert kinds(found) == {"witness_quorum_not_met"}
    assert "2 of w4, w5, w6" in found.findings[0].message
    assert any("3 cosigners that the policy does not name" in note for note in found.notes)
    case.cosign(9, 6)
    assert (case.check(policy=policy).covered, kinds(case.check(policy=policy))) == (9, set())
    assert case.check(policy=policy, registry=False).covered == 9
    other = VerifierKey(ORIGIN, bytes(32)).format()
    strange = parse_witness_policy(text.replace(case.ledger.vkey, other) + "quorum w4\n")
    assert (case.check(policy=strange).covered, kinds(case.check(policy=strange))) == (0, {"witness_quorum_not_met"})


def test_without_a_registry_or_policy_nobody_counts(case: Case) -> None:
    case.cosign(9, 1)
    found = case.check(registry=False)
    assert (found.covered, found.findings) == (0, [])
    assert any("nobody's cosignature counts" in note for note in found.notes)


def test_a_key_that_was_not_valid_then_stands_for_nothing(case: Case) -> None:
    with RegistryWriter.create(case.folder / "strict", SoftwareSigner(keys.generate()), "fleet") as writer:
        key = writer.certify_key(
            witness_secret(1).public_key(), role="witness", origin=witness_name(1), not_before_ns=10**18,
            not_after_ns=1_700_000_000 * 10**9,
        )  # fmt: skip
        case.registry = writer.registry
        case.cosign(9, 1)
        assert (case.check(1).covered, kinds(case.check(1))) == (0, {"witness_not_certified", "witness_quorum_not_met"})
        case.cosign(5, 1, at=1_600_000_000)
        assert case.check(1).covered == 5
        writer.revoke_key(key.key_id, "stolen", at_ns=1_500_000_000 * 10**9)
        case.registry = writer.registry
        assert case.check(1).covered == 0


def test_a_checkpoint_that_the_log_denies_or_does_not_have(case: Case) -> None:
    forked, longer = case.other(LEAVES[::-1][:7]), case.other([*LEAVES, b"x"])
    assert kinds(case.check(given=[("f", forked)])) == {"log_forked"}
    assert kinds(case.check(given=[("f", longer)])) == {"log_rewound"}
    file = case.cosign(9, 1)
    note = parse_note(file.read_text())
    file.write_text(f"{note.text}\n{note.signatures[1].format()}")
    assert kinds(case.check(1)) == {"cosignature_invalid", "witness_quorum_not_met"}
    assert any("no checkpoint of this log" in n for n in case.check(given=[("f", file.read_text())]).notes)
    file.write_bytes(b"noise")
    assert kinds(case.check()) == {"cosignature_invalid"}


def test_cosignatures_below_another_checkpoint(case: Case) -> None:
    early, late = case.cosign(5, 1, 2), case.cosign(9)
    moved = [line for line in parse_note(early.read_text()).signatures if line.name != ORIGIN]
    late.write_text(late.read_text() + "".join(line.format() for line in moved))
    found = case.check(2)
    assert kinds(found) == {"cosignature_invalid", "witness_behind"}
    assert found.covered == 5


def test_a_witness_with_two_words(case: Case) -> None:
    case.cosign(9, 1)
    text = case.other(LEAVES[::-1][:9])
    line = cosign(parse_note(text).text, witness_name(1), witness_secret(1), 1_800_000_000)
    found = case.check(given=[("f", parse_note(text).with_signature(line).format())])
    assert kinds(found) == {"log_forked", "witness_forked"}


def test_time_stamps_are_reported_and_forged_ones_found(case: Case, tmp_path: Path) -> None:
    pytest.importorskip("rfc3161_client", reason="og_ros[timestamps] is not installed")
    authority, other = TimeStampAuthority(tmp_path / "one"), TimeStampAuthority(tmp_path / "two")
    try:
        Stamper(case.ledger.directory, authority.url, 1.0, [], lambda line: None).step()
        assert any("1 were not verified" in note for note in case.check().notes)
        found = case.check(roots=[authority.root])
        assert not found.findings
        assert found.stamps.startswith("the first 9 leaves existed no later than 20")
        assert kinds(case.check(roots=[other.root])) == {"timestamp_invalid"}
        (_, note, stamp), *_ = Timestamps(case.ledger.directory).all()
        folder = case.ledger.directory / "stamped"
        (folder / "9.checkpoint").write_text(case.other(LEAVES[::-1][:9]))
        assert kinds(case.check(roots=[authority.root])) == {"timestamp_invalid"}, "it is of another note"
        (folder / "9.checkpoint").write_bytes(note)
        for size, leaves, kind in ((6, LEAVES[::-1][:6], "log_forked"), (13, [*LEAVES, b"x"], "log_rewound")):
            denied = case.other(leaves).encode()
            (folder / f"{size}.checkpoint").write_bytes(denied)
            (folder / f"{size}.tsr").write_bytes(_stamp(authority, denied))
            assert kinds(case.check(roots=[authority.root])) == {kind}
            (folder / f"{size}.tsr").unlink()
        (folder / "9.tsr").write_bytes(stamp[:-1])
        assert kinds(case.check(roots=[authority.root])) == {"timestamp_invalid"}
    finally:
        authority.close()
        other.close()


def _stamp(authority: TimeStampAuthority, note: bytes) -> bytes:
    from og_ros.log.timestamps import request_stamp

    return request_stamp(authority.url, note)


def test_a_demand_for_witnesses_is_not_met_by_leaving_the_log_out(tmp_path: Path) -> None:
    run = honest_run(2)
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    registry = Registry.open(tmp_path / "registry")
    for text, found in (("witnesses: {quorum: 1}", 1), ("witnesses: {policy: quorum none}", 0), ("max_loss: 0.01", 0)):
        report = audit_bag(tmp_path / "bag", registry, policy=parse_policy(f"version: 1\n{text}".encode()))
        assert report.auditor.findings.counts["witness_quorum_not_met"] == found


def test_files_that_an_auditor_names(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"noise")
    for name in ("noise", "none"):
        with pytest.raises(LogError, match=name):
            open_public_evidence([tmp_path / name], [])


def test_a_pack_carries_what_witnesses_gave(tmp_path: Path) -> None:
    run = honest_run(2)
    run.write_registry(tmp_path / "registry")
    run.write_ledger(tmp_path / "ledger")
    run.write_bag(tmp_path / "bag")
    with RegistryWriter.open(tmp_path / "registry", run.authority) as writer:
        key = witness_secret(1).public_key()
        writer.certify_key(key, role="witness", origin=witness_name(1), not_before_ns=10**9)
    with Ledger.open(tmp_path / "ledger") as ledger:
        newest = ledger.latest_checkpoint()
    assert newest is not None
    line = cosign(parse_note(newest.note).text, witness_name(1), witness_secret(1), int(time.time()))
    CosignedCheckpoints(tmp_path / "ledger").add(newest.size, newest.note, [line])
    written = write_pack(
        tmp_path / "bag", tmp_path / "registry", tmp_path / "case.ogpack", PackOptions(ledger=tmp_path / "ledger")
    )
    report = verify_pack(written.path)
    assert report.confirmed
    assert report.report is not None
    told = report.report.as_json()
    assert told["witnesses"] == f"{newest.size} leaves under a quorum of witnesses ({witness_name(1)})"
    assert told["levels"]["settlement"]["decisions"]["lowest"] == "witnessed"
    reasons = report.report.auditor.levels.reasons()
    assert all("witnesses cosigned" in by_axis["settlement"].because for by_axis in reasons.values())
