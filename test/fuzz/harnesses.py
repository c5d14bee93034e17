"""One function for each parser of untrusted bytes: it raises nothing but OgError, and what it reads, it reads right.

`HARNESSES` names them all. Each takes any bytes and returns nothing; another exception, or a broken promise (an
AssertionError), is a bug in the parser. `run.py` drives them with atheris, `test_fuzz.py` runs every seed and crash.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import cbor2
import made_tpm_quote
from attest_examples import signer_of
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from evidence_harnesses import (  # noqa: F401  as those below
    fuzz_appraisal_policy,
    fuzz_ear,
    fuzz_evidence_file,
    fuzz_nitro_document,
    fuzz_pkcs11_uri,
    fuzz_snp_report,
    fuzz_software_statement,
)
from fleet_robots import Robot, certificate
from log_harnesses import (  # noqa: F401  they are found by their names, below
    fuzz_add_checkpoint,
    fuzz_receipt,
    fuzz_time_stamp,
    fuzz_witness_key,
    fuzz_witness_policy,
)
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from og_ros import policy_yaml
from og_ros.aggregator.admission import Logs, Refusal
from og_ros.attest import (
    ATTESTATION_TYPE,
    Algorithm,
    cbor,
    cbor_reader,
    cose,
    decode_attestation,
    encode_attestation,
    keys,
    sealed_wire,
)
from og_ros.attest.cdr import CdrReader
from og_ros.attest.digest import covered_size, digest
from og_ros.audit.pack import description, manifest
from og_ros.audit.policy import parse_policy
from og_ros.audit.recording import bag_metadata
from og_ros.audit.recording.decompression import chunk
from og_ros.audit.recording.message_header import begins_with_header
from og_ros.audit.reexecution.comparison import parse_tolerance
from og_ros.audit.reexecution.sampling import parse_beacon, parse_sample
from og_ros.audit.reports.regulation import read_condition
from og_ros.audit.reports.report_file import parse_report
from og_ros.audit.runtime_rule import parse_versions
from og_ros.errors import OgError
from og_ros.evidence import manifest as environment_manifest
from og_ros.evidence import message
from og_ros.evidence.tpm import document as tpm_document
from og_ros.evidence.tpm import enrolment
from og_ros.evidence.tpm.ek_certificate import trimmed
from og_ros.evidence.tpm.public_area import parse_public, signature_holds
from og_ros.evidence.tpm.quote import parse_quote
from og_ros.gate import envelope_format, estop
from og_ros.gate.envelope_check import EnvelopeCheck
from og_ros.gate.message_fields import MessageTypes
from og_ros.log import note, proof, tiles
from og_ros.log.checkpoint import open_checkpoint, parse_checkpoint
from og_ros.log.log_keys import parse_change, read_history
from og_ros.log.post_quantum import PostQuantumKey
from og_ros.registry import dsse, entry, openssf, snapshot, strict_json
from og_ros.registry.names import check_name, check_text
from og_ros.registry.timestamp import parse_time, read_time
from og_ros.settlement import consistency, payer, receipt, relay_event, snapshots, standard_tree, trie
from og_ros.settlement.account import Account
from og_ros.settlement.config import Allowance
from og_ros.settlement.payments import Payments
from og_ros.stages.adapters import create

SIGNER: Final = signer_of(Algorithm.ES256)
MESSAGES: Final = Path(__file__).resolve().parents[2] / "msg"
_TIMES: Final = {"start_ns": "start", "signed_at_ns": "signed_at", "stamp_ns": "stamp"}
ALLOWED: Final = Allowance("eip155:8453", "0x" + "aa" * 20, "0x" + "bb" * 20, 1000, 10_000)
PAYER: Final = payer.Payer("http", bytes(32), Account(b"\1" * 32), [ALLOWED], Payments(Path("never-opened")))
FLEET_ROBOT: Final = Robot("example.com/robot-0").grow(3)
FLEET_LOGS: Final = Logs([certificate(FLEET_ROBOT.key.public_key(), origin=FLEET_ROBOT.origin)])
LOG_KEY: Final = note.VerifierKey.of("log", Ed25519PrivateKey.from_private_bytes(bytes(32)))


def fuzz_cbor(data: bytes) -> None:
    """What the strict reader takes, a general decoder reads alike."""
    value = cbor_reader.read(data)
    assert cbor2.loads(data) == value


def fuzz_statement(data: bytes) -> None:
    """There is one encoding of a statement."""
    assert cbor.encode(cbor.decode(data)) == data


def fuzz_cose(data: bytes) -> None:
    """An attestation has one COSE form, and its wire form gives it back."""
    attestation = cose.decode(data)
    assert attestation.cose == data
    assert decode_attestation(encode_attestation(attestation)) == attestation


@cache
def _store() -> Any:
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for file in sorted(MESSAGES.glob("*.msg")):
        types.update(get_types_from_msg(file.read_text(), f"og_ros/msg/{file.stem}"))
    store.register({name: value for name, value in types.items() if name not in store.fielddefs})
    return store


def _same(ours: Any, theirs: Any) -> bool:
    """Whether a value of ours is what rosbags read: times as s and ns, octets as arrays, lists item by item."""
    if dataclasses.is_dataclass(ours):
        names = [field.name for field in dataclasses.fields(ours)]
        return all(_same(getattr(ours, name), getattr(theirs, _TIMES.get(name, name))) for name in names)
    if isinstance(ours, bytes):
        return ours == bytes(theirs)
    if isinstance(ours, tuple):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if hasattr(theirs, "nanosec"):
        return bool(ours == theirs.sec * 10**9 + theirs.nanosec)
    return bool(ours == theirs)


def fuzz_attestation(data: bytes) -> None:
    """What is read from the wire says the same when it is written again, and to another reader of CDR."""
    attestation = decode_attestation(data)
    other = _store().deserialize_cdr(data, ATTESTATION_TYPE)
    assert _same(attestation.statement, other)
    assert attestation.signature == bytes(other.signature)
    assert decode_attestation(memoryview(encode_attestation(attestation))) == attestation
    assert cose.decode(attestation.cose) == attestation


def fuzz_evidence_message(data: bytes) -> None:
    """What is read of evidence is what another reader of CDR finds, and is written again to the same bytes."""
    read = message.decode_message(data)
    other = _store().deserialize_cdr(data, message.EVIDENCE_TYPE)
    evidence, context = read.evidence, read.evidence.context
    assert (read.node, evidence.format) == (other.node, other.format)
    assert (context.robot, context.stage, context.manifest) == (other.robot, other.stage, bytes(other.manifest))
    for name in ("key", "nonce", "document"):
        assert getattr(evidence, name) == bytes(getattr(other, name))
    assert message.decode_message(message.encode_message(read)) == read


_CODES: Final = "BbHhIiQq"


def fuzz_cdr(data: bytes) -> None:
    """The first byte says how many steps follow, each of which reads something of what is behind them."""
    count = data[0] % 32 if data else 0
    reader = CdrReader(data[1 + count :])
    for step in data[1 : 1 + count]:
        kind, size = step % 12, step // 12
        if kind < 8:
            reader.number(_CODES[kind], 1 << (kind // 2))
        elif kind == 8:
            assert len(reader.take(size)) == size
        elif kind == 9:
            assert len(reader.octets(size)) <= size
        elif kind == 10:
            assert "\0" not in reader.text(size)
        else:
            assert 0 <= reader.time() < 2**31 * 10**9
    reader.end()


def fuzz_digest(data: bytes) -> None:
    """The digest does not see the options bytes and the padding, and sees every other byte."""
    found = digest(data)
    padded = data + bytes(-len(data) % 4)
    assert found == digest(memoryview(padded)) == digest(data[:2] + b"\1\2" + data[4:])
    assert covered_size(data) == covered_size(padded) >= len(data)
    assert found != digest(data + b"\1")


def fuzz_decompression(data: bytes) -> None:
    """The first two bytes say how much may come out."""
    size = int.from_bytes(data[:2], "big")
    for compression in ("zstd", "lz4"):
        with contextlib.suppress(OgError):
            assert len(chunk(data[2:], compression, size)) == size


def fuzz_sealed(data: bytes) -> None:
    """What sealed recordings hold in their place has one form each."""
    for read, write in (
        (sealed_wire.read_sealed, sealed_wire.write_sealed),
        (sealed_wire.read_seal, sealed_wire.write_seal),
        (sealed_wire.read_definition, sealed_wire.write_definition),
    ):
        with contextlib.suppress(OgError):
            assert read(write(read(data))) == read(data)  # type: ignore[operator]


def fuzz_public_key(data: bytes) -> None:
    """A public key in PEM."""
    key = keys.parse_public(data)
    assert len(keys.key_id(key)) == 32


def fuzz_json(data: bytes) -> None:
    """Strict JSON that can be written is read alike again."""
    tree = strict_json.loads(data, "it", 65_536)
    assert strict_json.loads(strict_json.dumps(tree), "it", 10**6) == tree


def fuzz_envelope(data: bytes) -> None:
    """A DSSE envelope, and what checking its signature says."""
    envelope = dsse.parse(data, "it", 65_536)
    with contextlib.suppress(OgError):
        dsse.verify(envelope, SIGNER.public_key, "it")


_ENTRIES: Final[tuple[Callable[[bytes], object], ...]] = (
    lambda data: entry.decode_root(data, "it"),
    lambda data: entry.decode_model(entry.payload_type("model"), data, "it"),
    lambda data: entry.decode_model(entry.payload_type("imported-model"), data, "it"),
    lambda data: entry.decode_key(data, "it"),
    lambda data: entry.decode_revocation(data, "it"),
    lambda data: entry.decode_index(data, "it"),
)


def fuzz_registry_entry(data: bytes) -> None:
    """The payloads that an authority signs."""
    for decode in _ENTRIES:
        with contextlib.suppress(OgError):
            decode(data)


def fuzz_model_signature(data: bytes) -> None:
    """A vendor's bundle: as it is, and as the statement of one that the right key signed."""
    with contextlib.suppress(OgError):
        openssf.verify_bundle(data, SIGNER.public_key, "it")
    envelope = strict_json.loads(dsse.sign(openssf.IN_TOTO_TYPE, data, SIGNER), "it", 10**6)
    bundle = {
        "mediaType": openssf.BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": ""}, "tlogEntries": []},
        "dsseEnvelope": envelope,
    }
    openssf.verify_bundle(strict_json.dumps(bundle), SIGNER.public_key, "it")


