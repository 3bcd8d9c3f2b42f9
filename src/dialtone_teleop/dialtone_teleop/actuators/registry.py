"""Finds an actuator by its name: the entry point group ``dialtone.actuators``.

``name = "module:callable"``, where the callable takes ``TeleopParams`` and a ``Clock`` and returns
an ``Actuator``. The built-in ones need no installation to be found: their modules carry their
names.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import cast

from dialtone_core.clock import Clock
from dialtone_core.errors import ConfigError
from dialtone_teleop.actuators.base import Actuator
from dialtone_teleop.params import TeleopParams

GROUP = "dialtone.actuators"
BUILT_IN = ("mavlink", "neck", "ros_topic", "sim", "twist_serial")


def actuator_names() -> list[str]:
    """Every actuator that ``actuator`` may name."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def make_actuator(params: TeleopParams, clock: Clock) -> Actuator:
    """The actuator that ``params`` names; raises ``ConfigError`` that lists the known ones."""
    if params.actuator in BUILT_IN:
        module = importlib.import_module(f"dialtone_teleop.actuators.{params.actuator}")
        make = module.create
    else:
        found = [each for each in entry_points(group=GROUP) if each.name == params.actuator]
        if not found:
            raise ConfigError(
                f"actuator is {params.actuator!r}",
                where="teleop",
                fix=f"give one of {', '.join(actuator_names())}",
            )
        make = found[0].load()
    return cast(Callable[[TeleopParams, Clock], Actuator], make)(params, clock)
