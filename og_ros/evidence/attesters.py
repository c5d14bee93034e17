"""The attesters that og_ros has, and which of them can make evidence on this machine."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Final

from og_ros.attest.signer import Signer
from og_ros.errors import EvidenceError
from og_ros.evidence.appraisal import Provenance
from og_ros.evidence.configfs_tsm import ConfigfsAttester
from og_ros.evidence.interface import Attester
from og_ros.evidence.nsm import NsmAttester
from og_ros.evidence.software import SoftwareAttester
from og_ros.evidence.tpm.attester import TpmQuoteAttester

# From the strongest to the weakest.
_PLATFORM: Final[dict[str, Callable[[], Attester]]] = {
    "aws-nitro": NsmAttester,
    "tdx": lambda: ConfigfsAttester("tdx"),
    "sev-snp": lambda: ConfigfsAttester("sev-snp"),
    "tpm2-quote": TpmQuoteAttester,
}
FORMATS: Final = (*_PLATFORM, "software")
GROUP: Final = "og_ros.evidence_attesters"
"""Entry point group of plug-ins: the name is the format; the object, called with the key's signer, is an Attester."""


def attester(signer: Signer, evidence_format: str = "") -> Attester:
    """Return the attester of a format for a key; none given: the strongest that is available here, at last `software`.

    Raises EvidenceError for a format that has no attester, or whose attester says why it cannot attest here.
    """
    if evidence_format == "software":
        return _software(signer)
    if evidence_format:
        chosen = _PLATFORM[evidence_format]() if evidence_format in _PLATFORM else _plug_in(signer, evidence_format)
        if problem := chosen.available():
            raise EvidenceError(f"no evidence of format {evidence_format} here: {problem}")
        return chosen
    found = (make() for make in _PLATFORM.values())
    return next((candidate for candidate in found if not candidate.available()), _software(signer))


def _plug_in(signer: Signer, evidence_format: str) -> Attester:
    found = {point.name: point for point in entry_points(group=GROUP)}
    if evidence_format not in found:
        known = ", ".join((*FORMATS, *found))
        raise EvidenceError(f"there is no attester for {evidence_format!a}; there are {known}")
    made: Attester = found[evidence_format].load()(signer)
    return made


def _software(signer: Signer) -> Attester:
    from og_ros.attest.signer import SoftwareSigner

    provenance = Provenance.SOFTWARE if isinstance(signer, SoftwareSigner) else Provenance.TOKEN
    return SoftwareAttester(signer, provenance)