def fuzz_names_and_times(data: bytes) -> None:
    """Names, texts and times of certificates; a time is written in one way."""
    text = data.decode("utf-8", "replace")
    for check in (check_name, check_text):
        with contextlib.suppress(OgError):
            assert check("it", text) == text
    for read in (parse_time, read_time):
        with contextlib.suppress(OgError):
            assert read(text, "it") >= 0
    for parse in (parse_tolerance, parse_beacon, parse_sample, parse_versions, read_condition):
        with contextlib.suppress(OgError):
            parse(text)


def fuzz_note(data: bytes) -> None:
    """A signed note is written as it was read; a checkpoint too."""
    signed = note.parse_note(data)
    assert signed.format().encode() == data
    with contextlib.suppress(OgError):
        signed.verify(LOG_KEY)
    head = parse_checkpoint(signed.text)
    assert head.text() == signed.text


def fuzz_verifier_key(data: bytes) -> None:
    """A vkey has one form."""
    text = data.decode("utf-8", "replace")
    key: note.VerifierKey | PostQuantumKey
    try:
        key = note.VerifierKey.parse(text)
    except OgError:
        key = PostQuantumKey.parse(text)
    assert key.format() == text


def fuzz_key_change(data: bytes) -> None:
    """A change of a log's keys has one form, and gives a log no key that the one before has not signed."""
    with contextlib.suppress(OgError):
        change, signed = parse_change(data)
        assert change.text() == signed.text
        assert signed.format().encode() == data
    history = read_history("log", LOG_KEY, [(1, data)])
    assert len(history.epochs) == 2


