"""The NATS link against a real server: early, late, killed, refusing."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nats.errors
import pytest

from dialtone_core import natslink, natsretry
from dialtone_core.aio import timeout
from dialtone_core.errors import DialtoneError
from dialtone_core.ports import free_ports

_BESIDE = Path(sys.executable).parent / "nats-server"
SERVER = str(_BESIDE) if _BESIDE.exists() else shutil.which("nats-server") or "nats-server"


class Server:
    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        command = [SERVER, "-a", "127.0.0.1", "-p", str(self.port), *options]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.kill()


class States:
    """What the link said, and a way to wait for it to say something."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, str]] = []
        self._changed = asyncio.Event()

    def __call__(self, connected: bool, why: str) -> None:
        self.seen.append((connected, why))
        self._changed.set()

    async def wait_for(self, connected: bool) -> None:
        async with timeout(10):
            while not self.seen or self.seen[-1][0] is not connected:
                self._changed.clear()
                await self._changed.wait()


async def test_a_client_may_start_and_subscribe_before_its_server(server: Server) -> None:
    states = States()
    client = await natslink.connect(server.url, "early", on_state=states)
    assert not client.is_connected
    subscription = await client.subscribe("hello")
    server.start()
    await states.wait_for(True)
    await client.publish("hello", b"world")
    message = await subscription.next_msg(timeout=5)
    assert message.data == b"world"
    await client.close()


async def test_a_client_survives_the_death_and_return_of_its_server(server: Server) -> None:
    server.start()
    states = States()
    client = await natslink.connect(server.url, "loyal", on_state=states)
    await states.wait_for(True)
    subscription = await client.subscribe("hello")
    server.kill()
    await states.wait_for(False)
    server.start()
    await states.wait_for(True)
    await client.publish("hello", b"again")
    assert (await subscription.next_msg(timeout=5)).data == b"again"
    await client.close()


async def test_a_refusal_is_told_and_not_repeated_at_once(server: Server) -> None:
    server.start("--auth", "secret")
    states = States()
    client = await natslink.connect(server.url, "stranger", on_state=states)
    async with timeout(10):
        while "authorization" not in states.seen[-1][1].lower():
            states._changed.clear()
            await states._changed.wait()
    assert client.options["reconnect_time_wait"] >= 15
    await client.close()


async def test_closing_ends_an_attempt_that_never_succeeded(server: Server) -> None:
    client = await natslink.connect(server.url, "hopeless")
    async with timeout(3):
        await client.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_missing_credentials_file_is_one_line(server: Server, tmp_path: Path) -> None:
    server.start()
    with pytest.raises(DialtoneError, match="credentials"):
        await natslink.connect(server.url, "x", credentials=str(tmp_path / "none.creds"))


async def test_credentials_that_are_away_for_a_moment_are_named_and_the_link_comes_back(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(natsretry, "REFUSED_WAIT_S", 0.2)
    file = tmp_path / "login"
    file.write_text("token=sesame\n")
    file.chmod(0o600)
    server.start("--auth", "sesame")
    states = States()
    client = await natslink.connect(
        server.url, "absent-minded", credentials=str(file), on_state=states
    )
    await states.wait_for(True)
    for change in (file.unlink, lambda: file.write_text("nonsense\n")):
        server.kill()
        await states.wait_for(False)
        change()
        server.start("--auth", "sesame")
        async with timeout(10):
            while "NATS credentials" not in states.seen[-1][1]:
                states._changed.clear()
                await states._changed.wait()
        assert natsretry.remedy(states.seen[-1][1]).startswith("correct the file")
        file.write_text("token=sesame\n")
        file.chmod(0o600)
        await states.wait_for(True)
    await client.close()


def test_waits_double_and_spread_and_a_refusal_waits_long() -> None:
    waits = natsretry.Backoff(0.1, 2.0)
    for length_s in (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0):
        assert 0.5 * length_s <= waits.next_s("gone") <= 1.5 * length_s
    assert waits.at_last
    drawn = [waits.next_s("Authorization Violation") for _ in range(200)]
    assert natsretry.REFUSED_WAIT_S <= min(drawn) < max(drawn) <= 2 * natsretry.REFUSED_WAIT_S
    assert max(drawn) - min(drawn) > natsretry.REFUSED_WAIT_S / 2
    waits.reset()
    assert waits.next_s("gone") <= 0.15


async def test_a_url_that_is_none_is_one_line() -> None:
    with pytest.raises(DialtoneError, match="nats://"):
        await natslink.connect("nats://127.0.0.1:port", "x")


async def test_a_frame_arrives_as_a_message_with_headers(server: Server) -> None:
    server.start()
    states = States()
    client = await natslink.connect(server.url, "framer", on_state=states)
    await states.wait_for(True)
    subscription = await client.subscribe("frames")
    await client.flush()
    head = natslink.frame_head({"Dt-Type": "std_msgs/msg/String"})
    for payload in (b"", b"\x00\r\n\xff", b"x" * 300_000):
        waiting = natslink.publish_frame(client, b"frames", head, b"Dt-Seq: 7\r\n", payload)
        assert waiting > len(payload)
        await natslink.flush_frames(client, wait=True)
        message = await subscription.next_msg(timeout=5)
        assert message.data == payload
        assert message.headers == {"Dt-Type": "std_msgs/msg/String", "Dt-Seq": "7"}
    with pytest.raises(nats.errors.MaxPayloadError):
        natslink.publish_frame(client, b"frames", head, b"", b"x" * client.max_payload)
    await client.close()


@pytest.mark.parametrize("delay_s", [0.0, 0.001, 0.05])
async def test_closing_while_the_server_goes_raises_nothing(
    server: Server, delay_s: float
) -> None:
    server.start()
    states = States()
    client = await natslink.connect(server.url, "leaving", on_state=states)
    await states.wait_for(True)
    server.kill()
    await asyncio.sleep(delay_s)
    async with timeout(3):
        await client.close()


async def test_commands_that_a_broken_line_did_not_take_are_never_delivered(
    server: Server,
) -> None:
    server.start()
    robot, operator = States(), States()
    listener = await natslink.connect(server.url, "robot", on_state=robot)
    sender = await natslink.connect(
        server.url, "operator", pending_bytes=natslink.NO_REPLAY, on_state=operator
    )
    await robot.wait_for(True)
    await operator.wait_for(True)
    subscription = await listener.subscribe("cmd")
    await listener.flush()
    process = server._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)  # the network stalls: the socket's buffers fill
    for _ in range(100):
        await sender.publish("stalled", bytes(100_000))
        await asyncio.sleep(0)
    await sender.publish("cmd", b"drive")
    assert sender._pending
    server.kill()
    await operator.wait_for(False)
    server.start()
    await operator.wait_for(True)
    await robot.wait_for(True)
    await sender.publish("cmd", b"stop")
    assert (await subscription.next_msg(timeout=5)).data == b"stop"
    await sender.close()
    await listener.close()


async def test_a_flush_that_gave_up_does_not_deafen_the_client(server: Server) -> None:
    server.start()
    states = States()
    client = await natslink.connect(server.url, "flooded", on_state=states)
    try:
        await states.wait_for(True)
        subscription = await client.subscribe("after")
        for _ in range(20):  # the server's answer comes later than the patience of these ends
            with suppress(nats.errors.FlushTimeoutError):
                await client.flush(timeout=1e-9)
        for payload in (b"once", b"and again, behind those answers"):
            await client.publish("after", payload)
            assert (await subscription.next_msg(timeout=5)).data == payload
    finally:
        await client.close()
