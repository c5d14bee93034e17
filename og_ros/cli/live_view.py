"""Shows the auditor's live status on standard error while the demo drives."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

# ChainStatus.state, in words.
_STATES: Final = {
    0: ("no attestation yet", "dim"),
    1: ("holds", "green"),
    2: ("degraded", "yellow"),
    3: ("VIOLATED", "bold red"),
}
_LINE_PERIOD_S: Final = 5.0
_SPIN_S: Final = 0.1


class LiveView:
    """Subscribes to /auditor/status; a table that renews itself on a terminal, a line now and then elsewhere."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._status: Any = None
        self._line_at = time.monotonic()

    def __enter__(self) -> LiveView:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        from og_ros.msg import ChainStatus

        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("og_ros_demo", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._node.create_subscription(ChainStatus, "/auditor/status", self._take, 10)
        self._console.print("Starting the ROS nodes ...")
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import rclpy

        if self._console.is_terminal:
            self._live.stop()
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def update(self, remaining: float, driving: bool) -> None:
        """Hear what is new, for a tenth of a second, and show it."""
        self._executor.spin_once(timeout_sec=_SPIN_S)
        if self._status is None:
            return
        if self._console.is_terminal:
            self._live.update(self._table(remaining, driving), refresh=True)
        elif time.monotonic() - self._line_at >= _LINE_PERIOD_S:
            self._line_at = time.monotonic()
            self._console.print(self._summary(remaining, driving), soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        """Show a line that stays, above what renews itself."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def _take(self, status: Any) -> None:
        self._status = status

    def _summary(self, remaining: float, driving: bool) -> Text:
        status = self._status
        word, style = _STATES.get(status.state, ("?", "dim"))
        when = f"{self._seconds - remaining:5.1f} s" if driving else "       "
        latency = "" if status.chain_latency_ms != status.chain_latency_ms else f", {status.chain_latency_ms:.0f} ms"
        return Text.assemble(
            f"{when}  chain ",
            (word, style),
            f": {status.attestations} attestations, {status.linked}/{status.decisions} decisions linked{latency}, "
            f"{status.violations} violations, log {status.log_size} leaves",
        )

    def _table(self, remaining: float, driving: bool) -> Group:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("stage", "model", "key", "sequence", "rate", "inference"):
            table.add_column(name, justify="right" if name in ("sequence", "rate", "inference") else "left")
        for stage in self._status.stages:
            table.add_row(
                Text(stage.stage),
                Text(stage.model),
                bytes(stage.key_id).hex()[:8],
                str(stage.sequence),
                f"{stage.rate:.0f}/s",
                "" if stage.latency_ms != stage.latency_ms else f"{stage.latency_ms:.2f} ms",
            )
        findings = [
            Text(f"{finding.kind}: {finding.message}", style="red" if finding.severity == 2 else "yellow")
            for finding in self._status.recent[:3]
        ]
        return Group(self._summary(remaining, driving), table, *findings)