def fuzz_proof(data: bytes) -> None:
    """A proof has one form, and proves nothing by itself."""
    parsed = proof.parse_proof(data)
    assert proof.format_proof(parsed.index, parsed.hashes, parsed.checkpoint, parsed.extra).encode() == data
    with contextlib.suppress(OgError):
        proof.verify_proof(b"leaf", parsed, LOG_KEY)


def fuzz_tiles(data: bytes) -> None:
    """A bundle of entries has one form."""
    with contextlib.suppress(OgError):
        tiles.split_hashes(data)
    entries = tiles.decode_bundle(data)
    assert tiles.encode_bundle(entries) == data


def fuzz_policy(data: bytes) -> None:
    """A policy in YAML."""
    parse_policy(data)


def fuzz_policy_yaml(data: bytes) -> None:
    """The reader under it, asked for every kind of value."""
    section = policy_yaml.read(data, "it")
    for name in section.names():
        for ask in (section.text, section.word, section.texts, section.section, lambda n: section.number(n, 1.0)):
            with contextlib.suppress(OgError):
                ask(name)
        with contextlib.suppress(OgError):
            list(section.texts_or_sections(name))
        with contextlib.suppress(OgError):
            section.choice(name, ("signed", "tee"))


def fuzz_metadata(data: bytes) -> None:
    """A recording's metadata.yaml: no name in it leads anywhere else."""
    found = bag_metadata.parse(data, "it")
    assert all("/" not in name and name != ".." for name in found.files)


