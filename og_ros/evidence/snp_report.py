"""An SEV-SNP attestation report: 1184 bytes, of which the first 672 are signed (AMD 56860, table ATTESTATION_REPORT).

Bytes 816 to 1183 follow the signature and are signed by nobody, so that a report has as many digests as one likes: none
of them is used to name it, and they must be zero here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from og_ros.errors import EvidenceError

SIZE: Final = 1184
SIGNED_SIZE: Final = 0x2A0
SIGNATURE_END: Final = 0x330
VERSIONS: Final = range(2, 6)
_ECDSA_P384_SHA384: Final = 1
_COMPONENT: Final = 72  # r and s, little-endian, 48 bytes of them used
_DEBUG, _MIGRATION, _SMT, _ONE_SOCKET = 1 << 19, 1 << 18, 1 << 16, 1 << 20
_RESERVED_ONE: Final = 1 << 17
_MASK_CHIP_ID: Final = 1 << 1
_TURIN_FAMILY: Final = 0x1A


@dataclass(frozen=True)
class SnpReport:
    """What a report says; the signature over it is not checked yet.

    Attributes:
        version, guest_svn, policy, vmpl, platform_info: numbers as they stand in it.
        signing_key: 0 VCEK (of the chip), 1 VLEK (leased to a cloud), 7 none.
        chip_id_masked: whether the owner of the machine hid its chip's id.
        report_data: 64 bytes that the guest asked to have signed.
        measurement: launch digest of the guest's first memory, 48 bytes.
        host_data, id_key_digest, author_key_digest: what the host and the guest's owner gave at launch.
        current_tcb, reported_tcb, committed_tcb, launch_tcb: firmware versions, 8 bytes each.
        family: of the processor, 0 where the report does not say (version 2).
        chip_id: 64 bytes.
    """

    version: int
    guest_svn: int
    policy: int
    vmpl: int
    platform_info: int
    signing_key: int
    chip_id_masked: bool
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    current_tcb: bytes
    reported_tcb: bytes
    committed_tcb: bytes
    launch_tcb: bytes
    family: int
    chip_id: bytes
    signed: bytes
    signature: tuple[int, int]

    @property
    def debug(self) -> bool:
        """Whether the host may read and write the guest's memory."""
        return bool(self.policy & _DEBUG)

    @property
    def migratable(self) -> bool:
        """Whether a migration agent may move the guest."""
        return bool(self.policy & _MIGRATION)

    @property
    def smt(self) -> bool:
        """Whether the guest may run beside others on one core."""
        return bool(self.policy & _SMT)

    def verify_signature(self, key: ec.EllipticCurvePublicKey) -> None:
        """Check the signature with the VCEK or VLEK; raises EvidenceError."""
        try:
            key.verify(encode_dss_signature(*self.signature), self.signed, ec.ECDSA(hashes.SHA384()))
        except InvalidSignature as error:
            raise EvidenceError("the signature does not match the report") from error


def parse(data: bytes) -> SnpReport:
    """Read a report of version 2 to 5; raises EvidenceError for another, and for reserved bytes that are not zero."""
    if len(data) != SIZE:
        raise EvidenceError(f"an SEV-SNP report is {SIZE} bytes long, not {len(data)}")
    version, guest_svn, policy = struct.unpack_from("<IIQ", data, 0)
    vmpl, algorithm = struct.unpack_from("<II", data, 0x30)
    platform_info, key_info = struct.unpack_from("<QI", data, 0x40)
    if version not in VERSIONS:
        raise EvidenceError(f"the report is of version {version}; {VERSIONS[0]} to {VERSIONS[-1]} are known")
    if algorithm != _ECDSA_P384_SHA384:
        raise EvidenceError("the report is not signed with ECDSA on P-384")
    if not policy & _RESERVED_ONE or vmpl > 3:
        raise EvidenceError("the report's policy or VMPL cannot be")
    parts = [data[at : at + _COMPONENT] for at in (SIGNED_SIZE, SIGNED_SIZE + _COMPONENT)]
    if any(part[48:].strip(b"\0") for part in parts) or data[SIGNATURE_END:].strip(b"\0"):
        raise EvidenceError("the report has data where nothing is signed: such bytes are refused")
    return SnpReport(
        version=version,
        guest_svn=guest_svn,
        policy=policy,
        vmpl=vmpl,
        platform_info=platform_info,
        signing_key=key_info >> 2 & 7,
        chip_id_masked=bool(key_info & _MASK_CHIP_ID),
        report_data=data[0x50:0x90],
        measurement=data[0x90:0xC0],
        host_data=data[0xC0:0xE0],
        id_key_digest=data[0xE0:0x110],
        author_key_digest=data[0x110:0x140],
        current_tcb=data[0x38:0x40],
        reported_tcb=data[0x180:0x188],
        committed_tcb=data[0x1E0:0x1E8],
        launch_tcb=data[0x1F0:0x1F8],
        family=data[0x188] if version >= 3 else 0,
        chip_id=data[0x1A0:0x1E0],
        signed=data[:SIGNED_SIZE],
        signature=(int.from_bytes(parts[0], "little"), int.from_bytes(parts[1], "little")),
    )


def tcb_parts(tcb: bytes, turin: bool) -> dict[str, int]:
    """Return the firmware versions in a TCB_VERSION by name; Turin has one more, and another order."""
    if turin:
        return {"fmc": tcb[0], "bootloader": tcb[1], "tee": tcb[2], "snp": tcb[3], "microcode": tcb[7]}
    return {"bootloader": tcb[0], "tee": tcb[1], "snp": tcb[6], "microcode": tcb[7]}
