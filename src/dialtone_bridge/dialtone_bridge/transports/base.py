"""What a transport is: something that carries topics out and commands in.

A transport is one file, here or in another distribution. It never imports ROS: topics come to it
as bytes with a definition, and what clients send goes to ``Inbound``. How it is found and made is
in ``carrier.py``. ``test_transport_contract.py`` holds for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from dialtone_bridge.routes import Route
from dialtone_core.command import Envelope, Twist
from dialtone_core.sample import Sample

Give = Callable[[Sequence[Sample]], None]
Want = Callable[[bool], None]
"""``want(True)`` when somebody wants a topic, ``want(False)`` when nobody does; any thread."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that may leave: full ROS name, path without the namespace, type and ros2msg text
    (ros2idl, which begins with a line that says so, where only that is installed).

    ``to_json`` turns its CDR into JSON text, for routes that ask for that; raises ``WireError``.
    ``replay`` gives a client that comes late to a latched topic what the publishers hold: soon, in
    the source's thread, in one burst or several. From any thread.
    """

    name: str
    path: str
    type: str
    definition: str
    route: Route
    to_json: Callable[[bytes], bytes]
    replay: Callable[[Give], None]


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """A ROS service that clients may call; ``request`` and ``response`` are ros2msg texts."""

    name: str
    path: str
    type: str
    request: str
    response: str


@dataclass(frozen=True, slots=True)
class Health:
    """What a transport says of itself on ``diagnostics``."""

    ok: bool
    message: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SinkStats:
    """What became of the samples of one topic in one transport."""

    sent: int = 0
    dropped: int = 0
    waiting: int = 0
    clients: int = 0


class Log(Protocol):
    """What a transport needs of a logger; rclpy's has it."""

    def info(self, message: str) -> Any: ...

    def warning(self, message: str) -> Any: ...


class Sink(Protocol):
    """Takes the samples of one topic, a burst at a time.

    Called from the source's thread; never blocks.
    """

    def put(self, burst: Sequence[Sample]) -> None: ...

    def stats(self) -> SinkStats: ...

    def close(self) -> None: ...


class Inbound(Protocol):
    """Where what clients send goes. Called on the loop; raises ``WireError`` to refuse."""

    def velocity(self, source: str, twist: Twist, envelope: Envelope) -> None:
        """A velocity command from ``source`` (``nats``: stamped, with its envelope)."""

    def message(
        self, path: str, type_name: str, encoding: str, payload: bytes, client: object = None
    ) -> None:
        """A message (``json`` or ``cdr``) for the topic ``path``; no type: the graph's.

        A ``client`` that is named has publishers of its own, until it leaves.
        """

    def left(self, client: object) -> None:
        """``client`` publishes nothing more."""

    def accepts(self, path: str) -> bool:
        """Whether clients may publish on ``path`` at all."""


class Services(Protocol):
    """The ROS services that clients may call, from any thread; calls raise ``DialtoneError`` or
    ``WireError``. Wait for an answer with a timeout: a service that hangs never answers."""

    offered: list[ServiceInfo]

    def call_cdr(self, name: str, type_name: str, payload: bytes) -> Future[bytes]:
        """Call by full name with a CDR request; resolves to the CDR response."""

    def call_json(self, path: str, payload: bytes) -> Future[dict[str, Any]]:
        """Call by path with a JSON request; resolves to the response as a JSON object."""


class Transport(Protocol):
    """``open`` once, ``run`` until cancelled, ``aclose`` at the end (idempotent), on one loop.

    ``attach`` and its sink's methods are called from the source's thread, once ``open`` returned.
    """

    name: str

    async def open(self) -> None: ...

    async def run(self) -> None: ...

    def attach(self, topic: Topic, want: Want) -> Sink: ...

    def health(self) -> Health: ...

    async def aclose(self) -> None: ...
