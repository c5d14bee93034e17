"""Attesters: configfs-tsm against a directory that behaves as the kernel's, /dev/nsm against an ioctl; their choice."""

from __future__ import annotations

import ctypes
import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from evidence_vectors import CONTEXT, NONCE, codes, under
from fake_tsm import TsmKernel
from made_nitro import MADE_AT, NitroMaker
from made_quote import QuoteMaker
from made_snp import SnpMaker, table

from og_ros.attest import SoftwareSigner, keys
from og_ros.errors import EvidenceError
from og_ros.evidence import attesters
from og_ros.evidence.binding import binding
from og_ros.evidence.configfs_tsm import ConfigfsAttester
from og_ros.evidence.interface import AppraisalPolicy, verifier
from og_ros.evidence.nsm import NSM_IOCTL_RAW, NsmAttester

KEY = keys.spki(keys.generate().public_key())


# ---- configfs-tsm ----------------------------------------------------------------------------------------------------


def test_a_tdx_guest_attests_and_its_quote_holds(tmp_path: Path) -> None:
    pytest.importorskip("dcap_qvl", reason="dcap-qvl is not installed")
    maker = QuoteMaker()
    kernel = TsmKernel(tmp_path / "report", "tdx_guest", maker.tdx)
    attester = ConfigfsAttester("tdx", kernel.root)
    assert attester.available() == ""
    evidence = attester.attest(KEY, NONCE, CONTEXT)
    assert kernel.entries == {}  # nothing is left behind
    expected = {"tdx": {"mr_td": "31" * 48}}
    policy = AppraisalPolicy(collateral={"dcap": maker.collateral("tdx")}, reference_values=expected)
    assert verifier("tdx").appraise(evidence, under(policy, maker.root_der), MADE_AT).level() == "tee"


def test_an_snp_guest_attests_with_the_hosts_certificates(tmp_path: Path) -> None:
    maker = SnpMaker()
    kernel = TsmKernel(tmp_path / "report", "sev_guest", maker.report)
    kernel.auxblob = table({"vcek": maker.vcek, "ask": maker.ask})
    evidence = ConfigfsAttester("sev-snp", kernel.root).attest(KEY, NONCE, CONTEXT)
    policy = under(AppraisalPolicy(reference_values={"sev-snp": {"measurement": "11" * 48}}), maker.ark)
    assert verifier("sev-snp").appraise(evidence, policy, MADE_AT).level() == "tee"
    kernel.auxblob = None  # an older kernel
    assert len(ConfigfsAttester("sev-snp", kernel.root).attest(KEY, NONCE, CONTEXT).document) == 1184


def test_somebody_who_writes_in_between_is_noticed(tmp_path: Path) -> None:
    kernel = TsmKernel(tmp_path / "report", "tdx_guest", lambda data: data)
    kernel.disturb = lambda name: kernel.write(name, "inblob", bytes(64)) and None
    with pytest.raises(EvidenceError, match="another process"):
        ConfigfsAttester("tdx", kernel.root).attest(KEY, NONCE, CONTEXT)
    assert kernel.entries == {}


def test_what_a_kernel_refuses_is_said(tmp_path: Path) -> None:
    assert "Linux 6.7" in ConfigfsAttester("tdx", tmp_path / "none").available()
    kernel = TsmKernel(tmp_path / "report", "sev_guest", lambda data: b"")
    assert "sev_guest" in ConfigfsAttester("tdx", kernel.root).available()
    with pytest.raises(EvidenceError, match="sev_guest"):
        ConfigfsAttester("tdx", kernel.root).attest(KEY, NONCE, CONTEXT)
    kernel.auxblob = None
    with pytest.raises(EvidenceError, match="empty"):
        ConfigfsAttester("sev-snp", kernel.root).attest(KEY, NONCE, CONTEXT)
    kernel.refuse_mkdir = True
    with pytest.raises(EvidenceError, match="No such device"):
        ConfigfsAttester("sev-snp", kernel.root).attest(KEY, NONCE, CONTEXT)
    with pytest.raises(EvidenceError, match="software"):
        ConfigfsAttester("software")


# ---- /dev/nsm --------------------------------------------------------------------------------------------------------


