"""The page's verification modules against the published vectors: they accept and refuse what og_ros does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, Tab

from og_ros.audit.reports.page_source import PAGE, link

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "attestation_v1.json").read_text())
OFFERED = ("fromHex", "toHex", "decodeCose", "readPem", "verifyAttestation", "messageDigest")


@pytest.fixture(scope="module")
def tab(browser: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A page that has the modules in its global scope."""
    page = tmp_path_factory.mktemp("modules") / "page.html"
    script = link(PAGE / "ui" / "checks.js", OFFERED)  # what imports every module of verify/
    page.write_text(f"<!DOCTYPE html><meta charset=utf-8><title>modules</title><script>{script}</script>")
    with browser.tab() as opened:
        opened.open(page)
        yield opened


def verified(tab: Tab, cose: str, algorithm: str) -> str:
    """Return the digest of an attestation that holds under a vector's key, or why it does not."""
    pem = VECTORS["keys"][algorithm]["public_key"]
    return str(
        tab.run(
            f"""(async () => {{
              try {{
                const attestation = await decodeCose(fromHex({json.dumps(cose)}));
                await verifyAttestation(attestation, await readPem({json.dumps(pem)}));
                return toHex(attestation.digest);
              }} catch (error) {{
                if (error.name !== "VerifyError") throw error;
                return "refused: " + error.message;
              }}
            }})()"""
        )
    )


@pytest.mark.parametrize("vector", VECTORS["attestations"], ids=lambda vector: vector["name"])
def test_accepts(tab: Tab, vector: dict[str, str]) -> None:
    assert verified(tab, vector["cose"], vector["algorithm"]) == vector["digest"]
    signed = tab.run(f"decodeCose(fromHex({json.dumps(vector['cose'])})).then(a => toHex(a.signedBytes))")
    assert signed == vector["sig_structure"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_refuses(tab: Tab, vector: dict[str, str]) -> None:
    assert verified(tab, vector["cose"], vector["public_key"]).startswith("refused: ")


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda vector: vector["name"])
def test_digest_rule(tab: Tab, vector: dict[str, str]) -> None:
    assert tab.run(f"messageDigest(fromHex({json.dumps(vector['payload'])})).then(toHex)") == vector["sha256"]


@pytest.mark.parametrize("algorithm", ["ES256", "EDDSA"])
def test_every_byte_of_a_record_counts(tab: Tab, algorithm: str) -> None:
    vector = next(v for v in VECTORS["attestations"] if v["algorithm"] == algorithm)
    survived = tab.run(
        f"""(async () => {{
          const key = await readPem({json.dumps(VECTORS["keys"][algorithm]["public_key"])});
          const survived = [];
          const whole = fromHex({json.dumps(vector["cose"])});
          for (let i = 0; i < whole.length; i++) {{
            const edited = whole.slice();
            edited[i] ^= 1;
            try {{
              await verifyAttestation(await decodeCose(edited), key);
              survived.push(i);
            }} catch (error) {{
              if (error.name !== "VerifyError") throw error;
            }}
          }}
          return survived;
        }})()"""
    )
    assert survived == []
