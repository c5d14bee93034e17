"""A session: the hash chain of attestations that one stage makes from its start to its stop."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Final

from og_ros.attest import cose, wire
from og_ros.attest.session_template import SessionTemplate, Shape, shape_of
from og_ros.attest.signer import Signer
from og_ros.attest.statement import (
    NO_DIGEST,
    SESSION_SIZE,
    Attestation,
    Clock,
    DataReference,
    Mode,
    ModelReference,
    Runtime,
    Statement,
)

# A stage has one shape of statement, or a few: with and without a link to an input's attestation. More get no template.
MAX_TEMPLATES: Final = 32


class Session:
    """Signs inferences in order: each attestation has the next sequence and names the one before by its digest.

    Not thread-safe: one thread signs. A number is used up only once its attestation is signed, so an error in between
    leaves no gap.
    """

    def __init__(self, *, robot: str, stage: str, node: str, model: ModelReference, runtime: Runtime, signer: Signer):
        self.robot, self.stage, self.node = robot, stage, node
        self.model, self.runtime = model, runtime
        self.id = os.urandom(SESSION_SIZE)
        self.began_ns = time.monotonic_ns()
        self._signer = signer
        self._sequence = 0
        self._previous = NO_DIGEST
        self._templates: dict[Shape, SessionTemplate | None] = {}
        self._newest: tuple[Attestation, bytes] | None = None

    @property
    def sequence(self) -> int:
        """The sequence number that the next attestation will have."""
        return self._sequence

    def attest(
        self,
        inputs: Sequence[DataReference],
        outputs: Sequence[DataReference],
        *,
        start_ns: int,
        clock: Clock,
        start_monotonic_ns: int,
        duration_ns: int,
        mode_requested: Mode = Mode.SIGNED,
        mode_used: Mode = Mode.SIGNED,
    ) -> Attestation:
        """Sign one inference.

        `start_ns` is the node's clock and `start_monotonic_ns` time.monotonic_ns() when it began; `duration_ns` is
        monotonic. Raises AttestationError when a field is out of bounds.
        """
        statement = Statement(
            robot=self.robot,
            stage=self.stage,
            node=self.node,
            session=self.id,
            sequence=self._sequence,
            previous=self._previous,
            model=self.model,
            runtime=self.runtime,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            start_ns=start_ns,
            clock=clock,
            start_monotonic_ns=max(0, start_monotonic_ns - self.began_ns),
            duration_ns=duration_ns,
            signed_at_ns=time.time_ns(),
            key_id=self._signer.key_id,
            algorithm=self._signer.algorithm,
            mode_requested=mode_requested,
            mode_used=mode_used,
        )
        attestation = self._sign(statement)
        self._sequence += 1
        self._previous = attestation.digest
        return attestation

    def serialised(self, attestation: Attestation) -> bytes:
        """Return what `encode_attestation` gives; at no cost for the newest attestation of the session."""
        if self._newest is not None and self._newest[0] is attestation:
            return self._newest[1]
        return wire.encode_attestation(attestation)

    def _sign(self, statement: Statement) -> Attestation:
        shape = shape_of(statement)
        template = self._templates.get(shape)
        if template is not None:
            signed = template.sign(statement, self._signer)
            if signed is not None:
                self._newest = signed
                return signed[0]
        attestation = cose.sign(statement, self._signer)
        if shape not in self._templates and len(self._templates) < MAX_TEMPLATES:
            self._templates[shape] = SessionTemplate.of(attestation)
        return attestation
