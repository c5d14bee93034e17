"""Re-execution of a recording: chooses inferences by a sample, runs each again, and tells what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from og_ros.attest import (
    ATTESTATION_TYPE,
    Attestation,
    DataReference,
    Disclosure,
    Statement,
    decode_attestation,
    digest,
    verify,
)
from og_ros.audit.findings import Finding
from og_ros.audit.gate_decisions import is_gate_decision, passed_on_other
from og_ros.audit.recording.bag import Bag
from og_ros.audit.recording.payloads import Key, fetch
from og_ros.audit.records import Inference, Record
from og_ros.audit.reexecution.comparison import DEFAULT_TOLERANCE, Tolerance
from og_ros.audit.reexecution.reexecuted import Outcome, Reexecution, unavailable
from og_ros.audit.reexecution.sampling import Beacon, Identity, Sample, Selection, identity, selection
from og_ros.audit.reexecution.tally import ReexecutionTally
from og_ros.errors import AttestationError, ConfigError, SignatureError
from og_ros.registry import Registry

Progress = Callable[[int, int], None]
BEACON_NOTE: Final = (
    "given by the auditor; og_ros does not check where it came from, nor that it became public after the auditor had "
    "the recording"
)
# So many selected inferences are held at a time, without their messages.
_BATCH: Final = 2000
_PROGRESS_STEP: Final = 16


@dataclass(frozen=True)
class ReexecutionPlan:
    """What an auditor asks to have run again; can be sent to other processes.

    Attributes:
        sample, beacon: which inferences (og_ros.audit.reexecution.sampling).
        pipeline: the pipeline file that the robot ran.
        models: files, and directories of *.onnx files, beside those that the pipeline file names.
        tolerance: applied where bit-exactness cannot be demanded.
        timeout_s: bound of one inference, with the loading of its model.
    """

    sample: Sample
    beacon: Beacon
    pipeline: Path
    models: tuple[Path, ...] = ()
    tolerance: Tolerance = DEFAULT_TOLERANCE
    timeout_s: float = 60.0

    def check(self) -> None:
        """Raise ConfigError or ModelError when the pipeline file is wrong, a path is missing, or onnxruntime is."""
        from importlib.util import find_spec

        from og_ros.stages.model_files import ModelFiles
        from og_ros.stages.pipeline import load_pipeline

        load_pipeline(self.pipeline)
        ModelFiles(self.models).check()
        if find_spec("onnxruntime") is None:
            raise ConfigError("re-execution needs onnxruntime: install og_ros with the extra `robot`")

    def as_json(self) -> dict[str, Any]:
        """Return what another auditor needs to run the same inferences again."""
        return {
            "sample": self.sample.text,
            "beacon": self.beacon.text,
            "beacon_given": self.beacon.given,
            "beacon_time_ns": self.beacon.time_ns,
            "beacon_note": BEACON_NOTE if self.beacon.given else "drawn by this audit from its machine's random source",
            "pipeline_digest": sha256(self.pipeline.read_bytes()).hexdigest(),
            "tolerance": {"absolute": self.tolerance.absolute, "relative": self.tolerance.relative},
        }


def select(bag: Bag, plan: ReexecutionPlan, unrecorded: Iterable[Attestation] = ()) -> Selection:
    """Return the rule of a plan's sample for a whole recording; reads all attestations when the sample is a count.

    `unrecorded` holds attestations of the run that are not in the recording, such as those taken from a log.
    """
    if plan.sample.count is None:
        return selection(plan.sample, plan.beacon)
    return selection(plan.sample, plan.beacon, _identities(bag, unrecorded))


def reexecute(
    bag: Bag,
    plan: ReexecutionPlan,
    chosen: Selection,
    registry: Registry | None = None,
    *,
    report: Callable[[Finding], None],
    start_ns: int | None = None,
    stop_ns: int | None = None,
    unrecorded: Iterable[Attestation] = (),
    reveal: Callable[[DataReference], bytes | None] | None = None,
    definitions: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    jobs: int = 1,
) -> ReexecutionTally:
    """Run the chosen inferences again whose attestations arrived from `start_ns` on and before `stop_ns`.

    Their messages may be anywhere in the recording. `report` gets a finding for each inference that differs; the other
    findings are those of `conclude`, once the parts of a run are merged. With a registry, only models that it certifies
    are loaded, and only statements that their key signed are run. `reveal` returns the message that a committed
    reference hides, checked against the commitment, or None when the auditor was not shown it. `definitions` holds the
    .msg text of message types that are not ROS 2's own. `progress(done, total)` counts attestations. `jobs` is the
    number of processes that run models.

    Raises BagError where the recording cannot be read, ConfigError where the plan's files cannot.
    """
    from og_ros.audit.reexecution.model_pool import ModelPool
    from og_ros.audit.reexecution.model_process import ModelProcess
    from og_ros.stages.pipeline import load_pipeline

    tally = ReexecutionTally()
    stages = load_pipeline(plan.pipeline).stages
    total = sum(topic.count for topic in bag.topics.values() if topic.type == ATTESTATION_TYPE)
    done = 0

    def requests(batch: Sequence[Inference]) -> Iterator[tuple[Inference, Statement, Mapping[Key, bytes]]]:
        for inference, payloads in fetch(bag, batch):
            refused = _refused(inference.attestation, registry)
            if refused is not None:
                tally.add(inference.attestation.statement, inference.attestation.digest, refused)
                continue
            statement, revealed = _revealed(inference.attestation.statement, reveal)
            yield inference, statement, {**payloads, **revealed}

    def make() -> ModelProcess:
        return ModelProcess(stages, plan.models, plan.tolerance, definitions, plan.timeout_s)

    def decided(inference: Inference) -> None:
        """A gate's decision: no model made it, its rule is applied to it."""
        tally.by_rules += 1
        problem = passed_on_other(inference.attestation.statement)
        if problem is not None and _refused(inference.attestation, registry) is None:
            report(inference.finding("reexecution_differs", f"stage {inference.stage}: {problem}"))

    with ModelPool(make, jobs) as models:
        for batch, read in _batches(bag, chosen, tally, decided, unrecorded, start_ns, stop_ns):
            for number, (inference, found) in enumerate(models.run(requests(batch)), 1):
                statement = inference.attestation.statement
                tally.add(statement, inference.attestation.digest, found)
                if found.outcome is Outcome.DIFFERS:
                    report(inference.finding("reexecution_differs", f"stage {statement.stage}: {found.detail}"))
                if progress is not None and number % _PROGRESS_STEP == 0:
                    progress(done + (read - done) * number // len(batch), max(total, read))
            done = read
    if progress is not None:
        progress(done, done)
    return tally


def conclude(plan: ReexecutionPlan, tally: ReexecutionTally, end_ns: int) -> Iterator[Finding]:
    """Yield the findings about a whole run whose recording ended at `end_ns` (ns since 1970)."""
    time_ns = plan.beacon.time_ns
    if plan.beacon.given and time_ns is not None and time_ns <= end_ns:
        yield Finding(
            "beacon_predictable",
            f"the beacon became public {(end_ns - time_ns) / 1e9:.0f} s before the recording ended, so the robot could "
            "know which inferences would be run again",
        )
    yield from tally.findings()


def _revealed(
    statement: Statement, reveal: Callable[[DataReference], bytes | None] | None
) -> tuple[Statement, dict[Key, bytes]]:
    """Return a statement with what was revealed in clear, and those messages."""
    payloads: dict[Key, bytes] = {}
    if reveal is None:
        return statement, payloads

    def shown(reference: DataReference) -> DataReference:
        payload = reveal(reference) if reference.disclosure is Disclosure.COMMITTED else None
        if payload is None:
            return reference
        clear = digest(payload, reference.digest_algorithm)
        payloads[reference.topic, clear] = payload
        return replace(reference, digest=clear, disclosure=Disclosure.CLEAR)

    inputs, outputs = (tuple(map(shown, side)) for side in (statement.inputs, statement.outputs))
    return replace(statement, inputs=inputs, outputs=outputs), payloads


def _refused(attestation: Attestation, registry: Registry | None) -> Reexecution | None:
    """Return why a statement is not run again, or None: what nobody signed accuses nobody."""
    if registry is None:
        return None
    key = registry.key(attestation.statement.key_id)
    if key is None:
        return unavailable("its key is not in the registry")
    try:
        verify(attestation, key.public_key)
    except SignatureError as error:
        return unavailable(str(error))
    if not registry.models_with(attestation.statement.model.digest):
        return unavailable("no certificate names its model, and only certified models are loaded")
    return None


def _identities(bag: Bag, unrecorded: Iterable[Attestation]) -> Iterator[Identity]:
    for record in bag.records(_attestation_topics(bag)):
        attestation = _decode(record)
        if attestation is not None and _ran_a_model(attestation.statement):
            yield identity(attestation.statement)
    yield from (identity(a.statement) for a in unrecorded if _ran_a_model(a.statement))


def _ran_a_model(statement: Statement) -> bool:
    """A source ran nothing, and a gate has rules of its own."""
    return not statement.is_source and not is_gate_decision(statement)


def _batches(
    bag: Bag,
    chosen: Selection,
    tally: ReexecutionTally,
    decided: Callable[[Inference], None],
    unrecorded: Iterable[Attestation],
    start_ns: int | None,
    stop_ns: int | None,
) -> Iterator[tuple[list[Inference], int]]:
    """Yield the chosen inferences in the order of arrival, each once, and how many attestations were read so far.

    Every decision of a gate goes to `decided` instead, chosen or not. All of the others are counted in the tally.
    Between two batches nothing is being read, so that a caller can use the bag.
    """
    seen: set[int] = set()
    batch: list[Inference] = []

    def take(attestation: Attestation, topic: str, received_ns: int) -> None:
        short = int.from_bytes(attestation.digest[:8], "big")
        if short in seen:
            return  # played again, or read a second time where the last batch ended
        seen.add(short)
        if is_gate_decision(attestation.statement):
            decided(Inference(attestation, topic, received_ns))
            return
        if attestation.statement.is_source:
            return  # it ran nothing
        tally.count(attestation.statement)
        if chosen.takes(attestation.statement):
            batch.append(Inference(attestation, topic, received_ns))

    at_ns, more = start_ns, True
    while more:
        more = False
        for record in bag.records(_attestation_topics(bag), at_ns, stop_ns):
            at_ns = record.received_ns
            attestation = _decode(record)
            if attestation is not None:
                take(attestation, record.topic, record.received_ns)
            if len(batch) == _BATCH:
                more = True
                break
        if more:
            yield batch, len(seen)
            batch.clear()
    for attestation in unrecorded:
        signed_at_ns = attestation.statement.signed_at_ns
        if (start_ns is None or start_ns <= signed_at_ns) and (stop_ns is None or signed_at_ns < stop_ns):
            take(attestation, "", signed_at_ns)
    yield batch, len(seen)


def _attestation_topics(bag: Bag) -> list[str]:
    return [topic.name for topic in bag.topics.values() if topic.type == ATTESTATION_TYPE]


def _decode(record: Record) -> Attestation | None:
    try:
        return decode_attestation(record.payload)
    except AttestationError:
        return None  # the audit reports it
