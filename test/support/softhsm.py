"""A PKCS#11 token in software (SoftHSM): a token of our own in a directory of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so")
TOKEN, PIN = "robot7", "5678"


def missing() -> str:
    """Why there is no SoftHSM here; empty when there is."""
    try:
        import pkcs11  # noqa: F401
    except ImportError:
        return "python-pkcs11 is not installed"
    if shutil.which("softhsm2-util") is None or module() is None:
        return "SoftHSM (softhsm2) is not installed"
    return ""


def module() -> str | None:
    return next((path for path in MODULES if Path(path).exists()), None)


def environment(folder: Path) -> dict[str, str]:
    """Make a token in a folder; returns what a process needs in its environment."""
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    found = {"SOFTHSM2_CONF": str(config), "OG_ROS_PKCS11_PIN": PIN, "OG_ROS_PKCS11_MODULE": str(module())}
    command = ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--so-pin", "1234", "--pin", PIN]
    subprocess.run(command, env={**os.environ, **found}, check=True, capture_output=True, timeout=60)
    return found


def generate(session: Any, label: str, number: int, curve: str = "secp256r1") -> None:
    """Make a key pair in the token, through a session that may write."""
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    parameters = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
    domain = session.create_domain_parameters(pkcs11.KeyType.EC, parameters, local=True)
    domain.generate_keypair(store=True, label=label, id=bytes([number]))
