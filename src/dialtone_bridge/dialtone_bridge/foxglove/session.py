"""One Foxglove client: what it subscribed to, what waits for it, what it asks for.

Each topic of each client has a lane of its own with the bounds of its route, and all lanes of a
client share a bound in bytes that the biggest pays for: a client that is slow loses its own oldest
pictures first, is told which topic lost how many, and costs nobody else a message. What the server
itself has to say goes before all that, assets take turns with pictures, and both have bounds of
their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from dialtone_bridge.foxglove import messages
from dialtone_bridge.foxglove.complaints import Throttle, clean
from dialtone_bridge.foxglove.extras import Graph
from dialtone_bridge.foxglove.link import Link
from dialtone_bridge.foxglove.messages import Level
from dialtone_core.delivery import Lane, Outbox, Policy, Priority
from dialtone_core.errors import WireError

#: Payload, and its log time in ns.
Message = tuple[bytes, int]
#: Subscription id, bytes, log time in ns; or ``_FRAME``, a whole frame, 0; or ``_ASSET``, an
#: asset's bytes, the id of its request.
Item = tuple[int, bytes, int]
_FRAME, _ASSET = -1, -2
_CONTROL = Policy("queue", 65536, 64 * 1024 * 1024)
#: One asset at a time, of any size: ``Assets`` bounds that.
_ASSETS = Policy("latest", 1)
_BURST_BYTES = 256 * 1024
_BURST = 512
#: A notice of drops is taken back when none fell for so many seconds.
_FORGIVE_S = 5
#: What a client may list in one operation.
MAX_ENTRIES = 10_000
#: Refusals that a client is told at once, and one more every so many seconds; of these, lines in
#: the log.
_TOLD, _TELL_EVERY_S = 20, 0.2
_LOGGED, _LOG_EVERY_S = 3, 10.0
#: What a list or a number that is none raises.
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(eq=False)
class Subscription:
    """A client's subscription to one channel. ``put`` may be called from any thread."""

    id: int
    channel: Any
    lane: Lane[Item]
    told: int = 0
    quiet_s: int = 0

    def put(self, burst: Sequence[Message]) -> None:
        number = self.id
        self.lane.put_all([((number, body, log_ns), len(body)) for body, log_ns in burst])


@dataclass(eq=False)
class Publication:
    """What the client advertised on one of its channels; ``moving`` since ``moved_s``: its last
    message was a velocity that is not zero."""

    path: str
    type: str
    encoding: str
    moving: bool = False
    moved_s: float = 0.0


class Requests:
    """What a session passes on; the transport implements it. Runs on the loop.

    Each may raise ``WireError`` to refuse; the client then gets its words as a status.
    """

    def subscribe(self, session: Session, subscription: int, channel: int) -> None: ...

    def unsubscribe(self, session: Session, subscription: Subscription) -> None: ...

    def advertise(self, session: Session, channel: int, offer: dict[str, Any]) -> None: ...

    def unadvertise(self, session: Session, channel: int) -> None: ...

    def publish(self, session: Session, channel: int, payload: bytes) -> None: ...

    def operate(self, session: Session, op: str, message: dict[str, Any], size: int) -> None:
        """Any other operation, of ``size`` bytes."""

    def call(self, session: Session, call: messages.ServiceCall) -> None: ...

    def refused(self, error: WireError) -> None:
        """The client was told; this counts it."""

    def drives(self, session: Session) -> bool:
        """Whether something may move because of what this client said."""
        raise NotImplementedError

    def halt(self, session: Session, why: str) -> None:
        """Stop what this client drives."""

    def left(self, session: Session) -> None: ...


