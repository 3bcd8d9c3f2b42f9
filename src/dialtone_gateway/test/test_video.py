"""Pictures from a real NATS server to real HTTP clients, quick, slow and gone."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

from dialtone_core.aio import timeout
from dialtone_gateway.video.frames import SOCKET_HEADER
from dialtone_gateway.video.hub import Viewer
from dialtone_gateway.video.variants import Variant, jpeg_size, reencode, variant_of


def picture(width: int = 64, height: int = 48, noise: bool = False) -> bytes:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if not noise:
        pixels[:] = 128
    return bytes(cv2.imencode(".jpg", pixels)[1].tobytes())


async def read_parts(response: aiohttp.ClientResponse, count: int) -> list[tuple[int, bytes]]:
    """(seq, jpeg) of the next ``count`` parts."""
    parts: list[tuple[int, bytes]] = []
    stream = response.content
    async with timeout(10):
        while len(parts) < count:
            headers: dict[str, str] = {}
            line = (await stream.readline()).strip()
            if line != b"--dialtone":
                continue
            while line := (await stream.readline()).strip():
                name, _, value = line.decode().partition(": ")
                headers[name] = value
            body = await stream.readexactly(int(headers["Content-Length"]))
            parts.append((int(headers["X-Seq"]), body))
    return parts


@asynccontextmanager
async def in_step(person: Any, camera: Any) -> AsyncIterator[Any]:
    """A stream, and a function that shoots a picture and returns what arrives of it.

    No picture is taken before the last one has come, so that a busy machine loses none.
    """
    camera.roll()
    async with person.http.get(person.url("/stream/front.mjpeg")) as response:
        await camera.aclose()
        before = camera.seq

        async def step(jpeg: bytes) -> bool:
            shot = await camera.shoot(jpeg)
            while True:
                ((seq, body),) = await read_parts(response, 1)
                if seq > before:
                    return (seq, body) == (shot, jpeg)

        yield response, step


async def test_an_untouched_jpeg_passes_through_byte_for_byte(lab: Any, camera: Any) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    jpeg = picture()
    async with in_step(vera, camera) as (response, step):
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        for _ in range(5):
            assert await step(jpeg)


async def test_a_camera_is_subscribed_once_and_only_while_somebody_watches(
    lab: Any, camera: Any, eventually: Any
) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    camera.roll()
    front = gateway.hub.camera("front")
    async with vera.http.get(vera.url("/stream/front.mjpeg")) as one:
        async with vera.http.get(vera.url("/stream/front.mjpeg")) as two:
            await read_parts(one, 1)
            await read_parts(two, 1)
            assert front.viewers == 2
            assert gateway.link.subscriptions() == 4  # camera_info, diagnostics, events, front
        await eventually(lambda: front.viewers == 1)
    await eventually(lambda: front.viewers == 0)
    await eventually(lambda: gateway.link.subscriptions() == 3)


async def test_fps_thins_the_stream_without_reencoding(lab: Any, camera: Any) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    jpeg = picture()
    camera.roll(jpeg, 0.01)
    async with vera.http.get(vera.url("/stream/front.mjpeg?fps=20")) as response:
        parts = await read_parts(response, 12)
    assert {body for _, body in parts} == {jpeg}
    first, last = parts[0][0], parts[-1][0]
    assert last - first > 11, "some are left out"
    # Eleven steps of 50 ms, less one that the grid may be early and a hiccup of this machine.
    assert camera.shot_ns[last] - camera.shot_ns[first] > 300_000_000


async def test_one_variant_is_encoded_once_for_all_its_viewers(lab: Any, camera: Any) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    camera.roll(picture(320, 240), 0.02)
    path = vera.url("/stream/front.mjpeg?width=160&quality=40")
    async with vera.http.get(path) as one, vera.http.get(path) as two:
        first, second = await asyncio.gather(read_parts(one, 4), read_parts(two, 4))
        assert len(gateway.variants) == 1
    assert jpeg_size(first[0][1]) == (160, 120)
    shared = dict(first).keys() & dict(second).keys()
    assert shared
    assert all(dict(first)[seq] == dict(second)[seq] for seq in shared)


async def test_too_many_variants_are_refused_with_the_reason(lab: Any, camera: Any) -> None:
    gateway = await lab.gateway(max_variants=1)
    vera = await lab.person(gateway, "vera")
    camera.roll(picture(320, 240), 0.02)
    async with vera.http.get(vera.url("/stream/front.mjpeg?width=160")) as one:
        await read_parts(one, 1)
        status, body = await vera.get("/stream/front.mjpeg?width=96")
    assert status == 503
    assert "max_variants" in body["error"]


@pytest.mark.parametrize(
    "query", ["fps=0", "fps=nan", "width=-1", "width=1e9", "quality=101", "quality=high", "fps="]
)
async def test_a_query_that_is_no_number_in_bounds_is_refused(lab: Any, query: str) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    assert (await vera.get(f"/stream/front.mjpeg?{query}"))[0] == 400


async def test_a_snapshot_is_the_newest_picture(lab: Any, camera: Any) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    jpeg = picture(128, 96)
    camera.roll(jpeg)
    assert await vera.get("/snapshot/front.jpg") == (200, jpeg)
    status, small = await vera.get("/snapshot/front.jpg?width=64")
    assert status == 200
    assert jpeg_size(small) == (64, 48)


async def test_a_picture_from_before_a_pause_is_shown_to_nobody(
    lab: Any, camera: Any, eventually: Any
) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    camera.roll(picture(64, 48))
    assert (await vera.get("/snapshot/front.jpg"))[0] == 200
    await camera.aclose()
    await eventually(lambda: gateway.link.subscriptions() == 3)
    later = picture(128, 96)
    camera.roll(later)
    assert (await vera.get("/snapshot/front.jpg"))[1] == later


@pytest.mark.usefixtures("no_camera")
async def test_no_camera_of_that_name_is_404_and_leaves_nothing_behind(lab: Any) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    assert (await vera.get("/snapshot/nowhere.jpg"))[0] == 404
    assert gateway.link.subscriptions() == 3


async def test_a_stalled_viewer_costs_the_others_nothing(
    lab: Any, camera: Any, eventually: Any
) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    jpeg = picture(640, 480, noise=True)
    stalled = []
    for _ in range(3):
        raw = socket.create_connection(("127.0.0.1", gateway.port))
        raw.sendall(
            b"GET /stream/front.mjpeg HTTP/1.1\r\nHost: localhost\r\n"
            b"Authorization: Bearer " + vera.token.encode() + b"\r\n\r\n"
        )
        stalled.append(raw)
    front = gateway.hub.camera("front")
    await eventually(lambda: front.viewers == 3)
    async with in_step(vera, camera) as (_, step):
        for _ in range(40):
            assert await step(jpeg)
        assert front.viewers == 4
    for raw in stalled:
        raw.close()


async def test_what_is_not_a_jpeg_is_counted_and_shown_to_nobody(
    lab: Any, camera: Any, eventually: Any, caplog: Any
) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    front = gateway.hub.camera("front")
    camera.roll(b"\x89PNG and so on")
    assert (await vera.get("/snapshot/front.jpg"))[0] == 404
    assert front.stats.bad > 0
    assert "does not send JPEG" in caplog.text


async def test_the_socket_sends_as_many_pictures_as_it_has_credits_and_the_newest(
    lab: Any, camera: Any, eventually: Any
) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    async with vera.http.ws_connect(vera.url("/ws/video/front")) as ws:
        await camera.bus.flush()
        await ws.send_json({"ping": 7})
        pong = json.loads((await ws.receive(5)).data)
        assert pong["pong"] == 7
        assert pong["server_ns"] > 1e18
        for _ in range(5):
            last = await camera.shoot()
        await camera.bus.flush()
        front = gateway.hub.camera("front")
        await eventually(lambda: front.stats.frames == 5)
        await ws.send_json({"credits": 1})
        message = await ws.receive(5)
        version, kind, _, seq, capture_ns, sent_ns = SOCKET_HEADER.unpack_from(message.data)
        assert (version, kind, seq) == (1, 0, last)
        assert 0 < capture_ns <= sent_ns
        await camera.shoot()
        with pytest.raises(asyncio.TimeoutError):
            await ws.receive(0.2)


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"credits": -1}', '{"credits": true}', "{}"])
async def test_nonsense_on_the_socket_ends_it(lab: Any, text: str) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    async with vera.http.ws_connect(vera.url("/ws/video/front")) as ws:
        await ws.send_str(text)
        message = await ws.receive(5)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_a_logout_ends_streams_and_sockets(lab: Any, camera: Any, eventually: Any) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    camera.roll()
    bearer = {"Authorization": f"Bearer {vera.token}"}
    async with (
        vera.http.get(vera.url("/stream/front.mjpeg")) as stream,
        vera.http.ws_connect(vera.url("/ws/video/front")) as ws,
    ):
        await read_parts(stream, 1)
        assert (await vera.get("/api/v1/operators"))[1]["connected"][0]["user"] == "vera"
        await vera.post("/logout", headers=bearer)
        with pytest.raises(aiohttp.ClientError):
            await read_parts(stream, 10_000)
        assert (await ws.receive(5)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    await eventually(lambda: gateway.hub.viewers == 0)
    await eventually(lambda: len(gateway.connections) == 0)


async def test_a_removed_account_loses_what_it_has_open(
    lab: Any, camera: Any, eventually: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("dialtone_gateway.app.RECHECK_S", 0.05)
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    camera.roll()
    async with vera.http.ws_connect(vera.url("/ws/video/front")) as ws:
        await eventually(lambda: gateway.hub.viewers == 1)
        gateway.accounts.remove("vera")
        await ws.receive(5)
    await eventually(lambda: gateway.hub.viewers == 0)


async def test_a_viewers_slot_keeps_the_newest_only() -> None:
    viewer = Viewer()
    for frame in ("one", "two", "three"):
        viewer.put(frame)  # type: ignore[arg-type]
    assert await viewer.take() == "three"
    assert viewer.missed == 2
    viewer.close()
    assert await viewer.take() is None


def test_viewers_who_ask_for_nearly_the_same_share_a_variant() -> None:
    assert variant_of(None, None) is None
    assert variant_of(633, 72) == variant_of(640, 75) == Variant(640, 75)


def test_a_picture_is_never_enlarged_and_a_broken_one_is_none() -> None:
    small = reencode(picture(64, 48), Variant(4096, 50))
    assert small is not None
    assert jpeg_size(small) == (64, 48)
    assert reencode(b"\xff\xd8 broken", Variant(64, 50)) is None
    assert reencode(picture(640, 480)[:200], Variant(64, 50)) is None
