"""Measures the audit of a recording: against its floor, on two processes against one, and its peak memory.

The floor is what no audit can do without: reading each message raw, SHA-256 of each attested message, and one
signature verification for each attestation, over bytes that were prepared before; in a bare loop.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from rosbags.rosbag2 import Reader
from scenario import MS, Run, honest_run, honest_ticks

from og_ros.attest import ATTESTATION_TYPE, decode_attestation
from og_ros.audit.run import audit_bag
from og_ros.registry import Registry

Figures = tuple[float, float, float]
Measure = Callable[..., Figures]
IMAGE_BYTES: Final = 640 * 480 * 3
_ES256: Final = ec.ECDSA(hashes.SHA256())


@dataclass
class Recording:
    """A recording of honest decisions at 20 Hz: three sensors, three stages."""

    directory: Path

    @classmethod
    def make(cls, directory: Path, ticks: int, image: bytes = b"") -> Recording:
        """Write one, message by message; `image` is the content of each camera message."""
        run: Run = honest_run(0)
        run.write_registry(directory / "registry")
        began = time.time_ns() - ticks * 50 * MS
        run.write_bag(directory / "bag", records=honest_ticks(run, ticks, began, 1 << 32, image=image))
        return cls(directory)

    @property
    def bag(self) -> Path:
        """The recording itself."""
        return self.directory / "bag"

    @property
    def registry(self) -> Registry:
        """What certifies its keys and models."""
        return Registry.open(self.directory / "registry")

    def audit(self, jobs: int = 1) -> None:
        """Audit it."""
        report = audit_bag(self.bag, self.registry, jobs=jobs).as_json()
        assert report["holds"], report["findings"][:3]

    def raw(self) -> Iterator[tuple[bool, bytes]]:
        """Yield each message raw, and whether it is an attestation."""
        with Reader(self.bag) as reader:
            for connection, _, data in reader.messages():
                yield connection.msgtype == ATTESTATION_TYPE, data

    def floor(self) -> Callable[[], None]:
        """Return the bare loop."""
        public = {identity: certificate.public_key for identity, certificate in self.registry.keys.items()}
        prepared: list[Callable[[], None]] = []
        for is_attestation, data in self.raw():
            if is_attestation:
                prepared.append(_check(public, data))

        def loop() -> None:
            checks = iter(prepared)
            for is_attestation, data in self.raw():
                if is_attestation:
                    next(checks)()
                else:
                    hashlib.sha256(data).digest()

        return loop


def _check(public: dict[bytes, Any], data: bytes) -> Callable[[], None]:
    attestation = decode_attestation(data)
    key, message, signature = public[attestation.statement.key_id], attestation.signed_bytes, attestation.signature
    if isinstance(key, ed25519.Ed25519PublicKey):
        return lambda: key.verify(signature, message)
    encoded = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    return lambda: key.verify(encoded, message, _ES256)


def audits(directory: Path, measure: Measure) -> dict[str, Figures]:
    """Return seconds of the floor and of the audit, and their ratio, of small messages and of images."""
    small = Recording.make(directory / "small", 4000)
    images = Recording.make(directory / "images", 1200, os.urandom(IMAGE_BYTES))
    # Two processes take a moment to start: these recordings are long enough for it not to be what is measured.
    long_small = Recording.make(directory / "long_small", 16_000)
    long_images = Recording.make(directory / "long_images", 3600, os.urandom(IMAGE_BYTES))
    small.audit(jobs=2)  # starts the server of worker processes
    return {
        "audit, small messages (floor: read + hash + verify)": measure(small.floor(), small.audit, 3),
        "audit, 640x480 images (floor: read + hash + verify)": measure(images.floor(), images.audit, 3),
        "audit on two processes, small messages (floor: one)": measure(
            long_small.audit, lambda: long_small.audit(2), 3
        ),
        "audit on two processes, images (floor: one)": measure(long_images.audit, lambda: long_images.audit(2), 3),
        "two bare loops side by side, half the work each (floor: one)": measure(
            lambda: _loops(1, 200), lambda: _loops(2, 100), 3
        ),
    }


def _loops(processes: int, rounds: int) -> None:
    """Hash and count in processes that share nothing: what a second core is worth on this machine, at this time."""
    program = (
        f"import hashlib\nfor _ in range({rounds}):\n    hashlib.sha256(bytes(4_000_000)).digest()\n"
        "    for _ in range(100_000): pass\n"
    )
    for process in [subprocess.Popen([sys.executable, "-c", program]) for _ in range(processes)]:
        process.wait()


def peak_memory(directory: Path, gigabytes: float) -> tuple[float, float]:
    """Audit a recording of so many gigabytes in a process of its own; returns its size and peak memory in MB."""
    ticks = round(gigabytes * 1e9 / IMAGE_BYTES)
    recording = Recording.make(directory / "large", ticks, os.urandom(IMAGE_BYTES))
    program = (
        "import resource, sys; from pathlib import Path; from og_ros.audit.run import audit_bag; "
        "from og_ros.registry import Registry; "
        "assert audit_bag(Path(sys.argv[1]), Registry.open(Path(sys.argv[2]))).as_json()['holds']; "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    arguments = [sys.executable, "-c", program, str(recording.bag), str(recording.directory / "registry")]
    peak = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    size = sum(file.stat().st_size for file in recording.bag.iterdir())
    return size / 1e6, int(peak) / 1e3
