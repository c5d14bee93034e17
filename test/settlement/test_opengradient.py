"""The backend `opengradient`: golden vectors of its formats, and checkpoints through a local node that speaks them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anvil import KEYS, Anvil
from settler_run import Run

from og_ros.attest import SoftwareSigner, keys
from og_ros.errors import SettlementError
from og_ros.log import Ledger
from og_ros.settlement import standard_tree
from og_ros.settlement.checkpoints import NO_HEAD
from og_ros.settlement.evm_chain import EvmChain
from og_ros.settlement.http_client import HttpClient
from og_ros.settlement.receipt_kinds import from_json, to_json
from og_ros.settlement.relay_backend import Relay, RelayBackend, tee_id
from og_ros.settlement.relay_event import BATCH_TOPIC, Batch, read_batch
from og_ros.settlement.relay_receipt import NOBODY, RelayReceipt
from og_ros.settlement.rpc import Rpc
from og_ros.settlement.standard_tree import Row

pytest.importorskip("eth_abi")

from relay_place import RelayNode, dump

ROBOT = "robot-7"
VECTORS = json.loads((Path(__file__).parent / "data" / "opengradient_golden_vectors.json").read_text())
Grow = Callable[[int], None]


def rows(count: int) -> list[Row]:
    """The rows of the vectors: row i is 0x1i*32, 0x2i*32, 0x3i*32, 0xai*256, 1700000000+i."""
    made = []
    for i in range(1, count + 1):
        one, two, three, sign = (bytes([high << 4 | i]) for high in (1, 2, 3, 0xA))
        made.append(Row(one * 32, two * 32, three * 32, sign * 256, 1_700_000_000 + i))
    return made


def test_golden_vectors_of_the_tree() -> None:
    known = VECTORS["merkle_standard_v1"]
    assert list(standard_tree.ENCODING) == known["leafEncoding"]
    assert rows(1)[0].leaf().hex() == known["leaf_row1"]
    for count in (1, 2, 3):
        nodes = standard_tree.tree([row.leaf() for row in rows(count)])
        assert nodes[0].hex() == known[f"root_n{count}"]
        for row in rows(count):
            assert standard_tree.root_from(row.leaf(), standard_tree.prove(nodes, row.leaf())) == nodes[0]


def test_golden_vectors_of_the_contract() -> None:
    assert f"0x{BATCH_TOPIC.hex()}" == VECTORS["topics"]["BatchSettlement(bytes32,uint256,bytes)"]
    abi = json.loads((Path(__file__).parent / "contracts" / "TestRelay.json").read_text())
    assert VECTORS["selectors"]["batchSettle(bytes32,uint256,bytes)"] == "0x1b243ae6"
    assert "1b243ae6" in abi["runtime"], "the contract of these tests has the real one's function"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 20, 33])
def test_a_tree_is_what_another_implementation_makes(count: int) -> None:
    values = [[f"0x{n:064x}", f"0x{n + 1:064x}", f"0x{n % 7:064x}", f"0x{n:04x}", str(n)] for n in range(count)]
    root, tree = dump(values)
    read = standard_tree.read_dump(json.dumps(tree).encode(), "a tree")
    nodes = standard_tree.tree([row.leaf() for row in read])
    assert [f"0x{node.hex()}" for node in nodes] == tree["tree"]
    assert nodes[0] == root


BAD_DUMPS = {
    "no-json": b"{",
    "no-object": b"[]",
    "key-twice": b'{"format": "standard-v1", "format": "standard-v1", "leafEncoding": [], "values": []}',
    "other-format": b'{"format": "simple-v1", "leafEncoding": [], "values": []}',
    "other-encoding": b'{"format": "standard-v1", "leafEncoding": ["bytes32"], "values": [{}]}',
    "no-rows": json.dumps({"format": "standard-v1", "leafEncoding": standard_tree.ENCODING, "values": []}).encode(),
    "short-hash": json.dumps({**dump([["0x00"] * 0 + [f"0x{'00' * 32}"] * 3 + ["0x01", "1"]])[1], "values": [
        {"value": ["0x00", "0x00", "0x00", "0x01", "1"]}]}).encode(),
    "number-for-hex": json.dumps({"format": "standard-v1", "leafEncoding": standard_tree.ENCODING, "values": [
        {"value": [1, 2, 3, 4, 5]}]}).encode(),
    "time-is-text": json.dumps({"format": "standard-v1", "leafEncoding": standard_tree.ENCODING, "values": [
        {"value": [f"0x{'00' * 32}"] * 3 + ["0x01", "-1"]}]}).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_DUMPS)
def test_a_bad_dump_is_one_line(name: str) -> None:
    with pytest.raises(SettlementError) as caught:
        standard_tree.read_dump(BAD_DUMPS[name], "a tree")
    assert "\n" not in str(caught.value)


def test_events_that_are_no_batch() -> None:
    assert read_batch([], b"") is None
    assert read_batch([bytes(32)], bytes(128)) is None
    assert read_batch([BATCH_TOPIC], b"\xff" * 96) is None
    word = (64).to_bytes(32, "big")
    assert read_batch([BATCH_TOPIC, b"r" * 32], bytes(31) + b"\7" + word + bytes(32)) == Batch(b"r" * 32, 7, b"")


@pytest.fixture(scope="module")
def relay(node: Anvil) -> Iterator[RelayNode]:
    one = RelayNode(node)
    yield one
    one.close()


@pytest.fixture
def clean(relay: RelayNode, monkeypatch: pytest.MonkeyPatch) -> RelayNode:
    monkeypatch.setattr("og_ros.settlement.relay_backend._RETRY_S", 0.0)
    relay.requests.clear()
    relay.buffer.clear()
    return relay


def backend(relay: RelayNode, signer: SoftwareSigner, finality: int = 1, resend_s: float = 1800.0) -> RelayBackend:
    chain = EvmChain(Rpc(relay.node.url), relay.contract)
    terms = Relay(HttpClient(relay.url), HttpClient(relay.url), 1e-6, resend_s)
    return RelayBackend("og", chain, terms, ROBOT, signer, finality)


def test_a_checkpoint_goes_through_the_relay(clean: RelayNode, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    signer = SoftwareSigner(keys.generate())
    run = Run(ledger, tmp_path, [backend(clean, signer)])
    grow(5)
    for _ in range(3):
        run.settler.step()
    assert len(clean.requests) == 1, "a row that is buffered is not handed over again"
    headers, body = clean.requests[0]
    assert body == b"{}"
    row = json.loads(base64.b64decode(headers["x-settlement-data"], validate=True))
    assert sorted(row) == ["input_hash", "output_hash", "tee_id", "tee_signature", "tee_timestamp", "timestamp"]
    assert (row["tee_id"], row["input_hash"]) == (f"0x{tee_id(signer.public_key).hex()}", f"0x{NO_HEAD.hex()}")
    assert run.levels("og") == ["5 submitted"]
    clean.flush()
    run.settler.step()
    assert run.levels("og") == ["5 final"]
    grow(4)
    run.settler.step()
    clean.flush(strangers=0)
    run.settler.step()
    assert run.levels("og") == ["5 final", "9 final"]
    first, second = (from_json(one.receipt, "r") for one in run.outbox.rows("og"))
    assert isinstance(first, RelayReceipt)
    assert isinstance(second, RelayReceipt)
    assert from_json(to_json(first), "r") == first
    assert (first.batch, second.batch, second.siblings) == (3, 1, ())
    assert (second.entry.sequence, second.entry.previous) == (1, first.entry.head())
    assert second.entry.chain.submitter == NOBODY


def test_a_batch_that_is_not_final_a_reorganisation_and_a_facilitator_that_forgot(
    clean: RelayNode, ledger: Ledger, grow: Grow, tmp_path: Path
) -> None:
    run = Run(ledger, tmp_path, [backend(clean, SoftwareSigner(keys.generate()), finality=5)])
    grow(5)
    clean.node.mine(4)
    run.settler.step()
    clean.flush()
    run.settler.step()
    assert run.levels("og") == ["5 included"]
    clean.node.automine(False)
    clean.node.rpc.call("anvil_reorg", 3, [])
    run.settler.step()
    assert run.levels("og") == ["5 submitted"]
    assert any("reorganisation" in line for line in run.said)
    clean.node.automine(True)
    # The facilitator keeps its rows in memory: after its restart the job is gone, and the row is handed over again.
    clean.jobs.clear()
    run.settler.step()
    run.settler.step()
    assert len(clean.requests) == 2
    assert clean.requests[0] == clean.requests[1]
    clean.flush()
    clean.node.mine(5)
    run.settler.step()
    assert run.levels("og") == ["5 final"]


def test_blobs_that_lie_or_are_missing(clean: RelayNode, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    run = Run(ledger, tmp_path, [backend(clean, SoftwareSigner(keys.generate()))])
    grow(5)
    run.settler.step()
    mine = list(clean.buffer)
    # Another root than the rows give, and a blob that is no tree.
    clean.blobs["liar"] = json.dumps(dump(mine)[1]).encode()
    clean.settle(b"\1" * 32, 1, "liar")
    clean.blobs["noise"] = b"\xff"
    clean.settle(b"\2" * 32, 1, "noise")
    run.settler.step()
    assert run.levels("og") == ["5 submitted"]
    clean.settle(b"\3" * 32, 1, "lost/../blob")
    run.settler.step()
    assert any("does not have the blob" in line for line in run.said)
    clean.flush()
    run.settler._courses[0].again_at = 0.0
    run.settler.step()
    assert run.levels("og") == ["5 final"], "a missing blob of others holds up nothing"


def test_a_job_that_failed_is_told_and_handed_over_again(
    clean: RelayNode, ledger: Ledger, grow: Grow, tmp_path: Path
) -> None:
    run = Run(ledger, tmp_path, [backend(clean, SoftwareSigner(keys.generate()))])
    grow(5)
    run.settler.step()
    next(reversed(clean.jobs.values())).update(status="failed", error="no\ngas")
    run.settler.step()
    assert any("could not settle: no gas" in line for line in run.said), run.said
    run.settler._courses[0].again_at = 0.0
    run.settler.step()
    assert len(clean.requests) == 2


def test_a_row_in_no_batch_is_handed_over_again_after_a_time(
    clean: RelayNode, ledger: Ledger, grow: Grow, tmp_path: Path
) -> None:
    run = Run(ledger, tmp_path, [backend(clean, SoftwareSigner(keys.generate()), resend_s=1e-6)])
    grow(5)
    run.settler.step()
    run.settler.step()
    assert len(clean.requests) >= 2
    clean.flush()
    run.settler.step()
    assert run.levels("og") == ["5 final"], "a row that is in a batch twice is in it"


def test_a_run_that_starts_again_finds_its_batch(clean: RelayNode, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    signer = SoftwareSigner(keys.generate())
    run = Run(ledger, tmp_path, [backend(clean, signer)])
    grow(5)
    run.settler.step()
    run.outbox.close()
    clean.flush()
    again = Run(ledger, tmp_path, [backend(clean, signer)])
    again.settler.step()
    assert again.levels("og") == ["5 final"]
    assert len(clean.requests) == 1


def test_a_key_that_no_contract_checks_is_refused(clean: RelayNode) -> None:
    from og_ros.errors import ConfigError

    assert len(KEYS) >= 3
    with pytest.raises(ConfigError, match="P-256"):
        backend(clean, SoftwareSigner(keys.generate(keys.Algorithm.EDDSA)))