def fuzz_definition(data: bytes) -> None:
    """The text of a message type."""
    text = data.decode("utf-8", "replace")
    for language in ("ros2msg", "ros2idl"):
        begins_with_header("our_msgs/msg/Own", text, language)


def fuzz_report(data: bytes) -> None:
    """A saved report."""
    parse_report(data)


def fuzz_pack_lists(data: bytes) -> None:
    """The manifest of a pack has one form; its description is JSON."""
    with contextlib.suppress(OgError):
        description.parse(data)
    assert manifest.format_manifest(manifest.parse_manifest(data)) == data


def fuzz_physical_envelope(data: bytes) -> None:
    """There is one encoding of an envelope's payload, and what it says of message types is refused or compiled."""
    made = envelope_format.decode(data, "it")
    assert envelope_format.encode(made) == data
    EnvelopeCheck([made], made.robots[0])


def fuzz_envelope_yaml(data: bytes) -> None:
    """What people write gives the same envelope when it is signed and read again."""
    made = envelope_format.read_yaml(data, "it", 0, load_key=lambda name: keys.public_pem(SIGNER.public_key))
    assert envelope_format.decode(envelope_format.encode(made), "it") == made


def fuzz_emergency_stop(data: bytes) -> None:
    """A stop says the same when it is written again, and to a reader of its signed CBOR."""
    message = estop.decode(data)
    assert estop.decode(estop.encode(message)) == message
    assert cbor_reader.read(message.signed_bytes().partition(b"\0")[2])


_FIELD_TYPES: Final = ("trajectory_msgs/msg/JointTrajectory", "geometry_msgs/msg/TwistStamped", "nav_msgs/msg/Path")
_TYPES: Final = MessageTypes()


def fuzz_message_fields(data: bytes) -> None:
    """The first byte chooses a type; what is read of it is finite or not, and never another exception."""
    layout = _TYPES.layout(_FIELD_TYPES[data[0] % 3] if data else _FIELD_TYPES[0])
    layout.not_finite(layout.read(data[1:]))


def fuzz_settlement_receipts(data: bytes) -> None:
    robot, receipts = receipt.decode(data)
    assert receipt.decode(receipt.encode(robot, receipts)) == (robot, receipts)


def fuzz_registry_snapshot(data: bytes) -> None:
    """What is read of a snapshot is written so again, made a registry of, and its proof checked, whatever it says."""
    found = snapshot.decode(data)
    assert snapshot.decode(snapshot.encode(found)) == found
    as_read = snapshot.as_registry(data, Path("snapshot"))
    assert all(key.verifier and key.status(0) for key in as_read.keys.values())
    snapshots.check(found)


def fuzz_relay_tree(data: bytes) -> None:
    """The rows of a batch: each has a leaf, and the tree over them proves it."""
    rows = standard_tree.read_dump(data, "it")[:20]
    leaves = [row.leaf() for row in rows]
    nodes = standard_tree.tree(leaves)
    assert all(standard_tree.root_from(leaf, standard_tree.prove(nodes, leaf)) == nodes[0] for leaf in leaves)


def fuzz_relay_event(data: bytes) -> None:
    """An event's data, its root indexed and not."""
    for topics in ([relay_event.BATCH_TOPIC], [relay_event.BATCH_TOPIC, bytes(32)]):
        relay_event.read_batch(topics, data)


