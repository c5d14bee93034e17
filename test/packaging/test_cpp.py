"""find_package(og_ros) gives og_ros::verify from an installation without ROS; with ROS see test_pip.py."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from cpp_build import compiler

from .conftest import ROOT, Environment, run

VERIFIER = Path(__file__).parent / "cpp_verifier"


def build_and_verify(prefix: Path, folder: Path, **variables: str) -> None:
    """Build the consumer against a prefix, and let it judge an honest record and a changed one."""
    compiler()
    cmake = shutil.which("cmake", path=f"{prefix / 'bin'}:{os.environ['PATH']}") or pytest.skip("no cmake")
    run([cmake, "-S", str(VERIFIER), "-B", str(folder), f"-DCMAKE_PREFIX_PATH={prefix}"], **variables)
    run([cmake, "--build", str(folder)], **variables)
    vectors = json.loads((ROOT / "test" / "vectors" / "attestation_v1.json").read_text(encoding="utf-8"))
    (folder / "key.pub").write_text(vectors["keys"]["ES256"]["public_key"])
    wire = bytes.fromhex(vectors["attestations"][0]["wire"])
    (folder / "honest").write_bytes(wire)
    (folder / "changed").write_bytes(wire.replace(b"robot-7", b"robot-8"))
    command = [str(folder / "verifier"), str(folder / "key.pub")]
    assert run([*command, str(folder / "honest")]) == "signed by perception\n"
    assert "signature: " in run(["sh", "-c", '"$@" || test $? = 1', "sh", *command, str(folder / "changed")])


def test_without_ros(plain_environment: Environment, sources: Path, tmp_path: Path) -> None:
    plain_environment.install(sources, "--no-build-isolation")
    build_and_verify(plain_environment.prefix, tmp_path / "build")
