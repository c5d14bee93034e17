"""The report page in a real browser: what it verifies, what it shows, and how it can be used."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import scenario
from chromium import Chromium, Tab
from report_runs import HEIGHT, WIDTH, pixel, real_run, write_page
from sourced import SOURCES, certify_sources, sign_sensors, source_keys

from og_ros.attest import Mode, SoftwareSigner, keys
from og_ros.audit.reports.summary import sign_summary
from og_ros.registry import RegistryWriter

AXE = Path(__file__).resolve().parents[2] / ".cache" / "axe" / "axe.min.js"


@contextmanager
def opened(browser: Chromium, page: Path, width: int = 1280, height: int = 900, **features: str) -> Iterator[Tab]:
    """Open a page and wait until it has checked itself; nothing may have been thrown."""
    with browser.tab(width, height, **features) as tab:
        tab.open(page)
        state = "document.documentElement.dataset.state"
        tab.wait(lambda: tab.run(state) in ("checked", "failed"), "the page to check itself")
        yield tab
        assert not tab.events("Runtime.exceptionThrown")


def banner(tab: Tab) -> str:
    return str(tab.run("document.getElementById('verification').innerText"))


def test_an_honest_run_is_verified(browser: Chromium, honest_page: Path) -> None:
    with opened(browser, honest_page) as tab:
        assert tab.run("document.documentElement.dataset.state") == "checked"
        assert "Verified in this browser: 72 records, 120 messages, 9 registry files, 72 log proofs" in banner(tab)
        assert tab.run("document.querySelector('h1').innerText") == "The recording holds"
        # Ed25519 (the stage control) and P-256 both.
        assert tab.run("document.querySelectorAll('#trust td').length") > 0
        assert "EdDSA" in tab.run("document.getElementById('trust').innerText")
        assert "ES256" in tab.run("document.getElementById('trust').innerText")


def test_it_asks_for_nothing_from_a_network(browser: Chromium, honest_page: Path) -> None:
    with opened(browser, honest_page) as tab:
        asked = [event["request"]["url"] for event in tab.events("Network.requestWillBeSent")]
        assert {url.partition(":")[0] for url in asked} == {"file"}
        assert len(asked) == 1
        blocked = tab.run("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
        assert blocked == "refused"
        assert any("Content Security Policy" in e["entry"]["text"] for e in tab.events("Log.entryAdded"))


def test_the_camera_frame_has_the_pixels_of_the_signed_bytes(browser: Chromium, honest_page: Path) -> None:
    with opened(browser, honest_page) as tab:
        tab.run("document.getElementById('decision-select').selectedIndex = 0")
        tab.run("document.getElementById('decision-select').dispatchEvent(new Event('change'))")
        script = "Array.from(document.querySelector('.glance canvas').getContext('2d').getImageData(0, 0, 16, 12).data)"
        data = tab.run(script)
        value = data[0]
        for y in range(HEIGHT):
            for x in range(WIDTH):
                at = 4 * (y * WIDTH + x)
                assert tuple(data[at : at + 3]) == pixel(value, x, y)
        assert tab.run("document.querySelectorAll('.polar').length") >= 1
        assert tab.run("document.querySelectorAll('.twist').length") >= 1
        assert tab.run("[...document.querySelectorAll('.glance .numbers td')].map(e => e.innerText)")[1] == "0.25"
        # Every record and message of the decision carries its mark.
        marks = tab.run("[...document.querySelectorAll('#decision .mark')].map(e => e.innerText.trim())")
        assert marks.count("verified") == 3
        assert marks.count("digest verified") >= 6
        assert "failed" not in marks


def test_what_the_audit_found_is_shown_and_told_from_damage(browser: Chromium, violated_page: Path) -> None:
    with opened(browser, violated_page) as tab:
        # The records do not hold, as the audit found: that is no damage of the page.
        assert tab.run("document.documentElement.dataset.state") == "checked"
        assert tab.run("document.querySelector('h1').innerText") == "The recording does not hold"
        assert "failed here as the audit says that they did" in banner(tab)
        known = tab.run("[...document.querySelectorAll('#verification details li')].map(e => e.textContent)")
        assert any("planning #5" in text and "does not match" in text for text in known)
        assert any("perception #9" in text and "no certificate" in text for text in known)
        rows = tab.run("[...document.querySelectorAll('#finding-rows tr')].map(e => e.innerText)")
        assert any("signature invalid" in row for row in rows)
        # Filter by kind and by text, then open the evidence of what is left.
        tab.run("document.getElementById('finding-kind').value = 'signature_invalid'")
        tab.run("document.getElementById('finding-kind').dispatchEvent(new Event('input'))")
        rows = tab.run("[...document.querySelectorAll('#finding-rows tr')].map(e => e.innerText)")
        assert len(rows) == 1
        tab.run("document.querySelector('#finding-rows button').click()")
        shown = tab.run("document.getElementById('decision').innerText")
        assert "Stage planning #5" in shown
        assert "does not hold, as the audit found" in shown
        assert tab.run("document.activeElement.id") == "decisions-heading"
        # A mark of the timeline opens what it stands for.
        marks = tab.run("[...document.querySelectorAll('.finding.violation')].map(e => e.getAttribute('aria-label'))")
        assert marks
        tab.run("document.querySelector('.finding.violation').dispatchEvent(new MouseEvent('click'))")
        assert tab.run("document.activeElement.id") == "findings-heading"
        assert tab.run("document.querySelectorAll('#finding-rows tr').length") >= 1


def test_a_regulation_profile_is_shown_without_a_claim(
    browser: Chromium, honest_page: Path, violated_page: Path
) -> None:
    with opened(browser, violated_page) as tab:
        said = tab.run("document.getElementById('profiles-section').innerText")
        assert "It makes no legal claim" in said
        assert "12(1) Record-keeping" in said
        assert tab.run("document.querySelectorAll('#profiles details li').length") > 8
    with opened(browser, honest_page) as tab:
        assert tab.run("document.getElementById('profiles-section').hidden") is True


def test_from_the_keyboard_to_a_camera_frame(browser: Chromium, honest_page: Path) -> None:
    with opened(browser, honest_page) as tab:

        def focus() -> str:
            return str(tab.run("document.activeElement.id || document.activeElement.textContent"))

        def tab_to(name: str) -> None:
            for _ in range(60):
                tab.press("Tab")
                if focus() == name:
                    return
            raise AssertionError(f"no way by keyboard to {name}")

        tab.press("Tab")
        assert focus() == "Skip to the verdict"
        tab_to("decision-select")
        before = tab.run("document.querySelector('#decision .lead').textContent")
        tab.press("ArrowDown")
        assert tab.run("document.querySelector('#decision .lead').textContent") != before
        tab_to("decision-later")
        tab.press("Enter")
        label = tab.run("document.querySelector('#decision canvas').getAttribute('aria-label')")
        assert label == "Camera frame of /camera/image, 16 by 12 pixels"
        tab_to("timeline")
        tab.press("+", "+")
        assert tab.run("document.getElementById('time-whole').disabled") is False
        tab.press("ArrowRight")
        tab.press("Home")
        assert tab.run("document.getElementById('time-whole').disabled") is True


@pytest.mark.parametrize("width", [360, 768])
def test_a_narrow_screen_scrolls_in_one_direction_only(
    browser: Chromium, honest_page: Path, violated_page: Path, width: int
) -> None:
    for page in (honest_page, violated_page):
        with opened(browser, page, width, 780) as tab:
            assert tab.run("document.documentElement.scrollWidth") <= width
            wide = tab.run(
                "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, .numbers, .hex, .skip')"
                " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
            )
            assert wide == []


def test_evidence_of_keys_is_shown_with_what_was_not_checked(
    browser: Chromium, honest_page: Path, violated_page: Path
) -> None:
    with opened(browser, violated_page) as tab:
        shown = tab.run("document.getElementById('environments').innerText")
        assert "software key" in shown
        assert "Not checked: where the key lives" in shown
    with opened(browser, honest_page) as tab:
        assert tab.run("document.getElementById('environments-section').hidden") is True


def test_it_prints(browser: Chromium, violated_page: Path) -> None:
    with opened(browser, violated_page) as tab:
        data = tab.pdf()
        assert data.startswith(b"%PDF")
        assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") + data.count(b"/Type/Page") >= 2


def test_without_scripts_the_verdict_stands_and_says_that_nothing_was_verified(
    browser: Chromium, violated_page: Path
) -> None:
    with browser.tab() as tab:
        tab.call("Emulation.setScriptExecutionDisabled", value=True)
        tab.open(violated_page)
        text = tab.run("document.body.innerText")
        assert "The recording does not hold" in text
        assert "Not verified by this browser." in text
        assert "signature_invalid" in text


def test_what_a_robot_calls_things_is_never_run(
    browser: Chromium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = "/cmd</script><script>window.hit=1</script><img src=x onerror=window.hit=2>{{script}}"
    monkeypatch.setitem(scenario.STAGES, "control", (("/planning/reference", "/odom"), hostile))
    monkeypatch.setitem(scenario.TYPES, hostile, "<b onclick=window.hit=3>'\"&amp;</b>")
    run = real_run(monkeypatch, 6)
    run.records = [r for r in run.records if r.topic != hostile]  # no storage takes a type of that name
    run.resign(run.of_stage("planning")[2][0], node="/<svg onload=window.hit=4>", start_ns=5)
    page = write_page(run, tmp_path)
    with opened(browser, page) as tab:
        assert tab.run("window.hit") is None
        assert tab.run("document.querySelectorAll('main img, main script, main b[onclick]').length") == 0
        assert hostile in tab.run("document.body.textContent")
        assert "Verified" in banner(tab)


@pytest.mark.parametrize("signed_by", ["auditor", "nobody known", "another report"])
def test_the_auditors_signature(browser: Chromium, tmp_path: Path, signed_by: str) -> None:
    auditor = SoftwareSigner(keys.generate())

    def certify(writer: RegistryWriter, run: scenario.Run) -> None:
        scenario.certify_all(writer, run)
        if signed_by != "nobody known":
            writer.certify_key(auditor.public_key, role="auditor", vendor="test", not_before_ns=10**9)

    def summary(report: dict[str, object]) -> bytes:
        about = {**report, "holds": False} if signed_by == "another report" else report
        return sign_summary(about, {"bag.mcap": bytes(32)}, auditor, verified_at_ns=time.time_ns())

    with pytest.MonkeyPatch.context() as patch:
        page = write_page(real_run(patch, 4), tmp_path, certify=certify, summary=summary)
    with opened(browser, page) as tab:
        said = banner(tab)
        expected = {
            "auditor": f"is signed by the auditor's key {auditor.key_id.hex()[:16]}, certified by",
            "nobody known": "The auditor's signature of the report was not checked: the key",
            "another report": "The auditor's signature of the report does not hold: it is about another report",
        }
        assert expected[signed_by] in said
        assert ("does not hold" in said) == (signed_by == "another report")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(browser: Chromium, violated_page: Path, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not here; `make web-deps` fetches it")
    width = 1280 if scheme == "light" else 360
    with opened(browser, violated_page, width, prefers_color_scheme=scheme) as tab:
        tab.call("Runtime.evaluate", expression=AXE.read_text())
        found = json.loads(tab.run("axe.run().then(r => JSON.stringify(r.violations))"))
        assert [(v["id"], [node["html"][:120] for node in v["nodes"][:3]]) for v in found] == []


def test_it_draws_itself_on_a_desktop_and_a_phone(browser: Chromium, honest_page: Path, tmp_path: Path) -> None:
    """Whether it looks good, people say: OG_ROS_SCREENSHOTS names a folder to keep the pictures in."""
    folder = Path(os.environ.get("OG_ROS_SCREENSHOTS", tmp_path))
    for name, width in (("desktop", 1280), ("phone", 360)):
        with opened(browser, honest_page, width) as tab:
            data = tab.screenshot(whole=True)
            (folder / f"report_{name}.png").write_bytes(data)
            assert data.startswith(b"\x89PNG")
            assert len(data) > 20_000


def test_sources_and_witnesses_are_verified(browser: Chromium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records without inputs, by keys certified for their topics, and records of who only looked on."""
    run = real_run(monkeypatch, 8)
    signers, witness = source_keys(), SoftwareSigner(keys.generate())
    run.records = sign_sensors(run.records, signers)
    run.signers |= {SOURCES[topic]: signer for topic, signer in signers.items()} | {"planning": witness}
    previous = bytes(32)
    for place, attestation in run.of_stage("planning"):
        model = dataclasses.replace(attestation.statement.model, digest=bytes(32))
        run.resign(
            place, previous=previous, key_id=witness.key_id, algorithm=witness.algorithm, model=model,
            mode_requested=Mode.OBSERVED, mode_used=Mode.OBSERVED,
        )  # fmt: skip
        previous = dict(run.of_stage("planning"))[place].digest

    def certify(writer: RegistryWriter, run: scenario.Run) -> None:
        scenario.certify_all(writer, dataclasses.replace(run, signers={**run.signers, "planning": planner}))
        certify_sources(writer, signers)
        writer.certify_key(witness.public_key, role="observer", robot="demo", stage="planning", not_before_ns=10**9)

    planner = SoftwareSigner(keys.generate())
    with opened(browser, write_page(run, tmp_path, certify=certify)) as tab:
        assert tab.run("document.documentElement.dataset.state") == "checked"
        assert "Verified in this browser: 48 records" in banner(tab), banner(tab)
        assert "failed" not in banner(tab)
        assert tab.run("document.querySelector('h1').innerText") == "The recording holds"
