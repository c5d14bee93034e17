"""Keys that outlive a start without lying on the disk: sealed for the launch, or never outside the TPM.

`sealed`: a P-256 key that the TPM gives out only while PCR 14 is what the manifests and models of a launch make it,
before any key and the cap: so a launch of other software does not get it, and after the cap nobody does.
`signing`: a P-256 key that the TPM made and signs with itself; slow (200 ms on real TPMs), and it cannot be copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Final, Literal

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec

from og_ros.attest import keys
from og_ros.attest.signer import P256_ORDER
from og_ros.attest.statement import Algorithm
from og_ros.errors import EvidenceError
from og_ros.evidence.signed_document import fields, read_cbor
from og_ros.evidence.tpm import templates
from og_ros.evidence.tpm.device import DEFAULT_TCTI, Tpm
from og_ros.evidence.tpm.event_log import PCR
from og_ros.evidence.tpm.public_area import parse_public
from og_ros.evidence.tpm.quote import FIRST_RESETTABLE, digest_of

_VERSION: Final = 1
_SCALAR_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class KeptKey:
    """What the TPM wrapped: worth nothing without it. `spki` is the key's public half, `pcrs` those of its policy."""

    kind: Literal["sealed", "signing"]
    spki: bytes
    public: bytes
    private: bytes
    pcrs: tuple[int, ...] = ()


def seal(tpm: Tpm, key: ec.EllipticCurvePrivateKey, golden: bytes) -> KeptKey:
    """Seal a P-256 key for the moment at which PCR 14 has the value `golden` (event_log.replay gives it)."""
    policy = templates.pcr_policy([PCR], digest_of([PCR], {PCR: golden}))
    scalar = key.private_numbers().private_value.to_bytes(_SCALAR_SIZE, "big")
    public, private = tpm.create(templates.sealed_data(policy), scalar)
    return KeptKey("sealed", keys.spki(key.public_key()), public, private, (PCR,))


def sealable(key: keys.PrivateKey, name: str) -> ec.EllipticCurvePrivateKey:
    """Return a key that can be sealed; raises EvidenceError, naming it, for one on another curve than P-256."""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise EvidenceError(f"{name} is no P-256 key: make one with og-ros keys generate")
    return key


def unseal(tpm: Tpm, kept: KeptKey) -> ec.EllipticCurvePrivateKey:
    """Return a sealed key; raises EvidenceError where the TPM refuses, or gives another key."""
    if kept.kind != "sealed":
        raise EvidenceError("the key is not sealed: it never leaves its TPM")
    scalar = int.from_bytes(tpm.unseal(kept.public, kept.private, kept.pcrs), "big")
    if not 0 < scalar < P256_ORDER:
        raise EvidenceError("the sealed data is no P-256 key")
    key = ec.derive_private_key(scalar, ec.SECP256R1())
    if keys.spki(key.public_key()) != kept.spki:
        raise EvidenceError("the sealed data is another key than the file says")
    return key


def make_resident(tpm: Tpm, pcrs: Sequence[int] = ()) -> KeptKey:
    """Make a P-256 key in the TPM; with PCRs, it signs only while they have the values that they have now."""
    if any(pcr >= FIRST_RESETTABLE for pcr in pcrs):
        raise EvidenceError(f"PCR {max(pcrs)} can be reset without a restart: a policy over it holds nothing off")
    policy = templates.pcr_policy(pcrs, digest_of(pcrs, tpm.read_pcrs(pcrs))) if pcrs else b""
    public, private = tpm.create(templates.signing_key(policy))
    key = parse_public(public).key
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return KeptKey("signing", keys.spki(key), public, private, tuple(sorted(set(pcrs))))


def write(kept: KeptKey, path: Path) -> None:
    """Write the file of a key, mode 0600, never over another; raises KeyFileError."""
    tree = {
        "version": _VERSION,
        "kind": kept.kind,
        "spki": kept.spki,
        "public": kept.public,
        "private": kept.private,
        "pcrs": list(kept.pcrs),
    }
    keys.write_owner_only(cbor2.dumps(tree, canonical=True), path)


def read(path: Path) -> KeptKey:
    """Read the file of a key; raises KeyFileError for one that others can read, EvidenceError for what is none."""
    what = str(path)
    kinds: dict[str, type] = {
        "version": int, "kind": str, "spki": bytes, "public": bytes, "private": bytes, "pcrs": list,
    }  # fmt: skip
    tree = fields(read_cbor(keys.read_owner_only(path), what), what, kinds)
    good = all(type(pcr) is int and 0 <= pcr < FIRST_RESETTABLE for pcr in tree["pcrs"])
    if tree["version"] != _VERSION or tree["kind"] not in ("sealed", "signing") or not good:
        raise EvidenceError(f"{path} is no key that a TPM keeps, or of a version that this og_ros does not read")
    return KeptKey(tree["kind"], tree["spki"], tree["public"], tree["private"], tuple(tree["pcrs"]))


class TpmSigner:
    """An og_ros.attest.signer.Signer whose key is in the TPM; a context manager that keeps the TPM open meanwhile.

    It may be used from several threads, which wait for each other. Raises EvidenceError when the TPM refuses.
    """

    algorithm = Algorithm.ES256

    def __init__(self, kept: KeptKey, tcti: str = DEFAULT_TCTI) -> None:
        if kept.kind != "signing":
            raise EvidenceError("the key is sealed: unseal it in a measured launch, and sign with it in software")
        key = parse_public(kept.public).key
        if not isinstance(key, ec.EllipticCurvePublicKey) or keys.spki(key) != kept.spki:
            raise EvidenceError("the key is not the one that its file says")
        self.public_key: keys.PublicKey = key
        self.key_id = keys.key_id(key)
        self._lock = Lock()
        with ExitStack() as stack:
            tpm = stack.enter_context(Tpm(tcti))
            self._sign: Callable[[bytes], tuple[int, int]] = stack.enter_context(
                tpm.signing(kept.public, kept.private, kept.pcrs)
            )
            self._open = stack.pop_all()

    def __enter__(self) -> TpmSigner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the key and of the TPM."""
        self._open.close()

    def sign(self, message: bytes) -> bytes:
        """Sign a message; see Signer.sign."""
        with self._lock:
            r, s = self._sign(sha256(message).digest())
        return r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")
