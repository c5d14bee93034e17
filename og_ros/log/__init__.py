"""The transparency log: an append-only Merkle ledger, its checkpoints and proofs, all checkable by others' tools.

Formats: RFC 6962 / RFC 9162 trees, and C2SP signed-note, tlog-checkpoint, tlog-tiles and tlog-proof.
"""

from __future__ import annotations

from og_ros.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from og_ros.log.merkle import EMPTY_ROOT, MerkleTree, leaf_hash, node_hash, verify_consistency, verify_inclusion
from og_ros.log.note import NoteSignature, SignedNote, VerifierKey, parse_note, sign_note
from og_ros.log.proof import LogProof, format_proof, parse_proof, verify_proof
from og_ros.log.rows import Leaf, StoredCheckpoint
from og_ros.log.selfcheck import LedgerReport
from og_ros.log.store import Ledger
from og_ros.log.tiles import TileReader, verify_tiles

__all__ = [
    "EMPTY_ROOT",
    "Checkpoint",
    "Leaf",
    "Ledger",
    "LedgerReport",
    "LogProof",
    "MerkleTree",
    "NoteSignature",
    "SignedNote",
    "StoredCheckpoint",
    "TileReader",
    "VerifierKey",
    "format_proof",
    "leaf_hash",
    "node_hash",
    "open_checkpoint",
    "parse_note",
    "parse_proof",
    "sign_checkpoint",
    "sign_note",
    "verify_consistency",
    "verify_inclusion",
    "verify_proof",
    "verify_tiles",
]
