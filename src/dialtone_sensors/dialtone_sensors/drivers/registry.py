"""Finds a driver by its name: the entry point group ``dialtone.cameras``.

``name = "module:callable"``, where the callable takes ``CameraParams`` and returns a ``Camera``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from dialtone_core.plugins import Plugins
from dialtone_sensors.drivers.base import Camera
from dialtone_sensors.params import CameraParams

_DRIVERS = Plugins(
    "dialtone.cameras",
    {name: f"dialtone_sensors.drivers.{name}:create" for name in ("sim", "v4l2")},
)


def driver_names() -> list[str]:
    """Every driver that ``driver`` may name."""
    return _DRIVERS.names()


def make_camera(params: CameraParams) -> Camera:
    """The driver that ``params`` names; raises ``ConfigError`` that lists the known ones."""
    make = _DRIVERS.load(params.driver, "driver", f"camera {params.name}")
    return cast(Callable[[CameraParams], Camera], make)(params)
