"""What sealing costs: a recording of images and of small messages, sealed against the same in clear."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from og_ros.attest import keys
from og_ros.attest.sealing import Sealer
from og_ros.audit.recording.unsealing import unseal
from og_ros.nodes.interface_definition import interface_definition
from og_ros.nodes.recording import RecordedTopic, Recording
from og_ros.nodes.recording_seal import RecordingSeal

Measure = Callable[..., tuple[float, float, float]]
IMAGE = "sensor_msgs/msg/Image"


def record_sealed(directory: Path, measure: Measure) -> dict[str, tuple[float, float, float]]:
    """Recordings sealed against recordings in clear, and unsealing against recording; seconds and ratio."""
    private = keys.generate()
    images = [b"\0\1\0\0" + os.urandom(921_600 + 64) for _ in range(20)] * 10
    small = [b"\0\1\0\0" + os.urandom(96) for _ in range(20_000)]

    def record(payloads: list[bytes], sealed: bool) -> None:
        seal = RecordingSeal(Sealer([private.public_key()])) if sealed else None  # type: ignore[list-item]
        path = directory / ("sealed" if sealed else "clear")
        shutil.rmtree(path, ignore_errors=True)
        definition = interface_definition(IMAGE)
        recording = Recording(path, seal=seal, max_bytes=2**30)
        recording.set_topic(RecordedTopic("/image", IMAGE, definition.text, definition.type_hash, (), True))
        for payload in payloads:
            assert recording.write("/image", time.time_ns(), payload)
        recording.close()

    def open_again() -> None:
        shutil.rmtree(directory / "open", ignore_errors=True)
        assert unseal(directory / "sealed", directory / "open", private).holds  # type: ignore[arg-type]

    found: dict[str, Any] = {}
    for name, payloads in (("200 images 640x480", images), ("20,000 messages of 100 bytes", small)):
        found[f"record sealed, {name} (floor: in clear)"] = measure(
            lambda p=payloads: record(p, False), lambda p=payloads: record(p, True), 3
        )
    record(images, True)
    found["unseal, 200 images 640x480 (floor: record in clear)"] = measure(lambda: record(images, False), open_again, 3)
    return found
