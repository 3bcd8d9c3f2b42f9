"""The Foxglove server between real sockets: strangers, garbage, many topics, TLS."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from pathlib import Path

import pytest
from bridge_rig import until
from foxglove_rig import STRING, TOKEN, certificate, serving
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from dialtone_bridge.clients.foxglove_client import SUBPROTOCOL, open_client
from dialtone_bridge.foxglove.entrance import Address
from dialtone_bridge.foxglove.token import read_token
from dialtone_core.errors import ConfigError


async def test_a_client_takes_a_thousand_topics() -> None:
    async with serving() as line, open_client(line.url) as viewer:
        names = [f"/t{number}" for number in range(1000)]
        for name in names:
            line.exchange.found(name, STRING, "string data\n")
        for name in names:
            await viewer.subscribe(name)
        await until(lambda: len(line.feed.open) == 1000)
        for name in names:
            line.feed.emit(name, b"\0\1\0\0x")
        assert {(await viewer.receive()).topic for _ in names} == set(names)
    await until(lambda: not line.feed.open)


async def test_garbage_is_answered_and_ends_nothing() -> None:
    noise = random.Random(5)
    async with serving() as line:
        async with connect(line.url, subprotocols=[SUBPROTOCOL]) as socket:
            for text in ("", "{", "[]", "null", '"subscribe"', '{"op":"subscribe"}', '{"op":[]}',
                         '{"op":"subscribe","subscriptions":[{"id":1,"channelId":99}]}',
                         '{"op":"advertise","channels":[{"id":"x"}]}', '{"op":"nonsense"}',
                         '{"op":"fetchAsset","uri":1}', '{"op":"getParameters"}'):  # fmt: skip
                await socket.send(text)
            for size in range(200):
                await socket.send(noise.randbytes(size))
            await socket.ping()
        host, port = line.url.removeprefix("ws://").split(":")
        for number in range(50):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(noise.randbytes(200 * number) + b"\r\n\r\n")
            writer.close()
        assert line.inbox.taken == []
        async with open_client(line.url) as viewer:
            line.exchange.found("/chatter", STRING, "string data\n")
            await viewer.wait_channel("/chatter")


@pytest.mark.parametrize("protocol", ["foxglove.sdk.v1", "foxglove.websocket.v1"])
async def test_old_and_new_clients_are_served(protocol: str) -> None:
    async with serving() as line:
        async with connect(line.url, subprotocols=[Subprotocol(protocol)]) as socket:
            assert socket.subprotocol == protocol
            info = json.loads(await socket.recv())
        assert info["op"] == "serverInfo"
        assert info["name"] == "rover"
        assert info["supportedEncodings"] == ["cdr", "json"]


async def test_a_foreign_web_page_may_not_connect() -> None:
    async with serving() as line:
        for good in ("http://localhost:8080", "https://app.foxglove.dev", "file://"):
            async with connect(line.url, subprotocols=[SUBPROTOCOL], origin=Origin(good)):
                pass
        for bad in ("https://evil.example", "null", "https://app.foxglove.dev.evil.example"):
            with pytest.raises(InvalidStatus) as refusal:
                await connect(line.url, subprotocols=[SUBPROTOCOL], origin=Origin(bad))
            assert refusal.value.response.status_code == 403


async def test_clients_from_outside_need_the_token_and_it_is_in_no_log() -> None:
    public = Address("127.0.0.1", 0, TOKEN)
    async with serving(public=public) as line:
        url = f"ws://127.0.0.1:{line.transport.public_port}"
        for wrong in ("", "?token=", "?token=wrong", f"?token={TOKEN}x"):
            with pytest.raises(InvalidStatus) as refusal:
                await connect(f"{url}/{wrong}", subprotocols=[SUBPROTOCOL])
            assert refusal.value.response.status_code == 401
        async with connect(f"{url}/?token={TOKEN}", subprotocols=[SUBPROTOCOL]):
            pass
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        async with connect(url, subprotocols=[SUBPROTOCOL], additional_headers=bearer):
            pass
        assert line.transport.health().values["turned_away"] == 4
        assert TOKEN not in "".join(line.log.lines)


def test_a_token_file_that_others_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="read by others"):
        read_token(str(file))
    file.chmod(0o600)
    assert read_token(str(file)) == TOKEN
    assert read_token("", {"DIALTONE_FOXGLOVE_TOKEN": TOKEN}) == TOKEN
    assert read_token("", {}) == ""
    with pytest.raises(ConfigError, match="fewer than 16"):
        read_token("", {"DIALTONE_FOXGLOVE_TOKEN": "short"})


async def test_tls_by_files(tmp_path: Path) -> None:
    cert, key = await certificate(tmp_path)
    async with serving(tls_cert=cert, tls_key=key) as line:
        assert line.url.startswith("wss://")
        context = ssl.create_default_context(cafile=cert)
        async with connect(line.url, subprotocols=[SUBPROTOCOL], ssl=context) as socket:
            assert json.loads(await socket.recv())["op"] == "serverInfo"


async def test_a_certificate_that_is_none_is_one_line(tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.write_text("nothing")
    with pytest.raises(ConfigError, match="foxglove_tls_cert"):
        async with serving(tls_cert=str(cert)):
            pass


async def test_a_key_without_a_certificate_is_one_line_too() -> None:
    with pytest.raises(ConfigError, match="foxglove_tls_key is given and"):
        async with serving(tls_key="key.pem"):
            pass
