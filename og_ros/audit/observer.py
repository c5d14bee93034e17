"""Observer: who looks on while an audit runs, such as a report that collects plots and examples."""

from __future__ import annotations

from og_ros.audit.findings import Finding
from og_ros.audit.records import Inference


class Observer:
    """Told of an audit's progress in the order of arrival; override what you need.

    An audit streams: an inference's `sources` are cut some time after it was judged, so whoever wants to keep a chain
    copies what it needs of it in `decision`.
    """

    def inference(self, inference: Inference) -> None:
        """An attestation was read and checked; its inputs are not joined yet."""

    def judged(self, inference: Inference) -> None:
        """An inference was judged: its inputs are joined; `sources` are cut some time later."""

    def decision(self, inference: Inference) -> None:
        """A judged inference commands the robot; its chain is joined and its levels are known."""

    def finding(self, finding: Finding) -> None:
        """Something was found."""
