"""Writes conformance_v1.json: cases for verifiers in any language; one whose name ends in _fail must be refused.

    python test/vectors/make_conformance.py            writes the file beside this script
    python test/vectors/make_conformance.py --check    exits 1 when the file is not what this script makes

Keys, typical statements and how they are written down are those of attestation_v1.json. Everything is deterministic.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from make_vectors import ED25519_KEY, P256_KEY, SIGNERS, least, most, pattern, typical

from og_ros.attest import (
    Algorithm,
    Attestation,
    Clock,
    DataReference,
    Disclosure,
    SoftwareSigner,
    Statement,
    cose,
    digest,
    encode_attestation,
    keys,
)
from og_ros.attest.commitment import conceal
from og_ros.attest.digest import ALGORITHMS, covered_size
from og_ros.attest.signer import P256_ORDER
from og_ros.log.checkpoint import Checkpoint, sign_checkpoint
from og_ros.log.merkle import MerkleTree, leaf_hash
from og_ros.log.note import VerifierKey, encode_base64
from og_ros.log.proof import format_proof

FILE = Path(__file__).with_name("conformance_v1.json")
ABOUT = [
    "Cases for verifiers of og_ros, format version 1: bytes in hex, 64-bit integers as decimal strings.",
    "A case whose name ends in _fail must be refused, for the reason that `reason` names (docs/reference/vectors.md).",
    "wire: serialised og_ros/msg/Attestation, the public key that must have signed it, and the digest of its record.",
    "cose: the same as COSE_Sign1 objects. session: COSE_Sign1 objects of one session, complete and in order.",
    "digest: CDR payloads (payload, or header and size of a body whose byte i is i mod 251) and their digests.",
    "inclusion, consistency: RFC 6962 proofs over SHA-256. checkpoint, log_proof: C2SP signed notes and tlog proofs.",
]
ORIGIN = "og-ros.example/log"
Case = dict[str, Any]


def other_key() -> SoftwareSigner:
    """A P-256 key that is not the registered one."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return SoftwareSigner(ec.derive_private_key(7, ec.SECP256R1()))


def hidden(algorithm: Algorithm) -> Statement:
    """A statement that commits to one input, leaves another out, and shows its output."""
    secret = pattern(0x33)
    shown = typical(algorithm)
    image, scan = shown.inputs[0], DataReference("/scan", "sensor_msgs/msg/LaserScan", pattern(0x51), 1_496)
    return replace(
        shown,
        inputs=(conceal(image, Disclosure.COMMITTED, secret), conceal(scan, Disclosure.ABSENT)),
        clock=Clock.SYSTEM,
    )


def linked(algorithm: Algorithm) -> Statement:
    """A planning stage: two inputs, each the output of another stage's attestation, and two outputs."""
    shown = typical(algorithm)
    source = shown.inputs[0]
    return replace(
        shown,
        stage="planning",
        node="/robot_7/planning",
        clock=Clock.SYSTEM,
        inputs=(
            replace(source, topic="/line", attestation=pattern(0x61)),
            replace(source, topic="/obstacles", attestation=pattern(0x71), digest_algorithm="sha256-tree"),
        ),
        outputs=(shown.outputs[0], replace(shown.outputs[0], topic="/path", digest_algorithm="blake3")),
    )


def source(algorithm: Algorithm) -> Statement:
    """A statement without inputs: where data begins."""
    return replace(typical(algorithm), inputs=())


def big_endian(attestation: Attestation) -> bytes:
    """The same record as a big-endian publisher would serialise it."""
    from og_ros.attest import cdr, wire

    class Writer(cdr.CdrWriter):
        def number(self, code: str, size: int, value: float) -> None:
            self._data += bytes(-len(self._data) % size)
            self._data += int(value).to_bytes(size, "big", signed=code.islower())

        def payload(self) -> bytes:
            return b"\0\0\0\0" + bytes(self._data) + bytes(-len(self._data) % 4)

    little, wire.CdrWriter = wire.CdrWriter, Writer  # type: ignore[misc]
    try:
        return encode_attestation(attestation)
    finally:
        wire.CdrWriter = little  # type: ignore[misc]


