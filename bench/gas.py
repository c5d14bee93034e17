"""Measures what each call of the contracts costs in gas, on anvil: bench/gas.py [--write] prints, or updates the pages.

The pages hold each figure behind a mark, <!-- gas NAME -->; a test measures again and compares.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test" / "support"))

from anvil import KEYS, Anvil  # noqa: E402
from gas_table import measure  # noqa: E402
from settlement_place import ROBOT, Place  # noqa: E402

from og_ros.attest import SoftwareSigner, keys  # noqa: E402
from og_ros.settlement import deploy  # noqa: E402
from og_ros.settlement.account import Account  # noqa: E402

PAGES = tuple(ROOT / "docs" / "reference" / name for name in ("settlement.md", "contracts.md"))


def main() -> int:
    node = Anvil()
    try:
        owner, operator, stranger = (Account(bytes.fromhex(key)) for key in KEYS)
        registry, contract = deploy.deploy(node.rpc, owner)
        place = Place(node, registry, contract, owner, operator, stranger, SoftwareSigner(keys.generate()))
        deploy.propose(node.rpc, operator, registry, ROBOT, place.signer, vendor="maker")
        until = place.now() + 90_000_000
        deploy.approve(node.rpc, owner, registry, place.signer.key_id, until, unsigned_allowed=True)
        used = measure(place)
    finally:
        node.stop()
    for name, gas in used.items():
        print(f"{name:<24} {gas:>10,}")
    if "--write" in sys.argv[1:]:
        for page in PAGES:
            text = re.sub(
                r"<!-- gas ([A-Za-z ]+) -->[0-9,]*", lambda m: f"<!-- gas {m[1]} -->{used[m[1]]:,}", page.read_text()
            )
            page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
