"""Writes the seeds that fuzzing starts from: one good input or a few for each harness, so that it need not guess them.

Run it after a format has changed: python test/fuzz/make_seeds.py
"""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
import struct
import sys
import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "test" / "support")]

import cbor2  # noqa: E402
import cv2  # noqa: E402
import evidence_vectors  # noqa: E402
import file_harnesses  # noqa: E402
import harnesses  # noqa: E402
import log_harnesses  # noqa: E402
import made_tpm_quote  # noqa: E402
import numpy as np  # noqa: E402
import pipeline_messages as other  # noqa: E402
import raw_bags  # noqa: E402
import wire_messages  # noqa: E402
from attest_examples import attestation_of  # noqa: E402
from backports import zstd  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey  # noqa: E402
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: E402
from hostile_bags import HOSTILE_MCAP  # noqa: E402
from lz4 import frame as lz4  # noqa: E402
from made_block import receipts_of_a_block  # noqa: E402
from made_snapshot import events_of, snapshot_of  # noqa: E402
from time_stamp_authority import TimeStampAuthority  # noqa: E402

from og_ros.attest import cbor, digest, encode_attestation, keys, sealed_wire, side_file  # noqa: E402
from og_ros.attest.commitment import SALT_SIZE, commitment_of  # noqa: E402
from og_ros.attest.sealing import Sealer  # noqa: E402
from og_ros.audit.disclosures import write_disclosures  # noqa: E402
from og_ros.audit.pack import description, manifest  # noqa: E402
from og_ros.audit.pack.archive_writer import write_archive  # noqa: E402
from og_ros.audit.run import audit_bag  # noqa: E402
from og_ros.evidence import ear, evidence_file  # noqa: E402
from og_ros.evidence import manifest as environment_manifest  # noqa: E402
from og_ros.evidence.binding import Context  # noqa: E402
from og_ros.evidence.interface import AppraisalPolicy, Evidence, verifier  # noqa: E402
from og_ros.evidence.message import EvidenceMessage, encode_message  # noqa: E402
from og_ros.evidence.software import SoftwareAttester  # noqa: E402
from og_ros.evidence.tpm import document as tpm_document  # noqa: E402
from og_ros.gate import envelope_format, estop  # noqa: E402
from og_ros.gate.envelope import Envelope  # noqa: E402
from og_ros.log import Checkpoint, Ledger, note, sign_checkpoint  # noqa: E402
from og_ros.log.cosignature import cosign  # noqa: E402
from og_ros.log.log_keys import KeyChange, LogSigner, sign_change  # noqa: E402
from og_ros.log.receipt import make_receipt  # noqa: E402
from og_ros.log.timestamps import request_stamp  # noqa: E402
from og_ros.log.witness_protocol import AddCheckpoint  # noqa: E402
from og_ros.registry import openssf, snapshot  # noqa: E402
from og_ros.settlement import consistency, receipt  # noqa: E402
from og_ros.settlement.log_receipt import LogReceipt  # noqa: E402
from og_ros.settlement.receipt_kinds import AnyReceipt  # noqa: E402
from og_ros.settlement.relay_receipt import NOBODY, RelayReceipt  # noqa: E402

EVIDENCE = Evidence("made", b"document", b"key", bytes(32), Context("robot", "control", bytes(32)), 10**18)
APPRAISAL = b"version: 1\nmax_age_s: 60\nreference_values:\n  sev-snp:\n    vmpl: 1\n"
POLICY = b"""\
version: 1
registry_root: sha256:%s
max_loss: 0.01
max_clock_skew_s: 10
max_chain_latency_ms: 200
decisions: [/cmd_vel]
stages:
  "*": {signature: signed}
  perception: {model: certified}
""" % (b"0" * 64)
DEFINITION = b"""\
# a comment
int32 LIMIT=5
std_msgs/Header header
===
MSG: std_msgs/Header
"""
DUMP = {
    "format": "standard-v1", "leafEncoding": ["bytes32", "bytes32", "bytes32", "bytes", "uint256"], "tree": [],
    "values": [{"value": [f"0x{'11' * 32}"] * 3 + ["0xabcd", str(stamp)], "treeIndex": 0} for stamp in (1, 2, 3)],
}  # fmt: skip
ASKED = {
    "scheme": "exact", "network": "eip155:8453", "asset": "0x" + "aa" * 20, "amount": "1000",
    "payTo": "0x" + "bb" * 20, "maxTimeoutSeconds": 60, "extra": {"name": "USD Coin", "version": "2"},
}  # fmt: skip
IDL = b'module a { struct Own { @verbatim (language="comment", text="(x)") std_msgs::msg::Header header; }; };'


