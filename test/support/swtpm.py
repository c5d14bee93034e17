"""A TPM in software (swtpm) over its real protocol, with endorsement certificates of a CA of its own.

`Maker` is a maker of TPMs: a CA and the TPMs that it certifies; making one takes a second. `Machine` is a robot's
computer with one of them: it can be started, and restarted, which sets the PCRs back.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

PROGRAMS = ("swtpm", "swtpm_setup", "swtpm_localca")


def missing() -> str:
    """Return what keeps swtpm from being used here; empty when nothing does."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f"no {program}: make tpm-deps"
    return "" if importlib.util.find_spec("tpm2_pytss") else "no tpm2-pytss: make tpm-deps"


class Maker:
    """A CA and its TPMs, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ca").mkdir(parents=True)
        (folder / "localca.conf").write_text(
            f"statedir = {folder}/ca\nsigningkey = {folder}/ca/key.pem\nissuercert = {folder}/ca/issuer.pem\n"
            f"certserial = {folder}/ca/serial\n"
        )
        (folder / "localca.options").write_text("")
        (folder / "setup.conf").write_text(
            f"create_certs_tool = {shutil.which('swtpm_localca')}\n"
            f"create_certs_tool_config = {folder}/localca.conf\ncreate_certs_tool_options = {folder}/localca.options\n"
        )

    def make(self, name: str) -> Path:
        """Make a TPM; returns the directory of its state."""
        state = self.folder / name
        state.mkdir()
        command = ["swtpm_setup", "--tpm2", "--tpmstate", str(state), "--config", str(self.folder / "setup.conf")]
        done = subprocess.run(
            [*command, "--create-ek-cert", "--lock-nvram"], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return state

    @property
    def root(self) -> bytes:
        """The root of the CA, DER."""
        return _der(self.folder / "ca" / "swtpm-localca-rootca-cert.pem")

    @property
    def intermediate(self) -> bytes:
        """What is between the root and the TPMs, DER."""
        return _der(self.folder / "ca" / "issuer.pem")


class Machine:
    """A computer with a TPM: its own copy of a TPM's state."""

    def __init__(self, state: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tpm"))  # the path of a socket is short
        shutil.copytree(state, self._folder / "state")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def tcti(self) -> str:
        """How to reach the TPM."""
        return f"swtpm:path={self._folder}/socket"

    def start(self) -> None:
        """Start: the PCRs are as at every start."""
        socket = self._folder / "socket"
        for path in self._folder.glob("socket*"):
            path.unlink()
        self._process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._folder}/state", "--flags",
             "not-need-init,startup-clear", "--server", f"type=unixio,path={socket}",
             "--ctrl", f"type=unixio,path={socket}.ctrl"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 60
        while not socket.exists():
            assert self._process.poll() is None, "swtpm ended"
            assert time.monotonic() < until, "swtpm did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """Turn off."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Turn off and on."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Turn off, for ever."""
        self.stop()
        shutil.rmtree(self._folder)


@contextmanager
def machine(state: Path) -> Iterator[Machine]:
    """Give a running machine."""
    made = Machine(state)
    try:
        made.start()
        yield made
    finally:
        made.remove()


def _der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
