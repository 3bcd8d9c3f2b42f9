"""What ``bench/bridge.py`` runs beside the bridge, each in a process of its own.

``flood`` publishes serialised messages, ``count`` counts what a NATS or Foxglove client gets,
``watch`` also takes latencies, ``stall`` subscribes and never reads, ``topics`` publishes on many
topics, ``commands`` drives over NATS and listens on ROS. Each says ``working`` once it does, then
prints one JSON object: when its work is done or, for clients, when a line comes on stdin.

Every message carries ``_MARK``, its number and its stamp in ASCII near its beginning. The counting
clients read raw sockets and count marks: a client library would be slower than what it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import select
import socket
import struct
import sys
import time
from typing import Any
from urllib.parse import urlparse

_MARK = b"DTBENCH:"
_STAMP = struct.Struct("20s20s")
_CHUNK = 1 << 20


def _say(result: dict[str, Any]) -> None:
    print(json.dumps(result), flush=True)


def _stamped(number: int) -> bytes:
    return b"%s%020d%020d" % (_MARK, number, time.time_ns())


def _template(kind: str, size: int) -> tuple[type[Any], bytes, int]:
    """Message class, its CDR with ``size`` bytes of content, and where the stamp goes."""
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import CompressedImage
    from std_msgs.msg import String

    content = _stamped(0).ljust(size, b"x")
    if kind == "picture":
        made: Any = CompressedImage(format="jpeg", data=content)
    else:
        made = String(data=content.decode())
    cdr = bytes(serialize_message(made))
    return type(made), cdr, cdr.index(_MARK)


def flood(topics: list[str], kind: str, size: int, rate_hz: float, seconds: float) -> None:
    """Publish on each topic at ``rate_hz`` (0: as fast as it goes) once all are subscribed."""
    import rclpy
    from rclpy.node import Node
    from rclpy.qos import QoSProfile

    rclpy.init()
    node = Node("flood")
    cls, cdr, at = _template(kind, size)
    head, tail = cdr[:at], cdr[at + len(_stamped(0)) :]
    # A reliable writer with a deeper history answers a reader that lags with so many repetitions
    # that a saturated one measures those: at 5000 a third of what passes at 1000.
    qos = QoSProfile(depth=10 if kind == "picture" else 1000)
    publishers = [node.create_publisher(cls, topic, qos) for topic in topics]
    while any(each.get_subscription_count() == 0 for each in publishers):
        time.sleep(0.01)
    print("working", flush=True)
    sys.stdin.readline()
    start, sent = time.monotonic(), 0
    total_hz = rate_hz * len(topics)
    while (passed := time.monotonic() - start) < seconds:
        due = int(passed * total_hz) + 1 if rate_hz else sent + 64
        for number in range(sent, due):
            publisher = publishers[number % len(publishers)]
            publisher.publish(head + _stamped(number // len(publishers)) + tail)
        sent = due
        if rate_hz:
            time.sleep(0.0005)
    _say({"sent": sent, "seconds": time.monotonic() - start})
    sys.stdin.readline()


def topics(count: int) -> None:
    """Publish on ``count`` topics from now on; tells when it began (wall clock, ns)."""
    import rclpy
    from rclpy.node import Node
    from std_msgs.msg import String

    rclpy.init()
    node = Node("storm")
    print("working", flush=True)
    sys.stdin.readline()
    began_ns = time.time_ns()
    made = [node.create_publisher(String, f"storm/t{number}", 1) for number in range(count)]
    _say({"began_ns": began_ns, "made": len(made)})
    sys.stdin.readline()


def _connect(url: str) -> socket.socket:
    parts = urlparse(url)
    made = socket.create_connection((parts.hostname, parts.port))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * _CHUNK)
    return made


def _more(link: socket.socket) -> bytes:
    data = link.recv(_CHUNK)
    if not data:
        raise RuntimeError("the server hung up")
    return data


def _nats(url: str, subjects: list[str]) -> socket.socket:
    link = _connect(url)
    hello = {"verbose": False, "headers": True, "no_responders": True, "pedantic": False}
    lines = [b"CONNECT " + json.dumps(hello).encode()]
    lines += [b"SUB %s %d" % (subject.encode(), n + 1) for n, subject in enumerate(subjects)]
    link.sendall(b"\r\n".join([*lines, b"PING", b""]))
    got = b""
    while b"PONG" not in got:
        got += _more(link)
    return link


def _frame(text: dict[str, Any]) -> bytes:
    """A masked text frame of a client (RFC 6455 §5.2), with a mask of zeros."""
    body = json.dumps(text).encode()
    return struct.pack(">BBHI", 0x81, 0xFE, len(body), 0) + body


def _foxglove(url: str, wanted: list[str]) -> socket.socket:
    link = _connect(url)
    key = base64.b64encode(os.urandom(16)).decode()
    link.sendall(
        f"GET / HTTP/1.1\r\nHost: {urlparse(url).netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: foxglove.sdk.v1\r\n\r\n".encode()
    )
    left = {topic: number + 1 for number, topic in enumerate(wanted)}
    got = b""
    while left:
        got += _more(link)
        for topic in list(left):
            channel = _channel_id(got, topic)
            if channel is not None:
                wants = [{"id": left.pop(topic), "channelId": channel}]
                link.sendall(_frame({"op": "subscribe", "subscriptions": wants}))
    return link


def _channel_id(advertised: bytes, topic: str) -> int | None:
    """The id beside ``topic``; its order among the keys of the JSON object is not known."""
    at = advertised.find(b'"topic":"%s"' % topic.encode())
    if at < 0:
        return None
    start = advertised.rfind(b'{"id":', 0, at)
    digits = advertised[start + 6 : start + 30].split(b",")[0]
    return int(digits) if start >= 0 and digits.isdigit() else None


def count(transport: str, url: str, names: list[str]) -> None:
    """Count marks until a line comes on stdin."""
    link = (_nats if transport == "nats" else _foxglove)(url, names)
    print("working", flush=True)
    found, first_s, last_s, rest = 0, 0.0, 0.0, b""
    while True:
        ready, _, _ = select.select([link, sys.stdin], [], [])
        if link in ready:
            data = rest + link.recv(_CHUNK)
            seen = data.count(_MARK)
            rest = data[-(len(_MARK) - 1) :]
            if seen:
                last_s = time.monotonic()
                first_s = first_s or last_s
                found += seen
        elif sys.stdin in ready:
            command = sys.stdin.readline()
            _say({"count": found, "seconds": last_s - first_s})
            if not command:
                return
            found, first_s = 0, 0.0


def stall(url: str, names: list[str]) -> None:
    """A viewer that subscribes and never reads again."""
    link = _foxglove(url, names)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    print("working", flush=True)
    sys.stdin.readline()


class Seen:
    """Numbers and latencies of one stream of messages."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.numbers: dict[str, list[int]] = {}

    def take(self, topic: str, payload: bytes) -> None:
        now_ns = time.time_ns()
        at = payload.find(_MARK, 0, 256) + len(_MARK)
        number, stamp_ns = map(int, _STAMP.unpack_from(payload, at))
        self.latencies_ms.append((now_ns - stamp_ns) / 1e6)
        self.numbers.setdefault(topic, []).append(number)

    def result(self) -> dict[str, Any]:
        return {
            "received": sum(map(len, self.numbers.values())),
            "highest": {topic: max(each) for topic, each in self.numbers.items()},
            "lost": sum(max(n) - min(n) + 1 - len(set(n)) for n in self.numbers.values()),
            "latencies_ms": [round(each, 3) for each in self.latencies_ms],
        }


