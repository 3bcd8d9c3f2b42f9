"""The cameras of a robot: one for each ``camera_<name>`` section of its params files."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from dialtone_bringup.prefixes import find_executable
from dialtone_bringup.settings import Settings
from dialtone_bringup.spec import NodeSpec, Options
from dialtone_core.errors import DialtoneError

#: Entry points of camera drivers; any installed one may be named.
DRIVERS = "dialtone.cameras"
CAMERAS = ("sim", "v4l2", "v4l2_camera", "none")
#: The camera that a robot has by itself, and that the option ``camera`` speaks of.
FIRST = "camera_front"
_PREFIX = "camera_"


@dataclass(frozen=True)
class Camera:
    """One camera that is to run. ``device`` is empty where the params files decide it."""

    node_name: str
    driver: str
    device: str = ""

    def node(self, pose_url: str) -> NodeSpec:
        """Its process. ``pose_url``: where a simulated vehicle tells its pose, or empty."""
        if self.driver == "v4l2_camera":
            return self._stock()
        parameters: dict[str, Any] = {"name": self.name, "driver": self.driver}
        if self.device:
            parameters["device"] = self.device
        if pose_url:
            parameters["pose_url"] = pose_url
        return NodeSpec(
            self.node_name,
            "dialtone_sensors",
            "camera_node",
            params="dialtone_sensors.params:CameraParams",
            parameters=parameters,
            essential=False,
        )

    @property
    def name(self) -> str:
        """As in its topics, ``camera/<name>/...``."""
        return self.node_name.removeprefix(_PREFIX)

    def _stock(self) -> NodeSpec:
        """The ROS community's V4L2 node instead of ours, under our topic names."""
        if find_executable("v4l2_camera", "v4l2_camera_node") is None:
            raise DialtoneError(
                "camera v4l2_camera needs the ROS package of that name, and it is not installed",
                fix="apt install ros-$ROS_DISTRO-v4l2-camera, or take camera v4l2",
            )
        topics = ("image_raw", "image_raw/compressed", "camera_info")
        return NodeSpec(
            self.node_name,
            "v4l2_camera",
            "v4l2_camera_node",
            remappings=tuple((topic, f"camera/{self.name}/{topic}") for topic in topics),
            parameters={"camera_frame_id": f"camera_{self.name}_optical_frame"},
            essential=False,
        )


def check_driver(driver: str) -> None:
    """Raise ``DialtoneError`` for what is neither a driver nor a device file; empty is fine."""
    known = dict.fromkeys([*CAMERAS, *(point.name for point in entry_points(group=DRIVERS))])
    if driver and driver not in known and not driver.startswith("/dev/"):
        raise DialtoneError(
            f"no camera {driver!r}", fix=f"take one of {', '.join(known)} or /dev/videoN"
        )


def find_cameras(options: Options, settings: Settings) -> list[Camera]:
    """The cameras of this run: the first, then those that the params files add, by name."""
    usual = "sim" if options.profile == "sim" else "v4l2"
    others = (name for name in settings.sections(_PREFIX) if name != FIRST)
    found = [_camera(FIRST, options.camera or settings.value(FIRST, "driver", usual))]
    found += [_camera(name, settings.value(name, "driver", usual)) for name in sorted(others)]
    return [each for each in found if each.driver != "none"]


def _camera(node_name: str, driver: str) -> Camera:
    if driver.startswith("/dev/"):
        return Camera(node_name, "v4l2", device=driver)
    return Camera(node_name, driver)
