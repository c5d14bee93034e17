"""og-ros manifest, tpm and launch-measured, as they are typed; with swtpm where a TPM is needed."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import Path

import cbor2
import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from made_tpm_quote import NONCE, codes
from swtpm import Machine, Maker

from og_ros.attest import keys
from og_ros.attest.statement import Algorithm
from og_ros.cli.launch_measured import pcr_list
from og_ros.cli.main import main
from og_ros.errors import ConfigError, EvidenceError
from og_ros.evidence import measurement
from og_ros.evidence.binding import Context
from og_ros.evidence.interface import AppraisalPolicy
from og_ros.evidence.tpm import enrolment_http
from og_ros.evidence.tpm.attester import TpmQuoteAttester
from og_ros.evidence.tpm.document import FORMAT
from og_ros.evidence.tpm.enrolment_config import load_rules
from og_ros.evidence.tpm.enrolment_desk import MAX_REQUEST, Admission, DeskRules, EnrolmentDesk
from og_ros.evidence.tpm.enrolment_http import EnrolmentServer
from og_ros.evidence.tpm.launch import give_to
from og_ros.evidence.tpm.verifier import VERIFIER
from og_ros.stages import measured
from og_ros.stages.pipeline import load_pipeline

pytestmark = pytest.mark.xdist_group("tpm")
LAUNCH = ("launch-measured", "--directory", "launch")
PIPELINE = """\
robot: amr-1
stages:
  control:
    model: {{path: model.onnx, name: control}}
    key: {key}
    inputs:
      scan: {{topic: /scan, type: std_msgs/msg/Float32MultiArray}}
    outputs:
      command: {{topic: /command, type: std_msgs/msg/Float32MultiArray}}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipeline, a model and a release key; the environment is measured in its quick parts only."""
    monkeypatch.setattr(measurement, "distributions", lambda: [])
    monkeypatch.delenv("OG_ROS_LAUNCH", raising=False)
    monkeypatch.setattr(measurement, "_tree_digest", lambda _: bytes(32))
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").write_text(PIPELINE.format(key="launch/control.pem"))
    Path("model.onnx").write_bytes(b"a model")
    keys.save_private(keys.generate(), Path("release.pem"))
    release = keys.load_private(Path("release.pem")).public_key()
    Path("release.pem.pub").write_text(keys.public_pem(release))
    return tmp_path


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def test_manifest_collect_check_and_show(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("manifest", "collect", "pipeline.yaml", "--stage", "control", "--key", "release.pem", "-o", "m") == 0
    digest = capsys.readouterr().out.strip()
    assert len(digest) == 64
    check = ("manifest", "check", "m", "pipeline.yaml", "--signer", "release.pem.pub")
    assert run(*check) == 0
    assert digest in capsys.readouterr().out
    assert run("manifest", "show", "m") == 0
    assert "adapter/float32_multi_array" in capsys.readouterr().out
    assert run("manifest", "show", "m", "--json") == 0
    assert json.loads(capsys.readouterr().out)["files"]["model"] == sha256(b"a model").hexdigest()
    # Each change by its name; exit code 1.
    Path("model.onnx").write_bytes(b"another model")
    monkeypatch.setattr(measured, "source_of", lambda _: b"another adapter")
    text = Path("pipeline.yaml").read_text()
    Path("pipeline.yaml").write_text(text.replace("{topic: /command, ", "{topic: /cmd, "))
    assert run(*check) == 1
    shown = capsys.readouterr().out
    changed = [line.partition(":")[0] for line in shown.splitlines()]
    assert changed == ["adapter_changed", "config_changed", "model_changed"]
    assert run(*check, "--json") == 1
    assert [one["code"] for one in json.loads(capsys.readouterr().out)["drift"]][2] == "model_changed"
    # Another signer; exit code 2.
    keys.save_private(keys.generate(), Path("other.pem"))
    Path("other.pub").write_text(keys.public_pem(keys.load_private(Path("other.pem")).public_key()))
    assert run("manifest", "check", "m", "pipeline.yaml", "--signer", "other.pub") == 2
    assert "signature does not hold" in capsys.readouterr().err
    for words in (("show", "missing"), ("check", "m", "missing.yaml"), ("show", "model.onnx")):
        assert run("manifest", *words) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_a_stage_does_is_in_its_configuration_and_where_its_files_lie_is_not(site: Path) -> None:
    before = measured.config_digest(load_pipeline(Path("pipeline.yaml")).stages["control"])
    Path("pipeline.yaml").write_text(PIPELINE.format(key="elsewhere.pem").replace("model.onnx", "elsewhere.onnx"))
    assert measured.config_digest(load_pipeline(Path("pipeline.yaml")).stages["control"]) == before
    Path("pipeline.yaml").write_text(PIPELINE.format(key="x.pem").replace("Array}", "Array, disclosure: absent}"))
    assert measured.config_digest(load_pipeline(Path("pipeline.yaml")).stages["control"]) != before


def test_enrol_and_launch(robot: Machine, maker: Maker, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The way of the guide: a manifest, an enrolment by the served command, a launch, evidence, its appraisal."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    keys.save_private(keys.generate(), Path("enroller.pem"))
    for name, der in (("root", maker.root), ("issuer", maker.intermediate)):
        Path(f"{name}.pem").write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    tree = {
        "robots": {"amr-1": {"token": sha256(b"secret").hexdigest()}},
        "roots": {"swtpm": "root.pem"},
        "intermediates": ["issuer.pem"],
        "test_roots": ["swtpm"],
    }
    Path("enrolment.yaml").write_text(yaml.safe_dump(tree))
    served = subprocess.Popen(
        [sys.executable, "-m", "og_ros.cli.main", "tpm", "serve", "enrolment.yaml", "--key", "enroller.pem",
         "--records", "records", "--port", "0"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert served.stdout is not None
        url = served.stdout.readline().split()[-1]
        os.environ["ENROL_TOKEN"] = "secret"
        tpm = ("--tcti", robot.tcti)
        enrol = ("tpm", "enrol", url, "--robot", "amr-1", "-o", "enrolment", *tpm, "--token-env")
        assert run(*enrol, "NO_SUCH_VARIABLE") == 2
        assert run("tpm", "enrol", url, "--robot", "amr-1", "-o", "enrolment", *tpm) == 2
        assert "refused (403): no robot of this name" in capsys.readouterr().err
        assert run(*enrol, "ENROL_TOKEN") == 0
        assert "worth no more than a warning" in capsys.readouterr().out
    finally:
        os.environ.pop("ENROL_TOKEN", None)
        served.terminate()
        served.wait()
    assert run("tpm", "show", *tpm) == 0
    assert "swtpm" in capsys.readouterr().out
    assert run("manifest", "collect", "pipeline.yaml", "--stage", "control", "--key", "release.pem", "-o", "m") == 0
    digest = capsys.readouterr().out.strip()
    launch = ("launch-measured", "--directory", "launch", *tpm, "--boot-pcrs", "0,7")
    assert run(*launch, "--enrolment", "enrolment", "pipeline.yaml") == 0
    assert f"control: measured: manifest {digest}" in capsys.readouterr().err
    assert run(*launch, "--enrolment", "enrolment", "pipeline.yaml") == 0
    assert "measured before, and as it was" in capsys.readouterr().err
    key = keys.spki(keys.load_private(Path("launch/control.pem")).public_key())
    evidence = TpmQuoteAttester(Path("launch")).attest(key, NONCE, Context("amr-1", "control"))
    enroller = keys.public_pem(keys.load_private(Path("enroller.pem")).public_key())
    policy = AppraisalPolicy(
        roots={"swtpm": maker.root},
        test_roots=frozenset({"swtpm"}),
        reference_values={FORMAT: {"enrollers": {"fleet": enroller}, "manifests": [digest]}},
        nonce=NONCE,
    )
    found = VERIFIER.appraise(evidence, policy, time.time_ns())
    assert (codes(found), found.level()) == (set(), "measured")
    # The model changes under the running robot: nothing is launched until it restarts.
    Path("model.onnx").write_bytes(b"another model")
    assert run(*launch, "pipeline.yaml") == 2
    assert "stage control is not as it was launched: model changed; restart the machine" in capsys.readouterr().err


def test_the_command_is_started_with_the_launch_in_its_environment(robot: Machine, site: Path) -> None:
    """In a process of its own, which becomes the command."""
    shown = "import os, sys; print(os.environ['PYTHONPYCACHEPREFIX'], os.environ['OG_ROS_LAUNCH'])"
    words = [*LAUNCH, "--tcti", robot.tcti, "--boot-pcrs", "", "pipeline.yaml", "--", sys.executable, "-c", shown]
    program = f"""
