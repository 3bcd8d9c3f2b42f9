"""The connection graph on its way to the clients who follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from dialtone_bridge.foxglove import messages
from dialtone_bridge.foxglove.extras import Graph, graph_update
from dialtone_bridge.foxglove.session import Session
from dialtone_core.errors import WireError

_PERIOD_S = 1.0


class GraphDesk:
    """``read`` gives the graph as it is now; ``None`` where it is not offered. On the loop."""

    def __init__(
        self, read: Callable[[], Awaitable[Graph]] | None, complain: Callable[[str], None]
    ) -> None:
        self._read = read
        self._complain = complain

    def follow(self, session: Session, wanted: bool) -> None:
        if wanted and self._read is None:
            raise WireError("unknown_op", "the connection graph is not offered")
        session.graph = Graph() if wanted else None

    async def run(self, sessions: Callable[[], Iterable[Session]]) -> None:
        """Tell those who follow it what changed, until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            watching = [each for each in sessions() if each.graph is not None]
            if watching:
                await self.tell(watching)

    async def tell(self, watching: Iterable[Session]) -> None:
        """Tell each what changed since it was told; the whole graph at first."""
        if self._read is None:
            return
        try:
            now = await self._read()
        except RuntimeError as error:  # of ROS: the next look may see it
            self._complain(str(error))
            return
        for session in watching:
            if session.graph is None:  # it left meanwhile
                continue
            update = graph_update(session.graph, now)
            session.graph = now
            if update is not None:
                session.send(messages.text(update))
