"""Writes attestation_v1.json: attestations with every byte on the way to their signature, for verifiers elsewhere.

    python test/vectors/make_vectors.py            writes the file beside this script
    python test/vectors/make_vectors.py --check    exits 1 when the file is not what this script makes

The keys are published here and worth nothing. Everything is deterministic: the file changes only with the format.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from og_ros.attest import (
    Algorithm,
    Attestation,
    Clock,
    DataReference,
    Disclosure,
    Mode,
    ModelReference,
    Runtime,
    SoftwareSigner,
    Statement,
    cbor,
    cose,
    digest,
    encode_attestation,
    keys,
)
from og_ros.attest.digest import covered_size
from og_ros.attest.signer import P256_ORDER
from og_ros.attest.statement import MAX_TIME_NS, NO_DIGEST

FILE = Path(__file__).with_name("attestation_v1.json")
ABOUT = [
    "Attestations of og_ros, format version 1: bytes in hex; 64-bit integers as decimal strings, for JSON's sake.",
    "statement: the fields by their names in the CBOR map. cbor: the payload. sig_structure: the bytes signed.",
    "cose: the COSE_Sign1 object, the log's leaf. digest: SHA-256 of cose. wire: the CDR of og_ros/msg/Attestation.",
    "refused: objects that a verifier must refuse, with the key of the named public key; each for its one reason.",
    "messages: CDR payloads, the bytes that their digest covers, and the SHA-256 by the digest rule.",
]
# The key of RFC 6979 appendix A.2.5, and that of RFC 8032 section 7.1, test 1.
P256_KEY = ec.derive_private_key(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1())
ED25519_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
)
SIGNERS = {Algorithm.ES256: SoftwareSigner(P256_KEY), Algorithm.EDDSA: SoftwareSigner(ED25519_KEY)}
WIDE = {
    "sequence", "start", "signed_at", "stamp", "size", "start_monotonic_ns", "duration_ns",
}  # fmt: skip


def pattern(start: int, size: int = 32) -> bytes:
    """Bytes that count up, so that a field in the wrong place shows."""
    return bytes((start + step) % 256 for step in range(size))


def typical(algorithm: Algorithm) -> Statement:
    """What a perception stage would sign."""
    return Statement(
        robot="robot-7",
        stage="perception",
        node="/perception",
        session=pattern(0x10, 16),
        sequence=41,
        previous=pattern(0x20),
        model=ModelReference(name="line_perception", version="1.0.0", digest=pattern(0x40)),
        runtime=Runtime(
            name="onnxruntime",
            version="1.31.1",
            provider="CPUExecutionProvider",
            options="inter_op_num_threads=1;intra_op_num_threads=1",
            cpu="x86_64 avx2 fma",
            processing_digest=pattern(0x60),
        ),
        inputs=(
            DataReference("/camera/image", "sensor_msgs/msg/Image", pattern(0x80), 921_684, 12_340_000_000, pattern(1)),
        ),
        outputs=(DataReference("/line", "std_msgs/msg/Float32MultiArray", pattern(0xA0), 44),),
        start_ns=12_345_678_901,
        clock=Clock.SIM,
        start_monotonic_ns=987_654_321,
        duration_ns=1_500_000,
        signed_at_ns=1_790_000_000_123_456_789,
        key_id=SIGNERS[algorithm].key_id,
        algorithm=algorithm,
    )


def least(algorithm: Algorithm) -> Statement:
    """Every field at its smallest."""
    nothing = DataReference("t", "t", NO_DIGEST, 0, disclosure=Disclosure.ABSENT, digest_algorithm="d")
    return Statement(
        robot="r", stage="s", node="n", session=bytes(16), sequence=0, previous=NO_DIGEST,
        model=ModelReference("m", "", NO_DIGEST, "f", "d"), runtime=Runtime("", ""),
        inputs=(nothing,), outputs=(nothing,), start_ns=0, clock=Clock.SYSTEM, start_monotonic_ns=0, duration_ns=0,
        signed_at_ns=0, key_id=SIGNERS[algorithm].key_id, algorithm=algorithm,
    )  # fmt: skip


def most(algorithm: Algorithm) -> Statement:
    """Every field at its largest, but for the number of references, which would only make the file long."""
    full = DataReference(
        "/" + "t" * 254, "p" * 255, b"\xff" * 32, 2**64 - 1, MAX_TIME_NS, b"\xff" * 32, "d" * 16, Disclosure.COMMITTED
    )
    return Statement(
        robot="r" * 128, stage="s" * 128, node="n" * 255, session=b"\xff" * 16, sequence=2**64 - 1,
        previous=b"\xff" * 32, model=ModelReference("m" * 128, "v" * 64, b"\xff" * 32, "f" * 32, "d" * 16),
        runtime=Runtime("n" * 64, "v" * 64, "p" * 64, "o" * 512, "c" * 128, b"\xff" * 32),
        inputs=(full, full), outputs=(replace(full, attestation=b""),) * 3, start_ns=MAX_TIME_NS, clock=Clock.SIM,
        start_monotonic_ns=2**64 - 1, duration_ns=2**64 - 1, signed_at_ns=MAX_TIME_NS,
        key_id=SIGNERS[algorithm].key_id, algorithm=algorithm, mode_requested=Mode.ZK, mode_used=Mode.OBSERVED,
    )  # fmt: skip


def other_scripts(algorithm: Algorithm) -> Statement:
    """Names outside ASCII: two, three and four bytes of UTF-8 a character."""
    return replace(
        typical(algorithm),
        robot="Müller-7",
        stage="知覚",
        node="/🤖",
        model=ModelReference("ligne_perçue", "1.0.0-é", pattern(0x40)),
    )


CASES = {"typical": typical, "least": least, "most": most, "other scripts": other_scripts}


def plain(item: Any, name: str = "") -> Any:
    """A decoded statement as JSON."""
    if isinstance(item, bytes):
        return item.hex()
    if isinstance(item, (list, tuple)):
        return [plain(part) for part in item]
    if hasattr(item, "items"):
        return {key: plain(part, key) for key, part in item.items()}
    return str(item) if name in WIDE else item


def vector(name: str, attestation: Attestation) -> dict[str, Any]:
    """One attestation, with every step to its signature."""
    payload = cbor.encode(attestation.statement)
    return {
        "name": name,
        "algorithm": attestation.statement.algorithm.name,
        "statement": plain(cbor2.loads(payload)),
        "cbor": payload.hex(),
        "sig_structure": attestation.signed_bytes.hex(),
        "signature": attestation.signature.hex(),
        "cose": attestation.cose.hex(),
        "digest": attestation.digest.hex(),
        "wire": encode_attestation(attestation).hex(),
    }


def signed_anyway(statement: Statement, signer: SoftwareSigner) -> bytes:
    """The object of a statement that names another key than the one that signs it."""
    draft = cose.seal(statement, bytes(64))
    return cose.seal(statement, signer.sign(draft.signed_bytes)).cose


def signed_object(signer: SoftwareSigner, protected: bytes, payload: bytes) -> list[Any]:
    """The parts of a COSE_Sign1 object over any header and payload, truly signed."""
    message = cbor2.dumps(["Signature1", protected, b"", payload])
    return [protected, {}, payload, signer.sign(message)]


def refused() -> list[dict[str, str]]:
    """Objects that must not verify, by what is wrong with them."""
    es256, eddsa = SIGNERS[Algorithm.ES256], SIGNERS[Algorithm.EDDSA]
    honest = cose.sign(typical(Algorithm.ES256), es256)
    statement = honest.statement
    protected, _, payload, signature = cbor2.loads(honest.cose).value
    r, s = signature[:32], int.from_bytes(signature[32:], "big")

    def tagged(parts: list[Any]) -> bytes:
        return cbor2.dumps(cbor2.CBORTag(18, parts))

    def resigned(data: bytes) -> bytes:
        return tagged(signed_object(es256, protected, data))

    tree = dict(cbor2.loads(payload))
    elsewhere = cbor2.loads(cose.seal(replace(statement, robot="x"), signature).cose).value[0]
    longer = payload.replace(b"\x65clock\x02", b"\x65clock\x18\x02")
    assert longer != payload
    cases = {
        "signature flipped": cose.seal(statement, bytes([signature[0] ^ 1]) + signature[1:]).cose,
        "high-S twin": cose.seal(statement, r + (P256_ORDER - s).to_bytes(32, "big")).cose,
        "r is zero": cose.seal(statement, bytes(32) + signature[32:]).cose,
        "s is zero": cose.seal(statement, r + bytes(32)).cose,
        "r is the group order": cose.seal(statement, P256_ORDER.to_bytes(32, "big") + signature[32:]).cose,
        "signature of 63 bytes": tagged([protected, {}, payload, signature[:63]]),
        "signature of 65 bytes": tagged([protected, {}, payload, signature + b"\0"]),
        "statement changed": cose.seal(replace(statement, sequence=42), signature).cose,
        "statement says EdDSA, key is P-256": signed_anyway(replace(statement, algorithm=Algorithm.EDDSA), es256),
        "statement names another key": signed_anyway(replace(statement, key_id=eddsa.key_id), es256),
        "protected header names another robot": tagged(signed_object(es256, elsewhere, payload)),
        "unprotected header": tagged([protected, {33: b"x"}, payload, signature]),
        "no tag": cbor2.dumps([protected, {}, payload, signature]),
        "bytes after the end": honest.cose + b"\0",
        "payload: bytes after the end": resigned(payload + b"\0"),
        "payload: number not in its shortest form": resigned(longer),
        "payload: unknown field": resigned(cbor2.dumps({**tree, "more": 1}, canonical=True)),
        "payload: field missing": resigned(cbor2.dumps({k: v for k, v in tree.items() if k != "node"}, canonical=True)),
        "payload: duplicate key": resigned(b"\xb5" + cbor2.dumps("node") + cbor2.dumps("/other") + payload[1:]),
        "payload: keys out of order": resigned(cbor2.dumps(dict(reversed(tree.items())))),
        "payload: true in place of 1": resigned(cbor2.dumps({**tree, "mode_used": True}, canonical=True)),
        "payload: control character": resigned(cbor2.dumps({**tree, "robot": "robot-\x1b"}, canonical=True)),
        "payload: format version 2": resigned(cbor2.dumps({**tree, "format_version": 2}, canonical=True)),
    }
    return [{"name": name, "public_key": "ES256", "cose": data.hex()} for name, data in cases.items()]


def messages() -> list[dict[str, Any]]:
    """Payloads for the digest rule: padded, unpadded, with options, big-endian, and nothing but a header."""
    body = bytes(range(1, 72))
    payloads = {
        "75 bytes": b"\0\1\0\0" + body,
        "75 bytes, padded to 76": b"\0\1\0\0" + body + b"\0",
        "76 bytes with options": b"\0\1\0\1" + body + b"\0",
        "big-endian": b"\0\0\0\0" + body,
        "header alone": b"\0\1\0\0",
        "one byte": b"\0\1\0\0\7",
    }
    return [
        {"name": name, "payload": data.hex(), "size": covered_size(data), "sha256": digest(data).hex()}
        for name, data in payloads.items()
    ]


def build() -> str:
    """The file's content."""
    tree = {
        "about": ABOUT,
        "keys": {
            algorithm.name: {
                "private_key": private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
                "public_key": keys.public_pem(private.public_key()),
                "key_id": SIGNERS[algorithm].key_id.hex(),
            }
            for algorithm, private in ((Algorithm.ES256, P256_KEY), (Algorithm.EDDSA, ED25519_KEY))
        },
        "attestations": [
            vector(f"{algorithm.name} {name}", cose.sign(case(algorithm), signer))
            for algorithm, signer in SIGNERS.items()
            for name, case in CASES.items()
        ],
        "refused": refused(),
        "messages": messages(),
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
