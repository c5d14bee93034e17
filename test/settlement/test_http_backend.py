"""The backend `http` against an endpoint: included, restarted, forked, rewound; and what a lying server gets."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from anvil import wait_for
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from endpoint_place import ENDPOINT_KEY, ORIGIN, VKEY, Place, endpoint
from self_signed import self_signed
from settler_run import Run

from og_ros.attest import keys
from og_ros.cli.main import main
from og_ros.errors import BackendUnreachable, ConfigError, SettlementError
from og_ros.log import EMPTY_ROOT, Ledger, VerifierKey, parse_note, sign_checkpoint, verify_proof
from og_ros.log.checkpoint import Checkpoint
from og_ros.settlement import config, endpoint_config
from og_ros.settlement.endpoint import INDEX, EndpointLog
from og_ros.settlement.http_backend import HttpBackend
from og_ros.settlement.http_client import HttpClient
from og_ros.settlement.log_receipt import LogReceipt, checkpoint_id
from og_ros.settlement.receipt_kinds import from_json

Grow = Callable[[int], None]
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = "example.com/robot-7"
LOGS = {LOG: VerifierKey.of(LOG, LOG_KEY)}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with endpoint(tmp_path / "endpoint", LOGS) as one:
        yield one


def note_of(size: int, root: bytes = b"r" * 32, key: Ed25519PrivateKey = LOG_KEY, origin: str = LOG) -> bytes:
    return sign_checkpoint(Checkpoint(origin, size, root), key).encode()


def post(place: Place, body: bytes) -> tuple[int, dict[str, Any]]:
    reply = place.desk.post(body, "")
    return reply.status, dict(reply.tree)


def test_a_checkpoint_is_included_and_its_receipt_holds_offline(
    place: Place, ledger: Ledger, grow: Grow, tmp_path: Path
) -> None:
    run = Run(ledger, tmp_path, [place.backend()])
    grow(5)
    run.settler.step()
    assert run.levels("http") == ["5 submitted"]
    place.log.publish()
    run.settler.step()
    assert run.levels("http") == ["5 final"]
    grow(4)
    run.settler.step()
    place.log.publish()
    run.settler.step()
    assert run.levels("http") == ["5 final", "9 final"]
    assert run.settler.unsettled() == []
    one = from_json(run.outbox.rows("http")[1].receipt, "r")
    assert isinstance(one, LogReceipt)
    assert (one.robots().size, one.endpoints().origin) == (9, ORIGIN)
    assert verify_proof(one.checkpoint.encode(), one.proof, VKEY).size == 2
    with pytest.raises(SettlementError, match="does not hold"):
        one.check(VerifierKey.of(ORIGIN, LOG_KEY))


def test_a_repeat_does_nothing_twice_and_a_restart_forgets_nothing(place: Place) -> None:
    first = note_of(5)
    assert post(place, first)[0] == 202
    assert post(place, first) == (202, {"id": checkpoint_id(first.decode()).hex(), "status": "submitted"})
    # More signatures make it no other checkpoint.
    cosigned = (
        parse_note(first).with_signature(parse_note(note_of(5, key=ENDPOINT_KEY)).signatures[0]).format().encode()
    )
    assert post(place, cosigned)[0] == 202
    place.stop()
    place.start()
    place.log.publish()
    assert post(place, first)[1]["status"] == "final"
    assert place.log._ledger.size == 1
    assert post(place, note_of(4))[0] == 409


@pytest.mark.parametrize("lost", ["entry", "file"])
def test_an_index_that_a_crash_left_behind_is_brought_up_to_the_log(place: Place, lost: str) -> None:
    for size in (3, 5):
        assert post(place, note_of(size))[0] == 202
    if lost == "entry":
        place.log._index.execute("DELETE FROM checkpoints WHERE size = 5")
    place.stop()
    if lost == "file":
        for file in place.folder.glob(f"{INDEX}*"):
            file.unlink()
    place.start()
    assert post(place, note_of(5))[0] == 202
    assert place.log._ledger.size == 2
    assert post(place, note_of(4))[0] == 409


REFUSED = {
    "fork": (note_of(5, b"f" * 32), 409),
    "rewind": (note_of(4), 409),
    "log-unknown": (note_of(9, origin="example.com/other"), 403),
    "signature-of-another-key": (note_of(9, key=ENDPOINT_KEY), 403),
    "signature-missing": (note_of(9).partition(b"\n\n")[0] + b"\n", 400),
    "empty-log": (sign_checkpoint(Checkpoint(LOG, 0, EMPTY_ROOT), LOG_KEY).encode(), 400),
    "no-note": (b"\xff\x00", 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_endpoint_refuses(place: Place, name: str) -> None:
    body, status = REFUSED[name]
    assert post(place, note_of(5))[0] == 202
    told = post(place, body)
    assert told[0] == status, told
    assert "\n" not in told[1]["error"]
    assert place.log._ledger.size == 1


def test_two_forks_at_once_leave_one(place: Place) -> None:
    statuses: list[int] = []
    bodies = [note_of(5, bytes([n]) * 32) for n in range(8)]
    threads = [threading.Thread(target=lambda b=b: statuses.append(post(place, b)[0])) for b in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(202) == 1
    assert set(statuses) <= {202, 409, 429}
    assert place.log._ledger.size == 1


def test_tokens_rates_and_bounds(tmp_path: Path) -> None:
    with endpoint(tmp_path, LOGS, token="secret", per_minute=2) as place:
        right = HttpClient(place.server.url, token="secret")
        with pytest.raises(ConfigError, match="no token has") as caught:
            HttpClient(place.server.url, token="secret\n")
        assert "secret" not in str(caught.value)
        for token in ("", "wrong", "secrets"):
            answer = HttpClient(place.server.url, token=token).request("POST", "/v1/checkpoints", note_of(1))
            assert answer.status == 401
        for size in (1, 2):
            assert right.request("POST", "/v1/checkpoints", note_of(size)).status == 202
        assert right.request("POST", "/v1/checkpoints", b"x" * 32_769).status == 413
        assert right.request("POST", "/v1/elsewhere", b"x").status == 404
        for path in (
            "/",
            "/v1/checkpoints/xyz",
            "/v1/checkpoints/" + "0" * 64,
            "/v1/logs/" + "g" * 64 + "/checkpoints",
        ):
            assert right.request("GET", path).status == 404
        assert place.desk.get("//[x").status == 404
        assert right.request("GET", f"/v1/logs/{'0' * 64}/checkpoints?above=-1").status == 400
        with pytest.raises(BackendUnreachable, match="too many requests"):
            right.request("POST", "/v1/checkpoints", note_of(3))
        with pytest.raises(BackendUnreachable, match="asked to be left alone"):
            right.request("GET", "/")
        assert HttpClient(place.server.url, token="secret").request("POST", "/v1/checkpoints", note_of(2)).status == 202


class Liar:
    """A server that answers as it is told: (status, headers, body) for the next requests, the last for all after."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[str] = []
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                liar.asked.append(f"{self.command} {self.path}")
                status, headers, body = liar.answers[0] if len(liar.answers) == 1 else liar.answers.pop(0)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def says(self, *answers: tuple[int, dict[str, str], Any]) -> None:
        self.answers = [(s, h, b if isinstance(b, bytes) else json.dumps(b).encode()) for s, h, b in answers]


