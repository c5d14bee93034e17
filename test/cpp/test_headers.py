"""The C++ headers say what Python says: over all vectors, each byte of them flipped, and of each other's records."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cpp_build import INCLUDE, ROOT, SANITIZERS, build, check_syntax

from og_ros.attest import cose, decode_attestation, digest, keys, verify
from og_ros.attest.signer import P256_ORDER
from og_ros.errors import OgError
from og_ros.log.checkpoint import open_checkpoint
from og_ros.log.proof import verify_proof

pytestmark = pytest.mark.xdist_group("cpp")  # one build of the program, and one that runs
HERE = Path(__file__).parent
VECTORS = ROOT / "test" / "vectors"
ATTESTATIONS: dict[str, Any] = json.loads((VECTORS / "attestation_v1.json").read_text(encoding="utf-8"))
CASES: dict[str, Any] = json.loads((VECTORS / "conformance_v1.json").read_text(encoding="utf-8"))


class Driver:
    """The test program, with its sanitizers: asked and answered a line at a time."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def ask(self, kind: str, *arguments: bytes | str) -> tuple[str, list[str]]:
        """Ask one question; returns "ok" and the words of the answer, or "refused" with the reason and the message."""
        (answer,) = self.ask_all([(kind, arguments)])
        return answer

    def ask_all(self, questions: list[tuple[str, tuple[bytes | str, ...]]]) -> list[tuple[str, list[str]]]:
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        answers = []
        for kind, arguments in questions:
            octets = (a.encode() if isinstance(a, str) else a for a in arguments)
            self._process.stdin.write(" ".join([kind, *(a.hex() or "-" for a in octets)]).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline().decode(errors="replace")
            if not line:
                pytest.fail(f"the program died: {self._process.stderr.read().decode(errors='replace')[-4000:]}")
            verdict, *words = line.split()
            answers.append((verdict, words))
        return answers

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stderr
        self._process.stdin.close()
        said = self._process.stderr.read().decode()
        assert self._process.wait(60) == 0, said


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    made = Driver(build(HERE / "driver.cpp", SANITIZERS))
    yield made
    made.close()


def cases(kind: str) -> Any:
    return pytest.mark.parametrize("case", CASES[kind], ids=lambda case: case["name"])


def agree(case: dict[str, Any], answer: tuple[str, list[str]]) -> list[str]:
    """The words of a good case's answer; a bad case must be refused for its very reason."""
    verdict, words = answer
    if "reason" in case:
        assert (verdict, words[0]) == ("refused", case["reason"]), words
        return []
    assert verdict == "ok", words
    return words


@pytest.mark.parametrize("vector", ATTESTATIONS["attestations"], ids=lambda vector: vector["name"])
def test_an_attestation_is_read_verified_and_signed_to_the_same_bytes(driver: Driver, vector: dict[str, Any]) -> None:
    key = ATTESTATIONS["keys"][vector["algorithm"]]
    expected = ("ok", [vector["digest"], vector["cose"], vector["wire"]])
    assert driver.ask("wire", key["public_key"], bytes.fromhex(vector["wire"])) == expected
    assert driver.ask("cose", key["public_key"], bytes.fromhex(vector["cose"])) == expected
    assert driver.ask("sign", key["private_key"], bytes.fromhex(vector["cose"])) == expected


@pytest.mark.parametrize("vector", ATTESTATIONS["refused"], ids=lambda vector: vector["name"])
def test_what_must_be_refused_is(driver: Driver, vector: dict[str, Any]) -> None:
    public = ATTESTATIONS["keys"][vector["public_key"]]["public_key"]
    verdict, words = driver.ask("cose", public, bytes.fromhex(vector["cose"]))
    assert verdict == "refused", words


@pytest.mark.parametrize("kind", ["wire", "cose"])
def test_records(driver: Driver, kind: str) -> None:
    for case in CASES[kind]:
        words = agree(case, driver.ask(kind, CASES["keys"][case["key"]]["public_key"], bytes.fromhex(case[kind])))
        assert words[:1] == ([] if "reason" in case else [case["digest"]]), case["name"]


@cases("session")
def test_session(driver: Driver, case: dict[str, Any]) -> None:
    public = CASES["keys"][case["key"]]["public_key"]
    agree(case, driver.ask("session", public, *(bytes.fromhex(text) for text in case["cose"])))


@cases("digest")
def test_digest(driver: Driver, case: dict[str, Any]) -> None:
    if "payload" in case:
        payload = bytes.fromhex(case["payload"])
    else:
        payload = bytes.fromhex(case["header"]) + bytes(i % 251 for i in range(int(case["body_size"])))
    if "reason" in case:
        agree(case, driver.ask("digest", "sha256", payload))
        return
    for algorithm, value in case["digests"].items():
        verdict, words = driver.ask("digest", algorithm, payload)
        if algorithm == "blake3":  # OpenSSL has none, and a digest that cannot be computed is never a pass
            assert (verdict, words[0]) == ("refused", "algorithm")
        else:
            assert (verdict, words) == ("ok", [value, case["size"]])


def test_proofs(driver: Driver) -> None:
    for case in CASES["inclusion"]:
        path = [bytes.fromhex(value) for value in case["path"]]
        leaf, root = bytes.fromhex(case["leaf"]), bytes.fromhex(case["root"])
        agree(case, driver.ask("inclusion", leaf, case["index"], case["size"], root, *path))
    for case in CASES["consistency"]:
        path = [bytes.fromhex(value) for value in case["path"]]
        old, new = bytes.fromhex(case["first_root"]), bytes.fromhex(case["second_root"])
        agree(case, driver.ask("consistency", case["first"], case["second"], old, new, *path))


@cases("checkpoint")
def test_checkpoint(driver: Driver, case: dict[str, Any]) -> None:
    words = agree(case, driver.ask("checkpoint", case["vkey"], case["origin"], case["note"]))
    assert words == ([] if "reason" in case else [case["size"], case["root"]])


@cases("log_proof")
def test_log_proof(driver: Driver, case: dict[str, Any]) -> None:
    agree(case, driver.ask("log_proof", case["vkey"], case["origin"], bytes.fromhex(case["leaf"]), case["proof"]))


def flipped(data: bytes, step: int = 1) -> Iterator[bytes]:
    """The data with one byte changed, for every step-th byte; which of its bits changes differs from byte to byte."""
    for at in range(0, len(data), step):
        yield data[:at] + bytes([data[at] ^ 1 << (at * 5 + at // 8) % 8]) + data[at + 1 :]


def test_a_flipped_byte_has_one_verdict(driver: Driver) -> None:
    """Of every byte of typical records, and of every 37th of the long ones, in both forms."""
    seen = {"ok": 0, "refused": 0}
    for vector in ATTESTATIONS["attestations"]:
        key = ATTESTATIONS["keys"][vector["algorithm"]]["public_key"]
        public = keys.parse_public(key)
        step = 37 if vector["name"].endswith("most") else 1
        for kind, decode in (("wire", decode_attestation), ("cose", cose.decode)):
            mutants = list(flipped(bytes.fromhex(vector[kind]), step))
            answers = driver.ask_all([(kind, (key, mutant)) for mutant in mutants])
            for mutant, (verdict, words) in zip(mutants, answers, strict=True):
                try:
                    attestation = decode(mutant)
                    verify(attestation, public)
                    expected = ("ok", attestation.digest.hex())
                except OgError:
                    expected = ("refused", words[0])
                assert (verdict, words[0]) == expected, (vector["name"], kind, mutant.hex(), words)
                seen[verdict] += 1
    assert seen["refused"] > 10_000
    assert seen["ok"] > 10  # options and alignment that a signature does not cover, and must not


def test_a_flipped_byte_of_a_note_has_one_verdict(driver: Driver) -> None:
    (proof,) = [case for case in CASES["log_proof"] if case["name"] == "record_3"]
    (note,) = [case for case in CASES["checkpoint"] if case["name"] == "cosigned"]
    leaf = bytes.fromhex(proof["leaf"])
    for mutant in flipped(note["note"].encode()):
        verdict, words = driver.ask("checkpoint", note["vkey"], note["origin"], mutant)
        try:
            expected = "ok", [str(open_checkpoint(mutant, note["vkey"], note["origin"]).size)]
        except OgError:
            expected = "refused", words[:1]
        assert (verdict, words[:1]) == expected, mutant
    for mutant in flipped(proof["proof"].encode()):
        verdict, words = driver.ask("log_proof", proof["vkey"], proof["origin"], leaf, mutant)
        try:
            verify_proof(leaf, mutant, proof["vkey"], proof["origin"])
            expected_verdict = "ok"
        except OgError:
            expected_verdict = "refused"
        assert verdict == expected_verdict, (mutant, words)


def test_nonces_are_those_of_rfc_6979(driver: Driver) -> None:
    """Appendix A.2.5, SHA-256; where its s is high, the low one of the two."""
    private = ATTESTATIONS["keys"]["ES256"]["private_key"]
    published = {
        "sample": ("EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
                   "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"),
        "test": ("F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
                 "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083"),
    }  # fmt: skip
    for message, (r, s) in published.items():
        low = min(int(s, 16), P256_ORDER - int(s, 16))
        assert driver.ask("sign_bytes", private, message) == ("ok", [r.lower() + low.to_bytes(32, "big").hex()])


def test_a_thousand_signatures_are_those_of_python(driver: Driver) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from og_ros.attest import SoftwareSigner

    for name in ("ES256", "EDDSA"):
        pem = ATTESTATIONS["keys"][name]["private_key"]
        signer = SoftwareSigner(load_pem_private_key(pem.encode(), None))  # type: ignore[arg-type]
        messages = [hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(500)]
        answers = driver.ask_all([("sign_bytes", (pem, message)) for message in messages])
        assert answers == [("ok", [signer.sign(message).hex()]) for message in messages]


@pytest.mark.parametrize("algorithm", ["ES256", "EDDSA"])
def test_a_session_that_cpp_signs_verifies_in_python(driver: Driver, algorithm: str) -> None:
    key = ATTESTATIONS["keys"][algorithm]
    public = keys.parse_public(key["public_key"])
    scan, path = b"\0\1\0\0" + bytes(range(75)), b"\0\1\0\0" + bytes(70_000)
    verdict, wires = driver.ask("attest", key["private_key"], "12", scan, path)
    assert (verdict, len(wires)) == ("ok", 12)
    previous, before = bytes(32), -1
    for sequence, text in enumerate(wires):
        attestation = decode_attestation(bytes.fromhex(text))
        verify(attestation, public)
        s = attestation.statement
        assert (s.sequence, s.previous, s.node) == (sequence, previous, "/planner")
        assert s.start_monotonic_ns > before
        assert s.inputs[0].digest == digest(scan)
        assert s.outputs[0].digest == digest(path, "sha256-tree")
        previous, before = attestation.digest, s.start_monotonic_ns


@pytest.mark.parametrize(("depth", "lag_ms", "most"), [(4, 60_000, 5), (256, 50, 12)], ids=["number", "time"])
def test_a_signing_queue_is_bounded(driver: Driver, depth: int, lag_ms: int, most: int) -> None:
    """Sixty inferences at once, 5 ms a signature: no more wait than `depth` beside one, or than are signed in `lag`."""
    private = ATTESTATIONS["keys"]["ES256"]["private_key"]
    verdict, (waited, signed) = driver.ask("backlog", private, str(depth), str(lag_ms), b"\0\1\0\0")
    assert (verdict, signed) == ("ok", "60")
    assert 2 <= int(waited) <= most


def test_keys_are_read_as_python_reads_them(driver: Driver, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    p256 = ec.generate_private_key(ec.SECP256R1()).public_key()
    compressed = p256.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    # SubjectPublicKeyInfo with a compressed point: another encoding of a key has no other id.
    spki = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + compressed
    import base64

    pem = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(spki).decode()}\n-----END PUBLIC KEY-----\n"
    assert driver.ask("key", pem) == ("ok", [keys.key_id(p256).hex(), "-7"])
    assert driver.ask("key", keys.public_pem(p256)) == ("ok", [keys.key_id(p256).hex(), "-7"])
    small = bytes.fromhex("302a300506032b6570032100") + bytes(32)
    bad = {
        "other curve": ec.generate_private_key(ec.SECP384R1()).public_key(),
        "rsa": rsa.generate_private_key(65537, 2048).public_key(),
    }
    pems = {
        name: key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() for name, key in bad.items()
    }
    pems["small order"] = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(small).decode()}\n-----END PUBLIC KEY-----\n"
    pems |= {"empty": "", "text": "not a key\n", "private": ATTESTATIONS["keys"]["ES256"]["private_key"]}
    for name, text in pems.items():
        verdict, words = driver.ask("key", text)
        assert (verdict, words[0]) == ("refused", "key_file"), name
    path = tmp_path / "key.pem"
    path.write_text(ATTESTATIONS["keys"]["ES256"]["private_key"])
    path.chmod(0o600)
    assert driver.ask("load", str(path)) == ("ok", [ATTESTATIONS["keys"]["ES256"]["key_id"]])
    path.chmod(0o640)
    assert driver.ask("load", str(path))[1][0] == "key_file"
    assert driver.ask("load", str(tmp_path / "missing.pem"))[1][0] == "key_file"


def test_statements_out_of_bounds_are_not_signed(driver: Driver) -> None:
    """A payload without header cannot be named, and a session goes on after what it refused."""
    private = ATTESTATIONS["keys"]["ES256"]["private_key"]
    assert driver.ask("attest", private, "1", b"\0\1", b"\0\1\0\0")[0] == "refused"


@pytest.mark.slow
def test_no_input_breaks_a_parser(tmp_path: Path) -> None:
    """Five seconds of mutations of the vectors under AddressSanitizer and UBSan; a longer run is in the guide."""
    program = build(HERE / "fuzz.cpp", [*SANITIZERS, "-DOG_ROS_FUZZ_MAIN"])
    seeds = [b"\0" + bytes.fromhex(case["wire"]) for case in CASES["wire"]]
    seeds += [b"\1" + bytes.fromhex(case["cose"]) for case in CASES["cose"]]
    seeds += [b"\2" + case["note"].encode() for case in CASES["checkpoint"]]
    seeds += [b"\3" + case["proof"].encode() for case in CASES["log_proof"]]
    seeds.append(b"\4" + CASES["checkpoint"][0]["vkey"].encode())
    files = []
    for number, seed in enumerate(seeds):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(seed)
    done = subprocess.run([program, "5", *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout.split()[0]) > 1000


def test_the_rclcpp_class_fits_the_declarations_that_it_uses() -> None:
    """Only that: rclcpp is not on PyPI, so the class is never run here."""
    declarations = f"-I{HERE / 'rclcpp_declarations'}"
    assert check_syntax(HERE / "rclcpp_node.cpp", [declarations]) == ""


def test_each_header_stands_alone(tmp_path: Path) -> None:
    """Whichever is included first, it includes what it needs."""
    every = [path for path in sorted(INCLUDE.rglob("*.hpp")) if path.name != "rclcpp.hpp"]
    assert len(every) > 10
    for number, header in enumerate(every[::6]):  # a sample, whose turn changes with the files: each takes a second
        source = tmp_path / f"{number}.cpp"
        source.write_text(f'#include "{header.relative_to(INCLUDE)}"\n#include "{header.relative_to(INCLUDE)}"\n')
        assert check_syntax(source, []) == "", header
