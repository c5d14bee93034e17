"""@og-ros/verify: its types hold, and it judges vectors and packs as og_ros does, in Node.js and in Chromium."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest
from chromium import Chromium
from npm_packages import TSC, WEB, node
from packs import make_case, put_together, seal_again, take_apart
from report_runs import real_run

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.pack import layout
from og_ros.audit.reports.page_source import PAGE, link
from og_ros.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
OFFERED = (
    "VerifyError", "fromHex", "toHex", "fromBase64", "decodeCose", "decodeAttestation", "readPem", "verifyAttestation",
    "messageDigest", "checkSession", "leafHash", "verifyInclusion", "verifyConsistency", "readVerifierKey",
    "openCheckpoint", "readProof", "verifyLeaf", "verifyPack",
)  # fmt: skip


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packs, honest and otherwise, with what must come of each in expected.json."""
    folder = tmp_path_factory.mktemp("packs")
    auditor = SoftwareSigner(keys.generate())
    with pytest.MonkeyPatch.context() as patch:
        run = real_run(patch, 6)
    (folder / "made").mkdir()
    honest = make_case(run, folder / "made", auditor)
    files = take_apart(honest)
    shutil.copy(honest, folder / "honest.ogpack")
    root = Registry.open(folder / "made" / "registry").fingerprint
    trust = {"root": root}
    cases = [
        {"name": "honest", "trust": {}, "kinds": []},
        {"name": "honest", "trust": {**trust, "packer": keys.public_pem(auditor.public_key)}, "kinds": []},
        {"name": "honest", "trust": {"root": "sha256:" + "0" * 64}, "kinds": ["root_not_trusted"]},
    ]

    def case(name: str, kinds: list[str], **trusted: str) -> Path:
        cases.append({"name": name, "trust": {**trust, **trusted}, "kinds": kinds})
        return folder / f"{name}.ogpack"

    records = files[layout.ATTESTATIONS]
    forged = records[:-1] + bytes([records[-1] ^ 1])
    put_together({**files, layout.ATTESTATIONS: forged}, case("altered", ["pack_altered", "record_signature"]))
    # Sealed again by a stranger: the manifest holds, the forged record still does not.
    stranger = SoftwareSigner(keys.generate())
    seal_again({**files, layout.ATTESTATIONS: forged}, case("resealed", ["record_signature"]), stranger)
    another = case("another_packer", ["pack_signer_unexpected"], packer=keys.public_pem(auditor.public_key))
    seal_again(files, another, stranger)
    unsigned = {k: v for k, v in files.items() if k not in (layout.SIGNATURE,)}
    put_together(unsigned, case("signature_removed", ["pack_signature_invalid"]))
    put_together({**files, "enclosed/added.txt": b"x"}, case("added", ["pack_altered"]))
    entries = next(name for name in files if name.startswith("log/tile/entries/"))
    data = files[entries]
    cut = {**files, entries: data[:-1] + bytes([data[-1] ^ 1])}
    seal_again(cut, case("log_rewritten", ["log_invalid"]), auditor)
    for name, path in (("climbs", "recording/../../x"), ("absolute", "/etc/x"), ("backslash", "recording\\x")):
        put_together({**files, path: b"x"}, folder / f"{name}.ogpack")
        cases.append({"name": name, "trust": {}, "refused": True, "kinds": []})
    whole = honest.read_bytes()
    for name, bytes_ in (("prefixed", b"x" + whole), ("suffixed", whole + b"x"), ("half", whole[: len(whole) // 2])):
        (folder / f"{name}.ogpack").write_bytes(bytes_)
        cases.append({"name": name, "trust": {}, "refused": True, "kinds": []})
    (folder / "expected.json").write_text(json.dumps(cases))
    return folder


def test_its_types_hold_and_it_judges_vectors_and_packs(packs: Path) -> None:
    for arguments in ([TSC, "-p", "tsconfig.json"], [TSC, "-p", "tsconfig.test.json"]):
        done = node(*arguments)
        assert done.returncode == 0, done.stdout
    assert "verifyPack(data: Uint8Array" in (WEB / "dist" / "pack.d.ts").read_text()
    done = node("node_modules/vitest/vitest.mjs", "run", "--reporter=dot", OG_ROS_PACKS=str(packs))
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "skipped" not in done.stdout


def test_it_asks_for_no_other_package() -> None:
    package = json.loads((WEB / "package.json").read_text())
    assert "dependencies" not in package
    assert package["version"] == "0.1.0"
    for module in (PAGE / "verify").glob("*.js"):
        source = module.read_text()
        assert 'from "node:' not in source
        assert "fetch(" not in source


def entry(folder: Path) -> Path:
    """A module that imports what the vectors and packs need, in a copy of the modules."""
    shutil.copytree(PAGE / "verify", folder / "verify")
    path = folder / "verify" / "all.js"
    path.write_text(
        'import { verifyPack } from "./pack.js";\n'
        'import { decodeAttestation } from "./wire.js";\n'
        'import { messageDigest } from "./digest.js";\n'
    )
    return path


def test_chromium_judges_like_node(browser: Chromium, packs: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    cases = (WEB / "test" / "conformance.js").read_text().replace("export ", "")
    script = link(entry(tmp_path), OFFERED)
    scripts = f"<script>{script}</script><script>{cases}</script>"
    page.write_text(f"<!DOCTYPE html><meta charset=utf-8><title>modules</title>{scripts}")
    with browser.tab() as tab:
        tab.open(page)
        for file in sorted((ROOT / "test" / "vectors").glob("*.json")):
            wrong = tab.run(
                f"""(async () => {{
                  const wrong = [];
                  for (const {{ kind, data, keys, mustFail }} of casesOf({file.read_text()})) {{
                    const outcome = await runCase(globalThis, kind, data, keys);
                    if (mustFail ? !outcome.startsWith("refused") : outcome !== "held") wrong.push([kind, data.name]);
                  }}
                  return wrong;
                }})()"""
            )
            assert wrong == []
        data = base64.b64encode((packs / "honest.ogpack").read_bytes()).decode()
        found = tab.run(f"verifyPack(fromBase64('{data}')).then(r => [r.holds, r.leaves, r.findings.length])")
        assert found[0] is True
        assert found[1] > 10
        assert found[2] == 0
