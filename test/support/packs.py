"""Evidence packs for tests: an honest one, and what an attacker needs to take it apart and put it together again."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from scenario import Run

from og_ros.attest import keys
from og_ros.attest.signer import SoftwareSigner
from og_ros.audit.pack import PackOptions, layout, manifest, write_pack
from og_ros.audit.pack.archive_writer import write_archive
from og_ros.registry import RegistryWriter


def certify_auditor(registry: Path, authority: SoftwareSigner, auditor: SoftwareSigner) -> None:
    """Certify an auditor's key in a registry that exists."""
    with RegistryWriter.open(registry, authority) as writer:
        writer.certify_key(auditor.public_key, role="auditor", vendor="inspectorate", not_before_ns=10**9)


def make_case(run: Run, directory: Path, auditor: SoftwareSigner, options: PackOptions | None = None) -> Path:
    """Write a run's recording, registry and ledger, and a pack of them that a certified auditor signed."""
    run.write_registry(directory / "registry")
    certify_auditor(directory / "registry", run.authority, auditor)
    run.write_ledger(directory / "ledger")
    run.write_bag(directory / "bag")
    target = directory / "case.ogpack"
    write_pack(
        directory / "bag",
        directory / "registry",
        target,
        options or PackOptions(ledger=directory / "ledger", signer=auditor),
    )
    return target


def take_apart(pack: Path) -> dict[str, bytes]:
    """Return the files of a pack by path."""
    with zipfile.ZipFile(pack) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def put_together(files: Mapping[str, bytes], target: Path) -> Path:
    """Write files as a pack just as they are, manifest and signature included."""
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return target


def seal_again(files: Mapping[str, bytes], target: Path, signer: SoftwareSigner | None = None) -> Path:
    """Write files as a pack with a manifest that lists them: unsigned, or signed by somebody."""
    left_out = {layout.MANIFEST, layout.SIGNATURE, layout.SIGNER}
    kept = {name: data for name, data in files.items() if name not in left_out}
    if signer is not None:
        kept[layout.SIGNER] = keys.public_pem(signer.public_key).encode()
    write_archive(target, kept, None if signer is None else lambda data: manifest.sign_manifest(data, signer))
    return target
