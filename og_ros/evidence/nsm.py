"""Attester of `aws-nitro`: an attestation document from the Nitro Security Module, /dev/nsm in an enclave.

After the driver's interface (linux/nsm.h): one ioctl with two buffers, a request and an answer in CBOR. Tested against
an ioctl that answers as that interface says; never run live, in want of an enclave.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cbor2

from og_ros.errors import EvidenceError
from og_ros.evidence import nsm_cbor
from og_ros.evidence.binding import Context, binding
from og_ros.evidence.interface import Evidence

DEVICE: Final = Path("/dev/nsm")
FORMAT: Final = "aws-nitro"
NSM_IOCTL_RAW: Final = 0xC0200A00  # _IOWR(0x0A, 0, struct nsm_raw)
_ANSWER_SIZE: Final = 0x3000


class Buffer(ctypes.Structure):
    """struct nsm_iovec: address and size of a buffer."""

    _fields_ = [("address", ctypes.c_uint64), ("size", ctypes.c_uint64)]


class Raw(ctypes.Structure):
    """struct nsm_raw: the request, and where the answer goes; the driver sets the answer's size."""

    _fields_ = [("request", Buffer), ("answer", Buffer)]


class NsmAttester:
    """Asks the Nitro Security Module for evidence; device and ioctl are injected by tests."""

    format: str = FORMAT

    def __init__(self, device: Path = DEVICE, ioctl: Callable[[int, int, Any], Any] = fcntl.ioctl) -> None:
        self._device, self._ioctl = device, ioctl

    def available(self) -> str:
        """Return why it cannot attest here; empty when it can."""
        return "" if self._device.exists() else f"there is no {self._device}: it needs an AWS Nitro enclave"

    def attest(self, key: bytes, nonce: bytes, context: Context) -> Evidence:
        """Get a document with the binding as user_data, the key as public_key and the nonce; see Attester.attest."""
        asked = {"user_data": binding(FORMAT, nonce, key, context), "nonce": nonce, "public_key": key}
        answer = nsm_cbor.read(self._call(cbor2.dumps({"Attestation": asked})))
        if isinstance(answer, dict) and isinstance(made := answer.get("Attestation"), dict):
            document = made.get("document")
            if isinstance(document, bytes) and document:
                return Evidence(FORMAT, document, key, nonce, context, time.time_ns())
        problem = answer.get("Error") if isinstance(answer, dict) else None
        shown = str(problem or "an answer that is not understood")[:80]
        raise EvidenceError(f"the Nitro Security Module refused: {shown}")

    def _call(self, request: bytes) -> bytes:
        asked = ctypes.create_string_buffer(request, len(request))
        answer = ctypes.create_string_buffer(_ANSWER_SIZE)
        raw = Raw(Buffer(ctypes.addressof(asked), len(request)), Buffer(ctypes.addressof(answer), _ANSWER_SIZE))
        try:
            descriptor = os.open(self._device, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._ioctl(descriptor, NSM_IOCTL_RAW, raw)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise EvidenceError(f"cannot ask the Nitro Security Module at {self._device}: {error.strerror}") from error
        if raw.answer.size > _ANSWER_SIZE:
            raise EvidenceError("the Nitro Security Module's answer is longer than its buffer")
        return answer.raw[: raw.answer.size]
