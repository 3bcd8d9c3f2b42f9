"""Finds transports by their names: the entry point group ``dialtone.transports``.

``name = "module:callable"``, where the callable takes a ``Context`` and returns a ``Carrier``, or
``None`` where settings switch it off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from dialtone_bridge.params import BridgeParams
from dialtone_bridge.transports.carrier import Carrier, Context, Options
from dialtone_core.errors import ConfigError
from dialtone_core.plugins import Plugins

Factory = Callable[[Context], "Carrier | None"]

_TRANSPORTS = Plugins(
    "dialtone.transports",
    {name: f"dialtone_bridge.ros_{name}:create" for name in ("nats", "foxglove")},
)


def transport_names() -> list[str]:
    """Every transport that ``transports`` may name."""
    return _TRANSPORTS.names()


def make_carriers(context: Context) -> list[Carrier]:
    """Those that the parameters name and do not switch off, none of them open.

    Raises ``ConfigError`` for a name that nobody knows.
    """
    params = context.params
    _check_names(params)
    made: list[Carrier] = []
    for index, name in enumerate(params.transports):
        factory = cast(Factory, _TRANSPORTS.load(name, f"transports[{index}]", "bridge"))
        options = Options(name, params.transport_options.get(name))
        carrier = factory(replace(context, options=options))
        if carrier is not None:
            _check(name, carrier, options)
            made.append(carrier)
    return made


def _check_names(params: BridgeParams) -> None:
    if len(set(params.transports)) < len(params.transports):
        raise ConfigError(
            f"transports is {params.transports!r}", where="bridge", fix="name each of them once"
        )
    for name in params.transport_options:
        _TRANSPORTS.check(name, "the transport of transport_options", "bridge")


def _check(name: str, carrier: Carrier, options: Options) -> None:
    """Routes, diagnostics and ``dialtone routes`` go by the name, so there can be but one."""
    if carrier.transport.name != name:
        raise ConfigError(
            f"the transport {name!r} calls itself {carrier.transport.name!r}",
            where="bridge",
            fix="give it one name, in its class and as its entry point",
        )
    if options.unread():
        raise ConfigError(
            f"the transport {name!r} takes no options",
            where="bridge",
            fix=f"remove {', '.join(options.unread())}",
        )
