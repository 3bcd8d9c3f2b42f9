"""Finds an actuator by its name: the entry point group ``dialtone.actuators``.

``name = "module:callable"``, where the callable takes ``TeleopParams`` and a ``Clock`` and returns
an ``Actuator``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from dialtone_core.clock import Clock
from dialtone_core.plugins import Plugins
from dialtone_teleop.actuators.base import Actuator
from dialtone_teleop.params import TeleopParams

BUILT_IN = ("mavlink", "neck", "ros_topic", "sim", "twist_serial")
_ACTUATORS = Plugins(
    "dialtone.actuators",
    {name: f"dialtone_teleop.actuators.{name}:create" for name in BUILT_IN},
)


def actuator_names() -> list[str]:
    """Every actuator that ``actuator`` may name."""
    return _ACTUATORS.names()


def make_actuator(params: TeleopParams, clock: Clock) -> Actuator:
    """The actuator that ``params`` names; raises ``ConfigError`` that lists the known ones."""
    make = _ACTUATORS.load(params.actuator, "actuator", "teleop")
    return cast(Callable[[TeleopParams, Clock], Actuator], make)(params, clock)