def fuzz_payment_required(data: bytes) -> None:
    """What an endpoint asks for in a 402, as JSON: nothing is agreed to but what is allowed."""
    asked, terms = PAYER._choose(payer._required(base64.b64encode(data).decode()))
    assert terms == ALLOWED
    assert 0 < int(asked.amount) <= ALLOWED.per_payment
    assert (asked.asset.lower(), asked.pay_to.lower(), asked.network) == (terms.asset, terms.pay_to, terms.network)


def fuzz_consistency(data: bytes) -> None:
    """The extra data of an aggregator's proofs has one form."""
    assert consistency.format_extra(*consistency.parse_extra(data)) == data


def fuzz_handed_in(data: bytes) -> None:
    """What a stranger posts to an aggregator: refused with a reason, or it is a checkpoint that the robot signed."""
    try:
        origin, found = FLEET_LOGS.open(data, 2 * 10**18)
    except Refusal:
        return
    assert open_checkpoint(data, FLEET_ROBOT.vkey, origin).root == found.root


def fuzz_settlement_proof(data: bytes) -> None:
    """An index in one byte, then a header and the nodes of a proof, each behind its length in two bytes."""
    index, data = data[0] if data else 0, data[1:]
    parts = []
    while len(data) > 2 and len(parts) < 70:
        size = int.from_bytes(data[:2], "big")
        parts.append(data[2 : 2 + size])
        data = data[2 + size :]
    if len(parts) < 2:
        return
    with contextlib.suppress(OgError):
        trie.read_header(parts[0])
    with contextlib.suppress(OgError):
        trie.receipt_logs(parts[1])
    # The proof's first node is what the root says: what lies behind that is the robot's.
    found = trie.verify(trie.header_hash(parts[1]), index, parts[1:])
    trie.receipt_logs(found)


def fuzz_manifest(data: bytes) -> None:
    """There is one encoding of a manifest; signed ones are read, too."""
    with contextlib.suppress(OgError):
        environment_manifest.read_signed(data, SIGNER.public_key)
    assert environment_manifest.encode(environment_manifest.decode(data)) == data


_EVIDENCE: Final = made_tpm_quote.Made().evidence()


def fuzz_tpm_document(data: bytes) -> None:
    """Evidence of a TPM is judged, whatever it is: nothing is raised, and only what was made as it must be holds."""
    found = made_tpm_quote.appraise(dataclasses.replace(_EVIDENCE, document=data))
    assert (found.level() == "measured") == (not found.reasons)
    assert tpm_document.encode(tpm_document.decode(data)) == data


def fuzz_tpm_structures(data: bytes) -> None:
    """What a TPM signs, its keys and signatures, and the records of an enrolment, each on its own."""
    key = parse_public(made_tpm_quote.public_area())
    for read in (parse_quote, parse_public, enrolment.read, lambda d: signature_holds(key, b"", d), trimmed):
        with contextlib.suppress(OgError):
            read(data)
    parse_quote(data)


ADAPTERS: Final = (
    create("compressed_image", {}),
    create("compressed_image", {"dtype": "float32", "channels": "gray", "resize": (8, 8), "max_pixels": 4096}),
    create("occupancy_grid", {}),
    create("path", {}),
    create("joint_state", {"joints": ("a", "b")}),
    create("joint_trajectory", {"joints": ("a", "b"), "points": 3}),
    create("float64_multi_array", {}),
    create("image", {}),
    create("laser_scan", {"beams": 4}),
    create("odometry", {}),
)


def fuzz_adapter(data: bytes) -> None:
    """The first byte chooses an adapter; a message gives an array and a stamp, or is refused."""
    sample = ADAPTERS[data[0] % len(ADAPTERS)].decode(data[1:]) if data else None
    assert sample is None or (sample.array.size > 0 or sample.array.ndim == 1)


HARNESSES: Final[dict[str, Callable[[bytes], None]]] = {
    name.removeprefix("fuzz_"): function for name, function in list(globals().items()) if name.startswith("fuzz_")
}


def run(name: str, data: bytes) -> None:
    """Run a harness on some bytes; an OgError is a fine answer."""
    with contextlib.suppress(OgError):
        HARNESSES[name](data)
