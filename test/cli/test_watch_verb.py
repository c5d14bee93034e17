"""og-ros watch: what it is asked wrongly is one clear line, and https is served beside a client that stalls."""

from __future__ import annotations

import datetime
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from og_ros.cli.main import main
from og_ros.watch.live_state import LiveState
from og_ros.watch.server import LiveServer


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "70000"], "--port is 70000"),
        (["--port", "-1"], "--port is -1"),
        (["--tls-cert", "a.pem"], "--tls-cert and --tls-key belong together"),
        (["--auditor", "auditor"], "--auditor is 'auditor'"),
        (["--gate", "/a b"], "--gate is '/a b'"),
        (["--root", "sha256:00"], "--root without --registry"),
        (["--registry", "none-such"], "none-such"),
        (["--port", "0", "--tls-cert", "none.pem", "--tls-key", "none.pem"], "cannot use the certificate none.pem"),
        (["--port", "0", "--host", "host.invalid"], "cannot serve on host.invalid"),
    ],
)
def test_a_wrong_argument_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
    monkeypatch.chdir(tmp_path)
    assert main(["watch", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("og-ros watch: ")
    assert said in error
    assert error.count("\n") == 1


def test_https_is_served_beside_a_client_that_stalls_in_its_handshake(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False).sign(key, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "c.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "k.pem").write_bytes(key.private_bytes(*form))
    server = LiveServer(LiveState({}).broadcast, {}, tls=(tmp_path / "c.pem", tmp_path / "k.pem"))
    try:
        port = int(server.url.split(":")[2].rstrip("/"))
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(tmp_path / "c.pem"))
        with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)) as second:
            second.settimeout(20)
            with context.wrap_socket(second, server_hostname="localhost") as secure:
                secure.sendall(b"GET /registry.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert secure.recv(100).startswith(b"HTTP/1.1 200")
    finally:
        server.close()
