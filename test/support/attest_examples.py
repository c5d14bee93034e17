"""A complete statement to start from, and the two fixed keys that tests sign with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from og_ros.attest import (
    Algorithm,
    Attestation,
    Clock,
    DataReference,
    ModelReference,
    Runtime,
    SoftwareSigner,
    Statement,
    cose,
    keys,
)

# The P-256 key is that of RFC 6979 appendix A.2.5, the Ed25519 key that of RFC 8032 section 7.1, test 1.
P256_SECRET = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
ED25519_SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")

IMAGE = DataReference(
    topic="/camera/image",
    type="sensor_msgs/msg/Image",
    digest=bytes(range(32)),
    size=921_684,
    stamp_ns=12_340_000_000,
    attestation=bytes(range(32, 64)),
)
COMMAND = DataReference(topic="/cmd_vel", type="geometry_msgs/msg/Twist", digest=bytes(range(64, 96)), size=52)

STATEMENT = Statement(
    robot="robot-7",
    stage="perception",
    node="/perception",
    session=bytes(range(16)),
    sequence=5,
    previous=bytes(range(96, 128)),
    model=ModelReference(name="line_perception", version="1.0.0", digest=bytes(range(128, 160))),
    runtime=Runtime(
        name="onnxruntime",
        version="1.31.1",
        provider="CPUExecutionProvider",
        options="inter_op_num_threads=1;intra_op_num_threads=1",
        cpu="x86_64 avx2 fma",
        processing_digest=bytes(range(160, 192)),
    ),
    inputs=(IMAGE,),
    outputs=(COMMAND,),
    start_ns=12_345_678_901,
    clock=Clock.SIM,
    start_monotonic_ns=987_654_321,
    duration_ns=1_500_000,
    signed_at_ns=1_790_000_000_123_456_789,
    key_id=bytes(32),
    algorithm=Algorithm.ES256,
)


def signer_of(algorithm: Algorithm) -> SoftwareSigner:
    """The fixed signer of an algorithm."""
    key: keys.PrivateKey
    if algorithm == Algorithm.EDDSA:
        key = ed25519.Ed25519PrivateKey.from_private_bytes(ED25519_SECRET)
    else:
        key = ec.derive_private_key(P256_SECRET, ec.SECP256R1())
    return SoftwareSigner(key)


def statement_of(algorithm: Algorithm = Algorithm.ES256, **changes: Any) -> Statement:
    """The example statement, naming the fixed key of an algorithm, with some fields changed."""
    named = replace(STATEMENT, key_id=signer_of(algorithm).key_id, algorithm=algorithm)
    return replace(named, **changes)


def attestation_of(algorithm: Algorithm = Algorithm.ES256, **changes: Any) -> Attestation:
    """The example statement, signed with the fixed key of an algorithm."""
    return cose.sign(statement_of(algorithm, **changes), signer_of(algorithm))
