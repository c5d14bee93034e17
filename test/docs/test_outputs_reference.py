"""The reference of audit outputs says what the code does: profiles, summaries, families of findings."""

from __future__ import annotations

import re
from dataclasses import fields

from doc_pages import ROOT

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.families import FAMILIES, FAMILY_OF
from og_ros.audit.findings import KINDS
from og_ros.audit.reports.regulation import Clause, Profile, Strength, builtin_profiles
from og_ros.audit.reports.summary import EXTENSION, _audit, sign_summary, verify_summary

REFERENCE = ROOT / "docs" / "reference"


def names(page: str) -> list[str]:
    """Return the names in the first cells of a page's tables."""
    cells = re.findall(r"^\| (`[^|]*) \|", (REFERENCE / page).read_text(), re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_fields_of_the_profile_page() -> None:
    described = names("profile.md")
    known = [f.name for kind in (Profile, Clause) for f in fields(kind) if f.name != "digest"]
    assert set(known) <= set(described)
    text = (REFERENCE / "profile.md").read_text()
    for strength in Strength:
        assert f"| {strength.name.lower()} | {strength.meaning} |" in text
    for name in builtin_profiles():
        assert f"`{name}`" in text


def test_fields_of_the_summary_page() -> None:
    from audit_reports import report

    signer = SoftwareSigner(keys.generate())
    of = report("holds")
    summary = verify_summary(
        sign_summary(of, {"metadata.yaml": bytes(32)}, signer, verified_at_ns=10**18), signer.public_key, now_ns=10**18
    )
    described = names("summary.md")
    assert EXTENSION in described
    assert set(summary.audit) == set(_audit(of)) == set(described[described.index("recording") :])


def test_families_are_those_of_the_page() -> None:
    text = (REFERENCE / "report.md").read_text()
    assert f"Families of kinds: {', '.join(FAMILIES)}." in text
    assert FAMILY_OF.keys() == KINDS.keys()
    assert set(FAMILY_OF.values()) == set(FAMILIES)