@pytest.fixture
def liar() -> Iterator[Liar]:
    one = Liar()
    yield one
    one.close()


def said(run: Run, step: Callable[[], None]) -> str:
    step()
    return "\n".join(run.said)


def test_a_lying_endpoint_gets_nowhere(liar: Liar, place: Place, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    """Each answer ends in a line that says what is wrong, and no level rises."""
    grow(5)
    backend = HttpBackend("http", HttpClient(liar.url, timeout_s=2.0), VKEY, None, 1e-6)
    checkpoint = ledger.latest_checkpoint()
    assert checkpoint is not None
    attempt = backend.prepare(checkpoint, None)
    name = attempt.reference.hex()
    backend2 = place.backend()
    backend2.send(attempt)
    place.log.publish()
    good = place.desk.get(f"/v1/checkpoints/{name}").tree["receipt"]
    post(place, note_of(50))
    place.log.publish()
    other = place.desk.get(f"/v1/checkpoints/{checkpoint_id(note_of(50).decode()).hex()}").tree["receipt"]
    run = Run(ledger, tmp_path, [backend])
    item = run.outbox.add("http", checkpoint, attempt, 1)
    forged = {**good, "proof": good["proof"].replace("index 0", "index 1")}
    cases: list[tuple[Any, type[Exception], str]] = [
        ((302, {"Location": liar.url}, b""), SettlementError, "redirects are not followed"),
        ((500, {}, b""), BackendUnreachable, "status 500"),
        ((200, {}, b"x" * 2**21), BackendUnreachable, "longer than"),
        ((200, {}, b"{"), BackendUnreachable, "no JSON"),
        ((200, {}, b"[]"), BackendUnreachable, "no object"),
        ((200, {}, b'{"id": 1, "id": 1}'), BackendUnreachable, "no JSON"),
        ((200, {}, {"id": "00" * 32, "status": "final"}), BackendUnreachable, "not about this checkpoint"),
        ((200, {}, {"id": name, "status": "perfect"}), BackendUnreachable, "not about this checkpoint"),
        ((200, {}, {"id": name, "status": "final"}), SettlementError, "is not a JSON object"),
        ((200, {}, {"id": name, "status": "final", "receipt": {"kind": "own"}}), SettlementError, "lacks the field"),
        ((200, {}, {"id": name, "status": "final", "receipt": {**good, "kind": "own"}}), SettlementError, "kind 'own'"),
        ((200, {}, {"id": name, "status": "final", "receipt": forged}), SettlementError, "does not hold"),
        ((200, {}, {"id": name, "status": "final", "receipt": other}), SettlementError, "of another checkpoint"),
        ((403, {}, {"error": "no\x1b[2J\n" + "x" * 500}), SettlementError, r"status 403: no \[2J x{100}"),
        ((402, {}, {}), SettlementError, "status 402"),
    ]
    for answer, kind, words in cases:
        liar.says(answer)
        with pytest.raises(kind, match=words) as caught:
            backend.look(item)
        assert "\n" not in str(caught.value)
        assert "\x1b" not in str(caught.value)
    liar.says((402, {}, {}))
    with pytest.raises(SettlementError, match="no `payment`"):
        backend.send(attempt)
    liar.says((200, {}, {"id": name, "status": "included", "receipt": good}))
    assert backend.look(item).level.name == "INCLUDED"
    run.outbox.update(item, backend.look(item).level)
    again = run.outbox.open_items("http")[0]
    liar.says((200, {}, {"id": name, "status": "submitted"}))
    with pytest.raises(SettlementError, match="takes back"):
        backend.look(again)
    liar.says((404, {}, {}))
    with pytest.raises(SettlementError, match="no longer has"):
        backend.look(again)


def test_an_endpoint_that_is_away_is_waited_for(place: Place, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    run = Run(ledger, tmp_path, [place.backend()])
    grow(2)
    place.stop()
    run.settler.step()
    assert any("does not answer" in line for line in run.said)
    assert run.levels("http") == ["2 submitted"]
    place.start()
    wait_for(lambda: run.settler.step() or place.log.publish() or run.levels("http") == ["2 final"], f"{run.said}", 20)  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("url", "words"),
    [("http://settle.example", "over https"), ("ftp://x", "no URL"), ("https://", "no URL"),
     ("https://a/?key=1", "no URL"), ("http://127.0.0.1.evil.example", "over https"), ("http://[::1", "no URL")],
)  # fmt: skip
def test_urls_that_are_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        HttpClient(url)


def test_tls_is_verified(tmp_path: Path) -> None:
    from og_ros.settlement.endpoint_server import Desk, EndpointServer

    certificate, key = self_signed(tmp_path)
    log = EndpointLog(tmp_path / "e", ORIGIN, ENDPOINT_KEY, LOGS)
    server = EndpointServer(Desk(log), tls=(certificate, key))
    try:
        with pytest.raises(BackendUnreachable, match="certificate"):
            HttpClient(server.url).request("GET", "/")
        assert HttpClient(server.url, ca=certificate).request("GET", "/").status == 404
        with pytest.raises(BackendUnreachable, match="certificate"):
            HttpClient(server.url.replace("127.0.0.1", "localhost"), ca=certificate).request("GET", "/")
    finally:
        server.close()
        log.close()


def test_the_example_files_load() -> None:
    folder = Path(__file__).resolve().parents[2] / "config" / "settlement"
    backends = config.load(folder / "several_backends.yaml").section.backends
    assert {one.type for one in backends.values()} == {"local", "evm", "http", "opengradient"}
    assert backends["endpoint"].endpoint_key == VKEY.format()
    assert endpoint_config.load(folder / "endpoint.yaml").section.payment is not None


CONFIGS = {
    "type: http, url: 'https://a'": "endpoint_key",
    f"type: http, url: 'https://a', endpoint_key: '{VKEY.format()}', token: abc": "does not belong in a file",
    "type: http, url: 'https://a', endpoint_key: nonsense": "endpoint_key of x",
    "type: http, url: 'https://a/${NOT_SET_ANYWHERE}', endpoint_key: '" + VKEY.format() + "'": "is not set",
    "type: opengradient, url: 'https://a'": "blobs is missing",
    f"type: http, url: 'https://a', endpoint_key: '{VKEY.format()}', payment: {{allowed: []}}": "allowed is empty",
}


@pytest.mark.parametrize("fields", CONFIGS)
def test_configurations_that_are_refused(tmp_path: Path, fields: str) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(f"robot: r\nsettlement:\n  state: s\n  backends:\n    x: {{{fields}}}\n")
    with pytest.raises(ConfigError, match=CONFIGS[fields]):
        config.load(file).backends(tmp_path)


def test_serve_and_settle_by_the_command_line_through_a_kill(
    ledger: Ledger, grow: Grow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The endpoint is killed after it took a checkpoint and served again: the run ends with everything final."""
    keys.save_private(ENDPOINT_KEY, tmp_path / "endpoint.pem")
    (tmp_path / "endpoint.yaml").write_text(
        f"origin: {ORIGIN}\nkey: endpoint.pem\nstate: endpoint\nlogs: ['{ledger.vkey}']\npublish_s: 3600\n"
        "listen: {port: 0}\n"
    )
    command = [sys.executable, "-m", "og_ros.cli.main", "settle"]

    def serve() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [*command, "serve", str(tmp_path / "endpoint.yaml")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f"serving {ORIGIN} on http://127.0.0.1:" in line, line
        assert line.split()[-1] == VKEY.format()
        return process, line.split()[3].rstrip(";")

    grow(5)
    process, url = serve()
    first = ledger.latest_checkpoint()
    assert first is not None
    assert HttpClient(url).request("POST", "/v1/checkpoints", first.note.encode()).status == 202
    process.kill()
    process.wait()
    process, url = serve()
    try:
        (tmp_path / "p.yaml").write_text(
            f"robot: robot-7\nsettlement:\n  state: state\n  backends:\n    paid: {{type: http, url: '{url}', "
            f"endpoint_key: '{VKEY.format()}', poll_s: 0.05}}\n    copy: {{type: local}}\n"
        )
        assert main(["settle", "run", str(ledger.directory), "--config", str(tmp_path / "p.yaml"), "--once"]) == 0
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert main(["settle", "status", "--config", str(tmp_path / "p.yaml")]) == 0
    assert "paid     5       final" in capsys.readouterr().out
    assert (tmp_path / "state" / "receipts.json").is_file()