def with_signature(attestation: Attestation, signature: bytes) -> bytes:
    """The record with other bytes for a signature, of any length, on the wire."""
    whole = encode_attestation(attestation)
    at = whole.rindex(attestation.signature)
    head = whole[: at - 4] + len(signature).to_bytes(4, "little") + signature
    return head + bytes(-len(head) % 4)


def record(name: str, kind: str, data: bytes, attestation: Attestation | None, key: str, reason: str = "") -> Case:
    case = {"name": name, "key": key, kind: data.hex()}
    return case | ({"reason": reason} if reason else {"digest": attestation.digest.hex() if attestation else ""})


def wire_cases() -> list[Case]:
    """Serialised attestations."""
    cases = []
    for algorithm, signer in SIGNERS.items():
        name = algorithm.name.lower()
        for label, made in (
            ("hidden", hidden), ("linked", linked), ("least", least), ("most", most), ("source", source)
        ):
            attestation = cose.sign(made(algorithm), signer)
            cases.append(
                record(f"{name}_{label}", "wire", encode_attestation(attestation), attestation, algorithm.name)
            )
        honest = cose.sign(typical(algorithm), signer)
        whole, sig = encode_attestation(honest), honest.signature
        r, s = sig[:32], int.from_bytes(sig[32:], "big")
        cases += [
            record(f"{name}_typical", "wire", whole, honest, algorithm.name),
            record(f"{name}_big_endian", "wire", big_endian(honest), honest, algorithm.name),
            record(f"{name}_options_bytes", "wire", b"\0\1\xff\xff" + whole[4:], honest, algorithm.name),
            record(f"{name}_signature_flipped_fail", "wire",
                   with_signature(honest, bytes([sig[0] ^ 1]) + sig[1:]), None, algorithm.name, "signature"),
            record(f"{name}_signature_of_another_key_fail", "wire",
                   with_signature(honest, other_key().sign(honest.signed_bytes)), None, algorithm.name, "signature"),
            record(f"{name}_signature_empty_fail", "wire", with_signature(honest, b""), None, algorithm.name,
                   "signature_form"),
            record(f"{name}_signature_of_65_bytes_fail", "wire", with_signature(honest, sig + b"\0"), None,
                   algorithm.name, "signature_form"),
            record(f"{name}_signature_of_129_bytes_fail", "wire", with_signature(honest, sig * 2 + b"\0"), None,
                   algorithm.name, "malformed"),
        ]  # fmt: skip
        if algorithm is Algorithm.ES256:
            bad = {
                "high_s": r + (P256_ORDER - s).to_bytes(32, "big"),
                "r_zero": bytes(32) + sig[32:],
                "s_zero": r + bytes(32),
                "r_order": P256_ORDER.to_bytes(32, "big") + sig[32:],
                "s_all_ones": r + b"\xff" * 32,
            }
        else:  # S + L is the same signature to a verifier that does not check its range (RFC 8032 section 5.1.7)
            order = 2**252 + 27742317777372353535851937790883648493
            twin = int.from_bytes(sig[32:], "little") + order
            bad = {"s_plus_order": r + twin.to_bytes(32, "little")}
        for label, value in bad.items():
            reason = "signature_form" if algorithm is Algorithm.ES256 else "signature"
            cases.append(
                record(f"{name}_{label}_fail", "wire", with_signature(honest, value), None, algorithm.name, reason)
            )
    honest = cose.sign(typical(Algorithm.ES256), SIGNERS[Algorithm.ES256])
    whole = encode_attestation(honest)
    s = honest.statement

    def changed(old: bytes, new: bytes) -> bytes:
        assert (whole.count(old), len(old)) == (1, len(new))
        return whole.replace(old, new)

    def forged(**fields: Any) -> bytes:
        return encode_attestation(cose.seal(replace(s, **fields), honest.signature))

    absent = replace(s.inputs[0], digest=bytes(32), disclosure=Disclosure.ABSENT)
    bad_wires = {
        "empty": (b"", "malformed"),
        "header_alone": (b"\0\1\0\0", "malformed"),
        "truncated": (whole[:-8], "malformed"),
        "encapsulation_xcdr2": (b"\0\7" + whole[2:], "malformed"),
        "trailing_word": (whole + bytes(4), "malformed"),
        "padding_not_zero": (whole[:-1] + b"\1", "malformed") if whole[-1:] == b"\0" else (whole + b"\1", "malformed"),
        "text_without_nul": (changed(b"robot-7\0", b"robot-77"), "malformed"),
        "text_with_two_nuls": (changed(b"robot-7\0", b"robot\0\0\0"), "malformed"),
        "text_not_utf8": (changed(b"robot-7\0", b"robot-\xff\0"), "malformed"),
        "text_surrogate": (changed(b"robot-7\0", b"robo\xed\xa0\x80\0"), "malformed"),
        "text_overlong": (changed(b"robot-7\0", b"robot\xc0\xaf\0"), "malformed"),
        "control_character": (changed(b"robot-7\0", b"robot-\x1b\0"), "bounds"),
        "hidden_character": (changed(b"robot-7\0", b"robo\xe2\x80\x8b\0"), "bounds"),
        "nanoseconds_of_a_second": (
            changed((345_678_901).to_bytes(4, "little"), (10**9).to_bytes(4, "little")), "malformed"),
        "format_version_2": (whole[:4] + b"\2\0" + whole[6:], "bounds"),
        "mode_9": (changed(b"\1\1" + s.key_id, b"\1\x09" + s.key_id), "bounds"),
        "absent_with_digest": (encode_attestation_anyway(honest, s.inputs[0].digest, 2), "bounds"),
        "size_changed": (forged(inputs=(replace(s.inputs[0], size=921_688),)), "signature"),
        "input_hidden_later": (forged(inputs=(absent,)), "signature"),
        "sequence_changed": (forged(sequence=42), "signature"),
        "clock_changed": (forged(clock=Clock.SYSTEM), "signature"),
        "link_taken_away": (forged(inputs=(replace(s.inputs[0], attestation=b""),)), "signature"),
        "algorithm_eddsa": (forged(algorithm=Algorithm.EDDSA), "algorithm"),
        "key_id_changed": (forged(key_id=bytes(32)), "key"),
    }  # fmt: skip
    cases += [record(f"{n}_fail", "wire", data, None, "ES256", reason) for n, (data, reason) in bad_wires.items()]
    cases.append(record("key_of_another_algorithm_fail", "wire", whole, None, "EDDSA", "key"))
    return cases


