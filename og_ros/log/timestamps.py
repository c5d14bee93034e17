"""RFC 3161 time stamps of checkpoints, in LEDGER/stamped: an outsider's word that a log existed no later than a time.

A stamp is over the bytes of a checkpoint's signed note, kept as SIZE.checkpoint with the answer as SIZE.tsr beside it,
so `openssl ts -verify -data SIZE.checkpoint -in SIZE.tsr -CAfile roots.pem` checks it too.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.errors import ConfigError, LogError
from og_ros.log.cosigned import SUFFIX, read_note, sized_files
from og_ros.log.rows import StoredCheckpoint
from og_ros.log.store import Ledger
from og_ros.log.tile_writer import sync_directory, write_durably
from og_ros.log.witness_client import post

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

DIRECTORY: Final = "stamped"
ANSWER: Final = ".tsr"
MAX_ANSWER: Final = 64_000
MAX_STAMPS: Final = 10_000
"""So many of the newest are read: one an hour for a year."""
_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_FIRST_PAUSE_S: Final = 10.0


def load_roots(path: Path) -> list[Certificate]:
    """Read the certificates (PEM) of time-stamping authorities; raises ConfigError."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read the time stamp roots {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} has no certificate in PEM: {error}") from error


def request_stamp(url: str, note: bytes, roots: Sequence[Certificate] = (), timeout_s: float = 20.0) -> bytes:
    """Have an authority stamp a note; its answer in DER, which is of these bytes and of this request.

    With roots the authority's signature is verified too. Raises LogError; WitnessUnreachable when it does not answer.
    """
    client = _client()
    request = client.TimestampRequestBuilder().data(note).hash_algorithm(client.HashAlgorithm.SHA256)
    request = request.nonce(nonce=True).cert_request(cert_request=True).build()
    status, kind, body = post(url, "", request.as_bytes(), "application/timestamp-query", timeout_s, MAX_ANSWER)
    if status != 200 or kind != "application/timestamp-reply":
        raise LogError(f"time stamp authority {url}: answers with status {status} and {kind or 'no type'}")
    answer = _decode(body)
    if answer.tst_info.nonce != request.nonce:
        raise LogError(f"time stamp authority {url}: its stamp is of another request")
    _check_imprint(answer, note)
    if roots:
        verify_stamp(note, body, roots)
    return body


def verify_stamp(note: bytes, response: bytes, roots: Sequence[Certificate]) -> tuple[int, str]:
    """Verify a stamp offline; the latest Unix time (ns) at which the note existed, and who says so.

    Certificates need to have been valid at that time, not now. Raises LogError.
    """
    client = _client()
    answer = _decode(response)
    _check_imprint(answer, note)
    try:
        _verify_chain(answer, note, list(dict.fromkeys(roots)))
        info = answer.tst_info
        accuracy = info.accuracy
        spread = datetime.timedelta(0)
        if accuracy is not None:
            spread = datetime.timedelta(
                seconds=accuracy.seconds or 0, milliseconds=accuracy.millis or 0, microseconds=accuracy.micros or 0
            )
        latest = info.gen_time + spread
        signer = next(iter(answer.signed_data.signer_infos))
        name = _signer_name(answer, signer.serial_number)
    except (client.VerificationError, ValueError, OverflowError, StopIteration) as error:
        raise LogError(f"time stamp does not hold: {' '.join(str(error).split())[:300]}") from error
    return int(latest.timestamp() * 10**6) * 1000, name


class Timestamps:
    """The stamps of one ledger. Only `add` makes the folder. Methods raise LogError."""

    def __init__(self, ledger: Path) -> None:
        self.folder = ledger / DIRECTORY

    def add(self, size: int, note: bytes, response: bytes) -> None:
        """Keep a stamp; one that is there for this size stays."""
        if not self.folder.is_dir():
            try:
                self.folder.mkdir()
                sync_directory(self.folder.parent)
            except OSError as error:
                raise LogError(f"{self.folder}: cannot be made: {error.strerror}") from error
        if not (self.folder / f"{size}{ANSWER}").exists():
            write_durably(self.folder / f"{size}{SUFFIX}", note)
            write_durably(self.folder / f"{size}{ANSWER}", response)

    def newest(self) -> int:
        """The largest size that is stamped; 0 before the first."""
        sizes = (size for size, file in reversed(sized_files(self.folder)) if file.with_suffix(ANSWER).exists())
        return next(sizes, 0)

    def all(self) -> Iterator[tuple[Path, bytes, bytes]]:
        """Yield each stamp: the file of its note, the note, the answer; smallest tree first. Nothing is verified."""
        for _, file in sized_files(self.folder, MAX_STAMPS):
            answer = file.with_suffix(ANSWER)
            if not answer.is_file():
                continue  # a crash came between the two
            try:
                with answer.open("rb") as stream:
                    data = stream.read(MAX_ANSWER + 1)
            except OSError as error:
                raise LogError(f"cannot read {answer}: {error.strerror}") from error
            yield file, read_note(file).encode(), data


