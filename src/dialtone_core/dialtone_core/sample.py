"""The unit that flows out of a robot: one message, as bytes, with its stamps."""

from __future__ import annotations

from typing import NamedTuple


class Sample(NamedTuple):
    """One message as DDS delivered it; nothing on the way out decodes ``payload``.

    ``topic`` is the fully resolved ROS name (``/robot2/odom``), ``type`` the full ROS type
    (``nav_msgs/msg/Odometry``), ``encoding`` one of ``cdr``, ``json``, ``jpeg``.
    ``publish_ns`` is the DDS source timestamp and ``receive_ns`` the receipt in this process,
    both wall clock, Unix epoch. ``seq`` is the publisher's sequence number or ``None`` where the
    middleware does not tell. A tuple: a frozen dataclass takes three times as long to make.
    """

    topic: str
    type: str
    encoding: str
    payload: bytes
    publish_ns: int
    receive_ns: int
    seq: int | None = None
