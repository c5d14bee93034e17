"""Attacks on a registry's files, one named case each, with the reason that the reader must give."""

from __future__ import annotations

import base64
import json
import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from made_registry import DIGEST, Made

from og_ros.attest import SoftwareSigner, keys
from og_ros.attest.statement import Algorithm
from og_ros.errors import RegistryError
from og_ros.registry import RegistryWriter, dsse, entry

MODEL = entry.model_path("line", "1.0")


def refused(made: Made, reason: str, **options: Any) -> None:
    with pytest.raises(RegistryError, match=reason):
        made.open(**options)


def only(made: Made, pattern: str) -> Path:
    (found,) = made.directory.glob(pattern)
    return found


# --- without any key of the registry -------------------------------------------------------------------------------


def test_file_removed(made: Made) -> None:
    (made.directory / MODEL).unlink()
    refused(made, r"line@1\.0.*is missing.*removed")


def test_revocation_removed(made: Made) -> None:
    only(made, "revocations/*").unlink()
    refused(made, r"revocations/key-.*is missing.*removed")


def test_revocation_removed_from_the_index_too(made: Made) -> None:
    revocation = only(made, "revocations/*")
    revocation.unlink()
    index = made.directory / entry.INDEX_PATH
    tree = json.loads(index.read_bytes())
    payload = json.loads(base64.b64decode(tree["payload"]))
    del payload["files"][f"revocations/{revocation.name}"]
    tree["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    index.write_text(json.dumps(tree))
    refused(made, "index.*signature does not hold")


def test_revocation_removed_and_index_signed_by_a_stranger(made: Made) -> None:
    revocation = only(made, "revocations/*")
    revocation.unlink()
    made.attacker.index(lambda tree: tree["files"].pop(f"revocations/{revocation.name}"))
    refused(made, "index.*has no authority")


def test_stranger_borrows_the_authoritys_key_id(made: Made) -> None:
    made.attacker.index(lambda tree: None)
    index = made.directory / entry.INDEX_PATH
    tree = json.loads(index.read_bytes())
    tree["signatures"][0]["keyid"] = made.authority.key_id.hex()
    index.write_text(json.dumps(tree))
    refused(made, "index.*signature does not hold")


def test_file_added(made: Made) -> None:
    shutil.copy(made.directory / MODEL, made.directory / "models" / "line@9.dsse.json")
    refused(made, r"line@9.*not listed.*added")


def test_files_swapped(made: Made) -> None:
    one, other = sorted(made.directory.glob("keys/*"))
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)
    refused(made, "keys/.*altered or replaced")


def test_one_bit_flipped_in_each_file(made: Made) -> None:
    files = sorted(made.directory.glob("*/*.json"))
    assert len(files) == 6
    for file in files:
        good = file.read_bytes()
        file.write_bytes(good[:-40] + bytes([good[-40] ^ 1]) + good[-39:])
        refused(made, f"{file.name}.*altered or replaced")
        file.write_bytes(good)
    made.open()


