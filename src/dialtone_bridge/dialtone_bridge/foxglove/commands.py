"""What clients publish, and what happens when one goes while something moves because of it.

Panels send nothing when a stick is let go, and a laptop that closes sends nothing at all. Teleop
stops the robot 0.3 s after the last command whatever we do; a robot without it drives on. So a
client that left while it drove is followed by one zero velocity, unless somebody else has driven
that topic since: a stop that comes late must stop nobody else.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from dialtone_bridge.foxglove import ros1_json
from dialtone_bridge.foxglove.complaints import Throttle, clean
from dialtone_bridge.foxglove.session import Publication, Session
from dialtone_bridge.stats import Refusals
from dialtone_bridge.transports.base import Inbound, Log
from dialtone_core.cdr import ENCAPSULATION_BYTES, byte_order
from dialtone_core.errors import WireError
from dialtone_core.naming import normalize_type
from dialtone_core.wire import decode_velocity

TWIST = "geometry_msgs/msg/Twist"
ENCODINGS = ("cdr", "json")
_ZERO = b'{"linear":{},"angular":{}}'
_MAX_CHANNELS = 256
#: A velocity may still move a robot so long after it was sent: longer than a line that died takes
#: to be noticed (3 s, ``server``), for the robots that have no timeout of their own.
_MATTERS_S = 5.0
#: What may be a ROS topic, as a full or a relative name.
_TOPIC = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
_LONGEST_TOPIC = 200


class Commands:
    """Passes on what clients publish. On the loop; ``now_s`` is monotonic."""

    def __init__(
        self, namespace: str, inbound: Inbound, log: Log, now_s: Callable[[], float] | None = None
    ) -> None:
        self._prefix = namespace.rstrip("/") + "/"
        self._inbound = inbound
        self._log = log
        self._may_say = Throttle(20, 1.0)
        self._now_s = now_s or time.monotonic
        #: Who drove a topic last.
        self._drivers: dict[str, Publication] = {}
        self.refusals = Refusals()
        self.received = 0

    def advertise(self, session: Session, channel: int, offer: dict[str, Any]) -> None:
        """Raises ``WireError`` for an id that is in use, and for what is no topic or type."""
        if channel in session.publications:
            raise WireError("channel_in_use", f"channel {channel} is advertised already")
        if len(session.publications) >= _MAX_CHANNELS:
            raise WireError("too_many", f"more than {_MAX_CHANNELS} channels")
        made = Publication(
            self._path(offer["topic"]), _type(offer["schemaName"]), _encoding(offer["encoding"])
        )
        session.publications[channel] = made
        if not self._inbound.accepts(made.path):
            # No more than a word: a 3D panel offers three that few robots take, unasked.
            session.tell(f"topic_not_allowed: {offer['topic']} takes no messages from clients")

    def unadvertise(self, session: Session, channel: int) -> None:
        publication = session.publications.pop(channel, None)
        if publication is not None:
            self._part(publication, f"{session.link.peer} unadvertised it")

    def publish(self, session: Session, channel: int, payload: bytes) -> None:
        known = session.publications.get(channel)
        if known is None:
            raise WireError("no_channel", f"nothing was advertised as channel {channel}")
        try:
            self._pass_on(known, payload)
        except WireError as error:
            self.refusals.count(error.reason, error.detail)
            where = "" if known.path in error.detail else f" (on {known.path})"
            session.refuse(f"{error}{where}", f"refused {known.path}")
            return
        self.received += 1
        if known.type == TWIST:
            self._drivers[known.path] = known
            known.moving = _moves(known.encoding, payload)
            known.moved_s = self._now_s()

    def _pass_on(self, known: Publication, payload: bytes) -> None:
        """As it is, and in ROS 2's words only where ROS does not know its own: a type of
        somebody's may really have a field ``nsec``."""
        pass_on = partial(self._inbound.message, known.path, known.type, known.encoding)
        try:
            pass_on(payload, known)
        except WireError as error:
            if error.reason != "unknown_field" or known.encoding != "json":
                raise
            translated = ros1_json.to_ros2(payload)
            if translated is None:
                raise
            pass_on(translated, known)

    def drives(self, session: Session) -> bool:
        """Whether something may move because of what this client said."""
        return any(self._matters(each) for each in session.publications.values())

    def halt(self, session: Session, why: str) -> None:
        """Stop what this client drives; it may go on if it is heard again."""
        for each in session.publications.values():
            self._stop(each, f"{session.link.peer} {why}")

    def left(self, session: Session) -> None:
        """Its connection is gone."""
        publications = list(session.publications.values())
        session.publications.clear()
        for each in publications:
            self._part(each, f"{session.link.peer} is gone")

    def _part(self, publication: Publication, why: str) -> None:
        self._stop(publication, why)
        if self._drivers.get(publication.path) is publication:
            del self._drivers[publication.path]
        self._inbound.left(publication)

    def _matters(self, publication: Publication) -> bool:
        """Whether its velocity is not zero, recent, and the last that anybody sent there."""
        return (
            publication.moving
            and self._drivers.get(publication.path) is publication
            and self._now_s() - publication.moved_s < _MATTERS_S
        )

    def _stop(self, publication: Publication, why: str) -> None:
        if not self._matters(publication):
            return
        publication.moving = False
        line = f"stopped {publication.path}: {why}"
        try:
            self._inbound.message(publication.path, TWIST, "json", _ZERO, publication)
        except WireError as error:  # what took its velocities takes them no more
            line = f"cannot stop {publication.path} ({error}): {why}"
        if self._may_say.passes():
            self._log.info(clean(line))

    def _path(self, topic: Any) -> str:
        name = str(topic)
        if len(name) > _LONGEST_TOPIC or not _TOPIC.fullmatch(name):
            raise WireError("bad_topic", f"{name[:80]} is no name of a ROS topic")
        return name[len(self._prefix) :] if name.startswith(self._prefix) else name


def _type(name: Any) -> str:
    try:
        return normalize_type(str(name))
    except ValueError as error:
        raise WireError("no_type", f"schemaName: {error}"[:120]) from error


def _encoding(name: Any) -> str:
    if name not in ENCODINGS:
        raise WireError("unknown_encoding", str(name)[:20])
    return str(name)


def _moves(encoding: str, payload: bytes) -> bool:
    """Whether a velocity is not zero; one that cannot be read may be anything."""
    try:
        if encoding == "json":
            return not decode_velocity(payload)[0].is_zero()
        order = byte_order(payload)
        return any(struct.unpack_from(order + "6d", payload, ENCAPSULATION_BYTES))
    except (WireError, struct.error):
        return True