def encode_attestation_anyway(attestation: Attestation, message_digest: bytes, disclosure: int) -> bytes:
    """The record with another disclosure for the input with a digest, without a check."""
    whole = bytearray(encode_attestation(attestation))
    reference = attestation.statement.inputs[0]
    at = whole.index(reference.attestation, whole.index(message_digest)) + len(reference.attestation)
    whole[at] = disclosure
    return bytes(whole)


def cose_cases() -> list[Case]:
    """What attestation_v1.json has not: EdDSA's refusals, and objects of odd shapes."""
    eddsa, es256 = SIGNERS[Algorithm.EDDSA], SIGNERS[Algorithm.ES256]
    honest = cose.sign(typical(Algorithm.EDDSA), eddsa)
    swapped = cose.seal(replace(honest.statement, algorithm=Algorithm.ES256), honest.signature)
    cases = [
        record("eddsa", "cose", honest.cose, honest, "EDDSA"),
        record("eddsa_statement_says_es256_fail", "cose", swapped.cose, None, "EDDSA", "algorithm"),
        record("eddsa_statement_changed_fail", "cose",
               cose.seal(replace(honest.statement, stage="planning"), honest.signature).cose, None, "EDDSA",
               "signature"),
        record("eddsa_under_p256_key_fail", "cose", honest.cose, None, "ES256", "key"),
    ]  # fmt: skip
    whole = cose.sign(typical(Algorithm.ES256), es256).cose
    odd = {
        "empty": b"", "tag_alone": whole[:1], "other_tag": b"\xd1" + whole[1:], "tag_twice": b"\xd2" + whole,
        "tag_in_two_bytes": b"\xd8\x12" + whole[1:], "truncated": whole[:-1],
        "five_parts": b"\xd2\x85" + whole[2:] + b"\0",
        "indefinite_array": b"\xd2\x9f" + whole[2:] + b"\xff", "float": b"\xd2\xf9\x00\x00",
        "nested_deep": b"\xd2" + b"\x81" * 10_000, "array_of_2_to_the_60": b"\xd2\x9b" + (2**60).to_bytes(8, "big"),
        "text_of_2_to_the_64": b"\xd2\x7b" + b"\xff" * 8,
    }  # fmt: skip
    return cases + [record(f"{name}_fail", "cose", data, None, "ES256", "malformed") for name, data in odd.items()]


