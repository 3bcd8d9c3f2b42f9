"""Listens for Foxglove clients, keeps their sessions and what is offered to them."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from dialtone_bridge.foxglove import messages
from dialtone_bridge.foxglove.channel import ServerChannel
from dialtone_bridge.foxglove.entrance import Address, Entrance
from dialtone_bridge.foxglove.link import Door, Link
from dialtone_bridge.foxglove.session import Requests, Session

_PING_S = 10
#: At least so many connections may be shaking hands.
_SHAKING = 32
#: A client that said nothing, not even the answer to a ping, for so long is gone.
_GONE_S = 30.0
#: One that drives is asked every second, and what it drives is stopped after so long. The line is
#: kept: on a thin one the question itself may take as long behind pictures.
_SILENT_S = 3.0


class Server:
    """Everything on the loop but what says otherwise."""

    def __init__(
        self,
        name: str,
        capabilities: Sequence[str],
        requests: Requests,
        origins: Sequence[str],
        client_bytes: int,
        complain: Callable[[str], None],
        distro: str = "",
        max_clients: int = 64,
    ) -> None:
        self._name = name
        self._distro = distro
        self._capabilities = capabilities
        self._requests = requests
        self._origins = [re.compile(each) for each in origins]
        self._client_bytes = client_bytes
        self._max_clients = max_clients
        self._complain = complain
        self._ids = itertools.count(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entrances: list[Entrance] = []
        self._tasks: dict[Session, asyncio.Task[None]] = {}
        self._lock = threading.Lock()
        self._session = secrets.token_hex(8)
        self._changed: list[tuple[ServerChannel, bool]] = []
        self.channels: dict[int, ServerChannel] = {}
        self.services: dict[int, dict[str, object]] = {}
        self.refused = 0

    @property
    def sessions(self) -> list[Session]:
        return list(self._tasks)

    async def listen(self, address: Address) -> int:
        """Open a port and return its number; raises ``DialtoneError`` where it cannot."""
        self._loop = asyncio.get_running_loop()
        door = Door(self._origins, address.token, self._full)
        make = partial(Link, door, self._opened, self._turned_away)
        made = Entrance(address, make, max(_SHAKING, self._max_clients), self._turned_away)
        port = await made.open()
        self._entrances.append(made)
        return port

    def _full(self) -> str:
        if len(self._tasks) < self._max_clients:
            return ""
        return f"{len(self._tasks)} clients are connected, as many as foxglove_max_clients allows"

    async def watch(self) -> None:
        """Ping, tell of drops and part from those who are gone, until cancelled."""
        for tick in itertools.count(1):
            await asyncio.sleep(1)
            now_s = asyncio.get_running_loop().time()
            for session in self.sessions:
                session.notice_drops()
                self._listen_for(session, now_s - session.link.heard_s, tick % _PING_S == 0)

    def _listen_for(self, session: Session, silent_s: float, ask: bool) -> None:
        if silent_s > _GONE_S:
            session.cut(f"it said nothing for {_GONE_S:g} s")
            return
        if self._requests.drives(session):
            ask = True
            if silent_s > _SILENT_S:
                self._requests.halt(session, f"said nothing for {_SILENT_S:g} s")
        if ask:
            session.link.ping()

    async def aclose(self) -> None:
        for each in self._entrances:
            await each.aclose()
        for session in self.sessions:
            session.link.close()
        self._entrances.clear()
        await asyncio.sleep(0)

    # -- what is offered --------------------------------------------------------------------

    def add(self, channel: ServerChannel) -> None:
        """Offer ``channel`` from now on; from any thread."""
        self._change(channel, True)

    def remove(self, channel: ServerChannel) -> None:
        """Withdraw ``channel``; from any thread."""
        self._change(channel, False)

    def broadcast(self, frame: bytes, to: Iterable[Session] | None = None) -> None:
        """Send ``frame`` to everybody, or to some; from any thread."""

        def send() -> None:
            for each in self.sessions if to is None else to:
                each.send(frame)

        self.soon(send)

    def soon(self, work: Callable[[], object]) -> None:
        """Do ``work`` on the loop; from any thread."""
        if self._loop is None or self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(work)

    def _change(self, channel: ServerChannel, there: bool) -> None:
        """Note it; a storm of topics is told in a few messages and not in hundreds."""
        with self._lock:
            self._changed.append((channel, there))
            first = len(self._changed) == 1
        if first:
            self.soon(self._tell_changes)

    def _tell_changes(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, []
        added: dict[int, ServerChannel] = {}
        gone: list[int] = []
        for channel, there in changed:
            if there:
                added[channel.id] = self.channels[channel.id] = channel
            elif added.pop(channel.id, None) is None:
                gone.append(channel.id)
            if not there:
                self._drop(channel)
        if gone:
            self._tell({"op": "unadvertise", "channelIds": gone})
        if added:
            offers = [each.offer() for each in added.values()]
            self._tell({"op": "advertise", "channels": offers})

    def _tell(self, message: dict[str, object]) -> None:
        frame = messages.text(message)
        for session in self._tasks:
            session.send(frame)

    def _drop(self, channel: ServerChannel) -> None:
        self.channels.pop(channel.id, None)
        for session in self.sessions:
            for each in list(session.subscriptions.values()):
                if each.channel is channel:
                    channel.leave(session, each)

    def offer_services_soon(self, services: dict[int, dict[str, object]]) -> None:
        """Offer these services and no others, by their ids; from any thread."""
        self.soon(lambda: self._offer_services(services))

    def _offer_services(self, services: dict[int, dict[str, object]]) -> None:
        gone = [number for number in self.services if number not in services]
        fresh = [each for number, each in services.items() if number not in self.services]
        self.services = services
        if gone:
            self._tell({"op": "unadvertiseServices", "serviceIds": gone})
        if fresh:
            self._tell({"op": "advertiseServices", "services": fresh})

    # -- clients ----------------------------------------------------------------------------

    def _opened(self, link: Link) -> Session:
        session = Session(
            next(self._ids), link, self._requests, self._complain, self._client_bytes
        )
        task = asyncio.get_running_loop().create_task(session.run())
        self._tasks[session] = task
        task.add_done_callback(partial(self._ended, session))
        about = (self._name, self._capabilities, self._session, self._distro)
        session.send(messages.server_info(*about))
        offers = [each.offer() for each in self.channels.values()]
        session.send(messages.text({"op": "advertise", "channels": offers}))
        if self.services:
            offered = {"op": "advertiseServices", "services": list(self.services.values())}
            session.send(messages.text(offered))
        return session

    def _ended(self, session: Session, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            session.cut(str(task.exception()))

    def parted(self, session: Session) -> None:
        """The connection of ``session`` is gone."""
        task = self._tasks.pop(session, None)
        if task is not None:
            task.cancel()

    def _turned_away(self, why: str) -> None:
        self.refused += 1
        self._complain(f"turned a Foxglove client away: {why}")
