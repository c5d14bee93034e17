"""The live page's server: who may ask, what it answers, and that no client can hold it up or fill its memory."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator

import pytest

from og_ros.errors import ConfigError
from og_ros.watch.broadcast import MAX_LISTENERS, QUEUE_EVENTS
from og_ros.watch.live_state import LiveState
from og_ros.watch.server import MAX_CONNECTIONS, LiveServer, host_of

VERDICT = {"state": "open", "mode": "enforce", "accepted": True}


@pytest.fixture
def state() -> LiveState:
    return LiveState({"software": "test", "auditor": "/auditor"})


@pytest.fixture
def server(state: LiveState) -> Iterator[LiveServer]:
    running = LiveServer(state.broadcast, {"index.dsse.json": b"{}"}, names=["robot7.lan:8765"])
    yield running
    running.close()


def ask(server: LiveServer, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.split(":")[2].rstrip("/")), timeout=20)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return connection.getresponse()


def events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, dict[str, object]]]:
    name = ""
    for line in answer:
        if line.startswith(b"event: "):
            name = line[7:].decode().strip()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])


def test_the_page_may_load_nothing_and_nobody_may_frame_it(server: LiveServer) -> None:
    answer = ask(server, "/")
    body = answer.read().decode()
    policy = answer.headers["Content-Security-Policy"]
    assert answer.status == 200
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http://" not in body.replace("http://www.w3.org/2000/svg", "")
    assert " style=" not in body
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::2]:80"])
@pytest.mark.parametrize("path", ["/", "/events", "/registry.json"])
def test_a_name_that_is_not_its_own_is_refused(server: LiveServer, host: str, path: str) -> None:
    assert ask(server, path, Host=host).status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8765", "robot7.lan"])
def test_its_own_names_are_served(server: LiveServer, host: str) -> None:
    assert ask(server, "/registry.json", Host=host).read() == b'{"index.dsse.json": "e30="}'


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_it_only_reads(server: LiveServer, method: str) -> None:
    assert ask(server, "/", method).status == 501


@pytest.mark.parametrize("path", ["/../etc/passwd", "/registry.json/x", "/EVENTS", "/%2e%2e"])
def test_there_is_nothing_else(server: LiveServer, path: str) -> None:
    assert ask(server, path).status == 404


def test_another_site_may_not_listen(server: LiveServer) -> None:
    assert ask(server, "/events", Sec_Fetch_Site="cross-site").status == 403
    assert ask(server, "/events", Sec_Fetch_Site="same-site").status == 403


def test_a_listener_gets_the_present_state_and_then_what_changes(server: LiveServer, state: LiveState) -> None:
    state.status({"state": "holds"})
    state.finding({"kind": "first"})
    stream = events(ask(server, "/events", Sec_Fetch_Site="same-origin"))
    assert [next(stream)[0] for _ in range(4)] == ["begin", "about", "status", "finding"]
    state.finding({"kind": "second"})
    assert next(stream) == ("finding", {"kind": "second", "number": 2})
    state.finding({"kind": "second"})  # the same again
    state.status({"state": "violated", "recent": [{"kind": "second"}, {"kind": "missed"}, {"kind": "first"}]})
    assert next(stream) == ("finding", {"kind": "missed", "number": 3})
    assert next(stream)[0] == "status"
    state.verdict({**VERDICT, "accepted": False})
    assert {next(stream)[0], next(stream)[0]} == {"refusal", "gate"}


def test_listeners_are_few(server: LiveServer, state: LiveState) -> None:
    streams = [ask(server, "/events") for _ in range(MAX_LISTENERS)]
    assert all(next(events(stream))[0] == "begin" for stream in streams)
    assert ask(server, "/events").status == 503
    assert ask(server, "/").status == 200  # the page is still to be had
    for stream in streams:
        stream.close()


def test_a_listener_that_does_not_read_holds_up_nobody(server: LiveServer, state: LiveState) -> None:
    port = int(server.url.split(":")[2].rstrip("/"))
    with socket.create_connection(("127.0.0.1", port)) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        deadline = time.monotonic() + 20
        while state.broadcast.count == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert state.broadcast.count == 1
        big = "x" * 10_000
        for number in range(20 * QUEUE_EVENTS):
            state.finding({"kind": str(number), "message": big})
        other = events(ask(server, "/events"))
        seen = [next(other) for _ in range(202)]  # begin, about and the findings that are kept
        assert seen[-1][1]["kind"] == str(20 * QUEUE_EVENTS - 1)


def test_connections_are_bounded(server: LiveServer) -> None:
    port = int(server.url.split(":")[2].rstrip("/"))
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(MAX_CONNECTIONS)]
    try:
        def refused() -> bool:
            try:
                ask(server, "/")
            except (http.client.HTTPException, ConnectionError):
                return True
            return False

        deadline = time.monotonic() + 9  # before the silent ones are dropped
        assert any(refused() for _ in iter(lambda: time.monotonic() < deadline, False))
    finally:
        for connection in silent:
            connection.close()


def test_an_address_that_is_taken_is_one_clear_error(server: LiveServer, state: LiveState) -> None:
    port = int(server.url.split(":")[2].rstrip("/"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot serve on 127.0.0.1 port {port}"):
            LiveServer(state.broadcast, {}, port=port)


def test_hosts_are_read_without_their_ports() -> None:
    assert host_of("Robot7.LAN:80") == "robot7.lan"
    assert host_of("[::1]:80") == host_of("[::1]") == "[::1]"