def harness_envelope() -> Envelope:
    """The example of a warehouse, every key in it one that the harnesses know."""
    data = (ROOT / "config/envelopes/arm_near_people.yaml").read_bytes()
    return envelope_format.read_yaml(data, "it", 0, load_key=lambda _: keys.public_pem(harnesses.SIGNER.public_key))


def _receipts_from_elsewhere() -> list[AnyReceipt]:
    """One of an endpoint, one of an aggregate, one of the relay; the last two are on no chain."""
    on_chain = receipts_of_a_block(1)[0]
    robots = sign_checkpoint(Checkpoint("robot", 3, bytes(32)), Ed25519PrivateKey.from_private_bytes(bytes(32)))
    key = Ed25519PrivateKey.from_private_bytes(b"e" * 32)
    with tempfile.TemporaryDirectory() as folder, Ledger.create(Path(folder) / "log", "endpoint", key) as log:
        log.append([robots.encode(), b"another"])
        log.checkpoint()
        one = LogReceipt(robots, log.export_proof(0))
    entry = replace(on_chain.entry, chain=replace(on_chain.entry.chain, submitter=NOBODY))
    relayed = RelayReceipt(
        entry, bytes(32), bytes(64), 1_700_000_000, (bytes(32),), 2, b"blob", bytes(32), on_chain.inclusion
    )
    return [one, replace(one, name="fleet", settlement=on_chain), relayed]


def _settlement_seeds() -> dict[str, list[bytes]]:
    receipts = receipts_of_a_block(3)
    one = receipts[1].inclusion
    assert one is not None
    parts = (one.header, *one.proof)
    return {
        "consistency": [consistency.format_extra(4, [bytes(32), b"\1" * 32])],
        "handed_in": [harnesses.FLEET_ROBOT.note(), harnesses.FLEET_ROBOT.note(1)],
        "settlement_receipts": [receipt.encode("robot-7", some) for some in (receipts, _receipts_from_elsewhere())],
        "registry_snapshot": [snapshot.encode(snapshot_of(events_of(harnesses.SIGNER)))],
        "relay_tree": [json.dumps(DUMP).encode()],
        "relay_event": [bytes(31) + b"\7" + bytes(31) + b"\x40" + bytes(31) + b"\3" + b"abc" + bytes(29)],
        "payment_required": [json.dumps({"x402Version": 2, "accepts": [ASKED]}).encode()],
        "settlement_proof": [bytes([one.index]) + b"".join(len(part).to_bytes(2, "big") + part for part in parts)],
    }


def _tpm_seeds() -> dict[str, list[bytes]]:
    evidence = made_tpm_quote.Made().evidence()
    read = tpm_document.decode(evidence.document)
    small = dataclasses.replace(made_tpm_quote.MANIFEST, environment={"LD_PRELOAD": "x"})
    return {
        "tpm_document": [evidence.document],
        "tpm_structures": [read.quote, read.key, read.signature, read.enrolment],
        "manifest": [read.manifest, environment_manifest.encode(small)],
    }


def _evidence_seeds() -> dict[str, list[bytes]]:
    nitro = evidence_vectors.nitro_document()
    at_ns, policy = evidence_vectors.NITRO_AT, AppraisalPolicy()
    signer = harnesses.SIGNER
    statement = SoftwareAttester(signer).attest(keys.spki(signer.public_key), bytes(32), evidence_vectors.CONTEXT)
    told = verifier("aws-nitro").appraise(evidence_vectors.bare("aws-nitro", nitro), policy, at_ns)
    return {
        "nitro_document": [nitro],
        "snp_report": [(evidence_vectors.DATA / "attestation.bin").read_bytes()],
        "software_statement": [statement.document],
        "evidence_file": [evidence_file.encode(statement)],
        "ear": [json.dumps(ear.to_claims(told)).encode()],
        "appraisal_policy": [APPRAISAL],
        "pkcs11_uri": [b"pkcs11:token=My%20token;object=a%3bb;id=%00%ff?module-path=/usr/lib/x.so"],
    }