from og_ros.cli.main import main
from og_ros.evidence import measurement
measurement.distributions = lambda: []
measurement._tree_digest = lambda _: bytes(32)
main({words!r})"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{site}/launch/pycache", f"{site}/launch"]
    assert TpmQuoteAttester(site / "launch").available() == ""
    assert "OG_ROS_LAUNCH is not set" in TpmQuoteAttester().available()
    assert main([*words[:-3], "--", "/no/such/program"]) == 2


def test_a_sealed_key_and_a_resident_key(robot: Machine, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tpm = ("--tcti", robot.tcti)
    keys.save_private(keys.generate(), Path("identity.pem"))
    assert run("tpm", "seal", "pipeline.yaml", "identity.pem", "-o", "sealed", *tpm) == 0
    launch = ("launch-measured", "--directory", "launch", *tpm, "--boot-pcrs", "", "--sealed")
    assert run(*launch, "planning=sealed", "pipeline.yaml") == 2
    assert run(*launch, "control=sealed", "pipeline.yaml") == 0
    launched, identity = (keys.load_private(Path(name)) for name in ("launch/control.pem", "identity.pem"))
    assert keys.key_id(launched.public_key()) == keys.key_id(identity.public_key())
    capsys.readouterr()
    assert run("tpm", "key", "-o", "resident", *tpm, "--pcrs", "0,7") == 0
    assert load_pem_public_key(capsys.readouterr().out.encode())
    assert run("tpm", "key", "-o", "resident", *tpm) == 2
    assert "exists already" in capsys.readouterr().err
    keys.save_private(keys.generate(Algorithm.EDDSA), Path("edwards.pem"))
    assert run("tpm", "seal", "pipeline.yaml", "edwards.pem", "-o", "x", *tpm) == 2
    assert "edwards.pem is no P-256 key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("launch-measured", "--directory", "elsewhere", "pipeline.yaml"), "a measured launch puts the key at"),
        ((*LAUNCH, "--stage", "x", "pipeline.yaml"), "has no stage 'x'"),
        ((*LAUNCH, "--boot-pcrs", "0-x", "pipeline.yaml"), "is no list of PCRs"),
        ((*LAUNCH, "--boot-pcrs", "16", "pipeline.yaml"), "PCR 16"),
        ((*LAUNCH, "--log-start", "zz", "pipeline.yaml"), "is not 64 hex digits"),
        ((*LAUNCH, "--image", "latest", "pipeline.yaml"), "is no digest"),
        ((*LAUNCH, "--tcti", "device:/no/tpm", "pipeline.yaml"), "the TPM"),
        ((*LAUNCH, "pipeline.yaml", "--user", "x"), "options go before it"),
        (("tpm", "serve", "none.yaml", "--key", "release.pem", "--records", "r"), "cannot read none.yaml"),
        (("tpm", "enrol", "ftp://x", "--robot", "r", "-o", "f", "--tcti", "nonsense"), "TPM"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...], message: str, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_a_launch_left_is_given_away_without_following_links(tmp_path: Path) -> None:
    place, secret = tmp_path / "launch", tmp_path / "secret"
    place.mkdir()
    secret.write_text("root's")
    (place / "control.pem").write_text("key")
    (place / "link").symlink_to(secret)
    give_to(place, "nobody")
    nobody = pwd.getpwnam("nobody").pw_uid
    assert [path.stat().st_uid for path in (place, place / "control.pem", secret)] == [nobody, nobody, 0]
    with pytest.raises(EvidenceError, match="user no-such-user"):
        give_to(place, "no-such-user")


def test_lists_of_pcrs() -> None:
    assert pcr_list("0-3,7,9") == (0, 1, 2, 3, 7, 9)
    assert pcr_list("") == ()
    for text in ("3-1", "24", "0-99999", "-", "1-", "²"):
        with pytest.raises(ConfigError):
            pcr_list(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"robots": {}}, "robots and roots"),
        ({"robots": {"r": {}}}, "certificate, a token"),
        ({"robots": {"r": {"token": "short"}}}, "robots.r.token"),
        ({"robots": {"r": {"other": "x"}}}, "not known"),
        ({"roots": {"a": "missing.pem"}}, "cannot read missing.pem"),
        ({"roots": {"a": "rules.yaml"}}, "no certificate in PEM"),
        ({"roots": ["a"]}, "must be a mapping"),
        ({"validity_days": 0}, "validity_days"),
        ({"extra": 1}, "not known"),
        ({"test_roots": "x"}, "list of texts"),
    ],
)
def test_the_configuration_of_the_service_is_checked(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"robots": {"r": {"token": "00" * 32}}, "roots": {}, **change}))
    with pytest.raises(ConfigError, match=message):
        load_rules(path)


