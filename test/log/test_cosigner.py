"""The cosigner: several witnesses, each from the size that it has; back-off; what is kept beside the ledger."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from witnesses import Served, witness_key, witness_name, witness_secret

from og_ros.errors import ConfigError, LogError
from og_ros.log import Ledger, open_checkpoint, parse_note
from og_ros.log.cosignature import cosign, cosignatures
from og_ros.log.cosigned import CosignedCheckpoints
from og_ros.log.cosigner import Cosigner
from og_ros.log.witness_client import Endpoint, WitnessRefused, WitnessUnreachable
from og_ros.log.witness_protocol import AddCheckpoint

KEYS = [witness_key(number) for number in (1, 2, 3)]


@pytest.fixture
def witnesses(ledger: Ledger, tmp_path: Path) -> Iterator[list[Served]]:
    made = [Served(number, [ledger.key], tmp_path / f"w{number}") for number in (1, 2, 3)]
    yield made
    for one in made:
        one.close()


def grow(ledger: Ledger, count: int) -> None:
    ledger.append([b"leaf %d" % (ledger.size + n) for n in range(count)])
    ledger.checkpoint()


def cosigner(ledger: Ledger, served: list[Served], said: list[str] | None = None) -> Cosigner:
    tell = said.append if said is not None else (lambda line: None)
    return Cosigner(ledger.directory, [one.endpoint for one in served], tell)


def cosigners(ledger: Ledger, size: int) -> set[str]:
    note = CosignedCheckpoints(ledger.directory).at(size)
    assert note is not None
    assert open_checkpoint(note, ledger.key, ledger.origin).size == size
    good, bad = cosignatures(parse_note(note), KEYS)
    assert not bad
    return {found.witness.name for found in good}


ALL = {witness_name(number) for number in (1, 2, 3)}


def test_all_cosign_and_it_is_kept(ledger: Ledger, witnesses: list[Served]) -> None:
    one = cosigner(ledger, witnesses)
    one.step()
    assert "has no checkpoint" in one.missing()[0]
    for count in (300, 1, 40):
        grow(ledger, count)
        one.step()
        assert not one.missing()
        assert cosigners(ledger, ledger.size) == ALL
    before = one.note()
    one.step()
    assert one.note() == before, "nothing new, nobody is asked"
    ledger.verify()


def test_another_run_goes_on_from_what_is_kept(ledger: Ledger, witnesses: list[Served]) -> None:
    grow(ledger, 10)
    cosigner(ledger, witnesses[:2]).step()
    assert CosignedCheckpoints(ledger.directory).newest(KEYS) == {KEYS[0]: 10, KEYS[1]: 10, KEYS[2]: 0}
    cosigner(ledger, witnesses).step()
    assert cosigners(ledger, 10) == ALL
    for file in (ledger.directory / "cosigned").iterdir():
        file.unlink()
    grow(ledger, 5)
    again = cosigner(ledger, witnesses)
    again.step()
    assert not again.missing(), "each witness said where it stands"
    assert cosigners(ledger, 15) == ALL


def test_one_that_is_down_holds_up_no_other(ledger: Ledger, witnesses: list[Served], tmp_path: Path) -> None:
    said: list[str] = []
    one = cosigner(ledger, witnesses, said)
    port = witnesses[1].port
    witnesses[1].close()
    grow(ledger, 10)
    one.step()
    assert cosigners(ledger, 10) == ALL - {witness_name(2)}
    assert len(one.missing()) == 1
    assert not one.refused
    before = len(said)
    one.step()
    assert len(said) == before, "it backs off"
    witnesses[1] = Served(2, [ledger.key], tmp_path / "w2", port)
    deadline = time.monotonic() + 10
    while one.missing():
        assert time.monotonic() < deadline
        time.sleep(0.05)
        one.step()
    assert cosigners(ledger, 10) == ALL


@pytest.mark.parametrize("size", [12, 20, 21, 60])
def test_a_fork_is_refused(
    ledger: Ledger, key: Ed25519PrivateKey, witnesses: list[Served], tmp_path: Path, size: int
) -> None:
    grow(ledger, 20)
    cosigner(ledger, witnesses).step()
    with Ledger.create(tmp_path / "fork", ledger.origin, key) as fork:
        fork.append([b"another past"] * size)
        fork.checkpoint()
        one = cosigner(fork, witnesses)
        one.step()
        assert one.refused
        assert len(one.missing()) == 3
        assert one.note() is None


def test_a_rewound_log_is_refused(
    ledger: Ledger, key: Ed25519PrivateKey, witnesses: list[Served], tmp_path: Path
) -> None:
    grow(ledger, 20)
    cosigner(ledger, witnesses).step()
    with Ledger.create(tmp_path / "rewound", ledger.origin, key) as rewound:
        rewound.append([leaf.data for leaf in ledger.leaves(0, 15)])
        rewound.checkpoint()
        one = cosigner(rewound, witnesses)
        one.step()
        assert one.refused
        assert all("cosigned 20 leaves, and this checkpoint has 15" in line for line in one.missing())


def test_a_log_that_the_witness_does_not_know(ledger: Ledger, witnesses: list[Served], tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "other", "example.com/other", Ed25519PrivateKey.generate()) as other:
        grow(other, 3)
        one = cosigner(other, witnesses[:1])
        one.step()
        assert "does not know the log" in one.missing()[0]
        assert not one.refused
    with Ledger.create(tmp_path / "key", ledger.origin, Ed25519PrivateKey.generate()) as other:
        grow(other, 3)
        one = cosigner(other, witnesses[:1])
        one.step()
        assert "does not know the log's key" in one.missing()[0]


# ---- a witness that is not honest ------------------------------------------------------------------------------------


class Scripted:
    """Answers every request by a function of its body: status, content type, body or the parts of it."""

    def __init__(self, answer: Callable[[bytes], tuple[int, str, bytes | Iterable[bytes]]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status, kind, body = answer(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.end_headers()
                with contextlib.suppress(OSError):  # who asked may be gone
                    for part in [body] if isinstance(body, bytes) else body:
                        self.wfile.write(part)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def ask(self, request: AddCheckpoint, timeout_s: float = 5.0) -> object:
        try:
            return Endpoint(KEYS[0], f"http://127.0.0.1:{self.server.server_address[1]}", timeout_s).cosign(request)
        finally:
            self.server.shutdown()
            self.server.server_close()


def line(text: str, number: int = 1) -> bytes:
    return cosign(text, witness_name(number), witness_secret(number), 1_800_000_000).format().encode()


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        pytest.param(lambda b: (200, "text/plain", b""), WitnessUnreachable, "does not hold", id="nothing"),
        pytest.param(lambda b: (200, "text/plain", b"\xff\n"), WitnessUnreachable, "does not hold", id="noise"),
        pytest.param(lambda b: (200, "text/plain", line("x\n")), WitnessUnreachable, "is wrong", id="other text"),
        pytest.param(
            lambda b: (200, "text/plain", line(parse_note(b.partition(b"\n\n")[2]).text, 2)),
            WitnessUnreachable, "no cosignature of", id="another's",
        ),
        pytest.param(lambda b: (200, "text/plain", b"a" * 20_000), WitnessUnreachable, "longer", id="long"),
        pytest.param(lambda b: (302, "text/plain", b""), WitnessUnreachable, "status 302", id="redirect"),
        pytest.param(lambda b: (500, "text/plain", b"oh\x1b[0m"), WitnessUnreachable, "status 500", id="server error"),
        pytest.param(lambda b: (409, "text/x.tlog.size", b"x\n"), WitnessUnreachable, "decimal", id="no size"),
        pytest.param(lambda b: (409, "text/x.tlog.size", b"7"), WitnessUnreachable, "newline", id="size cut off"),
        pytest.param(lambda b: (409, "text/plain", b"7\n"), WitnessRefused, "refuses", id="conflict"),
        pytest.param(lambda b: (422, "text/plain", b"no"), WitnessRefused, "forked", id="unprocessable"),
    ],
)  # fmt: skip
def test_what_a_witness_may_answer(
    ledger: Ledger, answer: Callable[[bytes], tuple[int, str, bytes]], error: type[LogError], told: str
) -> None:
    grow(ledger, 3)
    latest = ledger.latest_checkpoint()
    assert latest is not None
    with pytest.raises(error, match=told) as caught:
        Scripted(answer).ask(AddCheckpoint(0, (), latest.note))
    assert str(caught.value).isprintable()


def test_one_that_trickles_is_left(ledger: Ledger) -> None:
    grow(ledger, 3)
    latest = ledger.latest_checkpoint()
    assert latest is not None

    def slowly() -> Iterator[bytes]:
        for _ in range(200):
            time.sleep(0.05)
            yield b"x"

    began = time.monotonic()
    with pytest.raises(WitnessUnreachable):
        Scripted(lambda body: (200, "text/plain", slowly())).ask(AddCheckpoint(0, (), latest.note), 0.5)
    assert time.monotonic() - began < 8, "each byte came in time, the whole did not"


def test_urls() -> None:
    for wrong in (
        "",
        "witness.example",
        "ftp://w",
        "http://",
        "http://a b/",
        "http://u:p@w/",
        "http://w/?q",
        "http://w:x",
    ):
        with pytest.raises(ConfigError):
            Endpoint(KEYS[0], wrong)


# ---- what is kept ----------------------------------------------------------------------------------------------------


def test_another_checkpoint_of_one_size_is_not_mixed_in(ledger: Ledger, key: Ed25519PrivateKey, tmp_path: Path) -> None:
    grow(ledger, 5)
    latest = ledger.latest_checkpoint()
    assert latest is not None
    kept = CosignedCheckpoints(ledger.directory)
    kept.add(5, latest.note, [])
    with Ledger.create(tmp_path / "fork", ledger.origin, key) as fork:
        fork.append([b"x"] * 5)
        with pytest.raises(LogError, match="is another checkpoint of 5 leaves"):
            kept.add(5, fork.checkpoint(), [])
    (kept.folder / "6.checkpoint").write_bytes(b"\xff")
    with pytest.raises(LogError, match="not UTF-8"):
        kept.newest(KEYS)
    (kept.folder / "6.checkpoint").write_bytes(b"x" * 1_000_001)
    with pytest.raises(LogError, match="longer"):
        kept.notes()


def test_other_files_there_are_left_alone(ledger: Ledger) -> None:
    kept = CosignedCheckpoints(ledger.directory)
    assert kept.notes() == []
    kept.folder.mkdir()
    for name in ("x.checkpoint", "07.checkpoint", "-1.checkpoint", "1.checkpoint.tmp", "9" * 30 + ".checkpoint"):
        (kept.folder / name).touch()
    assert kept.notes() == []
