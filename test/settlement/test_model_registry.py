"""ModelRegistry on a real node: one test a rule, each with what breaks it."""

from __future__ import annotations

from typing import Any

import pytest
from evm_contracts import Contract, later
from settlement_place import Place

from og_ros.errors import SettlementError
from og_ros.settlement import contracts, deploy

DIGEST, OTHER = b"\1" * 32, b"\2" * 32
NONE = bytes(32)


@pytest.fixture
def models(bare: Place) -> Contract:
    return Contract(bare.node.rpc, contracts.MODEL_REGISTRY, deploy.deploy_models(bare.node.rpc, bare.owner))


def certify(models: Contract, place: Place, sender: Any = None, **changed: Any) -> None:
    fields = {
        "name": "line", "version": "1.0", "digest": DIGEST, "processing": NONE, "parameters": NONE, "stages": "",
        "expires_at": 0, **changed,
    }  # fmt: skip
    models.send(sender or place.owner, "certify", *fields.values())


def test_a_model_is_certified_under_its_name_version_and_digest(bare: Place, models: Contract) -> None:
    certify(models, bare, processing=b"\3" * 32, parameters=b"\4" * 32, stages="perception,control")
    assert models.ask("is_certified", "line", "1.0", DIGEST)
    for name, version, digest in (("line", "1.0", OTHER), ("line", "1.1", DIGEST), ("lin", "e1.0", DIGEST)):
        assert not models.ask("is_certified", name, version, digest)
    assert not models.ask("is_certified", "unknown", "1", NONE)
    digest, certifier, at, expires_at, *rest = models.ask("models", models.ask("model_id", "line", "1.0"))
    assert (digest, certifier, at, expires_at) == (DIGEST, bare.owner.address, bare.now(), 0)
    assert rest == [b"\3" * 32, b"\4" * 32, "perception,control"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"name": ""}, "no name"),
        ({"version": ""}, "no name"),
        ({"digest": NONE}, "no digest"),
        ({"name": "l\u0456ne"}, "bad character"),
        ({"name": "li ne"}, "bad character"),
        ({"name": "line@1"}, "bad character"),
        ({"version": "1\n"}, "bad character"),
        ({"stages": "control;drop"}, "bad character"),
        ({"expires_at": 1}, "bad expiry"),
        ({"expires_at": 2**40}, "bad expiry"),
    ],
    ids=["name", "version", "digest", "cyrillic", "blank", "at", "line", "stages", "past", "far"],
)
def test_a_certificate_is_refused(bare: Place, models: Contract, changed: dict[str, Any], why: str) -> None:
    with pytest.raises(SettlementError, match=why):
        certify(models, bare, **changed)


def test_no_certificate_is_replaced_nor_imitated(bare: Place, models: Contract) -> None:
    certify(models, bare)
    for name, version in (("line", "1.0"), ("LINE", "1.0"), ("Line", "1.0")):
        with pytest.raises(SettlementError, match="certified already"):
            certify(models, bare, name=name, version=version, digest=OTHER)
    certify(models, bare, version="1.1", digest=OTHER)
    assert models.ask("is_certified", "line", "1.0", DIGEST)


def test_a_certificate_expires(bare: Place, models: Contract) -> None:
    certify(models, bare, expires_at=bare.now() + 1000)
    assert models.ask("is_certified", "line", "1.0", DIGEST)
    later(bare, 2000)
    assert not models.ask("is_certified", "line", "1.0", DIGEST)


def test_who_certifies_and_who_revokes(bare: Place, models: Contract) -> None:
    with pytest.raises(SettlementError, match="not a certifier"):
        certify(models, bare, bare.stranger)
    with pytest.raises(SettlementError, match="not the owner"):
        models.send(bare.stranger, "set_certifier", bare.stranger.address, True)
    certify(models, bare)
    with pytest.raises(SettlementError, match="neither certifier nor owner"):
        models.send(bare.stranger, "revoke", DIGEST, 0, "no")
    models.send(bare.owner, "set_certifier", bare.stranger.address, True)
    models.send(bare.owner, "set_certifier", bare.owner.address, False)
    with pytest.raises(SettlementError, match="not a certifier"):
        certify(models, bare, version="2")
    models.send(bare.stranger, "revoke", DIGEST, 0, "unsafe")
    assert not models.ask("is_certified", "line", "1.0", DIGEST)


def test_a_digest_is_revoked_for_good_and_only_from_the_past_on(bare: Place, models: Contract) -> None:
    certify(models, bare)
    with pytest.raises(SettlementError, match="in the future"):
        models.send(bare.owner, "revoke", DIGEST, bare.now() + 1000, "")
    now = bare.now()
    models.send(bare.owner, "revoke", DIGEST, now, "")
    for since in (0, now):
        with pytest.raises(SettlementError, match="revoked already"):
            models.send(bare.owner, "revoke", DIGEST, since, "")
    models.send(bare.owner, "revoke", DIGEST, now - 500, "older than thought")
    assert models.ask("revoked_since", DIGEST) == now - 500
    with pytest.raises(SettlementError, match="revoked"):
        certify(models, bare, version="2")
    with pytest.raises(SettlementError, match="no digest"):
        models.send(bare.owner, "revoke", NONE, 0, "")


def test_ownership_of_the_models_goes_in_two_steps(bare: Place, models: Contract) -> None:
    with pytest.raises(SettlementError, match="not the owner"):
        models.send(bare.stranger, "offer_ownership", bare.stranger.address)
    models.send(bare.owner, "offer_ownership", bare.stranger.address)
    with pytest.raises(SettlementError, match="not the pending owner"):
        models.send(bare.operator, "take_ownership")
    assert models.ask("owner") == bare.owner.address
    models.send(bare.stranger, "take_ownership")
    assert models.ask("owner") == bare.stranger.address
