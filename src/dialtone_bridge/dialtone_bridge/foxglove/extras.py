"""What a Foxglove server offers beside topics and commands, as the transport asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Names = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Graph:
    """Who publishes, subscribes and serves what: name → full node names."""

    published: Names = field(default_factory=dict)
    subscribed: Names = field(default_factory=dict)
    services: Names = field(default_factory=dict)


class Parameters(Protocol):
    """Parameters of the robot's nodes, ``/node.name``, as the protocol's objects.

    Both answer within their own timeout and leave out nodes that do not.
    """

    async def get(self, names: Sequence[str]) -> list[dict[str, Any]]: ...

    async def set(self, parameters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]: ...


@dataclass(frozen=True)
class Extras:
    """``None`` where the server does not offer it."""

    parameters: Parameters | None = None
    graph: Callable[[], Awaitable[Graph]] | None = None
    asset: Callable[[str], bytes] | None = None
    sim_time: bool = False

    def capabilities(self, read_only: bool = False) -> list[str]:
        """As ``serverInfo`` names them; panels offer what they find there."""
        found = [] if read_only else ["clientPublish", "services"]
        if self.parameters is not None:
            found += ["parameters", "parametersSubscribe"]
        if self.graph is not None:
            found.append("connectionGraph")
        if self.asset is not None:
            found.append("assets")
        if self.sim_time:
            found.append("time")
        return found


def graph_update(before: Graph, now: Graph) -> dict[str, Any] | None:
    """What changed, as ``connectionGraphUpdate``, or ``None``. A topic that lost its last
    publisher or subscriber and is still there is told with no ids."""
    if before is now:
        return None
    topics = {*now.published, *now.subscribed}
    parts = (
        ("publishedTopics", "publisherIds", before.published, now.published),
        ("subscribedTopics", "subscriberIds", before.subscribed, now.subscribed),
        ("advertisedServices", "providerIds", before.services, now.services),
    )
    update: dict[str, Any] = {"op": "connectionGraphUpdate"}
    for key, ids, old, new in parts:
        update[key] = [
            {"name": name, ids: list(nodes)}
            for name, nodes in new.items()
            if list(old.get(name, ())) != list(nodes)
        ]
        update[key] += [
            {"name": name, ids: []} for name in old if name not in new and name in topics
        ]
    update["removedTopics"] = sorted({*before.published, *before.subscribed} - topics)
    update["removedServices"] = sorted(set(before.services) - set(now.services))
    return update if any(update[key] for key in update if key != "op") else None
