"""Reads a rosbag2 recording (sqlite3 or MCAP, zstd too) as raw messages, without ROS, whatever state it is in.

What can be read is read; what is missing is a finding; what is damaged, hostile or no recording at all is a BagError
of one sentence. A recording is evidence: nothing is ever written to it or beside it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from og_ros.attest import ATTESTATION_TYPE
from og_ros.audit.findings import Finding
from og_ros.audit.recording import bag_files, decompression
from og_ros.audit.recording.bag_files import BagFiles
from og_ros.audit.recording.bag_metadata import Metadata, offers_last_messages
from og_ros.audit.recording.message_header import begins_with_header
from og_ros.audit.recording.storage import StoredTopic, check_names
from og_ros.audit.recording.time_order import in_time_order
from og_ros.audit.records import Record
from og_ros.errors import BagError


@dataclass(frozen=True)
class Topic:
    """A recorded topic: name, full type name, and the number of messages that the recording says it has.

    `stamped`: its messages begin with a Header. `latched`: its publishers offered their last messages to those who
    subscribed later.
    """

    name: str
    type: str
    count: int
    stamped: bool
    latched: bool = False


class Bag:
    """An open recording; make it with `open_bag`.

    `findings` says what is wrong with the recording as such: cut off, without metadata, with metadata that contradict
    its files. `unpacked` is the directory of what had to be decompressed; `open_bag` in another process takes it.
    """

    def __init__(self, files: BagFiles, unpacked: Path) -> None:
        self.path = files.path
        self.unpacked = unpacked
        self._metadata = files.metadata
        self._files = [bag_files.open_file(files.storage, path) for path in bag_files.unpack(files, unpacked)]
        self.size = sum(path.stat().st_size for path in files.files)
        """Bytes of the storage files as they lie on disk."""
        stored: dict[str, list[StoredTopic]] = {}
        for file in self._files:
            for topic in file.topics:
                if topic.encoding != "cdr":
                    raise BagError(f"{file.path}: topic {topic.name} is encoded as {topic.encoding[:40]!a}, not as CDR")
                stored.setdefault(topic.name, []).append(topic)
        self.stored: Mapping[str, Sequence[StoredTopic]] = stored
        """The topics by name as each storage file has them."""
        self.findings: list[Finding] = [
            *files.findings,
            *(Finding("recording_incomplete", file.cut) for file in self._files if file.cut),
            *_contradictions(self.path, stored, self._metadata),
        ]
        self.topics: dict[str, Topic] = {name: self._topic(name, kinds) for name, kinds in stored.items()}
        self._add_lost_topics()
        spans = [span for file in self._files for span in file.spans(None, None, None)]
        self.start_ns = min((span.first_ns for span in spans), default=0)
        """Wall time of the first message, ns; 0 for an empty recording."""
        self.end_ns = max((span.last_ns for span in spans), default=0)
        """Wall time of the last message, ns; 0 for an empty recording."""
        self._compressed = self._metadata.compression == "message" if self._metadata else self._looks_compressed()

    @property
    def count(self) -> int:
        """Number of messages that the recording says it has."""
        return sum(topic.count for topic in self.topics.values())

    def records(
        self, topics: Collection[str] | None = None, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Record]:
        """Yield the messages of some topics (all by default) in the order of their arrival.

        From `start_ns` on and before `stop_ns`, by time of arrival, where they are given. Messages that arrived at the
        same time come in the order in which they are stored, so that slices of time that do not overlap give together
        what the whole gives. Raises BagError, naming the file, where its bytes cannot be read.
        """
        spans = [span for file in self._files for span in file.spans(topics, start_ns, stop_ns)]
        try:
            records = in_time_order(spans)
            yield from self._decompressed(records) if self._compressed else records
        except BagError:
            raise
        except (OSError, MemoryError) as error:
            raise BagError(f"cannot read the recording {self.path}: {error or 'it needs too much memory'}") from error

    def cuts(self, sizes: Sequence[float]) -> list[int]:
        """Return times of arrival, ns, ascending, that cut the recording into slices with about these shares of it.

        There are fewer where many messages arrived at one time. However wrong a few clocks were, the slices between
        stay small, which those of equal time would not.
        """
        outline = sorted(sample for file in self._files for sample in file.outline())
        whole, bounds = sum(size for _, size in outline), list(accumulate(sizes))
        cuts: list[int] = []
        passed, place = 0.0, 0
        for time, size in outline:
            reached = place
            while place < len(bounds) - 1 and passed * bounds[-1] >= bounds[place] * whole:
                place += 1
            if place > reached and time > (cuts[-1] if cuts else self.start_ns):
                cuts.append(time)
            passed += size
        return cuts

    def _decompressed(self, records: Iterator[Record]) -> Iterator[Record]:
        room = decompression.largest(self.size)
        for record in records:
            try:
                payload = decompression.message(record.payload)
            except BagError as error:
                raise BagError(f"{self.path}: a message on {record.topic} cannot be read: {error}") from error
            room -= len(payload)
            if room < 0:
                raise BagError(f"{self.path}: its messages become too large; it looks like a zip bomb")
            yield Record(record.topic, record.type, payload, record.received_ns)

    def _looks_compressed(self) -> bool:
        """Tell messages that are compressed one by one, where no metadata say so: CDR never begins like zstd."""
        first = next(in_time_order([span for file in self._files for span in file.spans(None, None, None)]), None)
        return first is not None and bytes(first.payload[:4]) == decompression.ZSTD_MAGIC

    def _topic(self, name: str, kinds: Sequence[StoredTopic]) -> Topic:
        said = self._metadata.counts.get(name) if self._metadata else None
        if said is None:
            said = sum(file.count(name) for file in self._files if any(t.name == name for t in file.topics))
        # A topic that ever had attestations is read as one of attestations: nothing hides behind another type.
        chosen = next((kind for kind in kinds if kind.type == ATTESTATION_TYPE), kinds[0])
        stamped = begins_with_header(chosen.type, chosen.definition, chosen.language)
        latched = all(offers_last_messages(kind.profiles) for kind in kinds)
        latched = latched or (self._metadata is not None and name in self._metadata.latched)
        return Topic(name, chosen.type, said, stamped, latched)

    def _add_lost_topics(self) -> None:
        """Add the topics of which metadata.yaml knows and no storage file does."""
        if self._metadata is None:
            return
        for name in self._metadata.counts.keys() - self.topics.keys():
            kind = min(self._metadata.types[name])
            check_names(self.path, name, kind)
            count = self._metadata.counts[name]
            self.topics[name] = Topic(
                name, kind, count, begins_with_header(kind, "", ""), name in self._metadata.latched
            )


def _contradictions(path: Path, stored: dict[str, list[StoredTopic]], metadata: Metadata | None) -> Iterator[Finding]:
    for name, kinds in sorted(stored.items()):
        types = {kind.type for kind in kinds}
        if len(types) > 1:
            problem = f"{path}: {name} was recorded with several types: {', '.join(sorted(types))}"
            yield Finding("metadata_disagrees", problem, name)
        elif metadata is not None and metadata.types.get(name, types) != types:
            said = ", ".join(sorted(metadata.types[name]))
            yield Finding(
                "metadata_disagrees", f"{path}: {name} is {types.pop()}; metadata.yaml says {said[:200]!a}", name
            )
        elif metadata is not None and name not in metadata.counts:
            yield Finding("metadata_disagrees", f"{path}: metadata.yaml leaves out the recorded topic {name}", name)
    if metadata is not None:
        for name in sorted(metadata.counts.keys() - stored.keys()):
            if metadata.counts[name]:
                problem = f"metadata.yaml says {metadata.counts[name]} messages on {name[:200]!a}, and no file has it"
                yield Finding("recording_incomplete", f"{path}: {problem}", name[:512])


@contextmanager
def open_bag(path: Path, unpacked: Path | None = None) -> Iterator[Bag]:
    """Open a rosbag2 directory, or a storage file inside one or alone; raises BagError with one clear sentence.

    Compressed files are decompressed once, into a directory that is removed at the end. To read the recording in other
    processes meanwhile, pass them the `Bag.unpacked` of the first, so that they use what is there.
    """
    files = bag_files.find(path)
    if unpacked is not None:
        yield _opened(files, unpacked)
        return
    with tempfile.TemporaryDirectory(prefix="og_ros-", ignore_cleanup_errors=True) as made:
        yield _opened(files, Path(made))


def _opened(files: BagFiles, unpacked: Path) -> Bag:
    try:
        return Bag(files, unpacked)
    except (OSError, MemoryError) as error:
        raise BagError(f"cannot read the recording {files.directory}: {error or 'it needs too much memory'}") from error
