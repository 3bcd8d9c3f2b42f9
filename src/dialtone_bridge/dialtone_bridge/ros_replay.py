"""What the publishers of a latched topic hold, asked for anew for clients that came late.

Each publisher keeps its own last messages (``/tf_static`` has one for each node that knows a fixed
transform), and rclpy does not tell which of them sent a message. DDS does know: a new reader gets
what every one holds. So there is one more reader, for two seconds.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import QoSProfile

from dialtone_core.sample import Sample
from dialtone_ros.drain import DrainedSubscription, OnBurst
from dialtone_ros.timers import steady_timer
from dialtone_ros.types import message_class

#: Messages are handed on in waves, each a wave after it came, so that what the other reader brings
#: meanwhile is known by then. A publisher on a busy machine takes its time to answer a new reader.
_WAVE_S, _WAVES = 0.1, 20


class Replay:
    """Gives ``on_burst`` what publishers hold, then calls ``on_end``. Executor's thread only."""

    def __init__(
        self,
        node: Node,
        topic: tuple[str, str],
        qos: QoSProfile,
        on_burst: OnBurst,
        on_end: Callable[[], None],
    ) -> None:
        self._node = node
        self._on_burst = on_burst
        self._on_end = on_end
        self._found: list[Sample] = []
        self._ripe: list[Sample] = []
        self._waves = 0
        name, type_name = topic
        self._subscription = DrainedSubscription(
            node, type_name, message_class(type_name), name, qos, on_burst=self._found.extend
        )
        self._timer = steady_timer(node, _WAVE_S, self._wave)

    def close(self) -> None:
        """End it now; idempotent."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
            self._subscription.close()
            if self._ripe or self._found:
                self._on_burst(self._ripe + self._found)
            self._on_end()

    def _wave(self) -> None:
        ripe, self._ripe = self._ripe, self._found[:]
        self._found.clear()
        if ripe:
            self._on_burst(ripe)
        self._waves += 1
        if self._waves == _WAVES:
            self.close()