def session_cases() -> list[Case]:
    """Five attestations of one session, and what can be done to them."""
    cases: list[Case] = []
    for algorithm, signer in SIGNERS.items():
        chain = _chain(algorithm, signer)
        cases.append(_session(f"{algorithm.name.lower()}_session", chain, algorithm))
    es256 = Algorithm.ES256
    chain, signer = _chain(es256, SIGNERS[es256]), SIGNERS[es256]
    other = [cose.sign(replace(a.statement, session=pattern(0x90, 16)), signer) for a in _chain(es256, signer)]
    fork = cose.sign(replace(chain[2].statement, duration_ns=7), signer)
    renamed = cose.sign(replace(chain[4].statement, model=replace(chain[4].statement.model, version="2")), signer)
    wrong = cose.sign(replace(chain[4].statement, previous=pattern(0xC0)), signer)
    return [
        *cases,
        _session("one_record", chain[:1], es256),
        _session("gap_fail", [chain[0], chain[1], chain[3], chain[4]], es256, "attestation_lost"),
        _session("start_missing_fail", chain[1:], es256, "session_joined_late"),
        _session("reordered_fail", [chain[0], chain[2], chain[1], chain[3]], es256, "attestation_reordered"),
        _session("repeated_fail", [chain[0], chain[1], chain[1], chain[2]], es256, "attestation_replayed"),
        _session("forked_fail", [chain[0], chain[1], chain[2], fork, chain[3]], es256, "session_forked"),
        _session("replaced_fail", [chain[0], chain[1], fork, chain[3]], es256, "chain_broken"),
        _session("previous_wrong_fail", [*chain[:4], wrong], es256, "chain_broken"),
        _session("model_changed_fail", [*chain[:4], renamed], es256, "session_changed"),
        _session("other_session_fail", [*chain[:4], other[4]], es256, "session_other"),
    ]


def _chain(algorithm: Algorithm, signer: SoftwareSigner) -> list[Attestation]:
    chain: list[Attestation] = []
    for sequence in range(5):
        statement = replace(
            typical(algorithm),
            sequence=sequence,
            previous=chain[-1].digest if chain else bytes(32),
            start_monotonic_ns=1_000_000 * sequence,
        )
        chain.append(cose.sign(statement, signer))
    return chain


def _session(name: str, chain: list[Attestation], algorithm: Algorithm, reason: str = "") -> Case:
    case: Case = {"name": name, "key": algorithm.name, "cose": [a.cose.hex() for a in chain]}
    return case | ({"reason": reason} if reason else {})


