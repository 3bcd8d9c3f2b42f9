"""A link that is cut: what a durable route loses, doubles, and how fast the hub has it all again.

``RATE_HZ`` numbered messages of 1 KB go through the bridge into the robot's JetStream; the hub
fetches them over a TCP line that is cut for ``seconds``, at up to ``CATCHUP_MBPS`` (rate:
``linkcut_catchup_mbps``). Meanwhile a client of the hub asks the robot something over the same
line, 20 times a second (``linkcut_request_p50_ms``, ``..._p99_ms``: there and back). The baseline
is what one would write in an afternoon: the same messages published with nats-py straight to the
hub over a line cut at the same moments.
Part of ``bridge.py``; alone: ``python bench/bridge_linkcut.py --seconds 10``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from dialtone_bridge.clients.cuttable_line import CuttableLine
from dialtone_bridge.durable_stream import stream_name
from dialtone_bridge.hub import HubSettings, Members, write_config
from dialtone_bridge.hub_manager import HubManager
from dialtone_bridge.jetstream import JetStreamError, ask
from dialtone_bridge.nats_server import find_binary
from dialtone_core.aio import end_task
from dialtone_core.natslink import connect
from dialtone_core.ports import free_ports, is_free
from dialtone_core.process import die_with_parent
from dialtone_core.wire import service_subject
from dialtone_ros.domain import FreeDomain
from harness import Progress, Row, percentile, row

RATE_HZ = 1000
SECONDS = 60.0
ROBOT = "linkcut"
TOPIC = "counter"
CATCHUP_MBPS = 40.0
_PADDING = "x" * 1000
#: Before the cut and after it, so that the line carries the counter on both sides of it.
_LEAD_S, _TAIL_S = 3.0, 3.0
_PLAIN = "plain.counter"
REQUEST_S = 2.0


@dataclass
class Figures:
    """Of one run; messages and seconds."""

    lost: int
    duplicates: int
    disordered: int
    catchup_s: float
    catchup_mbps: float
    request_ms: list[float]
    baseline_lost: int


async def rows(runs: int, progress: Progress, seconds: float = SECONDS) -> list[Row]:
    """``runs`` cuts of ``seconds`` each."""
    found = []
    for number in range(runs):
        progress(f"link cut {number + 1}/{runs}: {seconds:g} s")
        found.append(await _run(seconds))
    plain = [float(each.baseline_lost) for each in found]
    return [
        row("linkcut_lost", [each.lost for each in found], "", plain),
        row("linkcut_duplicates", [each.duplicates for each in found], ""),
        row("linkcut_disordered", [each.disordered for each in found], ""),
        row("linkcut_catchup_s", [each.catchup_s for each in found], "s"),
        row("linkcut_catchup_mbps", [each.catchup_mbps for each in found], "Mbit/s"),
        row("linkcut_request_p50_ms", [percentile(each.request_ms, 50) for each in found], "ms"),
        row("linkcut_request_p99_ms", [percentile(each.request_ms, 99) for each in found], "ms"),
    ]


async def _run(seconds: float) -> Figures:
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="linkcut-"))
        domain = FreeDomain()
        stack.callback(domain.close)
        changed = {"DIALTONE_HOME": home, "ROS_DOMAIN_ID": str(domain.number)}
        kept = {name: os.environ.get(name) for name in changed}
        stack.callback(_restore, kept)
        os.environ.update(changed)
        return await _cut(stack, Path(home), seconds)


def _restore(kept: dict[str, str | None]) -> None:
    for name, value in kept.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _start(stack: ExitStack, *command: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.PIPE,
        preexec_fn=die_with_parent(),
    )

    def end() -> None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
    return process


async def _cut(stack: ExitStack, home: Path, seconds: float) -> Figures:
    port, leaf_port, robot_port = free_ports(3)
    settings = HubSettings("hub", port=port, leaf_port=leaf_port)
    key = home / "robot.nk"
    config = write_config(settings, Members.load("hub").add(ROBOT, "robot", key))
    admin = str(config.with_name("manager.nk"))
    _start(stack, str(find_binary()), "--config", str(config))
    url = f"nats://127.0.0.1:{port}"
    await _until(lambda: _true(not is_free(port)))
    leaf, plain = CuttableLine(leaf_port), CuttableLine(port)
    await leaf.up()
    await plain.up()
    manager = asyncio.create_task(HubManager(settings, url, lambda _: None).run(Path(admin)))
    _start_robot(stack, robot_port, leaf.port, key)
    client = await connect(url, "bench", credentials=admin)
    straight = await nats.connect(
        f"nats://127.0.0.1:{plain.port}",
        nkeys_seed=admin,
        max_reconnect_attempts=-1,
        error_cb=_ignore,
    )
    try:
        return await _measure(stack, client, straight, leaf, plain, seconds)
    finally:
        manager.cancel()
        with suppress(asyncio.CancelledError):
            await manager
        for each in (client, straight):
            await each.close()
        await leaf.cut()
        await plain.cut()


def _start_robot(stack: ExitStack, port: int, leaf_port: int, key: Path) -> None:
    python = sys.executable
    _start(stack, python, "-m", "dialtone_bridge.nats_server", "--robot", ROBOT,
           "--port", str(port), "--hub", f"nats://127.0.0.1:{leaf_port}",
           "--hub-credentials", str(key))  # fmt: skip
    params = {"robot": ROBOT, "nats_url": f"nats://127.0.0.1:{port}", "foxglove_port": 0,
              "routes.c.topic": TOPIC, "routes.c.durable": "true",
              "catchup_mbps": CATCHUP_MBPS}  # fmt: skip
    options = [word for name, value in params.items() for word in ("-p", f"{name}:={value}")]
    _start(stack, python, "-m", "dialtone_bridge.node", "--ros-args", *options)


async def _measure(
    stack: ExitStack,
    client: Client,
    straight: Client,
    leaf: CuttableLine,
    plain: CuttableLine,
    seconds: float,
) -> Figures:
    total = round(RATE_HZ * (_LEAD_S + seconds + _TAIL_S))
    heard: set[bytes] = set()
    subscription = await client.subscribe(_PLAIN, cb=_collect(heard))
    await client.flush()
    publisher = _start(stack, sys.executable, __file__, "--publish", str(total))
    await _until(lambda: _holds(client, 1))
    assert publisher.stdin is not None
    publisher.stdin.write(b"go\n")
    publisher.stdin.flush()
    baseline = asyncio.create_task(_publish_plain(straight, total))
    await asyncio.sleep(_LEAD_S)
    await asyncio.gather(leaf.cut(), plain.cut())
    await asyncio.sleep(seconds)
    await asyncio.gather(leaf.up(), plain.up())
    restored_s = time.monotonic()
    await _until(lambda: _answers(client))
    linked_s, bytes_before = time.monotonic(), await _state(client, "bytes")
    request_ms: list[float] = []
    asking = asyncio.create_task(_ask_robot(client, request_ms))
    missed = round(RATE_HZ * (_LEAD_S + seconds))
    await _until(lambda: _holds(client, missed), 60 + seconds)
    ended_s, bytes_after = time.monotonic(), await _state(client, "bytes")
    await end_task(asking)
    await asyncio.to_thread(publisher.wait)
    await _until(lambda: _holds(client, total), 60 + seconds)
    await baseline
    await asyncio.sleep(_TAIL_S)
    await subscription.unsubscribe()
    values = await _numbers(client)
    steps = itertools.pairwise(values)
    return Figures(
        total - len(set(values)),
        len(values) - len(set(values)),
        sum(after < before for before, after in steps),
        ended_s - restored_s,
        (bytes_after - bytes_before) * 8e-6 / (ended_s - linked_s),
        request_ms,
        total - len(heard),
    )


def _collect(heard: set[bytes]) -> Callable[[Any], Awaitable[None]]:
    async def on_message(message: Any) -> None:
        heard.add(message.data)

    return on_message


async def _ignore(_: Exception) -> None:
    """The baseline takes no notice of a cut link."""


async def _publish_plain(client: Client, total: int) -> None:
    began_s = time.monotonic()
    for number in range(total):
        with suppress(nats.errors.Error):
            await client.publish(_PLAIN, f"{number:010d}{_PADDING}".encode())
        ahead_s = began_s + number / RATE_HZ - time.monotonic()
        if ahead_s > 0.005:
            await asyncio.sleep(ahead_s)


async def _numbers(client: Client) -> list[int]:
    """What the hub holds, in order."""
    subscription = await client.jetstream().subscribe(
        f"dt.{ROBOT}.tlm.{TOPIC}", stream=stream_name(ROBOT), ordered_consumer=True
    )
    count = await _count(client)
    found = []
    for _ in range(count):
        message = await subscription.next_msg(timeout=10)
        found.append(int(message.data[8:18]))  # after CDR's header and the string's length
    await subscription.unsubscribe()
    return found


async def _answers(client: Client) -> bool:
    """Whether the robot can be asked something over the hub."""
    with suppress(nats.errors.NoRespondersError, asyncio.TimeoutError):
        await client.request(service_subject(ROBOT, "bridge", "routes"), timeout=REQUEST_S)
        return True
    return False


async def _ask_robot(client: Client, took_ms: list[float]) -> None:
    """Ask until cancelled; what is not answered in time counts as the whole time."""
    while True:
        began_s = time.monotonic()
        answered = await _answers(client)
        took_ms.append((time.monotonic() - began_s if answered else REQUEST_S) * 1e3)
        await asyncio.sleep(0.05)


async def _count(client: Client) -> int:
    return await _state(client, "messages")


async def _state(client: Client, figure: str) -> int:
    """``messages`` or ``bytes`` that the hub holds of the robot's stream."""
    try:
        info = await ask(client, f"STREAM.INFO.{stream_name(ROBOT)}")
    except JetStreamError:
        return 0
    return int(info["state"][figure])