def seeds() -> dict[str, list[bytes]]:
    """Good inputs by harness."""
    made_up = _settlement_seeds()
    attestation = attestation_of()
    wire = encode_attestation(attestation)
    made: dict[str, list[bytes]] = {
        **made_up,
        **_evidence_seeds(),
        "cbor": [bytes.fromhex("a301020a4102626f6b8301190100f6"), attestation.signed_bytes],
        "statement": [cbor.encode(attestation.statement)],
        "cose": [attestation.cose],
        "attestation": [wire, b"\0\0" + wire[2:]],
        "evidence_message": [encode_message(EvidenceMessage(EVIDENCE, "/robot/control"))],
        "cdr": [bytes([2, 11, 106]) + b"\0\1\0\0" + struct.pack("<iII", 5, 6, 3) + b"ab\0\0"],
        "digest": [wire[:40], b"\0\1\0\0\1"],
        "decompression": [b"\0\5" + zstd.compress(b"hello"), b"\0\5" + lz4.compress(b"hello")],
        "policy": [POLICY, *(p.read_bytes() for p in sorted(ROOT.glob("config/policies/*.yaml")))],
        "policy_yaml": [POLICY],
        "envelope_yaml": [p.read_bytes() for p in sorted(ROOT.glob("config/envelopes/*.yaml"))],
        "physical_envelope": [envelope_format.encode(harness_envelope())],
        "emergency_stop": [estop.encode(estop.sign_stop("r1", harnesses.SIGNER, 7, 10**18, "smoke"))],
        "message_fields": [
            b"\1" + b"\0\1\0\0" + struct.pack("<iII", 1, 2, 2) + b"b\0\0\0" + struct.pack("<6d", *range(6)),
            b"\0" + b"\0\1\0\0" + struct.pack("<iII", 1, 2, 1) + bytes(4) + struct.pack("<II", 0, 0),
        ],
        "pipeline": [p.read_bytes() for p in [ROOT / "config/demo.yaml", *ROOT.glob("config/examples/*.yaml")]],
        "profile": [p.read_bytes()[:6000] for p in sorted(ROOT.glob("og_ros/audit/reports/profiles/*.yaml"))[:1]],
        "definition": [DEFINITION, IDL],
        "names_and_times": [b"line_perception", b"2026-01-02T03:04:05.678901234Z", b"0.5", b">=1.20,<2", b"0x00ff"],
        "sqlite": [b"", bytes([0, 16, 40, 0, 1]), bytes([0, 32, 0, 255, 0])],
        "ledger": [b"", bytes([0, 16, 40, 0, 1])],
        **_tpm_seeds(),
        "json": [b'{"a": [1, -2.5, true, null, "\\u00e9"]}'],
    }
    sealer = Sealer([file_harnesses._RECIPIENT.public_key()])
    sealed, seal = sealer.seal("/a", "std_msgs/msg/String", b"\0\1\0\0data", 5)
    assert seal is not None
    made["sealed"] = [sealed_wire.write_sealed(sealed), sealed_wire.write_seal(seal)]
    definition = sealed_wire.TopicDefinition("/a", "std_msgs/msg/String", "string data\n", "")
    made["sealed"].append(sealed_wire.write_definition(definition))
    key = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    ed = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    made["public_key"] = [k.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for k in (key, ed)]
    made["verifier_key"] = [note.VerifierKey.of("log", ed).format().encode()]
    messages = file_harnesses.MESSAGES
    made["mcap"] = [
        raw_bags.mcap(messages, per_chunk=3, types=file_harnesses.TYPES),
        raw_bags.mcap(messages[:3], per_chunk=0),
        raw_bags.mcap(messages[:3], compression="zstd"),
        raw_bags.mcap(messages[:3], compression="lz4", summary=False),
        *(data for data, _ in HOSTILE_MCAP.values() if len(data) < 500),
    ]
    directory = file_harnesses.scratch()
    raw_bags.metadata(directory, "mcap", ["bag.mcap"], messages, types=file_harnesses.TYPES)
    made["metadata"] = [(directory / "metadata.yaml").read_bytes()]
    ledger, _ = file_harnesses._ledger_template()
    checkpoint = (ledger / "checkpoint").read_bytes()
    made["note"] = [checkpoint]
    made["key_change"] = _key_changes()
    with Ledger.open(ledger) as opened:
        made["proof"] = [opened.export_proof(3).encode(), opened.export_proof(0, b"extra").encode()]
    made |= _witnessing()
    made["tiles"] = [next(ledger.glob("tile/entries/**/000.p/*")).read_bytes()]
    files = sorted(p for p in ledger.rglob("*") if p.is_file() and p.suffix != ".db")
    made["tile_directory"] = [bytes([n]) + file.read_bytes() for n, file in enumerate(files)]
    envelopes = [p.read_bytes() for p in sorted(file_harnesses._registry_template().rglob("*.json"))]
    payloads = [base64.b64decode(json.loads(data)["payload"]) for data in envelopes]
    made["envelope"] = envelopes[:1]
    made["registry_entry"] = payloads
    made["registry"] = [bytes([n]) + data for data in payloads for n in (0, 1, 2, 3)] + [b"\6" + envelopes[0]]
    model = sha256(b"a model").hexdigest()
    statement = {
        "_type": openssf.STATEMENT_TYPE,
        "subject": [{"name": "model", "digest": {"sha256": sha256(bytes.fromhex(model)).hexdigest()}}],
        "predicateType": openssf.PREDICATE_TYPE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []},
            "resources": [{"name": ".", "algorithm": "sha256", "digest": model}],
        },
    }
    made["model_signature"] = [json.dumps(statement).encode()]
    salt, payload = bytes(SALT_SIZE), b"\0\1\0\0data"
    commitment = commitment_of(salt, digest(payload))
    record = side_file.SideRecord(
        bytes(32), "input", 0, "/a", "std_msgs/msg/String", 5, 6, "sha256", salt, commitment, payload
    )
    made["side_file"] = [cbor2.dumps({name: getattr(record, name) for name in side_file._FIELDS}), side_file.MAGIC]
    write_disclosures(directory / "revealed", [record])
    made["disclosures"] = [(directory / "revealed").read_bytes()]
    (directory / "alone").mkdir()
    raw_bags.sqlite(directory / "alone" / "report.db3", messages)
    made["report"] = [json.dumps(audit_bag(directory / "alone" / "report.db3").as_json()).encode()]
    write_archive(directory / "pack.zip", {"README.txt": b"text" * 99, "recording/b.mcap": b"bytes"}, None)
    made["pack_archive"] = [(directory / "pack.zip").read_bytes()]
    made["pack_lists"] = [manifest.format_manifest({"README.txt": bytes(32), "recording/b.mcap": bytes(range(32))})]
    said = description.describe(
        created_ns=10**18,
        recording="b",
        reduced=False,
        root=None,
        signer=None,
        contents={},
        report={"verdict": "holds"},
    )
    made["pack_lists"].append(description.encode({**said, "software": {"og_ros": "0.1.0"}}))
    made["adapter"] = [bytes([number]) + wire_messages.serialize(message) for number, message in enumerate(_messages())]
    return {name: [data for data in inputs if data] for name, inputs in made.items()}