def body(size: int) -> bytes:
    """The body of a generated payload: byte i is i mod 251."""
    return bytes(i % 251 for i in range(size))


def digest_cases() -> list[Case]:
    """Every algorithm over short payloads, and over those at the edges of the tree's chunks of 65,536 bytes."""
    shown = {"header_alone": b"\0\1\0\0", "one_byte": b"\0\1\0\0\7", "options": b"\0\1\xab\xcd" + body(9),
             "big_endian": b"\0\0\0\0" + body(12)}  # fmt: skip
    sizes = (75, 65_531, 65_532, 65_533, 131_068, 131_069, 200_000, 1_048_577)
    cases: list[Case] = []
    for name, payload in shown.items():
        cases.append({"name": name, "payload": payload.hex(), **_digests(payload)})
    for size in sizes:
        payload = b"\0\1\0\3" + body(size)
        cases.append({"name": f"body_{size}", "header": "00010003", "body_size": str(size), **_digests(payload)})
    cases.append({"name": "shorter_than_its_header_fail", "payload": "000100", "reason": "malformed"})
    return cases


def _digests(payload: bytes) -> Case:
    return {"size": str(covered_size(payload)), "digests": {name: digest(payload, name).hex() for name in ALGORITHMS}}


def tree() -> MerkleTree:
    """Twenty leaves; leaf i is the text `leaf i`."""
    return MerkleTree(f"leaf {i}".encode() for i in range(20))


def inclusion_cases() -> list[Case]:
    """Proofs for trees of many shapes, and broken ones."""
    grown, cases = tree(), []
    places = [(0, 1), (0, 2), (1, 2), (2, 3), (4, 7), (6, 7), (7, 8), (0, 13), (12, 13), (19, 20), (16, 20), (3, 20)]
    for index, size in places:
        cases.append(_inclusion(f"leaf_{index}_of_{size}", index, size, grown.inclusion_proof(index, size)))
    path = grown.inclusion_proof(4, 13)
    bad = {
        "hash_flipped": (4, 13, [bytes([path[0][0] ^ 1]) + path[0][1:], *path[1:]]),
        "hash_missing": (4, 13, path[:-1]),
        "hash_too_many": (4, 13, [*path, bytes(32)]),
        "hashes_swapped": (4, 13, [path[1], path[0], *path[2:]]),
        "hash_of_31_bytes": (4, 13, [path[0][:31], *path[1:]]),
        "another_index": (5, 13, path),
        "index_is_the_size": (13, 13, path),
        "another_size": (4, 8, path),
        "empty_tree": (0, 0, []),
        "size_of_2_to_the_63": (4, 2**63, path),
    }
    for name, (index, size, hashes) in bad.items():
        case = _inclusion(f"{name}_fail", index, size, hashes, tree().root(13), leaf=4)
        cases.append(case | {"reason": "proof"})
    cases.append(_inclusion("another_leaf_fail", 4, 13, path, tree().root(13), leaf=9) | {"reason": "proof"})
    cases.append(_inclusion("another_root_fail", 4, 13, path, tree().root(12)) | {"reason": "proof"})
    return cases


def _inclusion(
    name: str, index: int, size: int, path: list[bytes], root: bytes | None = None, leaf: int | None = None
) -> Case:
    return {
        "name": name,
        "leaf": f"leaf {index if leaf is None else leaf}".encode().hex(),
        "index": str(index),
        "size": str(size),
        "path": [value.hex() for value in path],
        "root": (tree().root(size) if root is None else root).hex(),
    }


