"""What the publishers of a latched topic hold, asked for anew for a client that came late.

Each publisher keeps its own last messages (``/tf_static`` has one for each node that knows a fixed
transform), and rclpy does not tell which of them sent a message. DDS does know: a new reader gets
what every one holds. So a late client is given a reader of its own, for two seconds.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import QoSProfile

from dialtone_core.sample import Sample
from dialtone_ros.drain import DrainedSubscription, OnBurst
from dialtone_ros.timers import steady_timer
from dialtone_ros.types import message_class

#: Messages are handed on in waves, so that what the other reader brings meanwhile is known by
#: then; a publisher on a busy machine takes its time to answer a new reader.
_WAVE_S, _WAVES = 0.25, 8


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
            self._on_end()

    def _wave(self) -> None:
        found = self._found[:]
        self._found.clear()
        if found:
            self._on_burst(found)
        self._waves += 1
        if self._waves == _WAVES:
            self.close()