async def watch(transport: str, url: str, names: list[str]) -> None:
    """Take every message as an ordinary client does, with its latency."""
    seen = Seen()
    if transport == "nats":
        import nats

        client = await nats.connect(url, pending_size=64 * _CHUNK)

        async def on_message(message: Any) -> None:
            seen.take(message.subject, message.data)

        for name in names:
            await client.subscribe(name, cb=on_message, pending_bytes_limit=512 * _CHUNK)
        await client.flush()
        await _until_line()
        _say(seen.result())
        return
    from dialtone_bridge.clients.foxglove_client import open_client

    async with open_client(url) as viewer:
        for name in names:
            await viewer.subscribe(name)

        async def read() -> None:
            while True:
                got = await viewer.receive(timeout_s=3600)
                seen.take(got.topic, got.payload)

        reader = asyncio.create_task(read())
        await _until_line()
        reader.cancel()
    _say(seen.result())


async def _until_line() -> None:
    print("working", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def commands(url: str, robot: str, number: int, rate_hz: float) -> None:
    """``number`` commands over NATS; the time until each reaches a ROS subscriber."""
    import threading

    import nats
    import rclpy
    from geometry_msgs.msg import TwistStamped
    from rclpy.node import Node

    rclpy.init()
    node = Node("commanded")
    sent: dict[int, int] = {}
    taken: dict[int, float] = {}

    def on_twist(message: TwistStamped) -> None:
        now_ns = time.monotonic_ns()
        which = round(message.twist.angular.z * 1000)
        if which in sent:
            taken.setdefault(which, (now_ns - sent[which]) / 1e6)

    node.create_subscription(TwistStamped, "cmd_vel/nats", on_twist, 100)
    threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()
    client = await nats.connect(url)
    subject = f"dt.{robot}.cmd.cmd_vel"
    while not taken:
        sent[0] = time.monotonic_ns()
        await client.publish(subject, b'{"angular":{"z":0.0}}')
        await asyncio.sleep(0.1)
    print("working", flush=True)
    sys.stdin.readline()
    start = time.monotonic()
    for which in range(1, number + 1):
        sent[which] = time.monotonic_ns()
        await client.publish(subject, b'{"angular":{"z":%.3f}}' % (which / 1000))
        await asyncio.sleep(max(0.0, start + which / rate_hz - time.monotonic()))
    await asyncio.sleep(0.3)
    del taken[0]
    _say({"sent": number, "latencies_ms": list(taken.values())})
    sys.stdin.readline()


def _main() -> None:
    parser = argparse.ArgumentParser()
    kinds = parser.add_subparsers(dest="load", required=True)
    flooding = kinds.add_parser("flood")
    flooding.add_argument("--kind", choices=("string", "picture"), default="string")
    flooding.add_argument("--size", type=int, default=1024)
    flooding.add_argument("--rate-hz", type=float, default=0.0)
    flooding.add_argument("--seconds", type=float, default=10.0)
    flooding.add_argument("topics", nargs="+")
    storm = kinds.add_parser("topics")
    storm.add_argument("count", type=int)
    for name in ("count", "watch"):
        client = kinds.add_parser(name)
        client.add_argument("transport", choices=("nats", "foxglove"))
        client.add_argument("url")
        client.add_argument("names", nargs="+")
    stalled = kinds.add_parser("stall")
    stalled.add_argument("url")
    stalled.add_argument("names", nargs="+")
    driving = kinds.add_parser("commands")
    driving.add_argument("url")
    driving.add_argument("robot")
    driving.add_argument("--number", type=int, default=250)
    driving.add_argument("--rate-hz", type=float, default=50.0)
    options = vars(parser.parse_args())
    load = globals()[options.pop("load")]
    result = load(**options)
    if asyncio.iscoroutine(result):
        asyncio.run(result)


if __name__ == "__main__":
    _main()
