"""The vendors' roots that og_ros brings along, and which of a policy's roots are trusted."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from og_ros.errors import EvidenceError
from og_ros.evidence.appraisal import Tier
from og_ros.evidence.certificate_chain import to_der
from og_ros.evidence.interface import AppraisalPolicy

_FOLDER: Final = Path(__file__).with_name("roots")
# SHA-256 of each root's DER: the file is data, the pin is code.
_PINS: Final = {
    "aws-nitro": "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b",
    "amd-milan": "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
    "amd-genoa": "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
    "amd-turin": "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
}


@cache
def builtin(name: str) -> bytes:
    """Return a vendor's root as DER; raises EvidenceError when its file is not the one that is pinned here."""
    der = to_der((_FOLDER / f"{name}.pem").read_bytes())
    if sha256(der).hexdigest() != _PINS[name]:
        raise EvidenceError(f"the root {name} that came with og_ros was altered; install og_ros again")
    return der


def trusted(policy: AppraisalPolicy, *names: str) -> dict[str, bytes]:
    """Return the roots to try, by name: the policy's where it has any, else the built-in ones of these names."""
    return dict(policy.roots) if policy.roots else {name: builtin(name) for name in names}


def cap_of(policy: AppraisalPolicy, name: str) -> Tier:
    """Return the best that evidence under a root may be: WARNING for a test root."""
    return Tier.WARNING if name in policy.test_roots else Tier.AFFIRMING
