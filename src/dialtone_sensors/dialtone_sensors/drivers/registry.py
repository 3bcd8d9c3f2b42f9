"""Finds a driver by its name: the entry point group ``dialtone.cameras``.

``name = "module:callable"``, where the callable takes ``CameraParams`` and returns a ``Camera``.
The two built-in drivers need no installation to be found: their modules carry their names.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import cast

from dialtone_core.errors import ConfigError
from dialtone_sensors.drivers.base import Camera
from dialtone_sensors.params import CameraParams

GROUP = "dialtone.cameras"
_BUILT_IN = ("sim", "v4l2")


def driver_names() -> list[str]:
    """Every driver that ``driver`` may name."""
    return sorted({*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def make_camera(params: CameraParams) -> Camera:
    """The driver that ``params`` names; raises ``ConfigError`` that lists the known ones."""
    if params.driver in _BUILT_IN:
        module = importlib.import_module(f"dialtone_sensors.drivers.{params.driver}")
        make = module.create
    else:
        found = [each for each in entry_points(group=GROUP) if each.name == params.driver]
        if not found:
            raise ConfigError(
                f"driver is {params.driver!r}",
                where=f"camera {params.name}",
                fix=f"give one of {', '.join(driver_names())}",
            )
        make = found[0].load()
    return cast(Callable[[CameraParams], Camera], make)(params)
