"""Recording under load, kill -9 at random moments, and the close of a gigabyte.

Four cameras of 30 Hz × 200 KB and 5,000 messages/s of 1 KB for 20 s, from a publisher that waits
for its subscribers and counts what it sends: recorded is compared with sent, both ends included.
The baseline (``baselines/recorder.py``) records the same load from the same publisher afterwards.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from mcap.reader import make_reader
from nats.aio.client import Client
from nats.errors import NoRespondersError

from dialtone_core.errors import DialtoneError
from dialtone_core.ports import free_ports
from dialtone_core.sample import Sample
from dialtone_recorder.manifest import RECORDING, read_episode
from dialtone_recorder.reader import episode_counts
from dialtone_recorder.recover import recover
from dialtone_recorder.session import Facts, Limits, Session
from dialtone_recorder.topics import Topic
from dialtone_ros.domain import FreeDomain
from harness import Progress, Row, main, row
from recorder_loads import topics

DEFAULT_RUNS = 1
LOAD_S = 20.0
KILLS = 20
GIGABYTE = 1_000_000_000
_HERE = Path(__file__).parent


async def run(runs: int, progress: Progress) -> list[Row]:
    """``runs`` recordings of the load, and once each the kills and the gigabyte."""
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="dialtone-bench-") as folder, FreeDomain() as domain:
        for number in range(runs):
            for name, record in (("ours", _record), ("base", _record_baseline)):
                progress(f"load {number + 1} of {runs}, {name}")
                place = Path(tempfile.mkdtemp(dir=folder))
                lost, cpu_s = await record(place, domain.number)
                shutil.rmtree(place)
                figures.setdefault(f"{name}_lost", []).append(lost)
                figures.setdefault(f"{name}_cpu", []).append(cpu_s)
                figures.setdefault(f"{name}_percent", []).append(100 * cpu_s / LOAD_S)
        readable, tails = await asyncio.to_thread(_kills, Path(folder), progress)
        progress("close of a gigabyte")
        close_s, next_s = await asyncio.to_thread(_close_gigabyte, Path(folder))
    return [
        row("record_lost", figures["ours_lost"], "1", figures["base_lost"]),
        row("record_cpu_percent", figures["ours_percent"], "%", figures["base_percent"]),
        row("record_cpu_s", figures["ours_cpu"], "s", figures["base_cpu"]),
        row("kill_readable", [readable], "1"),
        row("kill_tail_loss_max_s", [max(tails)], "s"),
        row("kill_tail_loss_median_s", [statistics.median(tails)], "s"),
        row("close_1gb_s", [close_s], "s"),
        row("close_1gb_next_start_s", [next_s], "s"),
    ]


@contextmanager
def _process(*words: str, domain: int, first: str = "") -> Iterator[subprocess.Popen[str]]:
    """A Python process in a ROS domain; returns at the line ``first``, ended on leaving."""
    with subprocess.Popen(
        [sys.executable, *words], env={**os.environ, "ROS_DOMAIN_ID": str(domain)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            if first and process.stdout and process.stdout.readline().strip() != first:
                raise RuntimeError(f"{words[0]} did not start")
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


async def _publish(publisher: subprocess.Popen[str]) -> dict[str, int]:
    """Let it publish; returns what it sent. Raises where not all was acknowledged."""
    assert publisher.stdin is not None
    assert publisher.stdout is not None
    publisher.stdin.write("go\n")
    publisher.stdin.flush()
    line = await asyncio.to_thread(publisher.stdout.readline)
    if not line.startswith("sent "):
        raise RuntimeError("the publisher failed")
    told = json.loads(line[5:])
    return dict(told["counts"])


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@contextmanager
def _server() -> Iterator[str]:
    """A nats-server on a free port; its URL."""
    (port,) = free_ports(1)
    program = Path(sys.executable).with_name("nats-server")
    server = subprocess.Popen(
        [str(program), "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _wait_until_closed(path: Path) -> None:
    while path.with_name(path.name + RECORDING).exists():
        time.sleep(0.05)


async def _record(folder: Path, domain: int) -> tuple[float, float]:
    """Our node: (lost, CPU seconds with the index)."""
    client = Client()
    load = str(_HERE / "recorder_loads.py")
    with (
        _server() as url,
        _process(load, str(LOAD_S), domain=domain, first="working") as publisher,
        _process(
            "-m", "dialtone_recorder.node", "--ros-args", "-p", f"directory:={folder}",
            "-p", f"nats_url:={url}", "-p", "topics_allow:=['/load/.*']", domain=domain,
        ) as node,
    ):  # fmt: skip
        await _connect(client, url)
        path = Path(str((await _ask(client, "start"))["path"]))
        before_s = _cpu_s(node.pid)
        sent = await _publish(publisher)
        await _ask(client, "stop")
        await asyncio.to_thread(_wait_until_closed, path)
        used = psutil.Process(node.pid).cpu_times()
        indexing = float(used.children_user + used.children_system)
        cpu_s = _cpu_s(node.pid) - before_s + indexing
        await client.close()
    counts = episode_counts(path)
    facts = read_episode(path)
    missing = sum(max(0, sent[name] - counts.get(name, 0)) for name in topics())
    return max(missing, facts["lost_recorder"]), cpu_s


async def _connect(client: Client, url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            await client.connect(url, allow_reconnect=False)
            return
        except Exception:  # the server is not up yet
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def _ask(client: Client, verb: str) -> dict[str, object]:
    deadline = time.monotonic() + 15
    while True:
        try:
            reply = await client.request(f"dt.rover.srv.recorder.{verb}", b"{}", timeout=10)
        except NoRespondersError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
            continue
        told = json.loads(reply.data)
        if not told["ok"]:
            raise DialtoneError(told["error"])
        return dict(told)


async def _record_baseline(folder: Path, domain: int) -> tuple[float, float]:
    path = folder / "base.mcap"
    image, small = "sensor_msgs/msg/CompressedImage", "std_msgs/msg/UInt8MultiArray"
    names = [f"{name}={small if name.endswith('small') else image}" for name in topics()]
    load, script = str(_HERE / "recorder_loads.py"), str(_HERE / "baselines" / "recorder.py")
    with (
        _process(load, str(LOAD_S), domain=domain, first="working") as publisher,
        _process(script, str(path), *names, domain=domain, first="working") as node,
    ):
        before_s = _cpu_s(node.pid)
        sent = await _publish(publisher)
        await asyncio.sleep(0.5)
        cpu_s = _cpu_s(node.pid) - before_s
        node.send_signal(signal.SIGINT)
        await asyncio.to_thread(node.wait, 20)
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    assert summary.statistics is not None
    return sum(sent.values()) - summary.statistics.message_count, cpu_s


_VICTIM = """
import sys, time
from pathlib import Path
from dialtone_core.sample import Sample
from dialtone_recorder.session import Facts, Limits, Session
from dialtone_recorder.topics import Topic
topic = Topic("/load", "std_msgs/msg/UInt8MultiArray", "uint8[] data")
session = Session(Path(sys.argv[1]), Facts("killed", "rover"), Limits(min_free_bytes=0))
session.add_topic(topic)
data = bytes(20_000)
number = 0
began = time.monotonic()
while True:
    for _ in range(10):
        number += 1
        now = time.time_ns()
        session.put(Sample("/load", topic.type, "cdr", data, now, now, number))
    print(number, flush=True)
    time.sleep(max(0.0, began + number / 1000 - time.monotonic()))
