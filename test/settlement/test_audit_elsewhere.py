"""The audit of receipts of endpoints, aggregates and the relay: levels, and an attack a case with its finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from anvil import Anvil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from endpoint_place import ENDPOINT_KEY, ORIGIN, VKEY, Place, endpoint
from made_block import CHAIN, in_a_block
from settler_run import Run

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.settled import Settled, SettlementEvidence, check
from og_ros.cli.main import main
from og_ros.errors import SettlementError
from og_ros.log import Ledger, VerifierKey, parse_proof, sign_checkpoint
from og_ros.log.checkpoint import Checkpoint
from og_ros.registry import Registry, RegistryWriter
from og_ros.settlement import receipt, trie
from og_ros.settlement.checkpoints import NO_HEAD, Entry
from og_ros.settlement.evm_chain import EvmChain, robot_id
from og_ros.settlement.http_client import HttpClient
from og_ros.settlement.log_receipt import LogReceipt
from og_ros.settlement.receipt_kinds import AnyReceipt, from_json, to_json
from og_ros.settlement.relay_backend import Relay, RelayBackend
from og_ros.settlement.relay_receipt import RelayReceipt
from og_ros.settlement.rpc import Rpc

ROBOT = "robot-7"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = "example.com/robot-7"
LOGS = {LOG: VerifierKey.of(LOG, LOG_KEY)}
Grow = Callable[[int], None]


@dataclass
class Case:
    """A log of 12 leaves whose checkpoints of 5 and 9 an endpoint has; a registry that certifies the endpoint's key."""

    place: Place
    ledger: Ledger
    writer: RegistryWriter
    receipts: list[LogReceipt]
    folder: Path

    @property
    def registry(self) -> Registry:
        return self.writer.registry

    def check(self, receipts: Sequence[AnyReceipt] | None = None, **changed: Any) -> Settled:
        given = {"ledger": self.ledger, "registry": self.registry}
        given.update({k: changed.pop(k) for k in given if k in changed})
        evidence = SettlementEvidence(ROBOT, self.receipts if receipts is None else receipts, **changed)
        return check(evidence, given["ledger"], given["registry"])  # type: ignore[arg-type]

    def post(self, size: int, root: bytes) -> None:
        note = sign_checkpoint(Checkpoint(LOG, size, root), LOG_KEY)
        assert self.place.desk.post(note.encode(), "").status == 202


@pytest.fixture
def case(ledger: Ledger, grow: Grow, tmp_path: Path) -> Iterator[Case]:
    authority = SoftwareSigner(keys.generate())
    with (
        endpoint(tmp_path / "endpoint", LOGS) as place,
        RegistryWriter.create(tmp_path / "registry", authority, "fleet") as writer,
    ):
        writer.certify_key(ENDPOINT_KEY.public_key(), role="endpoint", origin=ORIGIN)
        run = Run(ledger, tmp_path, [place.backend()])
        for count in (5, 4):
            grow(count)
            run.settler.step()
            place.log.publish()
            run.settler.step()
        grow(3)
        receipts = [from_json(row.receipt, "r") for row in run.outbox.rows("http")]
        run.outbox.close()
        yield Case(place, ledger, writer, receipts, tmp_path)  # type: ignore[arg-type]


def levels(settled: Settled) -> list[str]:
    return [settled.level(index) for index in (0, 4, 5, 8, 9, 11)]


def kinds(settled: Settled) -> set[str]:
    return {finding.kind for finding in settled.findings}


INCLUDED = [*["included"] * 4, "", ""]


def test_an_endpoint_is_worth_what_its_key_is(case: Case) -> None:
    assert levels(case.check()) == INCLUDED
    assert not case.check().findings
    assert "2 checkpoints in endpoints' logs: 0 final, 2 included" in case.check().summary
    assert levels(case.check(registry=None)) == [""] * 6
    assert levels(case.check(registry=None, endpoint_keys=[VKEY])) == INCLUDED
    assert levels(case.check(case.receipts[:1])) == ["included"] * 2 + [""] * 4
    case.writer.revoke_key(keys.key_id(ENDPOINT_KEY.public_key()), "stolen")
    revoked = case.check()
    assert levels(revoked) == [""] * 6
    assert not revoked.findings, "what it signed before is no forgery"
    assert any("was revoked" in note for note in revoked.notes)