@pytest.fixture
def service(tmp_path: Path) -> EnrolmentServer:
    from made_tpm_quote import ENROLLER

    from og_ros.attest.signer import SoftwareSigner

    rules = DeskRules({"r": Admission(token=bytes(32))}, {"root": b"x"})
    return EnrolmentServer(EnrolmentDesk(SoftwareSigner(ENROLLER), rules, tmp_path))


def test_the_service_takes_no_nonsense_and_few_connections(
    service: EnrolmentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(path: str, data: bytes | None, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(f"{service.url}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as given:
                return given.status, given.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    try:
        assert answer("/v1/challenge", b"\xff")[0] == 400
        assert answer("/v1/activate", cbor2.dumps({"id": b"", "secret": b""}, canonical=True))[0] == 404
        assert answer("/elsewhere", b"")[0] == 404
        assert answer("/v1/challenge", b"", **{"Content-Length": str(MAX_REQUEST + 1)})[0] == 400
        assert answer("/v1/challenge", None)[0] == 501
        # Connections that say nothing take their places, and the next one is refused at once.
        idle = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(enrolment_http.MAX_CONNECTIONS)]
        time.sleep(0.2)
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            answer("/v1/challenge", b"\xff")
        for one in idle:
            one.close()
    finally:
        service.close()