"""


def _kills(folder: Path, progress: Progress) -> tuple[float, list[float]]:
    """kill -9 in the middle of 20 MB/s: (share readable as a count, seconds lost at each tail).

    The tail is the time from the last recovered message to the death of the process.
    """
    readable = 0
    tails: list[float] = []
    dice = random.Random(4)
    for number in range(KILLS):
        progress(f"kill {number + 1} of {KILLS}")
        place = folder / f"kill{number}"
        place.mkdir()
        with subprocess.Popen(
            [sys.executable, "-c", _VICTIM, str(place)], stdout=subprocess.PIPE, text=True
        ) as victim:
            assert victim.stdout is not None
            victim.stdout.readline()
            drained = _Drain(victim)
            time.sleep(dice.uniform(0.1, 1.6))
            killed_ns = time.time_ns()
            victim.kill()
            victim.wait()
            drained.join()
        path = recover(place / ("killed" + RECORDING))
        assert path is not None
        facts = read_episode(path)
        count = sum(episode_counts(path).values())
        whole = count == facts["messages"] and facts["lost_transport"] == 0
        readable += bool(whole and facts["topics"][0]["last_ns"])
        tails.append((killed_ns - facts["topics"][0]["last_ns"]) / 1e9)
        shutil.rmtree(place)
    return readable, tails


class _Drain:
    """Reads a process's stdout to its end, so that it never blocks on a full pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        import threading

        assert process.stdout is not None
        self._thread = threading.Thread(target=process.stdout.read, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()


def _close_gigabyte(folder: Path) -> tuple[float, float]:
    """Seconds from stop to the closed, indexed episode of 1 GB; and to the next one's start."""
    from dialtone_recorder.closing import publish

    kind = "sensor_msgs/msg/CompressedImage"
    session = Session(folder, Facts("gigabyte", "rover"), Limits(min_free_bytes=0))
    session.add_topic(Topic("/camera", kind, "uint8[] data"))
    pictures = [os.urandom(200_000) for _ in range(20)]
    for number in range(GIGABYTE // 200_000):
        while session.waiting_bytes > 50_000_000:
            time.sleep(0.001)
        now_ns = time.time_ns()
        session.put(Sample("/camera", kind, "cdr", pictures[number % 20], now_ns, now_ns, number))
    while session.waiting_bytes:
        time.sleep(0.001)
    began_s = time.monotonic()
    session.finish()
    with subprocess.Popen(
        [sys.executable, "-m", "dialtone_recorder.closing", str(session.folder)]
    ) as indexing:
        following = Session(folder, Facts("following", "rover"), Limits(min_free_bytes=0))
        next_s = time.monotonic() - began_s
        if indexing.wait():
            raise RuntimeError("the index of the gigabyte failed")
    path = publish(session.folder)
    close_s = time.monotonic() - began_s
    session.release()
    following.finish()
    following.release()
    assert sum(episode_counts(path).values()) == GIGABYTE // 200_000
    shutil.rmtree(path)
    return close_s, next_s


if __name__ == "__main__":
    main("recorder", run, DEFAULT_RUNS)