def test_an_endpoint_that_changed_its_key_has_two(case: Case) -> None:
    case.writer.certify_key(Ed25519PrivateKey.generate().public_key(), role="endpoint", origin=ORIGIN)
    assert levels(case.check()) == INCLUDED


def own_endpoint(case: Case, key: Ed25519PrivateKey) -> list[LogReceipt]:
    """Receipts of an endpoint that the attacker runs, under the other's name."""
    with Ledger.create(case.folder / "own", ORIGIN, key) as log:
        log.append([one.checkpoint.encode() for one in case.receipts])
        log.checkpoint()
        return [replace(one, proof=log.export_proof(index)) for index, one in enumerate(case.receipts)]


def with_note(
    one: LogReceipt, size: int, root: bytes, key: Ed25519PrivateKey = LOG_KEY, origin: str = LOG
) -> LogReceipt:
    return replace(one, checkpoint=sign_checkpoint(Checkpoint(origin, size, root), key))


ATTACKS: dict[str, tuple[Callable[[Case], list[LogReceipt]], str]] = {
    "endpoint-made-up": (lambda c: own_endpoint(c, Ed25519PrivateKey.generate()), "settlement_forged"),
    "proof-of-another-checkpoint": (
        lambda c: [c.receipts[0], replace(c.receipts[1], proof=c.receipts[0].proof)], "settlement_forged",
    ),
    "checkpoint-signed-anew-over-another-root": (
        lambda c: [c.receipts[0], with_note(c.receipts[1], 9, b"x" * 32)], "settlement_differs",
    ),
    "checkpoint-signed-anew-and-never-sent": (
        lambda c: [c.receipts[0], with_note(c.receipts[1], 12, c.ledger.root(12))], "settlement_forged",
    ),
    "checkpoint-of-another-log": (
        lambda c: [with_note(c.receipts[0], 5, c.ledger.root(5), origin="example.com/robot-8")], "settlement_forged",
    ),
    "checkpoint-signed-by-a-stranger": (
        lambda c: [with_note(c.receipts[0], 5, c.ledger.root(5), Ed25519PrivateKey.generate())], "settlement_forged",
    ),
    "index-shifted": (
        lambda c: [replace(c.receipts[1], proof=c.receipts[1].proof.replace("index 1", "index 0"))],
        "settlement_forged",
    ),
}  # fmt: skip


def test_attacks_on_receipts_of_an_endpoint(case: Case) -> None:
    """One endpoint for all: none of them changes it."""
    for name, (attack, kind) in ATTACKS.items():
        settled = case.check(attack(case))
        assert kind in kinds(settled), name
        assert settled.level(11) == "", name


def test_the_logs_own_key_vouches_for_nothing(case: Case) -> None:
    own = own_endpoint(case, LOG_KEY)
    settled = case.check(own, registry=None, endpoint_keys=[VerifierKey.of(ORIGIN, LOG_KEY)])
    assert kinds(settled) == {"settlement_forged"}
    assert levels(settled) == [""] * 6


def test_an_edited_or_cut_log_is_found_though_the_robot_signs_it_anew(case: Case) -> None:
    leaves = [leaf.data for leaf in case.ledger.leaves()]
    for name, changed in (("edited", [*leaves[:3], b"nothing happened", *leaves[4:]]), ("cut", leaves[:5])):
        with Ledger.create(case.folder / name, LOG, LOG_KEY) as other:
            other.append(changed)
            other.checkpoint()
            settled = case.check(ledger=other)
            assert kinds(settled) == {"settlement_differs"}
            assert levels(settled)[2:] == [""] * 4


