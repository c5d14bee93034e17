"""HTTP to a server that is not trusted: bounded, timed, verified TLS, no redirects; errors say who is to blame."""

from __future__ import annotations

import ipaddress
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from og_ros.errors import BackendUnreachable, ConfigError, RegistryError, SettlementError
from og_ros.registry import strict_json

try:
    import httpx
except ImportError as error:
    raise ConfigError(f"settling over HTTP needs og_ros[http], which is not installed ({error})") from error

MAX_ANSWER: Final = 2**20
LONGEST_WAIT_S: Final = 3600.0
_TOKEN: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: status, headers (names in lower case), body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, what: str) -> dict[str, Any]:
        """Return the body, a JSON object; raises BackendUnreachable where it is none."""
        try:
            tree = strict_json.loads(self.body, what, len(self.body))
        except RegistryError as error:
            raise BackendUnreachable(f"{what}: answers with status {self.status}, no JSON") from error
        if not isinstance(tree, dict):
            raise BackendUnreachable(f"{what}: answers with JSON that is no object")
        return tree


class HttpClient:
    """A server at a URL. `what` names it in errors, which never show the URL: a token is often part of it.

    `http:` is taken for this machine only, since neither token nor payment may travel in the clear. `ca` is a file of
    certificates (PEM) to trust instead of the system's. Threads may share it.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        ca: Path | None = None,
        timeout_s: float = 10.0,
        max_answer: int = MAX_ANSWER,
    ) -> None:
        try:
            self._base = httpx.URL(url.rstrip("/"))
            context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
        except (httpx.InvalidURL, ValueError) as error:
            raise ConfigError(f"{url[:100]!a} is no URL: {error}") from error
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cannot read certificates from {ca}: {error}") from error
        if self._base.scheme not in ("http", "https") or not self._base.host or self._base.query:
            raise ConfigError(f"{url[:100]!a} is no URL of a server: https, a host, and no query")
        if self._base.scheme == "http" and not _is_loopback(self._base.host):
            raise ConfigError(f"{self._base.host}: must be asked over https; http is for this machine only")
        if token and not _TOKEN.fullmatch(token):
            raise ConfigError(f"{self._base.host}: its token has a space or another character that no token has")
        self.what = self._base.host
        self._max = max_answer
        headers = {"Accept-Encoding": "identity", "User-Agent": "og_ros"}  # what is bounded is what travels
        if token:
            headers["Authorization"] = f"Bearer {token}"
        # No proxy or netrc from the environment: this client goes where its configuration says.
        self._client = httpx.Client(
            verify=context, timeout=timeout_s, follow_redirects=False, headers=headers, trust_env=False
        )
        self._deadline_s = 3 * timeout_s
        self._wait_until = 0.0

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask; raises BackendUnreachable where there is no answer, it is too long, it is 429 or 5xx, or still to be
        waited for after a 429; SettlementError for a redirect.
        """
        if (left := self._wait_until - time.monotonic()) > 0:
            raise BackendUnreachable(f"{self.what}: asked to be left alone for {left:.0f} s more")
        end = time.monotonic() + self._deadline_s
        url = f"{self._base}{path}"
        data = bytearray()
        try:
            with self._client.stream(method, url, content=body, headers=dict(headers or {})) as response:
                for chunk in response.iter_raw():
                    data += chunk
                    if len(data) > self._max:
                        raise BackendUnreachable(f"{self.what}: its answer is longer than {self._max} bytes")
                    if time.monotonic() > end:  # a byte a second keeps every read within its own timeout
                        raise BackendUnreachable(f"{self.what}: its answer takes longer than {self._deadline_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise BackendUnreachable(f"{self.what}: does not answer: {str(error) or type(error).__name__}") from error
        answer = Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(data))
        if answer.status == 429:
            pause = _retry_after(answer.headers.get("retry-after", ""))
            self._wait_until = time.monotonic() + pause
            raise BackendUnreachable(f"{self.what}: too many requests; asks to wait {pause:.0f} s")
        if answer.status >= 500:
            raise BackendUnreachable(f"{self.what}: answers with status {answer.status}{reason(answer)}")
        if 300 <= answer.status < 400:
            raise SettlementError(f"{self.what}: sends elsewhere (status {answer.status}); redirects are not followed")
        return answer


def reason(answer: Answer) -> str:
    """Return what a refusal gives as its reason, made safe for a line of a terminal; empty where it gives none."""
    try:
        tree = strict_json.loads(answer.body, "a refusal", MAX_ANSWER)
    except RegistryError:
        return ""
    text = tree.get("error") if isinstance(tree, dict) else None
    return f": {printable(text)}" if isinstance(text, str) and text else ""


def printable(text: str) -> str:
    """Return a stranger's text as one short line without control characters."""
    return "".join(c if c.isprintable() else " " for c in text[:200]).strip()


def _retry_after(text: str) -> float:
    """Seconds of a Retry-After header, at most an hour; a date, or nonsense, counts as a second."""
    return min(float(text), LONGEST_WAIT_S) if text.isascii() and text.isdigit() and len(text) < 10 else 1.0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
