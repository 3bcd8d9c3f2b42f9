"""The QoS profiles that Dialtone's topics use, by purpose."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

#: Sensor streams that Dialtone publishes. Reliable, so that any subscriber matches and large
#: frames are not lost on loopback; a shallow history keeps a slow one from holding up memory.
SENSOR = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE
)

#: Command inputs. Best effort matches every publisher, and a stale command is never resent.
COMMAND_IN = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.BEST_EFFORT
)

#: What a late joiner must still see: state that changes rarely.
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