def test_a_fork_whose_receipt_is_withheld_is_found_by_asking_the_endpoint(case: Case) -> None:
    case.post(10, b"f" * 32)
    asked = {"endpoint": HttpClient(case.place.server.url)}
    assert kinds(case.check()) == set(), "offline nobody knows of it"
    assert kinds(case.check(**asked)) == {"settlement_differs"}
    assert kinds(case.check(case.receipts[1:], **asked)) == {"settlement_differs", "settlement_missing"}
    case.place.stop()
    try:
        with pytest.raises(SettlementError, match="does not answer"):
            case.check(**asked)
    finally:
        case.place.start()


NONSENSE = (
    b"{}", b'{"checkpoints": []', b'{"checkpoints": [], "more": true}', b'{"checkpoints": [{"size": -1, "root": ""}]}',
    b'{"checkpoints": [{"size": 1, "root": 5}]}', b'{"checkpoints": [{"size": 1, "root": "' + b"g" * 64 + b'"}]}',
)  # fmt: skip


def test_an_endpoint_that_talks_nonsense_is_no_finding(case: Case) -> None:
    from og_ros.settlement.http_client import Answer

    client = HttpClient(case.place.server.url)
    for answer in NONSENSE:
        client.request = lambda *_, answer=answer: Answer(200, {}, answer)  # type: ignore[method-assign]
        with pytest.raises(SettlementError) as caught:
            case.check(endpoint=client)
        assert "\n" not in str(caught.value)