def nsm(answer: Any) -> Any:
    """An ioctl that answers a request as the driver does: it writes into the buffer, and sets its size."""

    def ioctl(descriptor: int, request: int, raw: Any) -> int:
        assert request == NSM_IOCTL_RAW
        asked = cbor2.loads(ctypes.string_at(raw.request.address, raw.request.size))
        made = answer(asked)
        data = made if isinstance(made, bytes) else cbor2.dumps(made)
        assert len(data) <= raw.answer.size
        ctypes.memmove(raw.answer.address, data, len(data))
        raw.answer.size = len(data)
        return 0

    return ioctl


@pytest.fixture
def device(tmp_path: Path) -> Path:
    (tmp_path / "nsm").touch()
    return tmp_path / "nsm"


def test_an_enclave_attests_and_its_document_holds(device: Path) -> None:
    maker = NitroMaker()

    def answer(asked: Any) -> Any:
        assert asked["Attestation"].keys() == {"user_data", "nonce", "public_key"}
        return {"Attestation": {"document": maker.document(**asked["Attestation"])}}

    attester = NsmAttester(device, nsm(answer))
    assert attester.available() == ""
    evidence = attester.attest(KEY, NONCE, CONTEXT)
    policy = under(AppraisalPolicy(reference_values={"aws-nitro": {"pcrs": {0: "01" * 48}}}), maker.der[0])
    found = verifier("aws-nitro").appraise(evidence, policy, MADE_AT)
    assert (codes(found), found.level()) == ([], "tee")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"Error": "InvalidArgument"}, "InvalidArgument"),
        ({"Attestation": {}}, "not understood"),
        ({"Attestation": {"document": b""}}, "not understood"),
        ([], "not understood"),
        (b"\xa1", "CBOR"),
        (b"", "CBOR"),
    ],
)
def test_what_the_module_refuses_is_said(device: Path, answer: Any, said: str) -> None:
    with pytest.raises(EvidenceError, match=said):
        NsmAttester(device, nsm(lambda _: answer)).attest(KEY, NONCE, CONTEXT)


def test_a_device_that_is_none(device: Path, tmp_path: Path) -> None:
    assert "Nitro enclave" in NsmAttester(tmp_path / "none").available()
    with pytest.raises(EvidenceError, match="No such file"):
        NsmAttester(tmp_path / "none").attest(KEY, NONCE, CONTEXT)
    with pytest.raises(EvidenceError, match="Inappropriate ioctl"):
        NsmAttester(device).attest(KEY, NONCE, CONTEXT)  # a file, asked for real

    def broken(*_: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(EvidenceError, match="Input/output error"):
        NsmAttester(device, broken).attest(KEY, NONCE, CONTEXT)


def test_an_answer_longer_than_its_buffer(device: Path) -> None:
    def ioctl(descriptor: int, request: int, raw: Any) -> int:
        raw.answer.size = 1 << 40
        return 0

    with pytest.raises(EvidenceError, match="longer"):
        NsmAttester(device, ioctl).attest(KEY, NONCE, CONTEXT)


# ---- the choice ------------------------------------------------------------------------------------------------------


def test_software_is_what_is_left() -> None:
    signer = SoftwareSigner(keys.generate())
    assert attesters.attester(signer).format == "software"
    assert attesters.attester(signer, "software").format == "software"
    with pytest.raises(EvidenceError, match="/dev/nsm"):
        attesters.attester(signer, "aws-nitro")
    with pytest.raises(EvidenceError, match="there is no attester"):
        attesters.attester(signer, "sgx")


def test_the_strongest_is_taken(monkeypatch: pytest.MonkeyPatch, device: Path) -> None:
    monkeypatch.setitem(attesters._PLATFORM, "aws-nitro", lambda: NsmAttester(device))
    assert attesters.attester(SoftwareSigner(keys.generate())).format == "aws-nitro"


def test_nonces_and_manifests_of_another_size_are_refused() -> None:
    for nonce in (b"", bytes(15), bytes(65)):
        with pytest.raises(EvidenceError, match="nonce"):
            binding("tdx", nonce, KEY, CONTEXT)
    with pytest.raises(EvidenceError, match="manifest"):
        binding("tdx", NONCE, KEY, replace(CONTEXT, manifest=b"short"))
