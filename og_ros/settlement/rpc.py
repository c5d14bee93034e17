"""Ethereum JSON-RPC over HTTP: one call, its answer checked; what is no answer is told from what is a refusal."""

from __future__ import annotations

import itertools
import re
from types import TracebackType
from typing import Any, Final

from og_ros.errors import BackendUnreachable, ConfigError, SettlementError

try:
    import httpx
except ImportError as error:
    raise ConfigError(f"settling on a chain needs og_ros[evm], which is not installed ({error})") from error

_QUANTITY: Final = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,63})", re.ASCII)
_DATA: Final = re.compile(r"0x([0-9a-fA-F]{2})*", re.ASCII)
MAX_ANSWER: Final = 64 * 2**20


class Refused(SettlementError):
    """The node understood and refused; `data` is what a contract said with its revert."""

    def __init__(self, message: str, data: bytes = b"") -> None:
        super().__init__(message)
        self.data = data


class Limited(BackendUnreachable):
    """The node will not do so much: too many requests, or more results than it gives at once."""


class Rpc:
    """A node at a URL. Methods raise BackendUnreachable when there is no sensible answer, Refused for an error."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        self.url = url
        try:
            self._client = httpx.Client(timeout=timeout_s, follow_redirects=False)
            self._host = httpx.URL(url).host
        except (httpx.InvalidURL, ValueError) as error:
            raise ConfigError(f"{url[:100]!a} is no URL of a node: {error}") from error
        self._ids = itertools.count(1)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Rpc:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, method: str, *parameters: Any) -> Any:
        """Call a method; its result, whatever JSON it is."""
        number = next(self._ids)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": list(parameters)}
        try:
            # The host is named, never the URL: an API key is often part of it.
            response = self._client.post(self.url, json=request)
            if len(response.content) > MAX_ANSWER:
                raise BackendUnreachable(f"node {self._host}: {method}: its answer is longer than {MAX_ANSWER} bytes")
            tree = response.json()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise BackendUnreachable(f"node {self._host}: {method}: does not answer: {reason}") from error
        except (ValueError, RecursionError) as error:
            status = response.status_code
            raise BackendUnreachable(f"node {self._host}: {method}: answers with status {status}, no JSON") from error
        if not isinstance(tree, dict) or tree.get("id") != number:
            raise BackendUnreachable(f"node {self._host}: {method}: the answer is to no question of ours")
        problem = tree.get("error")
        if isinstance(problem, dict):
            if problem.get("code") in (-32005, 429):  # too many requests, or results
                raise Limited(f"node {self._host}: {method}: {str(problem.get('message'))[:200]}")
            raise Refused(f"{method}: {str(problem.get('message'))[:300]}", _revert_data(problem.get("data")))
        if problem is not None or "result" not in tree:
            raise BackendUnreachable(f"node {self._host}: {method}: neither result nor error in the answer")
        return tree["result"]

    def number(self, method: str, *parameters: Any) -> int:
        """Call a method that gives a number."""
        return quantity(self.call(method, *parameters), method)

    def block(self, which: int | str) -> dict[str, Any] | None:
        """Return a block by number, tag or hash, without its transactions; None where there is none."""
        by_hash = isinstance(which, str) and which.startswith("0x")
        name = hex(which) if isinstance(which, int) else which
        found = self.call("eth_getBlockByHash" if by_hash else "eth_getBlockByNumber", name, False)
        if found is not None and not isinstance(found, dict):
            raise BackendUnreachable(f"node {self._host}: a block that is no object")
        return found

    def read(self, contract: str, data: bytes, at: str = "latest") -> bytes:
        """Call a contract without a transaction; what it returns."""
        return data_of(self.call("eth_call", {"to": contract, "data": f"0x{data.hex()}"}, at), "eth_call")


def quantity(value: Any, what: str) -> int:
    """Read a number as JSON-RPC has it; raises BackendUnreachable, naming `what`."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise BackendUnreachable(f"{what}: the node gives {str(value)[:60]!a}, which is no number")
    return int(value, 16)


def data_of(value: Any, what: str, size: int | None = None) -> bytes:
    """Read bytes as JSON-RPC has them; raises BackendUnreachable, naming `what`."""
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise BackendUnreachable(f"{what}: the node gives {str(value)[:60]!a}, which is no data in hex")
    data = bytes.fromhex(value[2:])
    if size is not None and len(data) != size:
        raise BackendUnreachable(f"{what}: the node gives {len(data)} bytes, not {size}")
    return data


def _revert_data(data: Any) -> bytes:
    return bytes.fromhex(data[2:]) if isinstance(data, str) and _DATA.fullmatch(data) else b""