def test_verify_verb(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    file = case.folder / "receipts.json"
    receipt.write_file(file, ROBOT, case.receipts)
    assert receipt.read_file(file) == (ROBOT, case.receipts)
    given = ["settle", "verify", "--settlement", str(file), "--ledger", str(case.ledger.directory)]
    registry = ["--registry", str(case.folder / "registry")]
    assert main([*given, *registry, "--endpoint", case.place.server.url]) == 0
    assert "leaf 0: included; leaf 11, the newest: none" in capsys.readouterr().out
    assert main([*given, "--endpoint-key", VKEY.format()]) == 0
    assert main(given) == 2, "nobody stands for the endpoint"
    assert main([*given, *registry, "--chain", "http://127.0.0.1:9"]) == 2
    assert main([*given, "--endpoint-key", "nonsense"]) == 2
    assert main([*given, "--endpoint", "http://settle.example"]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 3, told
    receipt.write_file(file, ROBOT, own_endpoint(case, Ed25519PrivateKey.generate()))
    assert main([*given, *registry]) == 1
    assert "settlement_forged" in capsys.readouterr().out


def test_an_aggregate_is_as_final_as_its_chain(case: Case) -> None:
    """The endpoint's checkpoint settles under its own name, by a settlement key that is certified for that name."""
    signer = SoftwareSigner(keys.generate())
    case.writer.certify_key(signer.public_key, role="settlement", robot="fleet-a", not_before_ns=0)
    head = case.receipts[1].endpoints()
    chain = replace(CHAIN, robot_id=robot_id("fleet-a"))
    settled = in_a_block([Entry(chain, 0, head.size, head.root, NO_HEAD)])[0]
    settled = replace(settled, signature=signer.sign(settled.entry.message()))
    assert settled.inclusion is not None
    whole = replace(case.receipts[1], name="fleet-a", settlement=settled)
    assert from_json(to_json(whole), "r") == whole
    vouched = {"final_blocks": {settled.inclusion.block_hash}}
    assert levels(case.check([whole], **vouched)) == [*["final"] * 4, "", ""]
    assert levels(case.check([whole])) == INCLUDED, "nobody vouches for the block: it is the endpoint's word"
    assert levels(case.check([replace(whole, settlement=replace(settled, inclusion=None))])) == INCLUDED
    other = in_a_block([Entry(chain, 0, head.size, b"x" * 32, NO_HEAD)])[0]
    other = replace(other, signature=signer.sign(other.entry.message()))
    for forged in (
        replace(whole, settlement=other),
        replace(whole, name="fleet-b"),
        replace(whole, settlement=replace(settled, signature=case_signature(settled.entry))),
        replace(whole, settlement=replace(settled, inclusion=other.inclusion)),
        replace(whole, proof=case.receipts[0].proof),
    ):
        assert kinds(case.check([forged], **vouched)) == {"settlement_forged"}


def test_an_aggregate_that_settled_after_the_snapshot_may_be_used(case: Case) -> None:
    signer = SoftwareSigner(keys.generate())
    case.writer.certify_key(signer.public_key, role="settlement", robot="fleet-a", not_before_ns=10**9)
    chain = replace(CHAIN, robot_id=robot_id("fleet-a"))
    head = case.receipts[1].endpoints()
    (settled,) = in_a_block([Entry(chain, 0, head.size, head.root, NO_HEAD)])
    settled = replace(settled, signature=signer.sign(settled.entry.message()))
    whole = replace(case.receipts[1], name="fleet-a", settlement=settled)
    assert settled.inclusion is not None
    block_ns = trie.read_header(settled.inclusion.header)[1] * 10**9
    for fresh_until_ns, found in ((block_ns, set()), (block_ns - 1, {"registry_stale"})):
        registry = replace(case.registry, fresh_until_ns=fresh_until_ns)
        assert kinds(case.check([whole], registry=registry)) == found


def case_signature(entry: Entry) -> bytes:
    return SoftwareSigner(keys.generate()).sign(entry.message())


BAD_RECEIPTS = {
    "kind-unknown": {"kind": "own"},
    "field-unknown": {"more": 1},
    "checkpoint-no-note": {"checkpoint": "x"},
    "checkpoint-not-unicode": {"checkpoint": "\ud800"},
    "proof-no-proof": {"proof": "x"},
    "aggregate-without-settlement": {"kind": "aggregate"},
    "aggregate-whose-name-is-not-unicode": {"kind": "aggregate", "name": "\ud800", "settlement": {}},
    "log-with-settlement": {"settlement": {}},
    "relay-that-is-none": {"kind": "opengradient"},
}


def test_a_bad_receipt_is_one_line(case: Case) -> None:
    import json

    for name, changed in BAD_RECEIPTS.items():
        with pytest.raises(SettlementError) as caught:
            from_json(json.dumps({**json.loads(to_json(case.receipts[0])), **changed}), "receipt 0")
        assert "\n" not in str(caught.value), name
    assert parse_proof(case.receipts[0].proof).index == 0


# ---- OpenGradient's relay ------------------------------------------------------------------------------------------


@dataclass
class RelayCase:
    """A log of 12 leaves that went through the relay at 5 and 9, and a registry that certifies the settlement key."""

    node: Anvil
    contract: str
    ledger: Ledger
    registry: Registry
    receipts: list[RelayReceipt]
    signer: SoftwareSigner

    def check(self, receipts: Sequence[RelayReceipt] | None = None, **changed: Any) -> Settled:
        given = {"ledger": self.ledger, "registry": self.registry}
        given.update({k: changed.pop(k) for k in given if k in changed})
        asked = {"chain": EvmChain(self.node.rpc, self.contract), "finality": 1, **changed}
        evidence = SettlementEvidence(ROBOT, self.receipts if receipts is None else receipts, **asked)
        return check(evidence, given["ledger"], given["registry"])  # type: ignore[arg-type]


@pytest.fixture
def relayed(node: Anvil, ledger: Ledger, grow: Grow, tmp_path: Path) -> Iterator[RelayCase]:
    from relay_place import RelayNode

    signer, authority = SoftwareSigner(keys.generate()), SoftwareSigner(keys.generate())
    relay = RelayNode(node)
    try:
        terms = Relay(HttpClient(relay.url), HttpClient(relay.url), 1e-6)
        backend = RelayBackend("og", EvmChain(Rpc(node.url), relay.contract), terms, ROBOT, signer, 1)
        run = Run(ledger, tmp_path, [backend])
        for count in (5, 4):
            grow(count)
            run.settler.step()
            relay.flush()
            run.settler.step()
        grow(3)
        with RegistryWriter.create(tmp_path / "registry", authority, "fleet") as writer:
            writer.certify_key(signer.public_key, role="settlement", robot=ROBOT, not_before_ns=0)
            receipts = [from_json(row.receipt, "r") for row in run.outbox.rows("og")]
            run.outbox.close()
            yield RelayCase(node, relay.contract, ledger, writer.registry, receipts, signer)  # type: ignore[arg-type]
    finally:
        relay.close()


def test_a_row_of_after_the_snapshot_may_be_used(relayed: RelayCase) -> None:
    last = relayed.receipts[-1].timestamp * 10**9
    assert kinds(relayed.check(registry=replace(relayed.registry, fresh_until_ns=last))) == set()
    assert kinds(relayed.check(registry=replace(relayed.registry, fresh_until_ns=last - 1))) == {"registry_stale"}


def resigned(case: RelayCase, one: RelayReceipt, entry: Entry) -> RelayReceipt:
    """A row that the robot signs now, for a checkpoint that never went through the relay."""
    from og_ros.settlement.standard_tree import Row

    row = Row(one.tee_id, entry.previous, entry.head(), one.signature, one.timestamp)
    return replace(one, entry=entry, signature=case.signer.sign(row.message()))


RELAY_ATTACKS: dict[str, tuple[Callable[[RelayCase], list[RelayReceipt]], str]] = {
    "signature-of-another-key": (
        lambda c: [replace(c.receipts[0], signature=case_signature(c.receipts[0].entry)), c.receipts[1]],
        "settlement_forged",
    ),
    "key-of-another": (lambda c: [replace(c.receipts[0], tee_id=b"t" * 32), c.receipts[1]], "settlement_forged"),
    "time-moved": (
        lambda c: [replace(c.receipts[0], timestamp=c.receipts[0].timestamp - 1), c.receipts[1]], "settlement_forged",
    ),
    "never-sent": (
        lambda c: [
            c.receipts[0],
            resigned(c, c.receipts[1], replace(c.receipts[1].entry, size=12, root=c.ledger.root(12))),
        ],
        "settlement_forged",
    ),
    "root-replaced": (
        lambda c: [c.receipts[0], resigned(c, c.receipts[1], replace(c.receipts[1].entry, root=b"x" * 32))],
        "settlement_differs",
    ),
    "sibling-altered": (
        lambda c: [c.receipts[0], replace(c.receipts[1], siblings=(b"s" * 32, *c.receipts[1].siblings[1:]))],
        "settlement_forged",
    ),
    "batch-of-another": (
        lambda c: [c.receipts[0], replace(c.receipts[1], inclusion=c.receipts[0].inclusion)], "settlement_forged",
    ),
    "size-of-the-batch-altered": (lambda c: [replace(c.receipts[0], batch=99), c.receipts[1]], "settlement_forged"),
    "first-dropped": (lambda c: c.receipts[1:], "settlement_missing"),
    "repeated": (lambda c: [*c.receipts, c.receipts[1]], "settlement_forged"),
    "other-contract": (
        lambda c: [
            resigned(c, one, replace(one.entry, chain=replace(one.entry.chain, contract="0x" + "22" * 20)))
            for one in c.receipts
        ],
        "settlement_forged",
    ),
}  # fmt: skip


def test_the_relay_is_worth_an_event(relayed: RelayCase) -> None:
    """Each attack on one run of the relay, since a run costs a contract and four transactions."""
    assert levels(relayed.check()) == INCLUDED, "never final: the contract keeps nobody from a second history"
    assert not relayed.check().findings
    assert levels(relayed.check(chain=None)) == [*["submitted"] * 4, "", ""]
    second = relayed.receipts[1].inclusion
    assert second is not None
    assert levels(relayed.check(chain=None, final_blocks={second.block_hash})) == INCLUDED
    assert levels(relayed.check(registry=None)) == [""] * 6
    assert levels(relayed.check([replace(one, inclusion=None) for one in relayed.receipts])) == [""] * 6
    notes = relayed.check().notes
    assert any("checks nothing" in note for note in notes)
    for name, (attack, kind) in RELAY_ATTACKS.items():
        settled = relayed.check(attack(relayed))
        assert kind in kinds(settled), name
        assert settled.level(11) == "", name
