"""Verifies one attestation without og_ros: verify.py DECISION.cose KEY.pub; openssl then checks it once more.

    og-ros attestation export BAG --stage control --index -1 --out decision.cose     (whoever has og_ros)
    pip install cbor2 pycose cryptography
    python verify.py decision.cose control.pub
    openssl dgst -sha256 -verify control.pub -signature signature.der signed.bin
"""

import sys

import cbor2
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pycose.keys import EC2Key
from pycose.keys.curves import P256
from pycose.messages import Sign1Message

with open(sys.argv[1], "rb") as file:
    protected, unprotected, payload, signature = cbor2.loads(file.read()).value
with open(sys.argv[2], "rb") as file:
    point = load_pem_public_key(file.read()).public_numbers()
message = Sign1Message.from_cose_obj([protected, {}, payload, signature], True)
message.key = EC2Key(crv=P256, x=point.x.to_bytes(32, "big"), y=point.y.to_bytes(32, "big"))
if unprotected or not message.verify_signature():
    sys.exit("the signature does not hold")

# For openssl: what was signed (RFC 9052, 4.4), and the signature as it wants it.
with open("signed.bin", "wb") as file:
    file.write(cbor2.dumps(["Signature1", protected, b"", payload]))
with open("signature.der", "wb") as file:
    file.write(encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")))

statement = cbor2.loads(payload)
print(f"signed: robot {statement['robot']}, stage {statement['stage']}, number {statement['sequence']}")
print(f"model {statement['model']['name']} {statement['model']['version']}, {statement['model']['digest'].hex()}")
for side in ("inputs", "outputs"):
    for reference in statement[side]:
        print(side, reference["topic"], reference["digest"].hex())
