"""A channel of the server: what clients see of a topic, and who of them gets its messages."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from dialtone_bridge.foxglove.session import Message, Session, Subscription
from dialtone_core.delivery import Policy, Priority

_ids = itertools.count(1)
Replay = Callable[[Callable[[Sequence[Message]], None]], None]


class ServerChannel:
    """``put`` runs in the source's thread, the rest on the loop.

    ``on_wanted`` is called when the first client subscribes and when the last one leaves.
    ``replay`` gives those who come between what is latched; without it, that is the last message.
    """

    def __init__(
        self,
        topic: str,
        schema_name: str,
        schema: str,
        *,
        encoding: str = "cdr",
        schema_encoding: str = "ros2msg",
        policy: Policy | None = None,
        priority: Priority = Priority.TELEMETRY,
        latched: bool = False,
        on_wanted: Callable[[bool], None] = lambda _: None,
        replay: Replay | None = None,
    ) -> None:
        self.id = next(_ids)
        self.topic = topic
        self.policy = policy or Policy()
        self.priority = priority
        self.on_wanted = on_wanted
        self._about = (encoding, schema_name, schema, schema_encoding)
        self._latched = latched
        self._replay = replay
        self._last: Message | None = None
        self._lock = threading.Lock()
        self._gone = (0, 0)
        self.subscribers: tuple[Subscription, ...] = ()

    def offer(self) -> dict[str, Any]:
        """The channel as ``advertise`` lists it."""
        encoding, name, schema, schema_encoding = self._about
        return {
            "id": self.id,
            "topic": self.topic,
            "encoding": encoding,
            "schemaName": name,
            "schema": schema,
            "schemaEncoding": schema_encoding,
        }

    def put(self, burst: Sequence[Message]) -> None:
        """To every subscriber's own lane. What is latched waits for those to come."""
        if self._latched:
            with self._lock:
                self._last = burst[-1]
                for each in self.subscribers:
                    each.put(burst)
            return
        for each in self.subscribers:
            each.put(burst)

    def join(self, session: Session, subscription: int) -> None:
        """A client subscribed; it alone gets what is latched."""
        made = session.open_lane(subscription, self, self.policy, self.priority)
        with self._lock:
            first = not self.subscribers
            if self._last is not None and self._replay is None:
                made.put([self._last])
            self.subscribers = (*self.subscribers, made)
        if first:
            self.on_wanted(True)
        elif self._latched and self._replay is not None:
            self._replay(made.put)

    def leave(self, session: Session, subscription: Subscription) -> None:
        with self._lock:
            kept = tuple(each for each in self.subscribers if each is not subscription)
            was = len(self.subscribers)
            self.subscribers = kept
            sent, dropped = self._gone
            self._gone = (sent + subscription.lane.delivered, dropped + subscription.lane.dropped)
        session.close_lane(subscription)
        if was and not kept:
            self.on_wanted(False)

    def forget(self) -> None:
        """Nothing is latched any more: nobody kept it current."""
        with self._lock:
            self._last = None

    def sent(self) -> int:
        return self._gone[0] + sum(each.lane.delivered for each in self.subscribers)

    def dropped(self) -> int:
        return self._gone[1] + sum(each.lane.dropped for each in self.subscribers)

    def waiting(self) -> int:
        return sum(len(each.lane) for each in self.subscribers)
