"""Raw subscriptions that take everything waiting at each wake-up, and stay awake in a flood.

rclpy spends 100 to 300 µs to wake an executor, by how much its node has. A callback that, once
awake, takes all that already waits carries 10,000 msg/s of 1 KB without loss, where a plain
callback loses a quarter (measured, DESIGN §4). In a flood, where wake-ups follow each other
closely, it does not return to the executor after each: it lets messages gather for 2 ms, takes
again from every busy subscription of its node, and leaves the executor a turn every 20 ms.
Every hot subscriber uses this and none decodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile

from dialtone_core.sample import Sample

#: What is handed on at once, so that one flooded topic starves no other.
MAX_BURST = 256
_BURST_BYTES = 1024 * 1024
#: More than the deepest history that a subscriber of ours has.
MAX_DRAIN = 100_000
#: So many wake-ups in a row, none later than this after the last, are a flood.
_BUSY_WAKES = 16
_BUSY_NS = 1_500_000
#: In a flood: how long messages gather, and how long all else in the executor waits at most.
_GATHER_S = 0.002
_STAY_NS = 20_000_000
#: What was busy within this time is looked at while another subscription stays awake.
_HOT_NS = 1_000_000_000

OnBurst = Callable[[list[Sample]], None]


class DrainedSubscription:
    """A raw CDR subscription that hands ``Sample`` objects to ``on_sample``, or lists of them
    (1 to ``MAX_BURST``, in order of receipt) to ``on_burst``, which costs less.

    Both run in the executor's thread and must not block. ``receive_ns`` is the wall clock of DDS's
    receipt, ``publish_ns`` its source timestamp, ``seq`` the publisher's number. Without
    ``told_of_qos`` nobody logs that a publisher's QoS does not fit, and a wake-up costs less.
    """

    def __init__(
        self,
        node: Node,
        type_name: str,
        msg_type: type[Any],
        topic: str,
        qos: QoSProfile,
        on_sample: Callable[[Sample], None] | None = None,
        *,
        on_burst: OnBurst | None = None,
        callback_group: CallbackGroup | None = None,
        told_of_qos: bool = True,
    ) -> None:
        self._node = node
        self._type_name = type_name
        self._msg_type = msg_type
        self._on_burst = on_burst or self._one_by_one(on_sample)
        self._subscription = node.create_subscription(
            msg_type,
            topic,
            self._on_message,
            qos,
            raw=True,
            callback_group=callback_group,
            event_callbacks=None if told_of_qos else _no_events(),
        )
        self.topic: str = self._subscription.topic_name
        self.received = 0
        self.busy_ns = 0
        self._vigil = vigil(node)
        self._vigil.watched.append(self)

    def drain(self) -> None:
        """Hand on everything that has arrived by now, as before an end that must lose nothing.

        Call from the executor's thread. A flood cannot hold it up: it ends after as many messages
        as a history may hold.
        """
        taken = 0
        while taken < MAX_DRAIN and (count := self.take([])):
            taken += count

    def close(self) -> None:
        """Destroy the subscription; idempotent. Call from the executor's thread or after it."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
            self._vigil.watched.remove(self)

    def take(self, burst: list[Sample]) -> int:
        """Add what waits to ``burst``, up to its bounds, and hand it on; how many that were."""
        subscription = self._subscription
        if subscription is None:
            return 0
        handle, msg_type, make = subscription.handle, self._msg_type, self._sample
        room = _BURST_BYTES
        with handle:
            take_message = handle.take_message
            while room > 0 and len(burst) < MAX_BURST:
                taken = take_message(msg_type, True)
                if taken is None:
                    break
                burst.append(make(*taken))
                room -= len(taken[0])
        if burst:
            self.received += len(burst)
            self._on_burst(burst)
        return len(burst)

    def _on_message(self, payload: bytes, info: dict[str, Any]) -> None:
        self.take([self._sample(payload, info)])
        self._vigil.woken(self)

    def _sample(self, payload: bytes, info: dict[str, Any]) -> Sample:
        return Sample(
            self.topic,
            self._type_name,
            "cdr",
            payload,
            info["source_timestamp"],
            info["received_timestamp"],
            info["publication_sequence_number"],
        )

    def _one_by_one(self, on_sample: Callable[[Sample], None] | None) -> OnBurst:
        if on_sample is None:
            raise ValueError("a subscription wants on_sample or on_burst")

        def hand_on(burst: list[Sample]) -> None:
            for sample in burst:
                if self._subscription is None:  # it closed itself
                    return
                on_sample(sample)

        return hand_on


def _no_events() -> SubscriptionEventCallbacks:
    return SubscriptionEventCallbacks(use_default_callbacks=False)


class Vigil:
    """The drained subscriptions of one node, in whose executor's thread all of this runs."""

    def __init__(self) -> None:
        self.watched: list[DrainedSubscription] = []
        self.rounds = 0
        self._woken_ns = 0
        self._wakes = 0

    def woken(self, by: DrainedSubscription) -> None:
        """The executor woke for ``by``; in a flood, return a while later."""
        now_ns = time.monotonic_ns()
        by.busy_ns = now_ns
        self._wakes = self._wakes + 1 if now_ns - self._woken_ns < _BUSY_NS else 0
        self._woken_ns = now_ns
        if self._wakes > _BUSY_WAKES:
            self._stay(now_ns)

    def _stay(self, now_ns: int) -> None:
        """Gather and take, until nothing came or the executor has waited long enough."""
        end_ns = now_ns + _STAY_NS
        hot = [each for each in self.watched if now_ns - each.busy_ns < _HOT_NS]
        while now_ns < end_ns:
            time.sleep(_GATHER_S)
            self.rounds += 1
            now_ns = self._woken_ns = time.monotonic_ns()
            found = [each for each in hot if each.take([])]
            for each in found:
                each.busy_ns = now_ns
            if not found:
                return


_vigils: WeakKeyDictionary[Node, Vigil] = WeakKeyDictionary()


def vigil(node: Node) -> Vigil:
    """That of ``node``, whose ``rounds`` count how often a flood was taken without a wake-up."""
    return _vigils.setdefault(node, Vigil())