def consistency_cases() -> list[Case]:
    """From one size to another, and broken ones."""
    grown, cases = tree(), []
    for first, second in [(0, 0), (0, 5), (1, 1), (1, 2), (3, 7), (4, 7), (6, 7), (8, 13), (13, 20), (20, 20)]:
        path = grown.consistency_proof(first, second)
        cases.append(
            _consistency(f"from_{first}_to_{second}", first, second, path, grown.root(first), grown.root(second))
        )
    path, old, new = grown.consistency_proof(6, 13), grown.root(6), grown.root(13)
    bad = {
        "hash_flipped": (6, 13, [*path[:-1], bytes([path[-1][0] ^ 1]) + path[-1][1:]], old, new),
        "hash_missing": (6, 13, path[:-1], old, new),
        "hash_too_many": (6, 13, [*path, bytes(32)], old, new),
        "empty_path": (6, 13, [], old, new),
        "shrinks": (13, 6, path, new, old),
        "rewritten": (6, 13, path, grown.root(5), new),
        "same_size_two_roots": (6, 6, [], old, new),
        "hashes_from_nothing": (0, 13, path, grown.root(0), new),
    }
    return cases + [_consistency(f"{n}_fail", *values) | {"reason": "proof"} for n, values in bad.items()]


def _consistency(name: str, first: int, second: int, path: list[bytes], old: bytes, new: bytes) -> Case:
    return {
        "name": name, "first": str(first), "second": str(second), "path": [value.hex() for value in path],
        "first_root": old.hex(), "second_root": new.hex(),
    }  # fmt: skip


def checkpoint_cases() -> list[Case]:
    """Checkpoint notes under the Ed25519 key, with and without a witness's line."""
    from cryptography.hazmat.primitives.asymmetric import ed25519

    stranger = ed25519.Ed25519PrivateKey.from_private_bytes(pattern(0x77))
    head = Checkpoint(ORIGIN, 13, tree().root(13))
    note = sign_checkpoint(head, ED25519_KEY)
    text, lines = note.split("\n\n")
    twice = sign_checkpoint(replace(head, size=14, root=tree().root(14)), ED25519_KEY)
    unsigned = sign_checkpoint(head, stranger)
    witness = sign_checkpoint(head, stranger, "witness.example").split("\n\n")[1]
    empty = sign_checkpoint(Checkpoint(ORIGIN, 0, tree().root(0)), ED25519_KEY)
    extended = sign_checkpoint(replace(head, extensions=("more 1",)), ED25519_KEY)
    elsewhere = sign_checkpoint(replace(head, origin="other.example/log"), ED25519_KEY, ORIGIN)
    signature = lines.split(" ")[2].strip()
    good = {
        "signed": (note, 13),
        "cosigned": (note + witness, 13),
        "empty_log": (empty, 0),
        "extension": (extended, 13),
    }
    bad = {
        "size_changed": (note.replace("\n13\n", "\n14\n"), "note"),
        "signature_of_another_size": (text + "\n\n" + twice.split("\n\n")[1], "note"),
        "another_key": (unsigned, "unsigned"),
        "only_a_witness": (text + "\n\n" + witness, "unsigned"),
        "another_log": (elsewhere, "origin"),
        "signature_wrong_and_right": (note + f"\u2014 {ORIGIN} {_flipped(signature)}\n", "note"),
        "leading_zero": (_signed(f"{ORIGIN}\n013\n{encode_base64(head.root)}\n"), "malformed"),
        "negative_size": (_signed(f"{ORIGIN}\n-1\n{encode_base64(head.root)}\n"), "malformed"),
        "root_of_31_bytes": (_signed(f"{ORIGIN}\n13\n{encode_base64(head.root[:31])}\n"), "malformed"),
        "base64_not_canonical": (_signed(f"{ORIGIN}\n13\n{_loose(head.root)}\n"), "malformed"),
        "empty_log_with_a_root": (_signed(f"{ORIGIN}\n0\n{encode_base64(head.root)}\n"), "malformed"),
        "two_lines": (_signed(f"{ORIGIN}\n13\n"), "malformed"),
        "carriage_returns": (note.replace("\n", "\r\n"), "malformed"),
        "no_signature": (text + "\n", "malformed"),
        "no_newline_at_the_end": (note[:-1], "malformed"),
        "hyphen_for_dash": (note.replace("\u2014", "-"), "malformed"),
    }  # fmt: skip
    key = VerifierKey.of(ORIGIN, ED25519_KEY).format()
    return [
        *({"name": name, "vkey": key, "origin": ORIGIN, "note": value, "size": str(size),
           "root": tree().root(size).hex()}
          for name, (value, size) in good.items()),
        *({"name": f"{name}_fail", "vkey": key, "origin": ORIGIN, "note": value, "reason": reason}
          for name, (value, reason) in bad.items()),
    ]  # fmt: skip


