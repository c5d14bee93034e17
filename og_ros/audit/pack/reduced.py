"""A recording without its data: attestations and evidence alone, copied byte for byte into a recording of their own."""

from __future__ import annotations

from pathlib import Path

from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from og_ros.attest import ATTESTATION_TYPE
from og_ros.errors import BagError
from og_ros.evidence.message import EVIDENCE_TYPE


def write_reduced(source: Path, target: Path) -> None:
    """Copy the topics of attestations, and of evidence of their keys, to a new recording (MCAP); raises BagError.

    The messages keep their bytes and times of arrival. What other topics held is gone: the digests in the attestations
    still bind it, and whoever has the complete recording can show it later.
    """
    try:
        with Reader(source) as reader, Writer(target, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            kept = [c for c in reader.connections if c.msgtype in (ATTESTATION_TYPE, EVIDENCE_TYPE)]
            if not any(c.msgtype == ATTESTATION_TYPE for c in kept):
                raise BagError(f"{source} holds no attestations, so nothing would be left without its data")
            connections = {}
            for connection in kept:
                # Recorded by several publishers, a topic has several connections; one is enough for the copy.
                if connection.topic not in connections:
                    connections[connection.topic] = writer.add_connection(
                        connection.topic,
                        connection.msgtype,
                        msgdef=connection.msgdef.data,
                        rihs01=connection.digest or "RIHS01_unknown",
                    )
            for connection, timestamp, data in reader.messages(kept):
                writer.write(connections[connection.topic], timestamp, data)
    except BagError:
        raise
    except Exception as error:  # rosbags lets struct, zstd, YAML and index errors through on damaged files
        problem = f"{type(error).__name__}: {error}"
        raise BagError(f"cannot copy the attestations of {source} ({problem}); pack it with its data") from error
