"""The configuration of an enrolment service, in YAML: whom it enrols, and which makers of TPMs it trusts.

    robots:
      amr-1: {certificate: "<SHA-256 of its endorsement certificate>"}
      amr-2: {token: "<SHA-256 of the token that it shows>"}
    roots: {infineon: roots/infineon.pem}
    intermediates: [roots/infineon-ca-042.pem]
    test_roots: []
    validity_days: 365
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from og_ros.errors import ConfigError
from og_ros.evidence.tpm.enrolment_desk import Admission, DeskRules

_MAX_SIZE: Final = 1 << 20
_FIELDS: Final = ("robots", "roots", "intermediates", "test_roots", "validity_days")
_ADMISSION: Final = ("certificate", "token")


def load_rules(path: Path) -> DeskRules:
    """Read the file; certificates (PEM) are relative to it. Raises ConfigError, naming the field."""
    try:
        data = path.read_bytes()
        tree = yaml.safe_load(data[:_MAX_SIZE])
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    section = _mapping(tree, str(path), _FIELDS)
    known, trusted = (_mapping(section.get(name), name) for name in ("robots", "roots"))
    robots = {name: _admission(item, f"robots.{name}") for name, item in known.items()}
    roots = {name: _certificate(path.parent, item, f"roots.{name}") for name, item in trusted.items()}
    days = section.get("validity_days", 365)
    if type(days) not in (int, float) or not 0 < days <= 36_500:
        raise ConfigError(f"validity_days is {days!r}; it must be a number of days up to 36500")
    tests = _list(section.get("test_roots"), "test_roots")
    if unknown := [name for name in tests if name not in roots]:
        raise ConfigError(f"test_roots: {unknown[0]!r} is none of the roots")
    if not robots or not roots:
        raise ConfigError(f"{path}: robots and roots must each name one or more")
    return DeskRules(
        robots=robots,
        roots=roots,
        test_roots=frozenset(tests),
        intermediates=[
            _certificate(path.parent, item, "intermediates")
            for item in _list(section.get("intermediates"), "intermediates")
        ],
        validity_s=days * 86_400.0,
    )


def _mapping(value: Any, what: str, known: tuple[str, ...] = ()) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{what} must be a mapping of names")
    if known and (unknown := [name for name in value if name not in known]):
        raise ConfigError(f"{what}: {unknown[0][:40]!r} is not known; known here: {', '.join(known)}")
    return value


def _list(value: Any, what: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{what} must be a list of texts")
    return value


def _admission(value: Any, what: str) -> Admission:
    found = {}
    for name, text in _mapping(value, what, _ADMISSION).items():
        try:
            found[name] = bytes.fromhex(text) if isinstance(text, str) else b""
        except ValueError:
            found[name] = b""
        if len(found[name]) != 32:
            raise ConfigError(f"{what}.{name} is not 64 hex digits in quotes: a SHA-256")
    if not found:
        raise ConfigError(f"{what} must have a certificate, a token, or both")
    return Admission(**found)


def _certificate(base: Path, value: Any, what: str) -> bytes:
    if not isinstance(value, str):
        raise ConfigError(f"{what} must be the path of a certificate in PEM")
    try:
        return x509.load_pem_x509_certificate((base / value).read_bytes()).public_bytes(Encoding.DER)
    except OSError as error:
        raise ConfigError(f"{what}: cannot read {value}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{what}: {value} is no certificate in PEM") from error
