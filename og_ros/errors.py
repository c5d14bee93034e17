"""The one error family of og_ros: every error names the thing and says what to do about it."""

from __future__ import annotations


class OgError(Exception):
    """Base of every error that og_ros raises on purpose; a command prints it as one line and exits 2."""


class AttestationError(OgError):
    """A record that is malformed, out of bounds, or cannot be encoded."""


class KeyFileError(OgError):
    """A key file that is missing, unreadable, readable by others, or of another kind."""


class SignatureError(AttestationError):
    """A signature that does not verify; the message says why."""


class SealError(AttestationError):
    """Sealed data that was altered, or that the key at hand does not open; the message says which."""


class DisclosureError(OgError):
    """A side file or a disclosure file that cannot be read; the message names the file."""


class EvidenceError(OgError):
    """Evidence that cannot be made, read, or appraised; the message names the format and what was wrong."""


class RegistryError(OgError):
    """A registry that is missing, malformed, or whose signatures do not hold."""


class LogError(OgError):
    """A log, checkpoint or proof that is malformed or does not hold."""


class SignatureMissing(LogError):
    """A checkpoint without a signature that its log makes, as when somebody took it off."""


class KeyChangeError(LogError):
    """A log whose keys changed without a record in it that the keys before signed."""


class BagError(OgError):
    """A recording that cannot be read; the message names the file."""


class ReportError(OgError):
    """A saved audit report, or a summary of one, that cannot be read or is malformed; the message names the field."""


class SummaryRejected(ReportError):
    """A verification summary that does not hold: its signature, its signer, or what it is held against."""


class PackError(OgError):
    """An evidence pack that cannot be written or read, or that is not safe to open; the message names the entry."""


class PolicyError(OgError):
    """A policy file that is malformed; the message names the line."""


class ModelError(OgError):
    """A model file that cannot be loaded or that does not fit its adapter."""


class ConfigError(OgError):
    """A stage, node or pipeline configuration that is wrong; the message names the field."""


class EnvelopeError(OgError):
    """A physical envelope that is malformed, not signed by whom it must be, or wider than its parent."""


class StopError(OgError):
    """An emergency stop or release that is malformed, or that the gate does not take; the message says why."""


class SettlementError(OgError):
    """A checkpoint that a backend does not take, or a receipt that is malformed or does not hold; says why."""


class BackendUnreachable(SettlementError):
    """A backend that does not answer, or whose answer makes no sense: to be tried again later."""