@dataclass(eq=False)
class Session:
    """See above. Made when the handshake is through; ``run`` sends until cancelled."""

    id: int
    link: Link
    requests: Requests
    complain: Callable[[str], None]
    max_bytes: int
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    publications: dict[int, Publication] = field(default_factory=dict)
    parameters: set[str] = field(default_factory=set)
    follows_all: bool = False
    """Of the parameters that change: those in ``parameters``, or all."""
    graph: Graph | None = None
    """What the client knows of the connection graph, while it follows it."""

    def __post_init__(self) -> None:
        self.outbox: Outbox[Item] = Outbox(self.max_bytes)
        self.outbox.bind(asyncio.get_running_loop())
        lane = self.outbox.open_lane
        self._control = lane("control", _CONTROL, Priority.COMMAND, shared=False)
        self._assets = lane("assets", _ASSETS, Priority.BULK, shared=False)
        self._asset_left = asyncio.Event()
        self._tell = Throttle(_TOLD, _TELL_EVERY_S)
        self._log = Throttle(_LOGGED, _LOG_EVERY_S)
        self._is_cut = False

    # -- out --------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Queue a whole frame before all messages. A client that lets these pile up is cut."""
        self._control.put((_FRAME, frame, 0), len(frame))
        if self._control.dropped:
            self.cut(f"{_CONTROL.max_bytes >> 20} MiB of answers and offers wait for it")

    def cut(self, why: str) -> None:
        """Hang up at once; the log says who and why."""
        self.on_broken(why)
        self.link.abort()

    def tell(self, what: str, level: Level = Level.INFO, key: str = "") -> None:
        """Tell the client alone, not more often than is of use."""
        if self._tell.passes():
            self.send(messages.status(level, clean(what), key))

    def refuse(self, why: str, key: str = "") -> None:
        """Tell the client, and the log; neither more often than is of use. A status with a
        ``key`` replaces that before."""
        self.tell(why, Level.ERROR, key)
        if self._log.passes():
            held, self._log.held = self._log.held, 0
            more = f"; {held} more refusals before" if held else ""
            self.complain(f"refused Foxglove client {self.link.peer}: {why}{more}")

    def open_lane(self, subscription: int, channel: Any, policy: Policy, priority: Priority) -> (
        Subscription
    ):  # fmt: skip
        lane = self.outbox.open_lane(str(subscription), policy, priority)
        made = Subscription(subscription, channel, lane)
        self.subscriptions[subscription] = made
        return made

    def close_lane(self, subscription: Subscription) -> None:
        self.outbox.close_lane(subscription.lane)
        self.subscriptions.pop(subscription.id, None)

    async def send_asset(self, request: int, data: bytes) -> None:
        """Queue an asset, and return when all of it has been written; one at a time."""
        self._asset_left.clear()
        self._assets.put((_ASSET, data, request), len(data))
        await self._asset_left.wait()

    async def run(self) -> None:
        """Write what waits, as fast as the client reads and no faster."""
        while True:
            await self.outbox.wait()
            await self.link.writable.wait()
            parts: list[bytes] = []
            for _, (kind, payload, log_ns) in self.outbox.drain(_BURST, _BURST_BYTES):
                if kind >= 0:
                    parts.append(messages.message_head(kind, log_ns, len(payload)))
                elif kind == _ASSET:
                    self.link.write(parts)
                    parts = []
                    await self._write_asset(payload, log_ns)
                    continue
                parts.append(payload)
            if parts:
                self.link.write(parts)
            await asyncio.sleep(0)

    async def _write_asset(self, data: bytes, request: int) -> None:
        """In pieces, so that little of it waits in buffers and a ping passes. No other message
        does: a message of WebSocket is not interrupted by one (RFC 6455 §5.4)."""
        for frame in messages.asset_frames(request, data):
            await self.link.writable.wait()
            self.link.write([frame])
        self._asset_left.set()

    def notice_drops(self) -> None:
        """Tell the client which topics lose messages, once until that is over; once a second.

        The words stay the same: there are apps that show each text anew.
        """
        for each in self.subscriptions.values():
            dropped, key = each.lane.dropped, f"drop {each.channel.topic}"
            if dropped > each.told:
                if not each.quiet_s:
                    words = f"{each.channel.topic}: messages dropped, you read too slowly"
                    self.send(messages.status(Level.WARNING, words, key))
                each.told, each.quiet_s = dropped, 1
            elif each.quiet_s:
                each.quiet_s += 1
                if each.quiet_s > _FORGIVE_S:
                    each.quiet_s = 0
                    self.send(messages.remove_status([key]))

    # -- in (Link.Listener) -----------------------------------------------------------------

    def on_text(self, body: bytes) -> None:
        def operate() -> None:
            message = orjson.loads(body)
            self._operate(message["op"], message, len(body))

        self._guarded("operation", operate)

    def on_binary(self, body: bytes) -> None:
        def take() -> None:
            if body[:1] == b"\x01":
                self.requests.publish(self, *messages.read_publish(body[1:]))
            elif body[:1] == b"\x02":
                self.requests.call(self, messages.read_call(body[1:]))
            else:
                raise ValueError(f"op {body[:1].hex() or 'none'}")

        self._guarded("message", take)

    def on_broken(self, why: str) -> None:
        if not self._is_cut:
            self._is_cut = True
            self.complain(f"Foxglove client {self.link.peer} was cut: {why}")

    def on_closed(self) -> None:
        self.requests.left(self)

    def _guarded(self, what: str, work: Callable[[], None]) -> None:
        """Refuse by name, and by a status, whatever is wrong with it."""
        try:
            work()
        except WireError as error:
            self._refuse(error)
        except _MALFORMED as error:
            self._refuse(WireError(f"no_{what}", f"{type(error).__name__} {error}"[:200]))

    def _refuse(self, error: WireError) -> None:
        self.refuse(str(error))
        self.requests.refused(error)

    def _each(self, entries: Any, work: Callable[[Any], None]) -> None:
        """Do ``work`` for each entry of a list; one that is wrong costs no other."""
        if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
            raise WireError("bad_list", f"a list of at most {MAX_ENTRIES} entries is wanted")
        for entry in entries:
            self._guarded("entry", lambda entry=entry: work(entry))  # type: ignore[misc]

    def _operate(self, op: str, message: dict[str, Any], size: int) -> None:
        ask = self.requests
        if op == "subscribe":
            self._each(
                message["subscriptions"],
                lambda each: ask.subscribe(self, number(each["id"]), number(each["channelId"])),
            )
        elif op == "unsubscribe":
            self._each(message["subscriptionIds"], self._unsubscribe)
        elif op == "advertise":
            self._each(
                message["channels"], lambda each: ask.advertise(self, number(each["id"]), each)
            )
        elif op == "unadvertise":
            self._each(message["channelIds"], lambda each: ask.unadvertise(self, number(each)))
        else:
            ask.operate(self, str(op), message, size)

    def _unsubscribe(self, subscription: Any) -> None:
        known = self.subscriptions.get(number(subscription))
        if known is not None:
            self.requests.unsubscribe(self, known)


def number(value: Any) -> int:
    """An id, as the protocol has them; raises ``WireError``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 32:
        raise WireError("bad_id", f"{str(value)[:40]} is no id")
    return value
