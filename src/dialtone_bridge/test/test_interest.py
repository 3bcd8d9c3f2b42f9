"""Subject matching, and the server's word on who wants what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import nats
import pytest
from bridge_rig import Peer, Rig, until
from std_msgs.msg import String

from dialtone_bridge.transports import interest as interest_module
from dialtone_bridge.transports.interest import Interest, InterestWatch, matches
from dialtone_core import natsretry
from dialtone_core.aio import end_task
from dialtone_core.errors import DialtoneError
from dialtone_core.natsauth import Login


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        (">", "dt.rover.tlm.odom", True),
        ("dt.*.tlm.>", "dt.rover.tlm.odom", True),
        ("dt.rover.tlm.*", "dt.rover.tlm.odom", True),
        ("dt.rover.tlm.*", "dt.rover.tlm.camera.front", False),
        ("dt.rover.tlm.>", "dt.rover.tlm", False),
        ("dt.rover.tlm.odom.x", "dt.rover.tlm.odom", False),
        ("dt.other.tlm.>", "dt.rover.tlm.odom", False),
    ],
)
def test_a_pattern_matches_as_the_server_matches(
    pattern: str, subject: str, expected: bool
) -> None:
    assert matches(pattern, subject) is expected
    interest = Interest("dt.rover.tlm")
    interest.take(f"LS+ {pattern}\r\n".encode())
    assert interest.wants(subject) is expected


def test_interest_lasts_until_the_last_of_plain_and_queue_subscribers() -> None:
    interest = Interest("dt.rover.tlm")
    assert interest.take(b"LS+ dt.rover.tlm.odom\r\n")
    assert not interest.take(b"LS+ dt.rover.tlm.odom workers 1\r\n")
    assert not interest.take(b"LS+ dt.rover.tlm.odom workers 2\r\n")
    assert not interest.take(b"LS- dt.rover.tlm.odom\r\n")
    assert interest.wants("dt.rover.tlm.odom")
    assert interest.take(b"LS- dt.rover.tlm.odom workers\r\n")
    assert not interest.take(b"LS- dt.rover.tlm.odom workers\r\n")
    assert not interest.wants("dt.rover.tlm.odom")


def test_beyond_so_many_wildcards_everything_is_wanted() -> None:
    interest = Interest("dt.rover.tlm")
    for number in range(Interest.MAX_PATTERNS):
        interest.take(b"LS+ dt.rover.tlm.*.t%d\r\n" % number)
    assert not interest.wants("dt.rover.tlm.odom")
    interest.take(b"LS+ dt.rover.tlm.*.one_more\r\n")
    assert interest.wants("dt.rover.tlm.odom")
    interest.take(b"LS- dt.rover.tlm.*.one_more\r\n")
    assert not interest.wants("dt.rover.tlm.odom")


async def test_a_thousand_lines_at_once_are_told_once() -> None:
    told: list[bool] = []

    def note(interest: Interest | None) -> None:
        told.append(interest is not None and interest.wants("dt.rover.tlm.x999"))

    async with leaf_port() as (port, greet):
        watch = InterestWatch(lambda: ("127.0.0.1", port, Login()), "test", "dt.rover.tlm", note)
        running = asyncio.create_task(watch.run())
        writer = await greet()
        await until(lambda: told)
        assert told == [False]
        writer.write(b"".join(b"LS+ dt.rover.tlm.x%d\r\n" % number for number in range(1000)))
        await until(lambda: told[-1])
        assert len(told) <= 4  # 25 kB come in a few reads
        await end_task(running)


async def test_a_line_that_fell_silent_is_given_up_and_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interest_module, "_QUIET_S", 0.05)
    async with leaf_port() as (port, greet):
        watch = InterestWatch(
            lambda: ("127.0.0.1", port, Login()), "test", "dt.rover.tlm", lambda _: None
        )
        running = asyncio.create_task(watch.run())
        for _ in range(2):
            writer = await greet()
            await until(lambda: watch.state == "watched")
            await until(lambda: "said nothing" in watch.state)
            writer.close()
        await end_task(running)


async def test_a_login_that_cannot_be_read_is_named_and_mends_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(natsretry, "REFUSED_WAIT_S", 0.05)
    async with leaf_port() as (port, greet):
        login: list[Login] = []

        def find() -> tuple[str, int, Login]:
            if not login:
                raise DialtoneError("cannot read the NATS credentials", where="robot.nk")
            return "127.0.0.1", port, login[0]

        watch = InterestWatch(find, "test", "dt.rover.tlm", lambda _: None)
        running = asyncio.create_task(watch.run())
        await until(lambda: watch.state == "unknown: robot.nk: cannot read the NATS credentials")
        login.append(Login())
        await greet()
        await until(lambda: watch.state == "watched")
        await end_task(running)


async def test_a_refused_login_is_not_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []
    waits: list[float] = []
    real_sleep = asyncio.sleep

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(1)
        writer.write(b"INFO {}\r\n-ERR 'Authorization Violation'\r\n")
        writer.close()

    async def sleep(delay_s: float) -> None:
        waits.append(delay_s)
        await real_sleep(0.01)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = ("127.0.0.1", server.sockets[0].getsockname()[1], Login())
    told: list[Interest | None] = []
    watch = InterestWatch(lambda: address, "test", "dt.rover.tlm", told.append)
    monkeypatch.setattr(interest_module.asyncio, "sleep", sleep)
    running = asyncio.create_task(watch.run())
    deadline_s = asyncio.get_running_loop().time() + 10
    while len(tries) < 3 and asyncio.get_running_loop().time() < deadline_s:
        await real_sleep(0.01)
    monkeypatch.undo()
    await end_task(running)
    server.close()
    assert "Authorization Violation" in watch.state
    assert min(waits) >= natsretry.REFUSED_WAIT_S
    assert told[0] is None


@asynccontextmanager
async def leaf_port() -> AsyncIterator[tuple[int, Callable[[], Awaitable[asyncio.StreamWriter]]]]:
    """A server that greets leaf nodes and then says only what the test writes."""
    links: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO {}\r\n")
        assert (await reader.readline()).startswith(b"CONNECT")
        assert await reader.readline() == b"PING\r\n"
        writer.write(b"PONG\r\n")
        links.put_nowait(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], lambda: asyncio.wait_for(links.get(), 10)
    server.close()


@pytest.mark.parametrize(
    "line", [b"LS+ $JS.API.>\r\n", b"LS+\r\n", b"\xff\xff\r\n", b"INFO {}\r\n"]
)
def test_what_is_not_ours_changes_nothing(line: bytes) -> None:
    assert not Interest("dt.rover.tlm").take(line)


def test_wildcards_that_reach_us_count() -> None:
    interest = Interest("dt.rover.tlm")
    assert interest.take(b"LS+ >\r\n")
    assert interest.take(b"LS+ dt.*.tlm.imu.>\r\n")
    assert not interest.take(b"LS+ dt.*.cmd.>\r\n")


async def test_ros_is_subscribed_only_while_a_nats_client_is(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    rig.start_bridge()
    publisher = peer.node.create_publisher(String, "chatter", 10)
    other = peer.node.create_publisher(String, "gossip", 10)
    await rig.file()
    inbox = await client.subscribe(f"dt.{rig.robot}.tlm.chatter")
    await until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data="hello"))
    assert b"hello" in (await inbox.next_msg(timeout=5)).data
    await inbox.unsubscribe()
    await until(lambda: publisher.get_subscription_count() == 0)
    assert other.get_subscription_count() == 0
    await client.subscribe(f"dt.{rig.robot}.tlm.>")
    await until(lambda: other.get_subscription_count() == publisher.get_subscription_count() == 1)
