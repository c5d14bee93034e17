"""Sets up what a node needs to commit to messages: the robot's secret, and the side file for what is hidden."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from og_ros.attest import Session
from og_ros.attest.commitment import load_secret
from og_ros.attest.content_key import load_recipients
from og_ros.errors import ConfigError
from og_ros.nodes.attestation_publisher import Disclosing
from og_ros.nodes.side_file_writer import SideFileWriter


class SessionDisclosure:
    """A session's secret and its side files; `rules` is for AttestationPublisher. Without a key it does nothing."""

    def __init__(
        self,
        session: Session,
        report: Callable[[str, Exception | str], None],
        *,
        key: Path | None,
        directory: Path | None = None,
        recipients: Sequence[Path] = (),
        limit_mb: int = 1024,
    ) -> None:
        """Raises KeyFileError for the secret or a recipient's key, DisclosureError for the directory, ConfigError."""
        self.rules: Disclosing | None = None
        self._files: SideFileWriter | None = None
        if key is None:
            if directory is not None:
                raise ConfigError("disclosure_key is missing, which disclosure_directory needs")
            return
        secret = load_secret(key)
        if directory is not None:
            self._files = SideFileWriter(
                directory, session.stage, session.id, load_recipients(recipients), limit_mb * 10**6, report
            )
        self.rules = Disclosing(secret, self._files.write if self._files is not None else None)

    def close(self) -> str:
        """Write what is due, and return a sentence on what was kept; empty where nothing was to be."""
        if self._files is None:
            return ""
        self._files.close()
        lost = f", {self._files.dropped} lost" if self._files.dropped else ""
        return f"{self._files.written} records for later disclosure{lost}"
