"""A writer killed with SIGKILL at random moments: every acknowledged index is there afterwards, and the log holds."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.log import Ledger, open_checkpoint, verify_consistency, verify_tiles

ORIGIN = "example.com/robot-7"

WRITER = """
import sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from og_ros.log import Ledger

directory, run = sys.argv[1], sys.argv[2]
ledger = Ledger.open(directory, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
print("ready", flush=True)
n = 0
while True:
    batch = [f"{run} {n + k}".encode() for k in range(1 + n % 37)]
    for index, leaf in zip(ledger.append(batch), batch):
        print("leaf", index, leaf.decode(), flush=True)
    n += len(batch)
    if n % 3 == 0:
        note = ledger.checkpoint()
        print("checkpoint", note.split("\\n")[1], flush=True)
"""


def test_kill_loses_nothing_that_was_acknowledged(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    directory = tmp_path / "ledger"
    Ledger.create(directory, ORIGIN, key).close()
    moments = random.Random(11)
    acknowledged: dict[int, bytes] = {}
    last_signed = 0
    for run in range(15):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(directory), str(run)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(moments.random() * 0.12)
        child.kill()
        rest = child.stdout.read()
        child.wait()
        child.stdout.close()
        for line in rest.split("\n")[:-1]:  # the last line may be cut off
            kind, number, *leaf = line.split(" ", 2)
            if kind == "leaf":
                acknowledged[int(number)] = leaf[0].encode()
            else:
                last_signed = max(last_signed, int(number))
        if run % 3 == 0:  # an auditor before the repair, beside the dead writer's write-ahead log
            with Ledger.open(directory) as reader:
                assert reader.verify().size > max(acknowledged, default=-1)
        with Ledger.open(directory, key) as ledger:
            report = ledger.verify()
            leaves = [leaf.data for leaf in ledger.leaves()]
            heads = [open_checkpoint(row.note, ledger.first_key) for row in ledger.checkpoints()]
        assert report.latest is None or report.latest.size >= last_signed
        assert all(leaves[index] == leaf for index, leaf in acknowledged.items())
        if heads:
            assert verify_tiles(directory, ledger.first_key.format()) == heads[-1]
    assert len(acknowledged) > 100
    with Ledger.open(directory) as ledger:
        for old, new in pairwise(heads):
            verify_consistency(old.size, new.size, ledger.consistency_proof(old.size, new.size), old.root, new.root)