def test_whole_old_state_put_back(made: Made, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(made.directory, old)
    with RegistryWriter.open(made.directory, made.authority) as writer:
        writer.revoke_key(made.key.key_id, "stolen")
        number = writer.registry.number
    shutil.rmtree(made.directory)
    shutil.copytree(old, made.directory)
    assert made.open().number == number - 1  # it is consistent in itself
    refused(made, "old state was put back", minimum_number=number)


def test_old_index_put_back_alone(made: Made) -> None:
    old = (made.directory / entry.INDEX_PATH).read_bytes()
    with RegistryWriter.open(made.directory, made.authority) as writer:
        writer.revoke_key(made.key.key_id, "stolen")
    (made.directory / entry.INDEX_PATH).write_bytes(old)
    refused(made, r"revocations/.*not listed")


def test_another_registry_in_its_place(made: Made) -> None:
    shutil.rmtree(made.directory)
    with RegistryWriter.create(made.directory, made.attacker.signer, "acme") as writer:
        writer.certify_model("line", "1.0", bytes(32))
    assert not made.open().pinned
    refused(made, "not the registry that was pinned", pinned_root=made.first_root)


def test_pin_that_is_no_fingerprint(made: Made) -> None:
    refused(made, "pinned root 'sha256:12' is not", pinned_root="sha256:12")
    refused(made, "pinned root", pinned_root=made.first_root.upper())


def test_root_replaced_by_the_attackers(made: Made) -> None:
    attacker = made.attacker
    root = attacker.payload("roots/1.dsse.json")
    root["authorities"][0]["public_key"] = keys.public_pem(attacker.signer.public_key)
    attacker.write("roots/1.dsse.json", "root", root)
    refused(made, "roots/2.*not the successor")


def test_root_added_by_the_attacker(made: Made) -> None:
    attacker = made.attacker
    root = attacker.payload("roots/2.dsse.json")
    root["number"], root["previous"] = 3, made.open().fingerprint
    root["authorities"] = [
        {"name": "evil", "public_key": keys.public_pem(attacker.signer.public_key), "roles": ["index"]}
    ]
    attacker.write("roots/3.dsse.json", "root", root)
    refused(made, "roots/3.*not signed by an index authority of the root before")


def test_newest_root_dropped(made: Made) -> None:
    (made.directory / "roots/2.dsse.json").unlink()
    made.insider.index(lambda tree: tree["files"].pop("roots/2.dsse.json"))
    refused(made, "belongs to another root")


def test_pipe_in_place_of_a_file(made: Made) -> None:
    (made.directory / MODEL).unlink()
    os.mkfifo(made.directory / MODEL)
    refused(made, "no regular file")


def test_endless_file(made: Made) -> None:
    with (made.directory / MODEL).open("ab") as file:
        file.truncate(2**40)
    refused(made, "more than")


# --- by an authority, beyond its role ------------------------------------------------------------------------------


def test_key_certified_by_an_authority_for_models(made: Made) -> None:
    new = SoftwareSigner(keys.generate())
    tree = made.insider.payload(entry.key_path(made.key.key_id))
    tree.update(key_id=new.key_id.hex(), public_key=keys.public_pem(new.public_key), certifier="modeller")
    made.insider.write(entry.key_path(new.key_id), "key", tree, signer=made.models_authority)
    refused(made, "modeller, which has not the role keys")


def test_certificate_in_the_name_of_another_authority(made: Made) -> None:
    tree = made.insider.payload(MODEL)
    made.insider.write(MODEL, "model", tree, signer=made.models_authority)
    refused(made, "names acme, but modeller signed it")


def test_index_signed_by_an_authority_for_models(made: Made) -> None:
    attacker = made.attacker
    attacker.signer = made.models_authority
    attacker.index(lambda tree: None)
    refused(made, "modeller, which has not the role index")


def test_key_revoked_by_an_authority_for_models(made: Made) -> None:
    path = f"revocations/{only(made, 'revocations/*').name}"
    tree = made.insider.payload(path)
    tree["revoked_by"] = "modeller"
    made.insider.write(path, "revocation", tree, signer=made.models_authority)
    refused(made, "modeller, which has not the role keys")


def test_certificate_by_a_stranger_in_a_signed_index(made: Made) -> None:
    made.insider.write(MODEL, "model", made.insider.payload(MODEL), signer=made.attacker.signer)
    refused(made, "which has no authority")


# --- by an index authority whose software is careless -------------------------------------------------------------


def test_model_certificate_read_as_a_key_certificate(made: Made) -> None:
    path = entry.key_path(made.key.key_id)
    made.insider.write(path, "model", made.insider.payload(path))
    refused(made, "which is no key")


def test_entry_under_the_path_of_another(made: Made) -> None:
    tree = made.insider.payload(MODEL)
    made.insider.write(entry.model_path("line", "2.0"), "model", tree)
    refused(made, r"line@2\.0.*holds what belongs to models/line@1\.0")


@pytest.mark.parametrize("path", ["../evil.json", "models/../../evil.json", "/etc/passwd.json", "models/x", "x.json"])
def test_index_that_leads_out_of_the_directory(made: Made, path: str) -> None:
    made.insider.index(lambda tree: tree["files"].__setitem__(path, "sha256:" + "0" * 64))
    refused(made, "no path of a registry")


def test_key_algorithm_confusion(made: Made) -> None:
    path = entry.key_path(made.key.key_id)
    tree = made.insider.payload(path)
    tree["algorithm"] = "EDDSA"
    made.insider.write(path, "key", tree)
    refused(made, "the algorithm is 'EDDSA', but the key is for ES256")


def test_key_id_of_another_key(made: Made) -> None:
    path = entry.key_path(made.key.key_id)
    tree = made.insider.payload(path)
    tree["public_key"] = keys.public_pem(made.attacker.signer.public_key)
    made.insider.write(path, "key", tree)
    refused(made, "key_id is not the id of the key")


def test_signature_of_the_other_algorithm(made: Made) -> None:
    ed25519 = SoftwareSigner(keys.generate(Algorithm.EDDSA))
    payload = json.dumps(made.insider.payload(MODEL)).encode()
    tree = json.loads(dsse.sign(entry.payload_type("model"), payload, ed25519))
    tree["signatures"][0]["keyid"] = made.authority.key_id.hex()
    made.insider.put(MODEL, json.dumps(tree).encode())
    refused(made, "signature does not hold")


def test_log_key_on_the_wrong_curve(made: Made) -> None:
    path = entry.key_path(made.key.key_id)
    tree = made.insider.payload(path)
    tree.update(role="log", origin="example.com/log")
    made.insider.write(path, "key", tree)
    refused(made, "role log must be Ed25519")


@pytest.mark.parametrize(
    "name", ["lіne", "line\u200b", "line\u202e", "lin\u0435", "line ", "line\n", "line\x00", "ｌine", "", "line@1"]
)
def test_look_alike_name(made: Made, name: str) -> None:
    tree = made.insider.payload(MODEL)
    tree["name"] = name
    made.insider.write(MODEL, "model", tree)
    refused(made, "name is empty" if not name else "cannot be made to look like another")


def test_names_that_differ_in_case_only(made: Made) -> None:
    tree = made.insider.payload(MODEL)
    tree["name"] = "LINE"
    made.insider.write(entry.model_path("LINE", "1.0"), "model", tree)
    refused(made, "upper and lower case")


def test_control_characters_in_a_reason(made: Made) -> None:
    path = f"revocations/{only(made, 'revocations/*').name}"
    tree = made.insider.payload(path)
    tree["reason"] = "\x1b[2Jnothing to see"
    made.insider.write(path, "revocation", tree)
    refused(made, "cannot be printed")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"format": 1, "format": 1}', "'format' stands there twice"),
        (b'{"a": {"b": 1, "b": 2}}', "'b' stands there twice"),
        (b'{"format": NaN}', "NaN is no JSON number"),
        (b'{"format": -Infinity}', "-Infinity is no JSON number"),
        (b'{"format": 1e999}', "out of range"),
        (b'{"format": 1} x', "malformed JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 30_000, "malformed JSON"),
        (b"[]", "not a JSON object"),
        (b" " * 65_537, "65536 are allowed"),
    ],
)
def test_payload_that_is_no_strict_json(made: Made, text: bytes, reason: str) -> None:
    made.insider.write(MODEL, "model", text)
    refused(made, reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"unknown": 1}, "unknown field 'unknown'"),
        ({"format": 2}, "format 2"),
        ({"format": True}, "'format' is no int"),
        ({"format": 1.0}, "'format' is no int"),
        ({"digest": "sha256:" + "0" * 63}, "64 lower-case hex digits"),
        ({"digest": "sha512:" + "0" * 64}, "64 lower-case hex digits"),
        ({"stages": ["a", "a"]}, "no name twice"),
        ({"stages": [1]}, "no text"),
        ({"not_after": "2020-01-01T00:00:00.000000000Z"}, "not_after is before not_before"),
        ({"not_before": "2020-02-30T00:00:00.000000000Z"}, "no time of the calendar"),
        ({"not_before": "2020-02-03T00:00:00Z"}, "no time like"),
        ({"not_before": "1969-12-31T23:59:59.000000000Z"}, "before 1970"),
        ({"notes": "x" * 1025}, "1024 are allowed"),
        ({"version": "1" * 65}, "64 are allowed"),
    ],
)
def test_certificate_with_an_impossible_field(made: Made, change: dict[str, Any], reason: str) -> None:
    made.insider.write(MODEL, "model", {**made.insider.payload(MODEL), **change})
    refused(made, reason)