def _signed(text: str) -> str:
    from og_ros.log.note import sign_note

    return sign_note(text, ORIGIN, ED25519_KEY).format()


def _loose(root: bytes) -> str:
    """A root's base64 whose last digit has a bit set that decodes to nothing."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    text = encode_base64(root)
    return f"{text[:-2]}{digits[digits.index(text[-2]) | 1]}="


def _flipped(text: str) -> str:
    """A note signature's base64 with one bit of the signature flipped."""
    import base64

    data = bytearray(base64.b64decode(text))
    data[-1] ^= 1
    return encode_base64(bytes(data))


def log_proof_cases() -> list[Case]:
    """An attestation's inclusion, with its checkpoint, in the form of c2sp.org/tlog-proof."""
    leaves = [a.cose for a in _chain(Algorithm.ES256, SIGNERS[Algorithm.ES256])]
    grown = MerkleTree(leaves)
    note = sign_checkpoint(Checkpoint(ORIGIN, 5, grown.root()), ED25519_KEY)
    key = VerifierKey.of(ORIGIN, ED25519_KEY).format()

    def case(name: str, leaf: bytes, text: str, reason: str = "") -> Case:
        made = {"name": name, "vkey": key, "origin": ORIGIN, "leaf": leaf.hex(), "proof": text}
        return made | ({"reason": reason} if reason else {})

    path = grown.inclusion_proof(3)
    text = format_proof(3, path, note)
    return [
        *(case(f"record_{i}", leaves[i], format_proof(i, grown.inclusion_proof(i), note)) for i in range(5)),
        case("extra_data", leaves[3], format_proof(3, path, note, b"a hint")),
        case("another_record_fail", leaves[2], text, "proof"),
        case("another_index_fail", leaves[3], format_proof(2, path, note), "proof"),
        case("hash_missing_fail", leaves[3], format_proof(3, path[:-1], note), "proof"),
        case("checkpoint_changed_fail", leaves[3], text.replace("\n5\n", "\n6\n"), "note"),
        case("no_header_fail", leaves[3], text.partition("\n")[2], "malformed"),
        case("no_index_fail", leaves[3], text.replace("index 3\n", ""), "malformed"),
        case("index_with_sign_fail", leaves[3], text.replace("index 3", "index +3"), "malformed"),
        case("no_checkpoint_fail", leaves[3], text.partition("\n\n")[0] + "\n", "malformed"),
        case("leaf_hash_for_leaf_fail", leaf_hash(leaves[3]), text, "proof"),
    ]


def build() -> str:
    """The file's content."""
    tree = {
        "about": ABOUT,
        "keys": {
            algorithm.name: {
                "public_key": keys.public_pem(private.public_key()),
                "key_id": SIGNERS[algorithm].key_id.hex(),
            }
            for algorithm, private in ((Algorithm.ES256, P256_KEY), (Algorithm.EDDSA, ED25519_KEY))
        },
        "wire": wire_cases(),
        "cose": cose_cases(),
        "session": session_cases(),
        "digest": digest_cases(),
        "inclusion": inclusion_cases(),
        "consistency": consistency_cases(),
        "checkpoint": checkpoint_cases(),
        "log_proof": log_proof_cases(),
    }
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or compare it."""
    content = build()
    if arguments == ["--check"]:
        return int(FILE.read_text(encoding="utf-8") != content)
    FILE.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