def _witnessing() -> dict[str, list[bytes]]:
    """What is exchanged about a log of eight leaves."""
    key, witness = log_harnesses.RECEIPT_KEY, log_harnesses.WITNESS.format()
    with Ledger.create(file_harnesses.scratch() / "witnessed", log_harnesses.RECEIPT_LOG.name, key) as ledger:
        ledger.append([b"leaf %d" % number for number in range(8)])
        checkpoint = ledger.checkpoint()
        request = AddCheckpoint(5, tuple(ledger.consistency_proof(5, 8)), checkpoint).format()
        receipts = [make_receipt(ledger, 3, key)]
    line = cosign(note.parse_note(checkpoint).text, log_harnesses.WITNESS.name, key, 1_800_000_000).format()
    policy = f"log {ledger.vkey} http://l\nwitness a {witness} http://w\ngroup g any a\nquorum g\n# c\n"
    authority = TimeStampAuthority(file_harnesses.scratch() / "tsa")
    stamps = [request_stamp(authority.url, checkpoint.encode())]
    authority.close()
    return {
        "add_checkpoint": [request, request + line.encode(), line.encode(), b"17\n"],
        "receipt": receipts,
        "time_stamp": stamps,
        "witness_key": [witness.encode()],
        "witness_policy": [policy.encode(), b"quorum none\n"],
    }


def _messages() -> list[object]:
    """One message for each of harnesses.ADAPTERS, in their order."""
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    png = cv2.imencode(".png", pixels)[1].tobytes()
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    return [
        other.compressed(png, "bgr8; png compressed bgr8"),
        other.compressed(jpeg, "bgr8; jpeg compressed bgr8"),
        other.grid(np.zeros((2, 3))),
        other.path([(0, 1), (2, 3)]),
        other.joint_state(["b", "a"], [1.0, 2.0]),
        other.trajectory(["b", "a"], [[1.0, 2.0]]),
        other.floats64(np.arange(3)),
        wire_messages.image(pixels, "rgb8"),
        wire_messages.scan([1.0, 2.0]),
        wire_messages.odometry((0, 0, 0, 0, 0, 0, 1), (0, 0, 0), (0, 0, 0)),
    ]


def _key_changes() -> list[bytes]:
    """Return changes of a log's key: to another one, and to a pair."""
    before = LogSigner(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    other = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
    pair = LogSigner(other, MLDSA65PrivateKey.from_seed_bytes(bytes(32)))
    return [
        sign_change(KeyChange("log", 1, 10**18, after.keys("log")), before, after) for after in (LogSigner(other), pair)
    ]


def main() -> None:
    """Replace the seeds."""
    made = seeds()
    shutil.rmtree(HERE / "seeds", ignore_errors=True)
    for name, inputs in made.items():
        for data in inputs:
            path = HERE / "seeds" / name / sha256(data).hexdigest()[:16]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


if __name__ == "__main__":
    main()
