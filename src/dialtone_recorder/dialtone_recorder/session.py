"""One recording in progress: a queue, the thread that writes it, and what it counted.

The ROS thread only appends to a bounded deque. The writer thread wakes 50 times a second, writes
what came, and every ``fsync_period_s`` makes it durable.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from dialtone_core.clock import NS_PER_S, Clock, SystemClock
from dialtone_core.errors import DialtoneError
from dialtone_core.sample import Sample
from dialtone_recorder.facts import MB, Facts, Limits, describe
from dialtone_recorder.manifest import (
    RECORDING,
    bag_metadata,
    write_bag_metadata,
    write_episode,
)
from dialtone_recorder.parts import Parts
from dialtone_recorder.stats import TopicStats
from dialtone_recorder.topics import Topic

__all__ = ["MB", "Facts", "Limits", "Session"]

WAKE_S = 0.02
#: Released when the disk is full, so that there is room to close.
RESERVE_BYTES = 4 << 20
_by_receipt = attrgetter("receive_ns")


class Session:
    """``put`` from one thread, everything else from the thread that owns the recorder.

    ``whole`` is false where not even the end could be written: such a folder waits for recovery.
    Raises ``DialtoneError`` from the constructor where the folder cannot be made.
    """

    def __init__(
        self, directory: Path, facts: Facts, limits: Limits, clock: Clock | None = None
    ) -> None:
        self.facts = facts
        self.folder = directory / (facts.name + RECORDING)
        self.final = directory / facts.name
        self.unrecorded: dict[str, str] = {}
        self.error = ""
        self.warning = ""
        self.paused = False
        self.changed = False
        self.whole = True
        self.ended = threading.Event()
        self._on_ended: Callable[[], None] = lambda: None
        self._limits = limits
        self._clock = clock or SystemClock()
        self._started_ns = self._clock.wall_ns()
        self._started_monotonic_ns = self._clock.monotonic_ns()
        self._ended_ns = 0
        self._step_ns = 0
        self._queue: deque[Sample] = deque()
        self._new: deque[Topic] = deque()
        self._put_bytes = 0
        self._taken_bytes = 0
        self._stats: dict[tuple[str, str], TopicStats] = {}
        self._stop = threading.Event()
        self._closed_by = ""
        self._open()
        self._thread = threading.Thread(target=self._run, name="episode-writer", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        made = False
        try:
            self.folder.mkdir()
            made = True
            self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._reserve()
            self._parts = Parts(self._part_path, self._limits)
            write_episode(self.folder, self.to_json())
        except OSError as error:
            if made:
                shutil.rmtree(self.folder, ignore_errors=True)
            raise DialtoneError(
                f"cannot begin an episode ({error.strerror})", where=str(self.folder),
                fix="make the folder writable, or free some disk",
            ) from error  # fmt: skip

    def _part_path(self, index: int) -> Path:
        return self.folder / f"{self.facts.name}_{index}.mcap"

    def _reserve(self) -> None:
        handle = os.open(self.folder / ".reserve", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(handle, 0, RESERVE_BYTES)
        finally:
            os.close(handle)

    # Any one thread

    def add_topic(self, topic: Topic) -> None:
        """Record ``topic`` from now on; before its first ``put``. Again to tell what changed."""
        known = self._stats.get(topic.key)
        if known is None:
            self._stats[topic.key] = TopicStats(topic)
            self.changed = True
            self._new.append(topic)
        else:
            known.topic = topic

    def put(self, sample: Sample) -> None:
        """Take one message, or count it as lost when the disk lags too far behind."""
        if self.paused:
            return
        size = len(sample.payload)
        waiting = self._put_bytes - self._taken_bytes
        full = waiting + size > self._limits.queue_bytes and waiting > 0
        if full or len(self._queue) >= self._limits.queue_messages or self.ended.is_set():
            self._stats[sample.topic, sample.type].lost_recorder += 1
            return
        self._put_bytes += size
        self._queue.append(sample)

    def put_all(self, samples: Sequence[Sample]) -> None:
        """``put`` each of them, at the price of one where there is room for all."""
        size = sum(len(sample.payload) for sample in samples)
        waiting = self._put_bytes - self._taken_bytes + size
        few = len(self._queue) + len(samples) <= self._limits.queue_messages
        if self.paused or self.ended.is_set() or not few or waiting > self._limits.queue_bytes:
            for sample in samples:
                self.put(sample)
            return
        self._put_bytes += size
        self._queue.extend(samples)

    def adopt(self, samples: Iterable[Sample]) -> None:
        """Take what a pre-roll kept, whatever the queue's bounds: it has its own."""
        for sample in samples:
            self._put_bytes += len(sample.payload)
            self._queue.append(sample)

    # The owner

    @property
    def messages(self) -> int:
        return sum(each.messages for each in list(self._stats.values()))

    @property
    def lost(self) -> int:
        """What arrived and did not reach the file."""
        return sum(each.lost_recorder for each in list(self._stats.values()))

    @property
    def bytes(self) -> int:
        return self._parts.bytes

    @property
    def waiting_bytes(self) -> int:
        return self._put_bytes - self._taken_bytes

    @property
    def duration_s(self) -> float:
        return (self._clock.monotonic_ns() - self._started_monotonic_ns) / NS_PER_S

    def on_ended(self, callback: Callable[[], None]) -> None:
        """``callback`` is called once from the writer thread when recording has ended."""
        self._on_ended = callback
        if self.ended.is_set():
            callback()

    def stats(self) -> list[TopicStats]:
        return list(self._stats.values())

    def relabel(self, labels: Mapping[str, Any]) -> None:
        """Set labels that ``check_labels`` has checked."""
        for key, value in labels.items():
            setattr(self.facts, key, value)
        self.changed = True

    def finish(self, closed_by: str = "stop") -> None:
        """Write what waits, close the file properly, and write both papers. Blocks; idempotent."""
        self._closed_by = self._closed_by or closed_by
        self._stop.set()
        self._thread.join()

    def release(self) -> None:
        """Give the folder's lock back, once it is published or left to recovery; idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def to_json(self, state: str = "recording") -> dict[str, Any]:
        """The content of ``episode.json`` as far as it is known."""
        return describe(
            self.facts, self.stats(), self._parts.files,
            state=state,
            started_ns=self._started_ns,
            ended_ns=self._ended_ns or self._clock.wall_ns(),
            duration_s=round(self.duration_s, 3),
            closed_by=self._closed_by,
            error=self.error,
            unrecorded=dict(self.unrecorded),
            clock={
                "started_monotonic_ns": self._started_monotonic_ns, "step_ns": self._step_ns,
            },
        )  # fmt: skip

    # The writer thread

    def _run(self) -> None:
        sync_ns = self._clock.monotonic_ns()
        look_ns = 0
        while True:
            stopping = self._stop.wait(WAKE_S)
            try:
                self._write_waiting()
                now_ns = self._clock.monotonic_ns()
                if now_ns - sync_ns >= self._limits.fsync_period_s * NS_PER_S:
                    self._parts.sync()
                    sync_ns = now_ns
                if now_ns - look_ns >= NS_PER_S:
                    self._look_around()
                    look_ns = now_ns
                if self.ended.is_set():  # the disk's floor: what came until now still has room
                    self._write_waiting()
                    break
                if stopping:
                    break
            except Exception as error:
                # Whatever it is: a recording whose writer is dead must not look like one.
                self._fail(error)
                return
        self._finish()

    def _write_waiting(self) -> None:
        while self._new:
            self._parts.channel(self._new.popleft())
        count = len(self._queue)
        if not count:
            return
        batch = [self._queue.popleft() for _ in range(count)]
        # Topics are drained one after the other; readers of unindexed files want time order.
        batch.sort(key=_by_receipt)
        self._taken_bytes += sum(len(sample.payload) for sample in batch)
        self._parts.write(batch, self._stats)
        self._parts.flush()
        self._parts.split_if_due(each.topic for each in self.stats())

    def _look_around(self) -> None:
        """Once a second: changed labels, a stepped clock, and a disk that fills."""
        if self.changed:
            self.changed = False
            write_episode(self.folder, self.to_json())
        elapsed_ns = self._clock.monotonic_ns() - self._started_monotonic_ns
        step_ns = self._clock.wall_ns() - self._started_ns - elapsed_ns
        if abs(step_ns) > abs(self._step_ns):
            self._step_ns = step_ns
        facts = os.statvfs(self.folder)
        free = facts.f_bavail * facts.f_frsize
        floor = self._limits.min_free_bytes
        if free < floor:
            self.error = f"closed: {free // MB} MB free on the disk, the floor is {floor // MB} MB"
            self._closed_by = "disk_floor"
            self.ended.set()
        elif free < 2 * floor:
            self.warning = f"{free // MB} MB free on the disk; at {floor // MB} MB recording ends"
        else:
            self.warning = ""

    def _fail(self, error: Exception) -> None:
        """The disk refused: keep what is in the file, close it with the reserve's room."""
        self.ended.set()
        why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        self.error = f"writing failed ({why}): {self._parts.path}"
        self._closed_by = "disk_full" if isinstance(error, OSError) else "error"
        self._discard_waiting()
        self._parts.abandon()
        self._finish(failed=True)

    def _discard_waiting(self) -> None:
        while self._queue:
            sample = self._queue.popleft()
            self._stats[sample.topic, sample.type].lost_recorder += 1

    def _finish(self, failed: bool = False) -> None:
        self.ended.set()
        self._ended_ns = self._clock.wall_ns()
        self._discard_waiting()
        try:
            (self.folder / ".reserve").unlink(missing_ok=True)
            if failed:
                self._parts.seal(self._stats)
            else:
                self._parts.end()
            facts = self.to_json("closing")
            topics = self._parts.as_written(self._stats)
            write_bag_metadata(self.folder, bag_metadata(topics, self._parts.files, {}))
            write_episode(self.folder, facts)
        except OSError as error:
            self.error = self.error or f"closing failed ({error.strerror}): {self.folder}"
            self.whole = False
            self._parts.abandon()
        self._on_ended()
