"""Who may hand in a checkpoint: the key that a registry certifies for the log, a token, and how often."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from og_ros.aggregator.store import Arrival
from og_ros.errors import ConfigError, LogError
from og_ros.log import VerifierKey, parse_note
from og_ros.log.checkpoint import parse_checkpoint
from og_ros.log.note import check_key_name
from og_ros.registry import Status
from og_ros.registry.certificate import KeyCertificate

MAX_NOTE: Final = 32_768
_MAX_PEERS: Final = 10_000
_MAX_TOKENS: Final = 1_000_000


class Refusal(Exception):
    """What is told to who asked: an HTTP status, one line, and after how many seconds another try may do."""

    def __init__(self, status: int, text: str, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.status, self.text, self.retry_after_s = status, text, retry_after_s


@dataclass
class _Bucket:
    tokens: float
    at: float


class Rates:
    """Token buckets by name, of which the least used are forgotten: `per_minute` on the average, `burst` at once."""

    def __init__(
        self, per_minute: float, burst: int, names: int = _MAX_PEERS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._names, self._clock = per_minute / 60, burst, names, clock
        self._buckets: OrderedDict[bytes | str, _Bucket] = OrderedDict()

    def wait_s(self, name: bytes | str) -> float:
        """Return how long a name has to wait; 0 when it has not. Takes nothing."""
        bucket = self._bucket(name)
        return 0.0 if bucket.tokens >= 1 else (1 - bucket.tokens) / self._rate

    def take(self, name: bytes | str) -> float:
        """Take one, if there is one; return how long to wait when there is none, else 0."""
        wait = self.wait_s(name)
        if not wait:
            self._buckets[name].tokens -= 1
        return wait

    def _bucket(self, name: bytes | str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(self._burst, now)
            if len(self._buckets) > self._names:
                self._buckets.popitem(last=False)
        else:
            bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
            bucket.at = now
            self._buckets.move_to_end(name)
        return bucket


class Logs:
    """The logs whose keys are certified (role `log`), by origin."""

    def __init__(self, certificates: Iterable[KeyCertificate]) -> None:
        self._keys: dict[str, list[tuple[VerifierKey, KeyCertificate]]] = {}
        for certificate in certificates:
            if certificate.role == "log" and isinstance(certificate.public_key, Ed25519PublicKey):
                key = VerifierKey.of(certificate.origin, certificate.public_key)
                self._keys.setdefault(certificate.origin, []).append((key, certificate))

        self._ids = {log_id(origin) for origin in self._keys}

    def knows(self, log: bytes) -> bool:
        """Say whether a log, by its id, is registered."""
        return log in self._ids

    def open(self, raw: bytes, now_ns: int) -> tuple[str, Arrival]:
        """Check a note; its origin, and what it says. Raises Refusal: 400 for no checkpoint, 403 for one that fails."""
        try:
            signed = parse_note(raw)
            checkpoint = parse_checkpoint(signed.text)
        except LogError as error:
            raise Refusal(400, str(error)) from None
        origin = checkpoint.origin
        given = {signature.key_id for signature in signed.signatures if signature.name == origin}
        found = [pair for pair in self._keys.get(origin, ()) if pair[0].key_id in given]
        if not found:
            raise Refusal(403, f"no key that is registered for a log {origin[:80]!a} signed this checkpoint")
        key, certificate = found[0]
        try:
            signed.verify(key)
        except LogError as error:
            raise Refusal(403, str(error)) from None
        status = certificate.status(now_ns)
        if status is not Status.VALID:
            raise Refusal(403, f"the key of the log {origin[:80]!a} is {status.value}")
        if checkpoint.size == 0:
            raise Refusal(400, "a checkpoint of an empty log settles nothing")
        text = signed.text.encode()
        return origin, Arrival(sha256(text).digest(), log_id(origin), checkpoint.size, checkpoint.root, raw)


def log_id(origin: str) -> bytes:
    """Return what the protocol calls a log: SHA-256 of its origin."""
    return sha256(origin.encode()).digest()


def read_tokens(path: Path) -> Mapping[bytes, bytes]:
    """Read a file of lines `ORIGIN sha256:HEX`: SHA-256 of each log's token, by log. Raises ConfigError."""
    tokens: dict[bytes, bytes] = {}
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                origin, _, text = line.strip().rpartition(" ")
                if not line.strip():
                    continue
                digest = text.removeprefix("sha256:")
                if not origin or len(text) != 71 or len(tokens) >= _MAX_TOKENS:
                    raise ConfigError(f"{path}:{number}: is not ORIGIN sha256:HEX")
                try:
                    tokens[log_id(origin)] = bytes.fromhex(digest)
                except ValueError:
                    raise ConfigError(f"{path}:{number}: is not ORIGIN sha256:HEX") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return tokens


def add_token(path: Path, origin: str) -> str:
    """Make a token for a log and add its SHA-256 to the file of tokens, in the place of an older one; the token."""
    token = secrets.token_urlsafe(32)
    check_key_name(origin)
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if line.strip().rpartition(" ")[0] != origin]
        partial = path.with_name(f"{path.name}.new")
        partial.write_text("".join(f"{line}\n" for line in (*kept, f"{origin} sha256:{_digest(token).hex()}")), "utf-8")
        partial.replace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot write {path}: {error}") from error
    return token


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def check_token(tokens: Mapping[bytes, bytes] | None, log: bytes, authorization: str) -> None:
    """Check the bearer token of who speaks for a log, where tokens are asked for; raises Refusal 401."""
    if tokens is None:
        return
    kind, _, token = authorization.partition(" ")
    known = tokens.get(log, bytes(32))
    given = _digest(token.strip())
    if kind.lower() != "bearer" or not hmac.compare_digest(known, given) or log not in tokens:
        raise Refusal(401, "the log's bearer token is missing, or another")
