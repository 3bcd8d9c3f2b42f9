"""Camera drivers, found by name."""

from dialtone_sensors.drivers.base import Camera, CameraError, Frame
from dialtone_sensors.drivers.registry import driver_names, make_camera

__all__ = ["Camera", "CameraError", "Frame", "driver_names", "make_camera"]
