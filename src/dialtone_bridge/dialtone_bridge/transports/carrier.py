"""What a transport is made from, and what the bridge drives it by.

A factory, found by its entry point (``registry.py``), takes a ``Context`` and returns a
``Carrier``, or ``None`` where settings switch it off. A transport that carries topics and
commands, and has nothing else of ROS, needs no more than

    def create(context: Context) -> Carrier:
        return Carrier(ZenohTransport(context.inbound, context.log))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dialtone_bridge.exchange import Exchange
from dialtone_bridge.params import BridgeParams
from dialtone_bridge.transports.base import Inbound, Log, Services, Transport
from dialtone_core.config import build

T = TypeVar("T")


class Options:
    """The bridge's parameters ``transport_options.<name>.*``, for one transport."""

    def __init__(self, name: str = "", values: Mapping[str, Any] | None = None) -> None:
        self._name = name
        self._values = values or {}
        self._read = False

    def read(self, cls: type[T]) -> T:
        """Make the transport's own settings class, whose fields are ``config.param``.

        Raises ``ConfigError``: one line with parameter, value and bound.
        """
        self._read = True
        return build(cls, self._values, "bridge", f"transport_options.{self._name}.")

    def unread(self) -> list[str]:
        """The full names of what is set and was never read: it would silently do nothing."""
        names = [] if self._read else sorted(self._values)
        return [f"transport_options.{self._name}.{each}" for each in names]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a factory may use. Factories of the rim get a ``ros_context.RosContext``."""

    params: BridgeParams
    namespace: str
    inbound: Inbound
    services: Services
    log: Log
    options: Options = field(default_factory=Options)


class Carrier:
    """A transport as the bridge drives it, on the loop but for ``looked``.

    What it has beside topics and commands (services, parameters, a graph) is a subclass's.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def opened(self, exchange: Exchange) -> None:
        """Every transport is open; ``exchange`` gets its first topic after this."""

    def looked(self) -> None:
        """The source looked at the graph: offer what is there now. In the source's thread."""

    async def run(self) -> None:
        """Carry until cancelled."""
        await self.transport.run()

    async def address(self) -> str:
        """Where clients reach it, once they can: the runtime file waits for this.

        That is the ``url`` of its health, where it has one.
        """
        return str(self.transport.health().values.get("url", ""))
