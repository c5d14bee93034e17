"""The account that pays for settling: an Ethereum key from a keystore file or the environment, not from parameters."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from og_ros.attest.keys import read_owner_only, write_owner_only
from og_ros.errors import ConfigError, KeyFileError, SettlementError

_RECURSION: Final = sys.getrecursionlimit()
try:
    from eth_account import Account as EthAccount
except ImportError as error:
    raise ConfigError(f"settling on a chain needs og_ros[evm], which is not installed ({error})") from error
finally:
    # py_ecc, which it imports, sets this to 100,000: JSON from outside that is deep enough would then end the process.
    sys.setrecursionlimit(_RECURSION)

KEY_VARIABLE: Final = "OG_ROS_SETTLEMENT_KEY"
PASSWORD_VARIABLE: Final = "OG_ROS_KEYSTORE_PASSWORD"


class Account:
    """A secp256k1 key that signs transactions; its `address` is in lower case."""

    def __init__(self, private_key: bytes) -> None:
        try:
            self._account = EthAccount.from_key(private_key)
        except Exception as error:  # eth-keys raises its own, and coincurve ValueError; neither may show the key
            raise KeyFileError("the account's key is no secp256k1 private key of 32 bytes") from error
        self.address: str = self._account.address.lower()

    def sign(self, transaction: dict[str, Any]) -> tuple[bytes, bytes]:
        """Sign a transaction; its bytes and its hash."""
        signed = self._account.sign_transaction(transaction)
        return bytes(signed.raw_transaction), bytes(signed.hash)

    def sign_typed(self, domain: dict[str, Any], types: dict[str, Any], message: dict[str, Any]) -> bytes:
        """Sign typed data (EIP-712): 65 bytes r, s, v. Raises SettlementError for data that does not fit its types."""
        try:
            return bytes(self._account.sign_typed_data(domain, types, message).signature)
        except Exception as error:  # eth-account raises several families
            raise SettlementError(f"cannot sign: {error}") from error


def load(keystore: Path | None) -> Account:
    """Load the account from a keystore file (Web3 Secret Storage v3), its password from OG_ROS_KEYSTORE_PASSWORD; or,
    without a file, from OG_ROS_SETTLEMENT_KEY (hex).

    Raises KeyFileError for a file that others can read, a wrong password, a malformed key.
    """
    if keystore is None:
        text = os.environ.get(KEY_VARIABLE, "")
        if not text:
            raise KeyFileError(f"no account: name a keystore file in the configuration, or set {KEY_VARIABLE}")
        try:
            return Account(bytes.fromhex(text.removeprefix("0x")))
        except ValueError as error:
            raise KeyFileError(f"{KEY_VARIABLE} is not hex") from error
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None:
        raise KeyFileError(f"{keystore} needs its password: set {PASSWORD_VARIABLE}")
    data = read_owner_only(keystore)
    try:
        return Account(bytes(EthAccount.decrypt(json.loads(data), password)))
    except KeyFileError:
        raise
    except Exception as error:  # eth-keyfile: ValueError, KeyError, TypeError, NotImplementedError …
        raise KeyFileError(f"{keystore} is no keystore, or its password is another: {error}") from error


def create(keystore: Path, password: str, private_key: bytes | None = None) -> Account:
    """Make a keystore file (mode 0600) with a new key, or with the one given. Raises KeyFileError."""
    key = private_key if private_key is not None else bytes(EthAccount.create().key)
    account = Account(key)
    write_owner_only(json.dumps(EthAccount.encrypt(key, password)).encode(), keystore)
    return account
