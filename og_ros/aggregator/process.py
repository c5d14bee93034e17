"""The aggregator as a process: the HTTP server, a thread that stores, a thread that settles."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from og_ros.aggregator.admission import Logs, Rates, read_tokens
from og_ros.aggregator.config import AggregatorConfig
from og_ros.aggregator.intake import Intake
from og_ros.aggregator.settling import Settling
from og_ros.aggregator.store import Store
from og_ros.errors import ConfigError, OgError, RegistryError
from og_ros.registry import Registry
from og_ros.registry.entry import INDEX_PATH
from og_ros.settlement.outbox import Outbox

if TYPE_CHECKING:
    from og_ros.aggregator.service import Desk

POLL_S: Final = 0.5
REGISTRY_ROUNDS: Final = 20
_MAX_READERS: Final = 200_000


def serve(config: AggregatorConfig, tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr)) -> None:
    """Run until SIGINT or SIGTERM; raises OgError where it cannot start."""
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
        if section.tls_certificate is not None and section.tls_key is not None:
            files = {"ssl_certfile": section.tls_certificate, "ssl_keyfile": section.tls_key}
            options = {name: str(config.path(path)) for name, path in files.items()}
        # h11: it bounds headers, which uvicorn's faster parser does not.
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(desk), http="h11", h11_max_incomplete_event_size=16_384, log_level="warning", access_log=False,
                lifespan="off", timeout_keep_alive=75, proxy_headers=False, server_header=False, **options,
            )
        )  # fmt: skip
        listening = stack.enter_context(closing(_listen(section.host, section.port)))
        stop = threading.Event()
        thread = threading.Thread(target=_settle, args=(settling, watch, desk, stop, tell), name="settling")
        thread.start()
        try:
            port = listening.getsockname()[1]
            tell(f"fleet {config.fleet}: log {store.vkey}, {store.size} checkpoints; listens on {section.host}:{port}")
            if threading.current_thread() is threading.main_thread():
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, lambda *_: None)  # uvicorn raises its signal again after it has ended
            server.run(sockets=[listening])
        finally:
            stop.set()
            thread.join()


def _settle(
    settling: Settling, watch: RegistryWatch, desk: Desk, stop: threading.Event, tell: Callable[[str], None]
) -> None:
    rounds = 0
    problem = ""
    while not stop.wait(POLL_S):
        settling.step()
        rounds += 1
        if rounds % REGISTRY_ROUNDS == 0:
            try:
                desk.logs = watch.refreshed()
                problem = ""
            except OgError as error:
                if str(error) != problem:
                    tell(f"{error}; going on with the registry as it was")
                problem = str(error)


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
        self._number, self._index = registry.number, b""
        self.logs = Logs(registry)

    def refreshed(self) -> Logs:
        """Return the logs as the registry has them now; raises RegistryError, also for a state older than the last."""
        try:
            index = (self._directory / INDEX_PATH).read_bytes()
        except OSError as error:
            raise RegistryError(f"{self._directory}: cannot be read: {error.strerror}") from error
        if index != self._index:
            registry = Registry.open(self._directory, pinned_root=self._root, minimum_number=self._number)
            self._number, self._index = registry.number, index
            self.logs = Logs(registry)
        return self.logs