async def _holds(client: Client, count: int) -> bool:
    return await _count(client) >= count


async def _true(value: bool) -> bool:
    return value


async def _until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not await condition():
        if time.monotonic() > deadline_s:
            return  # what is missing then is the figure
        await asyncio.sleep(0.05)


def _publish(total: int) -> None:
    """The robot's side: the counter, once the bridge listens."""
    import rclpy
    from rclpy.node import Node
    from std_msgs.msg import String

    rclpy.init()
    node = Node("counter")
    publisher = node.create_publisher(String, TOPIC, 1000)
    while publisher.get_subscription_count() == 0:
        time.sleep(0.05)
    time.sleep(1.0)  # a writer knows its reader before the reader knows the writer
    publisher.publish(String(data=f"{1:010d}{_PADDING}"))
    sys.stdin.readline()
    began_s = time.monotonic()
    for number in range(2, total + 1):
        publisher.publish(String(data=f"{number:010d}{_PADDING}"))
        ahead_s = began_s + number / RATE_HZ - time.monotonic()
        if ahead_s > 0.001:
            time.sleep(ahead_s)
    time.sleep(2)  # a reliable writer that goes takes what it still owes with it


def _main() -> None:
    parser = argparse.ArgumentParser(prog="bench/bridge_linkcut.py")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long the link is cut")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--publish", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        _publish(options.publish)
        return
    found = asyncio.run(rows(options.runs, lambda what: print(what, file=sys.stderr),
                             options.seconds))  # fmt: skip
    print(json.dumps([(each.name, each.value, each.baseline) for each in found]))


if __name__ == "__main__":
    _main()