def test_envelope_with_a_duplicate_key(made: Made) -> None:
    data = (made.directory / MODEL).read_bytes()
    made.insider.put(MODEL, data.replace(b'"payloadType"', b'"payloadType": "x", "payloadType"', 1))
    refused(made, "'payloadType' stands there twice")


@pytest.mark.parametrize("count", [0, 2])
def test_envelope_with_another_number_of_signatures(made: Made, count: int) -> None:
    made.insider.envelope(MODEL, lambda tree: tree.update(signatures=tree["signatures"] * count))
    refused(made, f"has {count} signatures")


def test_envelope_in_loose_base64(made: Made) -> None:
    made.insider.envelope(MODEL, lambda tree: tree.update(payload=tree["payload"][:8] + "\n" + tree["payload"][8:]))
    refused(made, "base64")


def test_payload_type_swapped_after_signing(made: Made) -> None:
    made.insider.envelope(MODEL, lambda tree: tree.update(payloadType=entry.payload_type("imported-model")))
    refused(made, "signature does not hold")


def test_two_authorities_with_one_key(made: Made) -> None:
    root = made.insider.payload("roots/2.dsse.json")
    root["authorities"].append({**root["authorities"][1], "name": "modeller-2"})
    made.insider.write("roots/2.dsse.json", "root", root)
    refused(made, "two authorities with one key")


def test_name_of_an_authority_given_to_another_key(made: Made) -> None:
    root = made.insider.payload("roots/2.dsse.json")
    root["authorities"][1]["public_key"] = keys.public_pem(made.attacker.signer.public_key)
    root["number"], root["previous"] = 3, made.open().fingerprint
    payload = json.dumps(root).encode()
    made.insider.write("roots/3.dsse.json", "root", payload)
    made.insider.index(lambda tree: tree.update(root="sha256:" + sha256(payload).hexdigest()))
    refused(made, "gives the name modeller to another key")


def test_private_text_smuggled_after_a_public_key(made: Made) -> None:
    path = entry.key_path(made.key.key_id)
    tree = made.insider.payload(path)
    tree["public_key"] += "anything"
    made.insider.write(path, "key", tree)
    refused(made, "more in it than one key")


def test_unattacked_it_opens(made: Made) -> None:
    """The attacker's tools alone break nothing, so that each refusal above is of the attack."""
    made.insider.write(MODEL, "model", made.insider.payload(MODEL))
    assert made.open().models_with(DIGEST)
