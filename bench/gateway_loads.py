"""Load for the gateway, in processes of their own: a camera on NATS, viewers, an API caller.

``camera URL`` publishes 640×480 JPEGs at 30 Hz until killed. ``subscriber URL SECONDS`` reads them
from NATS and prints ``{"ages_ms"}``: what any way to a browser is held against. ``viewers URL
TOKEN COUNT SECONDS`` reads COUNT MJPEG streams and prints ``{"lost", "shown", "ages_ms"}``;
``api …`` asks at a steady rate and prints ``{"failed", "latencies_ms"}``; ``stalled …`` opens
streams and never reads. Each says ``working`` first.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import cv2
import nats
import numpy as np
from nats.aio.msg import Msg

WIDTH, HEIGHT, RATE_HZ = 640, 480, 30.0
SUBJECT = "dt.bench.tlm.camera.front.image_raw.compressed"


def pictures(count: int = 8) -> list[bytes]:
    """Pictures with some texture: about 50 KB each at quality 80, as a camera's are."""
    rng = np.random.default_rng(7)
    made = []
    for _ in range(count):
        coarse = rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        done, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])
        assert done
        made.append(jpeg.tobytes())
    return made


async def camera(url: str) -> None:
    client = await nats.connect(url)
    shots = pictures()
    print("working", len(shots[0]), flush=True)
    due_s, seq = time.monotonic(), 0
    while True:
        seq += 1
        headers = {
            "Dt-Type": "sensor_msgs/msg/CompressedImage",
            "Dt-Encoding": "jpeg",
            "Dt-Stamp-Ns": str(time.time_ns()),
            "Dt-Seq": str(seq),
        }
        await client.publish(SUBJECT, shots[seq % len(shots)], headers=headers)
        await client.flush()
        due_s += 1 / RATE_HZ
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))


async def subscriber(url: str, seconds: str) -> None:
    """A bare NATS client's age of the same pictures."""
    client = await nats.connect(url)
    ages: list[float] = []

    async def note(message: Msg) -> None:
        ages.append((time.time_ns() - int((message.headers or {})["Dt-Stamp-Ns"])) / 1e6)

    await client.subscribe(SUBJECT, cb=note)
    await client.flush()
    print("working", flush=True)
    await asyncio.sleep(float(seconds))
    print(json.dumps({"ages_ms": ages}))


class _Stream(asyncio.Protocol):
    """One MJPEG viewer, as cheap as it gets: it finds the parts' heads and skips the pictures."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = bytearray()
        self._skip = 0
        self.seqs: list[int] = []
        self.ages_ns: list[int] = []
        self.begun = asyncio.Event()
        self._stamp_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Chunked framing only adds a few bytes between parts, which the search steps over."""
        now_ns = time.time_ns()
        if self._skip >= len(data):
            self._skip -= len(data)
            if self._skip == 0:
                self.ages_ns.append(now_ns - self._stamp_ns)
            return
        if self._skip:
            data, self._skip = data[self._skip :], 0
            self.ages_ns.append(now_ns - self._stamp_ns)
        self._buffer += data
        while self._head(now_ns):
            pass

    def _head(self, now_ns: int) -> bool:
        end = self._buffer.find(b"\r\n\r\n", self._buffer.find(b"--dialtone"))
        start = self._buffer.find(b"--dialtone")
        if start < 0 or end < 0:
            return False
        fields = dict(
            line.split(b": ", 1) for line in bytes(self._buffer[start:end]).split(b"\r\n")[1:]
        )
        self.seqs.append(int(fields[b"X-Seq"]))
        self.begun.set()
        self._stamp_ns = int(fields[b"X-Stamp-Ns"])
        length = int(fields[b"Content-Length"])
        rest = len(self._buffer) - end - 4
        if rest < length:
            self._skip = length - rest
            self._buffer.clear()
            return False
        self.ages_ns.append(now_ns - self._stamp_ns)
        del self._buffer[: end + 4 + length]
        return True


def _request(url: str, token: str, path: str) -> bytes:
    host = urlsplit(url).netloc
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


async def viewers(url: str, token: str, count: str, seconds: str) -> None:
    """Read ``count`` streams; a number missing in a stream is a frame lost."""
    parts = urlsplit(url)
    request = _request(url, token, "/stream/front.mjpeg")
    loop = asyncio.get_running_loop()
    streams = []
    for _ in range(int(count)):
        stream = _Stream(request)
        await loop.create_connection(lambda s=stream: s, parts.hostname, parts.port)  # type: ignore[misc]
        streams.append(stream)
    await asyncio.gather(*(stream.begun.wait() for stream in streams))
    print("working", flush=True)
    first = [len(stream.seqs) for stream in streams]
    await asyncio.sleep(float(seconds))
    lost = shown = 0
    ages: list[int] = []
    for stream, begin in zip(streams, first, strict=True):
        seqs = stream.seqs[begin - 1 :]
        lost += seqs[-1] - seqs[0] + 1 - len(seqs)
        shown += len(seqs)
        ages += stream.ages_ns[begin:]
    print(json.dumps({"lost": lost, "shown": shown, "ages_ms": [a / 1e6 for a in ages]}))


async def stalled(url: str, token: str, count: str) -> None:
    """Open ``count`` streams and read nothing, until killed."""
    parts = urlsplit(url)
    held = []
    for _ in range(int(count)):
        raw = socket.create_connection((parts.hostname, parts.port))
        raw.sendall(_request(url, token, "/stream/front.mjpeg"))
        held.append(raw)
    print("working", flush=True)
    await asyncio.sleep(3600)


async def api(url: str, token: str, rate_hz: str, seconds: str) -> None:
    """Ask the API's paths in turn at a steady rate; a latency counts from when it was due."""
    import aiohttp

    paths = ("robot", "cameras", "metrics", "episodes", "operators", "session")
    headers = {"Authorization": f"Bearer {token}"}
    latencies: list[float] = []
    failed = 0
    async with aiohttp.ClientSession(headers=headers) as http:

        async def ask(path: str, due_s: float) -> None:
            nonlocal failed
            async with http.get(f"{url}/api/v1/{path}") as response:
                await response.read()
                failed += response.status != 200
            latencies.append(1000 * (time.monotonic() - due_s))

        for path in paths:
            await ask(path, time.monotonic())
        latencies.clear()
        print("working", flush=True)
        tasks = []
        due_s = time.monotonic()
        for number in range(int(float(rate_hz) * float(seconds))):
            due_s += 1 / float(rate_hz)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            tasks.append(asyncio.create_task(ask(paths[number % len(paths)], due_s)))
        await asyncio.gather(*tasks)
    print(json.dumps({"failed": failed, "latencies_ms": latencies}))


def main(argv: Sequence[str]) -> None:
    """``python bench/gateway_loads.py NAME ARGUMENTS…``"""
    kinds = {each.__name__: each for each in (camera, subscriber, viewers, stalled, api)}
    gc.disable()  # its pauses are ours, not the gateway's
    asyncio.run(kinds[argv[0]](*argv[1:]))  # type: ignore[operator]


if __name__ == "__main__":
    main(sys.argv[1:])
