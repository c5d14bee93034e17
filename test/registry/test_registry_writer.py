"""The writer: roles, refusals that change nothing, one writer at a time, and no crash that a reader could notice."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_registry import DIGEST, Made

from og_ros.attest import SoftwareSigner, keys
from og_ros.attest.statement import Algorithm
from og_ros.errors import RegistryError
from og_ros.registry import RegistryWriter, entry


def test_a_new_registry_needs_an_empty_directory(made: Made, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="not empty"):
        RegistryWriter.create(made.directory, made.authority, "acme")
    (tmp_path / "file").touch()
    with pytest.raises(RegistryError, match="cannot make"):
        RegistryWriter.create(tmp_path / "file", made.authority, "acme")


def test_a_stranger_cannot_open_it_for_writing(made: Made) -> None:
    with pytest.raises(RegistryError, match="is no authority"):
        RegistryWriter.open(made.directory, made.attacker.signer)


def test_an_authority_for_models_needs_an_index_authority_beside_it(made: Made) -> None:
    with RegistryWriter.open(made.directory, made.models_authority) as writer:
        with pytest.raises(RegistryError, match="role index"):
            writer.certify_model("line", "2.0", bytes(32))
        with pytest.raises(RegistryError, match="role keys"):
            writer.certify_key(made.attacker.signer.public_key, robot="r", stage="s")
    with RegistryWriter.open(made.directory, made.models_authority, made.authority) as writer:
        assert writer.certify_model("line", "2.0", bytes(32)).certifier == "modeller"


def test_a_removed_authority_signs_nothing_more_but_what_it_signed_stays(made: Made) -> None:
    with RegistryWriter.open(made.directory, made.models_authority, made.authority) as writer:
        writer.certify_model("line", "2.0", bytes(32))
        writer.remove_authority("modeller")
        with pytest.raises(RegistryError, match="there is, or was"):
            writer.add_authority("Modeller", made.attacker.signer.public_key, ("models",))
    registry = made.open(pinned_root=made.first_root)
    assert registry.authority("modeller") is None
    assert registry.model("line", "2.0") is not None
    with pytest.raises(RegistryError, match="is no authority"):
        RegistryWriter.open(made.directory, made.models_authority)


def test_the_only_index_authority_cannot_remove_itself_but_can_be_replaced(made: Made) -> None:
    new = SoftwareSigner(keys.generate())
    with RegistryWriter.open(made.directory, made.authority) as writer:
        with pytest.raises(RegistryError, match="cannot remove itself"):
            writer.remove_authority("acme")
        writer.add_authority("acme-2", new.public_key, ("index", "keys", "models"))
    with RegistryWriter.open(made.directory, new) as writer:
        writer.remove_authority("acme")
        writer.certify_model("line", "2.0", bytes(32))
    assert made.open(pinned_root=made.first_root).roots[-1].number == 4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w, k: w.certify_key(k), "needs a robot and a stage"),
        (lambda w, k: w.certify_key(k, role="log", origin="x"), "must be Ed25519"),
        (lambda w, k: w.certify_key(k, role="root", robot="r", stage="s"), "is not one of"),
        (lambda w, k: w.certify_key(k, robot="rоbot", stage="s"), "cannot be made to look like another"),
        (lambda w, k: w.certify_key(k, robot="r", stage="s", origin="x"), "only a key of role log"),
        (lambda w, k: w.certify_key(k, robot="r", stage="s", not_before_ns=2, not_after_ns=1), "before not_before"),
        (lambda w, k: w.certify_key(k, robot="r", stage="s", not_before_ns=-1), "between the years"),
        (lambda w, k: w.certify_model("line", "1.0", bytes(32)), "certified already"),
        (lambda w, k: w.certify_model("LINE", "1.0", bytes(32)), "certified already"),
        (lambda w, k: w.certify_model("x", "", bytes(32)), "version is empty"),
        (lambda w, k: w.certify_model("x", "1", bytes(31)), "64 lower-case hex digits"),
        (lambda w, k: w.certify_model("x", "1", bytes(32), stages=("a b",)), "cannot be made to look like"),
        (lambda w, k: w.revoke_key(bytes(32), "x"), "no key"),
        (lambda w, k: w.revoke_model(bytes(32), "x"), "no model"),
        (lambda w, k: w.revoke_model(DIGEST, "\n"), "cannot be printed"),
        (lambda w, k: w.add_authority("x", k, ("root",)), "are some of"),
        (lambda w, k: w.add_authority("x", k, ()), "are some of"),
        (lambda w, k: w.remove_authority("x"), "no authority x"),
    ],
)
def test_a_refusal_changes_nothing(made: Made, change: Callable[[Any, Any], object], reason: str) -> None:
    before = {path: path.read_bytes() for path in made.directory.rglob("*.json")}
    with (
        RegistryWriter.open(made.directory, made.authority) as writer,
        pytest.raises(RegistryError, match=reason),
    ):
        change(writer, made.attacker.signer.public_key)
    assert {path: path.read_bytes() for path in made.directory.rglob("*.json")} == before


def test_a_key_is_certified_once(made: Made) -> None:
    with RegistryWriter.open(made.directory, made.authority) as writer, pytest.raises(RegistryError, match="already"):
        writer.certify_key(made.key.public_key, robot="robot-8", stage="perception")


def test_log_and_witness_keys_have_an_origin(made: Made) -> None:
    log = SoftwareSigner(keys.generate(Algorithm.EDDSA))
    with RegistryWriter.open(made.directory, made.authority) as writer:
        writer.certify_key(log.public_key, role="log", origin="example.com/robot-7")
    key = made.open().key(log.key_id)
    assert key is not None
    assert (key.role, key.origin, key.robot) == ("log", "example.com/robot-7", "")


def test_one_writer_at_a_time(made: Made) -> None:
    with RegistryWriter.open(made.directory, made.authority):
        with pytest.raises(RegistryError, match="being written by another"):
            RegistryWriter.open(made.directory, made.authority)
        made.open()
    RegistryWriter.open(made.directory, made.authority).close()


def test_a_reader_beside_a_writer_sees_one_whole_state_after_the_other(made: Made) -> None:
    seen: list[int] = []
    errors: list[RegistryError] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                registry = made.open()
            except RegistryError as error:
                errors.append(error)
                return
            assert len(registry.models) == registry.number - first
            seen.append(registry.number)

    first = made.open().number - 1
    thread = threading.Thread(target=read)
    thread.start()
    with RegistryWriter.open(made.directory, made.authority) as writer:
        for number in range(40):
            writer.certify_model("line", f"2.{number}", bytes(32))
    stop.set()
    thread.join()
    assert not errors
    assert seen == sorted(seen)
    assert len(set(seen)) > 3


def _die_at(step: int, made: Made) -> bool:
    """Certify a model in a child process that dies at its n-th fsync or rename; say whether it lived."""
    child = os.fork()
    if child == 0:
        left = [step]

        def dying(call: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*args: Any) -> Any:
                if left[0] == 0:
                    os._exit(9)
                left[0] -= 1
                return call(*args)

            return wrapped

        try:
            writer = RegistryWriter.open(made.directory, made.authority)
            os.fsync = dying(os.fsync)
            Path.replace = dying(Path.replace)  # type: ignore[method-assign]
            writer.certify_model("line", "2.0", bytes(32))
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 0


def test_a_writer_that_dies_at_any_step_leaves_the_old_or_the_new_state(made: Made) -> None:
    states = []
    for step in range(30):
        number = made.open().number
        lived = _die_at(step, made)
        registry = made.open()
        states.append(registry.model("line", "2.0") is not None)
        assert registry.number == number + states[-1]
        if states[-1]:
            with RegistryWriter.open(made.directory, made.authority):  # repairs
                pass
            path = entry.model_path("line", "2.0")
            assert (made.directory / path).exists()
            # back to before, as the authority would by hand, to die at the next step
            (made.directory / path).unlink()
            made.insider.index(lambda tree, path=path: tree["files"].pop(path))  # type: ignore[misc]
        else:
            with RegistryWriter.open(made.directory, made.authority):
                pass
        assert not list(made.directory.rglob("*.new"))
        if lived:
            break
    assert states == sorted(states)
    assert states.count(False) >= 4
    assert states.count(True) >= 3


def test_a_full_disk_is_one_sentence_and_changes_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    number = made.open().number

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with RegistryWriter.open(made.directory, made.authority) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(RegistryError, match="No space left on device"):
                writer.certify_model("line", "2.0", bytes(32))
        assert not list(made.directory.rglob("*.new"))
        assert made.open().number == number
        writer.certify_model("line", "2.0", bytes(32))
    assert made.open().number == number + 1
