"""A registry answers as it was written: certificates by key id, digest and name, and their status at a time."""

from __future__ import annotations

import dataclasses

import pytest
from made_registry import DIGEST, T0, Made

from og_ros.attest.statement import Algorithm
from og_ros.errors import RegistryError
from og_ros.registry import ROLES, Registry, RegistryWriter, Status, entry


def test_a_certified_key_is_found_by_its_id_with_all_that_was_certified(made: Made) -> None:
    key = made.open().key(made.key.key_id)
    assert key is not None
    assert (key.robot, key.stage, key.role, key.certifier) == ("robot-7", "perception", "stage", "acme")
    assert key.algorithm == Algorithm.ES256
    assert key.public_key.public_numbers() == made.key.public_key.public_numbers()  # type: ignore[union-attr]
    assert made.open().key(bytes(32)) is None


def test_a_certified_model_is_found_by_its_digest_and_by_name_and_version(made: Made) -> None:
    registry = made.open()
    (model,) = registry.models_with(DIGEST)
    assert model == registry.model("line", "1.0") == registry.models[0]
    assert model.allows_stage("perception")
    assert not model.allows_stage("control")
    assert registry.models_with(bytes(32)) == ()
    assert registry.model("line", "1.1") is None


def test_one_digest_may_be_certified_under_several_names(made: Made) -> None:
    with RegistryWriter.open(made.directory, made.authority) as writer:
        other = writer.certify_model("vendor/line+fp16", "1.0", DIGEST)
    assert {m.name for m in made.open().models_with(DIGEST)} == {"line", "vendor/line+fp16"}
    assert other.allows_stage("anything")


@pytest.mark.parametrize(
    ("at_ns", "status"),
    [
        (0, Status.NOT_YET_VALID),
        (T0 - 1, Status.NOT_YET_VALID),
        (T0, Status.VALID),
        (T0 + 100, Status.VALID),
        (T0 + 101, Status.EXPIRED),
    ],
)
def test_validity_includes_both_its_ends(made: Made, at_ns: int, status: Status) -> None:
    key = made.open().key(made.key.key_id)
    assert key is not None
    assert key.status(at_ns) is status
    assert made.open().models[0].status(at_ns) is status


def test_what_was_signed_before_the_revocation_stays_valid(made: Made) -> None:
    key = made.open().key(made.revoked.key_id)
    assert key is not None
    assert key.status(T0 + 49) is Status.VALID
    assert key.status(T0 + 50) is Status.REVOKED
    assert (key.revoked_at_ns, key.revocation_reason) == (T0 + 50, "stolen")


def test_a_revocation_counts_even_before_validity_and_after_expiry(made: Made) -> None:
    with RegistryWriter.open(made.directory, made.authority) as writer:
        writer.revoke_model(DIGEST, "backdoor", at_ns=T0 - 10)
    model = made.open().models[0]
    assert [model.status(T0 - 11), model.status(T0 - 10), model.status(T0 + 999)] == [
        Status.NOT_YET_VALID, Status.REVOKED, Status.REVOKED,
    ]  # fmt: skip


def test_an_earlier_compromise_found_later_counts_from_the_earlier_time(made: Made) -> None:
    with RegistryWriter.open(made.directory, made.authority) as writer:
        with pytest.raises(RegistryError, match="revoked already"):
            writer.revoke_key(made.revoked.key_id, "again", at_ns=T0 + 60)
        writer.revoke_key(made.revoked.key_id, "it was earlier", at_ns=T0 + 20)
    key = made.open().key(made.revoked.key_id)
    assert key is not None
    assert (key.revoked_at_ns, key.revocation_reason) == (T0 + 20, "it was earlier")


def test_the_pin_of_an_older_root_stays_good_when_authorities_are_added(made: Made) -> None:
    registry = made.open(pinned_root=made.first_root)
    assert registry.pinned
    assert registry.fingerprint != made.first_root
    assert made.open(pinned_root=registry.fingerprint).pinned
    assert not made.open().pinned
    assert [(a.name, a.roles) for a in registry.authorities] == [("acme", ROLES), ("modeller", ("models",))]


def test_the_number_counts_every_change(made: Made) -> None:
    before = made.open()
    with RegistryWriter.open(made.directory, made.authority) as writer:
        writer.certify_model("line", "2.0", bytes(32))
        after = writer.registry
    assert after.number == before.number + 1 == made.open(minimum_number=after.number).number
    assert after.index_digest != before.index_digest


def test_certificates_are_immutable(made: Made) -> None:
    registry = made.open()
    with pytest.raises(dataclasses.FrozenInstanceError):
        registry.models[0].digest = bytes(32)  # type: ignore[misc]
    with pytest.raises(TypeError):
        registry.keys[bytes(32)] = registry.keys[made.key.key_id]  # type: ignore[index]


def test_what_is_no_registry_is_told_as_such_with_an_os_error_as_cause(made: Made) -> None:
    with pytest.raises(RegistryError, match="is no registry") as caught:
        Registry.open(made.directory / "nowhere")
    assert isinstance(caught.value.__cause__, OSError)


def test_two_models_never_share_a_path() -> None:
    assert entry.model_path("a", "b-c") != entry.model_path("a-b", "c")
    assert entry.model_path("a/b", "1") == "models/a~b@1.dsse.json"
    assert "/" not in entry.model_path("../../etc/passwd", "../1").removeprefix("models/")
