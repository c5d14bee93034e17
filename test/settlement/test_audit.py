"""The audit of a settled log: levels from evidence, and an attack a case, each with the finding that must name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from settlement_place import ROBOT, Place
from settler_run import Run

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.settled import Settled, SettlementEvidence, check
from og_ros.cli.main import main
from og_ros.log import Ledger
from og_ros.registry import Registry, RegistryWriter
from og_ros.settlement import receipt, trie
from og_ros.settlement.receipt import Inclusion, Receipt


@dataclass
class Case:
    """A log of 12 leaves that settled at 5 and 9, its receipts, and a registry that certifies the settlement key."""

    place: Place
    ledger: Ledger
    registry: Registry
    receipts: list[Receipt]
    folder: Path

    def check(self, receipts: list[Receipt] | None = None, **changed: Any) -> Settled:
        evidence = SettlementEvidence(ROBOT, receipts if receipts is not None else self.receipts, self.place.chain)
        given = {"ledger": self.ledger, "registry": self.registry}
        given.update({k: changed.pop(k) for k in given if k in changed})
        return check(replace(evidence, **{"finality": 1, **changed}), given["ledger"], given["registry"])


@pytest.fixture
def case(place: Place, ledger: Ledger, grow: Callable[[int], None], tmp_path: Path) -> Case:
    run = Run(ledger, tmp_path, [place.backend()])
    grow(5)
    run.until("5 final")
    grow(4)
    run.until("5 final", "9 final")
    grow(3)
    authority = SoftwareSigner(keys.generate())
    with RegistryWriter.create(tmp_path / "registry", authority, "fleet") as writer:
        # A node of a test has its own idea of the time.
        writer.certify_key(place.signer.public_key, role="settlement", robot=ROBOT, not_before_ns=10**18)
        registry = writer.registry
    receipts = [receipt.from_json(row.receipt, "r") for row in run.outbox.rows("evm")]
    run.outbox.close()
    return Case(place, ledger, registry, receipts, tmp_path)


def levels(settled: Settled) -> list[str]:
    return [settled.level(index) for index in (0, 4, 5, 8, 9, 11)]


def test_levels_are_what_the_evidence_bears(case: Case) -> None:
    final, submitted, nothing = (
        [*[level] * 4, "", ""] for level in ("final", "submitted", "")
    )
    assert levels(case.check()) == final
    assert not case.check().findings
    assert [anchor.size for anchor in case.check().anchors] == [5, 9], "vouched blocks date the leaves"
    assert all(abs(anchor.time_ns / 1e9 - case.place.now()) < 600 for anchor in case.check().anchors)
    assert not case.check(chain=None).anchors
    assert levels(case.check(finality=10**6)) == [*["included"] * 4, "", ""]
    assert levels(case.check(chain=None)) == submitted
    first, second = (one.inclusion.block_hash for one in case.receipts if one.inclusion)
    assert levels(case.check(chain=None, final_blocks={second})) == final, "a later checkpoint covers earlier leaves"
    assert levels(case.check(chain=None, final_blocks={first})) == ["final", "final", "submitted", "submitted", "", ""]
    assert levels(case.check(registry=None)) == nothing
    bare = [replace(one, inclusion=None) for one in case.receipts]
    assert levels(case.check(bare)) == nothing


def kinds(settled: Settled) -> set[str]:
    return {finding.kind for finding in settled.findings}


def forged_header(one: Receipt) -> Receipt:
    """A block that never was, with a receipt in it that says what the forger likes."""
    assert one.inclusion is not None
    fields = trie.decode(one.inclusion.header, "h")
    fields[12] = b"forged"
    import rlp

    header = rlp.encode(fields)
    return replace(one, inclusion=replace(one.inclusion, header=header, block_hash=trie.header_hash(header)))


ATTACKS: dict[str, tuple[Callable[[Case], list[Receipt]], str]] = {
    "signature-of-another-key": (
        lambda c: [replace(one, signature=SoftwareSigner(keys.generate()).sign(one.entry.message()))
                   for one in c.receipts],
        "settlement_forged",
    ),
    "root-replaced": (
        lambda c: [c.receipts[0], replace(c.receipts[1], entry=replace(c.receipts[1].entry, root=bytes(32)))],
        "settlement_forged",
    ),
    "signature-removed": (lambda c: [replace(c.receipts[0], signature=b""), c.receipts[1]], "settlement_forged"),
    "block-made-up": (lambda c: [c.receipts[0], forged_header(c.receipts[1])], "settlement_forged"),
    "proof-of-another": (
        lambda c: [c.receipts[0], replace(c.receipts[1], inclusion=c.receipts[0].inclusion)], "settlement_forged",
    ),
    "first-dropped": (lambda c: c.receipts[1:], "settlement_missing"),
    "repeated": (lambda c: [*c.receipts, c.receipts[1]], "settlement_forged"),
    "other-contract": (
        lambda c: [replace(one, entry=replace(one.entry, chain=replace(one.entry.chain, contract="0x" + "22" * 20)))
                   for one in c.receipts],
        "settlement_forged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_on_receipts(case: Case, name: str) -> None:
    attack, finding = ATTACKS[name]
    assert finding in kinds(case.check(attack(case)))


def test_a_forged_block_is_no_more_than_submitted_offline(case: Case) -> None:
    settled = case.check([forged_header(one) for one in case.receipts], chain=None)
    assert levels(settled)[:4] == ["submitted"] * 4
    assert any("blocks are part of the chain" in note for note in settled.notes)


def test_an_edited_leaf_is_found_though_the_robot_signs_the_log_anew(case: Case) -> None:
    leaves = [leaf.data for leaf in case.ledger.leaves()]
    leaves[3] = b"nothing happened"
    with Ledger.create(case.folder / "edited", case.ledger.origin, case.ledger._signer.classical) as edited:  # type: ignore[union-attr]
        edited.append(leaves)
        edited.checkpoint()
        edited.verify()
        settled = case.check(ledger=edited)
    assert kinds(settled) == {"settlement_differs"}
    assert levels(settled) == [""] * 6


def test_a_log_cut_off_behind_its_last_receipt_is_found_by_the_chain(case: Case) -> None:
    with Ledger.create(case.folder / "cut", case.ledger.origin, case.ledger._signer.classical) as cut:  # type: ignore[union-attr]
        cut.append([leaf.data for leaf in case.ledger.leaves(0, 5)])
        cut.checkpoint()
        assert kinds(case.check(case.receipts[:1], ledger=cut)) == {"settlement_differs"}
        assert kinds(case.check(case.receipts[:1], ledger=cut, chain=None)) == set(), "offline nobody knows of it"


def test_a_key_that_was_revoked_before_it_settled_stands_for_nothing(case: Case, tmp_path: Path) -> None:
    authority = SoftwareSigner(keys.generate())
    with RegistryWriter.create(tmp_path / "strict", authority, "fleet") as writer:
        writer.certify_key(case.place.signer.public_key, role="settlement", robot=ROBOT, not_before_ns=10**18)
        writer.revoke_key(case.place.signer.key_id, "stolen", at_ns=10**18 + 1)
        assert kinds(case.check(registry=writer.registry)) == {"settlement_forged"}


def test_verify_verb(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    file = case.folder / "receipts.json"
    receipt.write_file(file, ROBOT, case.receipts)
    assert receipt.read_file(file) == (ROBOT, case.receipts)
    given = ["settle", "verify", "--settlement", str(file), "--ledger", str(case.ledger.directory)]
    given += ["--registry", str(case.folder / "registry")]
    assert main([*given, "--chain", case.place.node.url, "--finality", "1"]) == 0
    assert "leaf 0: final; leaf 11, the newest: none" in capsys.readouterr().out
    assert main(given) == 2, "nobody vouches for the blocks"
    assert "leaf 0: submitted" in capsys.readouterr().out
    receipt.write_file(file, ROBOT, case.receipts[1:])
    assert main(given) == 1
    assert "settlement_missing" in capsys.readouterr().out
    assert main([*given, "--chain", "http://127.0.0.1:9"]) == 2
    file.write_bytes(b"{}")
    assert main(given) == 2
    assert capsys.readouterr().err.count("\n") == 2
    assert isinstance(case.receipts[0].inclusion, Inclusion)