class Stamper:
    """Has the newest checkpoint of a ledger stamped every so often, beside the auditor; used by one thread."""

    def __init__(
        self,
        ledger: Path,
        url: str,
        every_s: float,
        roots: Sequence[Certificate],
        tell: Callable[[str], None],
    ) -> None:
        """Raises ConfigError when time stamps cannot be made here."""
        _client()
        self._ledger, self._url, self._every_s, self._roots, self._tell = ledger, url, every_s, roots, tell
        self._kept = Timestamps(ledger)
        self._again_at = 0.0
        self._failures = 0
        self.problem = ""

    def step(self) -> None:
        """Stamp what is due now. Raises LogError for the disk and the ledger, not for the authority."""
        if time.monotonic() < self._again_at:
            return
        newest = self._newest()
        if newest is None or newest.size <= self._kept.newest():
            return
        note = newest.note.encode()
        try:
            response = request_stamp(self._url, note, self._roots)
        except LogError as error:
            if str(error) != self.problem:
                self._tell(f"{error}; trying on")
            pause = min(self._every_s, _FIRST_PAUSE_S * 2 ** min(self._failures, 16))
            self.problem, self._failures = str(error), self._failures + 1
            self._again_at = time.monotonic() + pause
            return
        self._kept.add(newest.size, note, response)
        self._tell(f"time stamp: {newest.size} leaves stamped by {self._url}")
        self.problem, self._failures, self._again_at = "", 0, time.monotonic() + self._every_s

    def is_behind(self) -> bool:
        """Whether the newest checkpoint has no stamp yet."""
        newest = self._newest()
        return newest is None or newest.size > self._kept.newest()

    def _newest(self) -> StoredCheckpoint | None:
        with Ledger.open(self._ledger) as ledger:
            return ledger.latest_checkpoint()


def _client() -> Any:
    """Import the library that reads and verifies stamps; raises ConfigError when it is missing."""
    try:
        import rfc3161_client
    except ImportError as error:
        raise ConfigError(f"time stamps need og_ros[timestamps], which is not installed ({error})") from error
    return rfc3161_client


def _decode(response: bytes) -> Any:
    if len(response) > MAX_ANSWER:
        raise LogError(f"time stamp is longer than {MAX_ANSWER} bytes")
    try:
        answer = _client().decode_timestamp_response(response)
        answer.tst_info  # noqa: B018  a refusal has none, and raises
    except (ValueError, TypeError) as error:
        raise LogError(f"time stamp cannot be read: {' '.join(str(error).split())[:200]}") from error
    return answer


def _verify_chain(answer: Any, note: bytes, roots: list[Certificate]) -> None:
    """Verify under all certificates together, then under each alone: two of one name hide each other in a store."""
    client = _client()
    for some in (roots, *([root] for root in roots if len(roots) > 1)):
        try:
            client.VerifierBuilder(roots=some).build().verify_message(answer, note)
            return
        except client.VerificationError as error:
            problem = error
    raise problem


def _check_imprint(answer: Any, note: bytes) -> None:
    """A stamp of something else is told from one whose signature is wrong."""
    from hashlib import sha256

    imprint = answer.tst_info.message_imprint
    if imprint.hash_algorithm.dotted_string != _SHA256 or imprint.message != sha256(note).digest():
        raise LogError("time stamp is not of this checkpoint")


def _signer_name(answer: Any, serial: int) -> str:
    from cryptography.x509 import load_der_x509_certificate

    for data in answer.signed_data.certificates:
        certificate = load_der_x509_certificate(data)
        if certificate.serial_number == serial:
            return certificate.subject.rfc4514_string()
    return "its authority"
