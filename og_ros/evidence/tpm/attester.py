"""Attester of `tpm2-quote`: quotes the launch that this process was started by, for its own key."""

from __future__ import annotations

import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Final

from og_ros.errors import EvidenceError
from og_ros.evidence.binding import Context, binding
from og_ros.evidence.interface import Evidence
from og_ros.evidence.tpm import document, enrolment, event_log
from og_ros.evidence.tpm.device import Tpm
from og_ros.evidence.tpm.document import FORMAT, Document
from og_ros.evidence.tpm.launch import Launch, read_launch, read_manifest
from og_ros.evidence.tpm.quote import digest_of, parse_quote

VARIABLE: Final = "OG_ROS_LAUNCH"
"""Environment variable that names the directory of the measured launch; `og-ros launch-measured` sets it."""

_TRIES: Final = 5


class TpmQuoteAttester:
    """Makes a quote for a key that the launch in a directory measured; by default the directory of OG_ROS_LAUNCH."""

    format: str = FORMAT

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)

    def available(self) -> str:
        """Return why it cannot attest here; empty when it can."""
        if self._directory is None:
            return f"{VARIABLE} is not set: this process was not started by og-ros launch-measured"
        try:
            with Tpm(read_launch(self._directory).settings.tcti):
                return ""
        except EvidenceError as error:
            return str(error)

    def attest(self, key: bytes, nonce: bytes, context: Context) -> Evidence:
        """Quote for a key (SPKI, DER); a context without a manifest gets that of the launch.

        Raises EvidenceError: no launch, another manifest, PCR 14 extended since, or what the TPM answered.
        """
        if self._directory is None:
            raise EvidenceError(self.available())
        launch = read_launch(self._directory)
        measured = launch.manifest_of(context.stage)
        if context.manifest not in (bytes(32), measured):
            raise EvidenceError("the context names another manifest than the one that was launched")
        context = Context(context.robot, context.stage, measured)
        if event_log.Event(event_log.KEY, context.robot, context.stage, sha256(key).digest()) not in launch.log:
            raise EvidenceError("the launch measured another key than this, or for another robot: no quote would hold")
        enrolled = launch.settings.enrolment
        record, certificates = enrolment.read_file(enrolled) if enrolled else (b"", ())
        found = _quoted(launch, binding(FORMAT, nonce, key, context))
        made = Document(
            quote=found[0],
            signature=found[1],
            key=found[2],
            pcrs=found[3],
            log_start=launch.log_start,
            log=launch.log,
            enrolment=record,
            certificates=certificates,
            manifest=read_manifest(self._directory, context.stage),
        )
        return Evidence(FORMAT, document.encode(made), key, nonce, context, time.time_ns())


def _quoted(launch: Launch, qualifying: bytes) -> tuple[bytes, bytes, bytes, dict[int, bytes]]:
    """Return quote, signature, key and the values that were quoted; PCRs may change between being read and quoted."""
    pcrs = sorted({*launch.settings.pcrs, event_log.PCR})
    with Tpm(launch.settings.tcti) as tpm:
        for _ in range(_TRIES):
            values = tpm.read_pcrs(pcrs)
            if values[event_log.PCR] != event_log.replay(launch.log, launch.log_start):
                raise EvidenceError("PCR 14 is not what the launch left: it was extended since; restart the machine")
            quote, signature, key = tpm.quote(pcrs, qualifying, launch.settings.key_type)
            if digest_of(pcrs, values) == parse_quote(quote).pcr_digest:
                return quote, signature, key, values
    raise EvidenceError(f"the PCRs changed each of {_TRIES} times between being read and being quoted")
