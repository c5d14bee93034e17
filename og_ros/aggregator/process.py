"""The aggregator as a process: it settles; one thread serves HTTP, one stores what comes."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

from og_ros.aggregator.admission import Logs, Rates, read_tokens
from og_ros.aggregator.config import AggregatorConfig
from og_ros.aggregator.intake import Intake
from og_ros.aggregator.settling import Settling
from og_ros.aggregator.store import Store
from og_ros.errors import ConfigError, OgError, SettlementError
from og_ros.registry import Registry
from og_ros.registry.entry import INDEX_PATH
from og_ros.settlement.outbox import Outbox

POLL_S: Final = 0.5
REGISTRY_ROUNDS: Final = 20
_MAX_READERS: Final = 200_000


def serve(config: AggregatorConfig, tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr)) -> None:
    """Run until SIGINT or SIGTERM, in the main thread; raises OgError where it cannot start."""
    try:
        import uvicorn

        from og_ros.aggregator.service import Desk, make_app
    except ImportError as error:
        raise ConfigError(f"the aggregator needs og_ros[aggregator], which is not installed ({error})") from error
    section = config.section
    watch = RegistryWatch(config.path(section.registry), section.registry_root)
    tokens = read_tokens(config.path(section.tokens)) if section.tokens is not None else None
    with ExitStack() as stack:
        database = stack.enter_context(closing(config.database()))
        store = Store(database, config.fleet, section.origin, config.signing_key())
        outbox = stack.enter_context(closing(Outbox(config.settlement.state)))
        backends = [stack.enter_context(closing(one)) for one in config.settlement.backends(store.opened)]
        settling = Settling(store, outbox, backends, config.settlement.due, tell)
        intake = stack.enter_context(closing(Intake(store, section.waiting, tell)))
        desk = Desk(
            store, intake, watch.logs, tokens,
            checkpoints=Rates(section.checkpoints_per_minute, section.burst, _MAX_READERS),
            reads=Rates(section.reads_per_minute, max(10, int(section.reads_per_minute / 4)), _MAX_READERS),
            peers=Rates(section.failures_per_minute, max(10, int(section.failures_per_minute * 2))),
        )  # fmt: skip
        options: dict[str, Any] = {}
        if section.tls_cert is not None and section.tls_key is not None:
            files = {"ssl_certfile": section.tls_cert, "ssl_keyfile": section.tls_key}
            options = {name: str(config.path(path)) for name, path in files.items()}
        # h11: it bounds headers, which uvicorn's faster parser does not.
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(desk), http="h11", h11_max_incomplete_event_size=16_384, log_level="warning", access_log=False,
                lifespan="off", timeout_keep_alive=75, timeout_graceful_shutdown=15, proxy_headers=False,
                server_header=False, **options,
            )
        )  # fmt: skip
        try:
            server.config.load()
        except OSError as error:  # SSLError is one
            raise ConfigError(f"tls_cert or tls_key: {error}") from error
        listening = stack.enter_context(closing(_listen(section.host, section.port)))
        thread = threading.Thread(target=server.run, args=([listening],), name="http")
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        thread.start()
        try:
            port = listening.getsockname()[1]
            tell(f"fleet {config.fleet}: log {store.vkey}, {store.size} checkpoints; listens on {section.host}:{port}")
            rounds = 0
            while not stopped.wait(POLL_S) and thread.is_alive():
                settling.step()
                rounds += 1
                if rounds % REGISTRY_ROUNDS == 0:
                    desk.logs = watch.refreshed(tell)
        finally:
            server.should_exit = True
            thread.join()
        if not stopped.is_set():
            raise SettlementError("the HTTP server ended by itself")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error}") from error


class RegistryWatch:
    """A registry's logs, read again when its index changed."""

    def __init__(self, directory: Path, root: str | None) -> None:
        self._directory, self._root = directory, root
        registry = Registry.open(directory, pinned_root=root)
        self._number, self._index, self._problem = registry.number, b"", ""
        self.logs = Logs(registry.keys.values())

    def refreshed(self, tell: Callable[[str], None]) -> Logs:
        """Return the logs as the registry has them now; where it cannot be read, or is older, as they were."""
        try:
            index = (self._directory / INDEX_PATH).read_bytes()
            if index != self._index:
                registry = Registry.open(self._directory, pinned_root=self._root, minimum_number=self._number)
                self._number, self._index = registry.number, index
                self.logs = Logs(registry.keys.values())
            self._problem = ""
        except (OgError, OSError) as error:
            if str(error) != self._problem:
                tell(f"{error}; going on with the registry as it was")
            self._problem = str(error)
        return self.logs
