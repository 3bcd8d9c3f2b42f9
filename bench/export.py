"""A minute of two cameras into a LeRobot dataset: how much faster than it was recorded, how big.

The episode is made here: two simulated cameras of 640×480 at 30 Hz looking at the drive, 50 Hz of
odometry, 20 Hz of applied commands. Each export runs in a process of its own, so that its peak
memory is its own. The baseline does only what every converter must do with the pictures, one
camera after the other with ffmpeg's defaults: decode, convert, encode.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
from mcap.writer import CompressionType, Writer

from dialtone_ros.types import message_definition
from dialtone_sim.camera import Intrinsics, Mount, Renderer
from dialtone_sim.pose import Pose
from harness import Progress, Row, main, row

DEFAULT_RUNS = 3
SECONDS = 60
_START_NS = 1_800_000_000 * 10**9
_IMAGE = "sensor_msgs/msg/CompressedImage"
_ODOMETRY = "nav_msgs/msg/Odometry"
_APPLIED = "geometry_msgs/msg/TwistStamped"


async def run(runs: int, progress: Progress) -> list[Row]:
    """``runs`` exports of the same episode, the baseline between them."""
    with tempfile.TemporaryDirectory(prefix="dialtone-export-") as folder:
        home = Path(folder)
        progress("making the episode")
        await asyncio.to_thread(make_episode, home / "episode", SECONDS)
        ours, theirs = [], []
        for number in range(runs):
            progress(f"run {number + 1} of {runs}")
            out = home / f"out-{number}"
            ours.append(await _measure("ours", home / "episode", out))
            theirs.append(await _measure("baseline", home / "episode", home / "baseline.mp4"))
        return [
            row(
                "export_lerobot_speedup", [SECONDS / each["wall_s"] for each in ours], "×",
                [SECONDS / each["wall_s"] for each in theirs],
            ),
            row("export_lerobot_cpu_s", [each["cpu_s"] for each in ours], "s",
                [each["cpu_s"] for each in theirs]),
            row("export_lerobot_rss_mb", [each["rss_mb"] for each in ours], "MiB",
                [each["rss_mb"] for each in theirs]),
        ]  # fmt: skip


async def _measure(what: str, episode: Path, out: Path) -> dict[str, float]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--child", what, str(episode), str(out),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await child.communicate()
    if child.returncode != 0:
        raise RuntimeError(f"the {what} run failed")
    told: dict[str, float] = json.loads(output.splitlines()[-1])
    return told


def make_episode(folder: Path, seconds: int) -> None:
    """An episode of ``seconds`` as the recorder closes it."""
    from rclpy.serialization import serialize_message

    folder.mkdir()
    with (folder / "episode_0.mcap").open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.ZSTD)
        writer.start("ros2")
        channels: dict[str, int] = {}
        for number, (at, topic, type_name, message) in enumerate(sorted(
            _messages(seconds), key=lambda each: each[0]
        )):  # fmt: skip
            if topic not in channels:
                text = message_definition(type_name).encode()
                schema = writer.register_schema(type_name, "ros2msg", text)
                channels[topic] = writer.register_channel(topic, "cdr", schema)
            stamp_ns = _START_NS + round(at * 1e9)
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
            writer.add_message(
                channels[topic], stamp_ns, bytes(serialize_message(message)), stamp_ns, number
            )
        writer.finish()


def _messages(seconds: int) -> Iterator[tuple[float, str, str, Any]]:
    from geometry_msgs.msg import TwistStamped
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import CompressedImage

    for number in range(seconds * 50):
        odometry = Odometry()
        pose = _pose(number / 50)
        odometry.pose.pose.position.x, odometry.pose.pose.position.y = pose.x, pose.y
        odometry.twist.twist.linear.x = pose.speed
        yield number / 50, "/odom", _ODOMETRY, odometry
    for number in range(seconds * 20):
        applied = TwistStamped()
        applied.twist.linear.x = 1 + 0.3 * math.sin(number / 9)
        yield number / 20, "/teleop/applied", _APPLIED, applied
    for name, yaw in (("front", 0.0), ("rear", math.pi)):
        renderer = Renderer(Intrinsics.from_fov(640, 480, 1.22), Mount(yaw=yaw))
        for number in range(seconds * 30):
            at = number / 30
            pixels = renderer.render(_pose(at), f"{name} {at:.3f}")
            data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
            image = CompressedImage(format="jpeg", data=data)
            yield at, f"/camera/{name}/image_raw/compressed", _IMAGE, image


def _pose(at: float) -> Pose:
    return Pose(0, 6 * math.sin(at / 8), 6 * math.sin(at / 5), 0.6 * math.sin(at / 3), 1.0, 0.2)


def child(what: str, episode: Path, out: Path) -> None:
    """One measured run; its figures as JSON on stdout."""
    import resource
    import time

    began = time.monotonic()
    if what == "ours":
        from dialtone_recorder.exporting import export
        from dialtone_recorder.recording import Recording
        from dialtone_recorder.suggest import suggest

        export("lerobot", [episode], out, suggest(Recording(episode)))
    else:
        _baseline(episode, out)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "wall_s": time.monotonic() - began,
        "cpu_s": used.ru_utime + used.ru_stime,
        "rss_mb": _peak_mb(),
    }))  # fmt: skip


def _peak_mb() -> float:
    """This program's own peak, MiB; ru_maxrss begins with that of the process that forked it."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM in /proc/self/status")


def _baseline(episode: Path, out: Path) -> None:
    import av
    import numpy as np
    from mcap.reader import make_reader

    from dialtone_core.cdr import read_compressed_image

    for name in ("front", "rear"):
        topic = f"/camera/{name}/image_raw/compressed"
        with av.open(str(out), "w") as video, (episode / "episode_0.mcap").open("rb") as stream:
            track = video.add_stream("libx264", rate=30, options={"crf": "23", "g": "2"})
            track.width, track.height, track.pix_fmt = 640, 480, "yuv420p"
            for _, _, message in make_reader(stream).iter_messages([topic]):
                view = read_compressed_image(message.data)
                jpeg = np.frombuffer(message.data, np.uint8, view.stop - view.start, view.start)
                pixels = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
                video.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
            video.mux(track.encode())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main("export", run, DEFAULT_RUNS)
