"""The settings of the camera node and the host-metrics node."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from dialtone_core.config import param

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class CameraParams:
    """One camera. Its node is ``camera_<name>`` and its topics lie under ``camera/<name>``."""

    name: str = param("front", "name of the camera, as in its topics")
    driver: str = param("sim", "where pictures come from: sim, v4l2, or an installed driver")
    device: str = param("/dev/video0", "v4l2: the camera's device file")
    pose_url: str = param(
        "udp:127.0.0.1:14560", "sim: where the vehicle sends its pose to, udp:HOST:PORT"
    )
    width: int = param(640, "picture width", unit="px", minimum=16, maximum=7680)
    height: int = param(480, "picture height", unit="px", minimum=16, maximum=4320)
    rate_hz: float = param(30.0, "pictures a second", unit="Hz", minimum=0.5, maximum=240)
    quality: int = param(
        80, "JPEG quality, where the camera does not compress", minimum=1, maximum=100
    )
    frame_id: str = param("", "TF frame of the picture; empty: camera_<name>_optical_frame")
    hfov_deg: float = param(
        70.0, "horizontal field of view, for camera_info", unit="°", minimum=5, maximum=170
    )
    mount_x_m: float = param(0.2, "sim: forward of base_link", unit="m", minimum=-10, maximum=10)
    mount_y_m: float = param(0.0, "sim: left of base_link", unit="m", minimum=-10, maximum=10)
    mount_z_m: float = param(0.45, "sim: above ground", unit="m", minimum=0.05, maximum=20)
    mount_yaw_deg: float = param(
        0.0, "sim: turned left; 180 looks back", unit="°", minimum=-360, maximum=360
    )
    mount_pitch_deg: float = param(4.5, "sim: tilted down", unit="°", minimum=-30, maximum=60)
    retry_max_s: float = param(
        2.0, "longest pause between attempts to open it", unit="s", minimum=0.1, maximum=60
    )

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name is {self.name!r}, not a lower-case letter and up to 31 of a-z, 0-9 and _"
            )

    @property
    def frame(self) -> str:
        return self.frame_id or f"camera_{self.name}_optical_frame"

    @property
    def source(self) -> str:
        """What the driver listens to, in a person's words."""
        return self.pose_url if self.driver == "sim" else self.device

    def focal_px(self) -> float:
        """The pinhole's focal length, in both directions: pixels are square."""
        return self.width / 2 / math.tan(math.radians(self.hfov_deg) / 2)


@dataclass(frozen=True)
class HostMetricsParams:
    """When the machine's own figures are worth a warning."""

    period_s: float = param(1.0, "seconds between reports", unit="s", minimum=0.2, maximum=60)
    disk_path: str = param("", "file system to watch; empty: where Dialtone keeps its state")
    processes: tuple[str, ...] = param(
        ("dialtone", "nats-server"), "a process whose command line contains one of these is ours"
    )
    rescan_s: float = param(
        5.0, "seconds between looks for new processes", unit="s", minimum=1, maximum=300
    )
    cpu_warn_percent: float = param(
        95.0, "of the whole machine, over a period", unit="%", minimum=1, maximum=100
    )
    memory_warn_percent: float = param(85.0, "memory in use", unit="%", minimum=1, maximum=100)
    memory_error_percent: float = param(95.0, "memory in use", unit="%", minimum=1, maximum=100)
    disk_warn_percent: float = param(85.0, "disk in use", unit="%", minimum=1, maximum=100)
    disk_error_percent: float = param(95.0, "disk in use", unit="%", minimum=1, maximum=100)
    temperature_warn_c: float = param(80.0, "hottest sensor", unit="°C", minimum=0, maximum=150)
    temperature_error_c: float = param(95.0, "hottest sensor", unit="°C", minimum=0, maximum=150)
