"""The attacker: a copy of a real recording, its registry, log and policy, and what an attacker can do to each."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from bag_writer import write_bag
from real_runs import RealRuns

from og_ros.attest import (
    ATTESTATION_TYPE,
    Attestation,
    SoftwareSigner,
    Statement,
    cose,
    decode_attestation,
    digest,
    encode_attestation,
    keys,
)
from og_ros.audit.records import Record
from og_ros.log import Ledger
from og_ros.registry import RegistryWriter

MS = 1_000_000
HOUR_NS = 3600 * 10**9
OUTPUTS = {"perception": "/perception/line", "planning": "/planning/reference", "control": "/wheel_command"}
# The demo's policy, but one record of a short run is more than its 1 % of loss.
MAX_LOSS = 0.05


class Attacker:
    """Starts from an honest run; what it changes is written to `directory` and audited from there.

    `records` are the messages of the recording in order of arrival; places in it are indexes. `keys` are the stages'
    keys: whether an attacker has one is for each case to say.
    """

    def __init__(self, runs: RealRuns, directory: Path) -> None:
        self.runs, self.directory = runs, directory
        self.records = list(runs.robot.records)
        self.keys = dict(runs.robot.signers)
        self.policy: dict[str, Any] = yaml.safe_load((runs.robot.directory / "policy.yaml").read_text())
        self.policy["max_loss"] = MAX_LOSS
        # The stages are required, at no level: what falls below a level says `below_policy` beside its own finding.
        self.policy["stages"] = {stage: {} for stage in OUTPUTS}
        self.ledger: Path | None = None
        self._registry: Path | None = None
        self.options: list[str] = []

    @cached_property
    def _signers(self) -> dict[bytes, SoftwareSigner]:
        runs = (self.runs.robot, self.runs.other)
        return {signer.key_id: signer for run in runs for signer in run.signers.values()}

    def know(self, *signers: SoftwareSigner) -> None:
        """Be able to sign with keys that the runs do not have."""
        self._signers.update({signer.key_id: signer for signer in signers})

    # ---- finding one's way -------------------------------------------------------------------------------------------

    def attestations(self, stage: str) -> list[int]:
        """Return the places of a stage's attestations."""
        topic = f"{OUTPUTS[stage]}/attestation"
        return [i for i, r in enumerate(self.records) if r.topic == topic and r.type == ATTESTATION_TYPE]

    def messages(self, topic: str) -> list[int]:
        """Return the places of the messages on a topic."""
        return [i for i, record in enumerate(self.records) if record.topic == topic]

    def middle(self, places: list[int], after: int = 0) -> int:
        """Return the place in the middle of some, where neither start nor end of the recording excuses anything."""
        return places[len(places) // 2 + after]

    def attestation(self, stage: str, after: int = 0) -> int:
        """Return the place of a stage's attestation in the middle of the run, or some after it."""
        return self.middle(self.attestations(stage), after)

    def message(self, topic: str, after: int = 0) -> int:
        """Return the place of a message in the middle of the run, or some after it."""
        return self.middle(self.messages(topic), after)

    def read(self, place: int) -> Attestation:
        """Read the attestation at a place."""
        return decode_attestation(self.records[place].payload)

    def statement(self, place: int) -> Statement:
        """Read what the attestation at a place says."""
        return self.read(place).statement

    def output_of(self, place: int) -> int:
        """Return the place of the message that the attestation at a place is about."""
        attested = self.statement(place).outputs[0]
        found = [i for i in self.messages(attested.topic) if digest(self.records[i].payload) == attested.digest]
        return min(found, key=lambda i: abs(self.records[i].received_ns - self.records[place].received_ns))

    def judged(self, topic: str, after: int) -> list[Record]:
        """Return the messages on a topic after the one at a place, and long enough before the recording's end."""
        start = self.records[after].received_ns
        end = max(r.received_ns for r in self.records if not r.topic.startswith(("/auditor/", "/clock")))
        found = [self.records[i] for i in self.messages(topic)]
        return [r for r in found if start < r.received_ns <= end - 10**9]

    # ---- the recording -----------------------------------------------------------------------------------------------

    def replace(self, place: int, **changes: Any) -> Record:
        """Change topic, type, payload or received_ns of a record; returns the new one."""
        self.records[place] = dataclasses.replace(self.records[place], **changes)
        return self.records[place]

    def insert(self, record: Record) -> Record:
        """Put a record where its time of arrival belongs; returns it."""
        at = next((i for i, r in enumerate(self.records) if r.received_ns > record.received_ns), len(self.records))
        self.records.insert(at, record)
        return record

    def repeat(self, place: int, later_ms: float, **changes: Any) -> Record:
        """Put a copy of a record some time after it; returns the copy."""
        old = self.records[place]
        return self.insert(dataclasses.replace(old, received_ns=old.received_ns + int(later_ms * MS), **changes))

    def drop(self, *places: int) -> None:
        """Take records out."""
        gone = set(places)
        self.records = [r for i, r in enumerate(self.records) if i not in gone]

    def cut(self, keep: Callable[[Record], bool]) -> None:
        """Keep only some records."""
        self.records = [r for r in self.records if keep(r)]

    def patch(self, place: int, old: bytes, new: bytes) -> Record:
        """Replace bytes of a payload by as many others."""
        payload = self.records[place].payload
        assert len(old) == len(new)
        assert old in bytes(payload), "the record does not hold the bytes to be patched"
        return self.replace(place, payload=bytes(payload).replace(old, new))

    # ---- attestations ------------------------------------------------------------------------------------------------

    def forge(self, place: int, **changes: Any) -> Record:
        """Change fields of a statement and leave its signature as it was: all that one can do without the key."""
        old = self.read(place)
        attestation = cose.seal(dataclasses.replace(old.statement, **changes), old.signature)
        return self.replace(place, payload=encode_attestation(attestation))

    def with_signature(self, place: int, signature: bytes) -> Record:
        """Give an attestation another signature."""
        return self.replace(place, payload=encode_attestation(cose.seal(self.statement(place), signature)))

    def sign(self, place: int, by: SoftwareSigner | None = None, **changes: Any) -> Record:
        """Change fields of one statement and sign it with its stage's own key (or another); returns the new record.

        What follows in the session is left as it is: see `rewrite` for a liar that keeps its chain whole.
        """
        signer = by or self._signers[self.statement(place).key_id]
        statement = dataclasses.replace(
            self.statement(place), key_id=signer.key_id, algorithm=signer.algorithm, **changes
        )
        return self.replace(place, payload=encode_attestation(cose.sign(statement, signer)))

    def rewrite(
        self, places: Iterable[int], change: Callable[[Statement], Mapping[str, Any]], by: SoftwareSigner | None = None
    ) -> list[Record]:
        """Change statements as their own stage could have when it signed them; returns the changed records.

        `change` gives the new fields of a statement. Whatever names a changed record after that (its successor in the
        session, the stages that read its output) is signed anew by its own key, as it would have been on the robot.
        """
        chosen = set(places)
        digests: dict[bytes, bytes] = {}
        read = {i: self.read(i) for i, r in enumerate(self.records) if r.type == ATTESTATION_TYPE}
        for place, old in sorted(read.items(), key=lambda item: item[1].statement.signed_at_ns):
            changes = dict(change(old.statement)) if place in chosen else {}
            if old.statement.previous in digests:
                changes.setdefault("previous", digests[old.statement.previous])
            inputs = changes.get("inputs", old.statement.inputs)
            if any(reference.attestation in digests for reference in inputs):
                changes["inputs"] = tuple(
                    dataclasses.replace(r, attestation=digests.get(r.attestation, r.attestation)) for r in inputs
                )
            if changes:
                self.sign(place, by if place in chosen else None, **changes)
                digests[old.digest] = self.read(place).digest
        return [self.records[i] for i in sorted(chosen)]

    def lie(self, place: int, **changes: Any) -> Record:
        """Change fields of one statement as its own stage could have, with the chain whole; returns the record."""
        return self.rewrite([place], lambda statement: changes)[0]

    def other_run(self, later_ns: int) -> list[Record]:
        """Return another run of the same robot, as if it had been some time later: honest in itself."""
        past = Attacker(self.runs, self.directory)
        past.records = [dataclasses.replace(r, received_ns=r.received_ns + later_ns) for r in self.runs.again.records]
        places = [i for i, r in enumerate(past.records) if r.type == ATTESTATION_TYPE]
        past.rewrite(places, lambda statement: {"signed_at_ns": statement.signed_at_ns + later_ns})
        return past.records

    # ---- registry and log --------------------------------------------------------------------------------------------

    @property
    def registry(self) -> Path:
        """A copy of the fleet's registry, made when it is first asked for."""
        if self._registry is None:
            self._registry = self.directory / "registry"
            shutil.copytree(self.runs.robot.directory / "registry", self._registry)
        return self._registry

    def use_registry(self, directory: Path) -> None:
        """Hand the auditor another registry."""
        self._registry = directory

    def registry_writer(self) -> RegistryWriter:
        """Open the copy of the registry for writing, with its authority's key."""
        return RegistryWriter.open(self.registry, self.runs.robot.authority)

    def recertify(
        self, model: Mapping[str, Any] | None = None, key: Mapping[str, Any] | None = None, stage: str = "planning"
    ) -> None:
        """Make the registry anew under the same authority, with other terms for one stage's model or key."""
        directory = self.directory / "registry"
        with RegistryWriter.create(directory, self.runs.robot.authority, "demo-fleet") as writer:
            for old in self.runs.robot.registry.models:
                terms = {
                    "stages": old.stages,
                    "processing_digest": old.processing_digest,
                    "not_before_ns": old.not_before_ns,
                }
                terms |= model or {} if old.allows_stage(stage) else {}
                writer.certify_model(old.name, old.version, old.digest, **terms)  # type: ignore[arg-type]
            for old_key in self.runs.robot.registry.keys.values():
                terms = {name: getattr(old_key, name) for name in ("role", "robot", "stage", "vendor", "origin")}
                terms["not_before_ns"] = old_key.not_before_ns
                terms |= key or {} if old_key.stage == stage else {}
                writer.certify_key(old_key.public_key, **terms)
            self.policy["registry_root"] = writer.registry.fingerprint
        self.use_registry(directory)

    def take_ledger(self) -> Path:
        """Give the auditor a copy of the robot's log, as it is."""
        self.ledger = Path(shutil.copytree(self.runs.robot.directory / "ledger", self.directory / "ledger"))
        return self.ledger

    def write_ledger(
        self, leaves: Iterable[bytes], key: keys.PrivateKey | None = None, origin: str = "og-ros/demo"
    ) -> Path:
        """Give the auditor a log of these leaves under one checkpoint, signed with the log's key or another."""
        self.ledger = self.directory / "ledger"
        with Ledger.create(self.ledger, origin, key or self.runs.robot.log_key) as ledger:
            ledger.append(list(leaves))
            ledger.checkpoint()
        return self.ledger

    def leaves(self) -> list[bytes]:
        """Return the leaves of the robot's log."""
        with Ledger.open(self.runs.robot.directory / "ledger") as ledger:
            return [leaf.data for leaf in ledger.leaves()]

    def edit_ledger(self, *statements: str) -> None:
        """Run SQL on a copy of the log's database, with the guards that forbid it taken away and put back."""
        file = self.take_ledger() / "log.db"
        with sqlite3.connect(file) as database:
            triggers = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
            for name, _ in triggers:
                database.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                database.execute(statement)
            for _, definition in triggers:
                database.execute(definition)
        database.close()

    # ---- the audit ---------------------------------------------------------------------------------------------------

    def write(self) -> list[str]:
        """Write recording and policy; returns the arguments of the command that audits them."""
        bag = self.directory / "bag"
        if not bag.exists():
            write_bag(sorted(self.records, key=lambda record: record.received_ns), bag)
        policy = self.directory / "policy.yaml"
        policy.write_text(yaml.safe_dump(self.policy))
        registry = self._registry or self.runs.robot.directory / "registry"
        ledger = ["--ledger", str(self.ledger)] if self.ledger else []
        return ["audit", str(bag), "--registry", str(registry), "--policy", str(policy), *ledger, *self.options]
