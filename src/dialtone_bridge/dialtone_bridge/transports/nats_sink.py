"""One topic on its way to a NATS subject: its lane, its headers, its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dialtone_bridge.transports.base import SinkStats, Topic, Want
from dialtone_bridge.transports.interest import Interest
from dialtone_core import wire
from dialtone_core.cdr import read_compressed_image
from dialtone_core.delivery import Lane, Outbox
from dialtone_core.natsaccess import last_bucket
from dialtone_core.natslink import frame_head
from dialtone_core.sample import Sample

#: Fixed headers, the message's own headers, payload.
Frame = tuple[bytes, bytes, bytes]


class NatsSink:
    """See ``base.Sink``; the sending task of the transport reads its lane."""

    def __init__(
        self,
        topic: Topic,
        subject: str,
        outbox: Outbox[Sample],
        want: Want,
        on_close: Callable[[NatsSink], None],
    ) -> None:
        self.topic = topic
        self.subject = subject
        self.subject_bytes = subject.encode()
        self.want = want
        self.sent = 0
        self.failed = 0
        self.last_subject = b""
        self.last_frame: Frame | None = None
        self.unsaved = self.missed = False
        self.wanted = self.retired = False
        self._on_close = on_close
        self._encoding = topic.route.encoding
        self._heads = {
            encoding: frame_head({wire.TYPE: topic.type, wire.ENCODING: encoding})
            for encoding in {"cdr", self._encoding}
        }
        self.lane: Lane[Sample] = outbox.open_lane(
            topic.name, topic.route.policy, topic.route.priority
        )

    def put(self, burst: Sequence[Sample]) -> None:
        self.lane.put_all([(each, len(each.payload)) for each in burst])

    def stats(self) -> SinkStats:
        dropped = self.lane.dropped + self.failed
        return SinkStats(self.sent, dropped, len(self.lane))

    def close(self) -> None:
        self._on_close(self)

    def follow(self, interest: Interest | None, keeps_last: bool) -> None:
        """Want the topic while somebody subscribes to it (``None``: nobody knows), or while the
        bucket keeps its newest message, which must not grow old there. On the loop."""
        kept = keeps_last and bool(self.last_subject)
        wanted = kept or interest is None or interest.wants(self.subject)
        if wanted != self.wanted:
            self.wanted = wanted
            self.want(wanted)

    def keep_last(self, robot: str) -> None:
        """Have the newest message in the KV bucket, where the route is latched or ``latest``."""
        route = self.topic.route
        if route.latched or route.policy.kind == "latest":
            tail = self.subject.split(".", 3)[3]
            self.last_subject = f"$KV.{last_bucket(robot)}.{tail}".encode()

    def note_last(self, frame: Frame) -> bool:
        """Whether the bucket gets this message at once; each latched one does, of the others the
        newest once a second (``unsaved``). Kept also for a bucket that is made later."""
        self.last_frame = frame
        self.unsaved = not self.topic.route.latched
        return not self.unsaved

    def encode(self, sample: Sample) -> Frame:
        """Fixed headers, the sample's own headers, payload; a JPEG is cut out by offset.

        Raises ``WireError`` where the payload is not of its type.
        """
        encoding, payload, stamp_ns = self._encoding, sample.payload, sample.publish_ns
        if encoding == "jpeg":
            view = read_compressed_image(payload)
            stamp_ns = view.stamp_ns
            if "jpeg" in view.format or "jpg" in view.format:
                payload = payload[view.start : view.stop]
            else:
                encoding = "cdr"
        elif encoding == "json":
            payload = self.topic.to_json(payload)
        if sample.seq is None:
            more = b"Dt-Stamp-Ns: %d\r\n" % stamp_ns
        else:
            more = b"Dt-Stamp-Ns: %d\r\nDt-Seq: %d\r\n" % (stamp_ns, sample.seq)
        return self._heads[encoding], more, payload
