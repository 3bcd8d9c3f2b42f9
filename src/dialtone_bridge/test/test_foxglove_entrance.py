"""Who gets in, who is in the way of whom, and what a stranger's bytes may end."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from bridge_rig import until
from foxglove_rig import SHAKE, TOKEN, Line, certificate, serving, shake
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from dialtone_bridge.clients.foxglove_client import SUBPROTOCOL, open_client
from dialtone_bridge.foxglove import entrance, server


@pytest.fixture
def surprises() -> Iterator[list[dict[str, Any]]]:
    """What asyncio would print as a traceback."""
    found: list[dict[str, Any]] = []
    yield found
    assert found == []


async def dial(line: Line) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = line.url.partition("//")[2].split(":")
    return await asyncio.open_connection(host, int(port))


def catch(into: list[dict[str, Any]]) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: into.append(context))


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_connection_that_does_not_shake_hands_is_closed(
    said: bytes, monkeypatch: pytest.MonkeyPatch, surprises: list[dict[str, Any]]
) -> None:
    catch(surprises)
    monkeypatch.setattr(entrance, "SHAKE_S", 0.3)
    async with serving() as line:
        reader, writer = await dial(line)
        writer.write(said)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        assert "shook no hands in 0.3 s" in line.log.lines[-1]
        assert line.transport.health().values["turned_away"] == 1


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n"])
async def test_nor_is_one_kept_that_does_not_speak_tls(
    said: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, surprises: list[dict[str, Any]]
) -> None:
    catch(surprises)
    monkeypatch.setattr(entrance, "SHAKE_S", 0.5)
    cert, key = await certificate(tmp_path)
    async with serving(tls_cert=cert, tls_key=key) as line:
        reader, writer = await dial(line)
        writer.write(said)
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await until(lambda: line.transport.health().values["turned_away"] == 1)


async def test_whoever_says_nothing_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_SHAKING", 4)
    async with serving(max_clients=4) as line:
        silent = [await dial(line) for _ in range(20)]
        async with open_client(line.url) as client:
            await until(lambda: client.server_info)
            for reader, _ in silent[:16]:
                assert await asyncio.wait_for(reader.read(), 5) == b""
            assert not silent[-1][0].at_eof()
        for _, writer in silent:
            writer.close()


async def test_one_client_too_many_is_turned_away_with_the_reason() -> None:
    async with serving(max_clients=2) as line, AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_client(line.url))
        await stack.enter_async_context(open_client(line.url))
        with pytest.raises(InvalidStatus) as refusal:
            await connect(line.url, subprotocols=[SUBPROTOCOL])
        assert refusal.value.response.status_code == 503
        assert b"2 clients are connected, as many as foxglove_max_clients" in (
            refusal.value.response.body or b""
        )
        await first._socket.close()
        await until(lambda: line.transport.clients == 1)
        async with open_client(line.url) as client:
            await until(lambda: client.server_info)


async def test_a_stranger_without_the_token_learns_no_more_than_that() -> None:
    async with serving(token=TOKEN, max_clients=1) as line:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        async with connect(line.url, subprotocols=[SUBPROTOCOL], additional_headers=bearer):
            with pytest.raises(InvalidStatus) as refusal:
                await connect(line.url, subprotocols=[SUBPROTOCOL])
            assert refusal.value.response.status_code == 401


async def test_a_token_of_odd_bytes_is_a_wrong_token(surprises: list[dict[str, Any]]) -> None:
    catch(surprises)
    async with serving(token=TOKEN) as line:
        reader, writer = await dial(line)
        writer.write(SHAKE + b"Authorization: Bearer \xe9\xff\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 401")
        writer.close()
        assert "a token is wanted" in line.log.lines[-1]


async def test_an_error_that_nobody_foresaw_ends_its_own_link_with_one_line(
    surprises: list[dict[str, Any]],
) -> None:
    catch(surprises)
    async with serving() as line, open_client(line.url) as other:

        def accepts(path: str) -> bool:
            raise RuntimeError("unforeseen\nthing")

        line.inbox.accepts = accepts  # type: ignore[method-assign]
        async with connect(line.url, subprotocols=[SUBPROTOCOL]) as socket:
            await socket.send(
                '{"op":"advertise","channels":'
                '[{"id":4,"topic":"/x","encoding":"json","schemaName":"a/B"}]}'
            )
            await asyncio.wait_for(socket.wait_closed(), 5)
        (cut,) = [each for each in line.log.lines if "cut" in each]
        assert r"RuntimeError('unforeseen\nthing')" in cut
        line.exchange.found("/a", "std_msgs/msg/String", "x")
        await other.wait_channel("/a")


async def test_a_frame_that_is_none_and_one_that_is_too_big_are_named_in_the_log(
    surprises: list[dict[str, Any]],
) -> None:
    catch(surprises)
    async with serving() as line:
        for bad in (b"\xff\xff", struct.pack(">BBQI", 0x82, 0xFF, 1 << 30, 0)):
            reader, writer = await dial(line)
            await shake(reader, writer)
            writer.write(bad)
            await asyncio.wait_for(reader.read(), 5)
            writer.close()
        await until(lambda: line.transport.clients == 0)
        first, second = [each for each in line.log.lines if "was cut" in each]
        assert "invalid opcode" in first
        assert "1073741824" in second
