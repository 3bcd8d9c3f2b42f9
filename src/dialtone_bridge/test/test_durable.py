"""What must not be lost, while what it is lost in goes: streams, disks, acknowledgements."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bridge_rig import Child, Rig, until
from feed_rig import STRING, Feed
from nats.aio.msg import Msg
from test_nats_last import Line, line, topic_of

from dialtone_bridge import durable as durable_module
from dialtone_bridge import durable_stream, nats_server
from dialtone_bridge.clients.cuttable_line import CuttableLine
from dialtone_bridge.durable import DurableSender
from dialtone_bridge.durable_stream import CONSUMER, stream_name
from dialtone_bridge.jetstream import ask
from dialtone_bridge.params import RouteParams
from dialtone_bridge.routes import RouteTable
from dialtone_bridge.transports.nats import NatsSettings, NatsTransport
from dialtone_bridge.transports.nats_sink import NatsSink
from dialtone_core.aio import end_task
from dialtone_core.natsaccess import NatsKeys
from dialtone_core.natslink import connect
from dialtone_core.paths import write_secret
from dialtone_core.ports import is_free
from dialtone_core.sample import Sample

DURABLE = RouteTable({"c": RouteParams(topic="counter", durable=True)})


class Store:
    """A durable topic of a transport, and what its stream holds."""

    def __init__(self, each: Line, robot: str) -> None:
        self.transport, self.log, self.client = each.transport, each.log, each.client
        self.durable = each.transport._durable
        self.stream = stream_name(robot)
        self._robot = robot
        route = DURABLE.route("/counter", STRING)
        self.sink: NatsSink = each.transport.attach(topic_of(route), lambda _: None)

    def put(self, *numbers: int, size: int = 0) -> None:
        body = bytes(size)
        self.sink.put(
            [Sample("/counter", STRING, "cdr", b"%d" % n + body, n, n, n) for n in numbers]
        )

    async def held(self) -> list[int]:
        """The numbers in the stream, in order."""
        state = (await ask(self.client, f"STREAM.INFO.{self.stream}"))["state"]
        found = []
        for seq in range(state["first_seq"], state["last_seq"] + 1):
            got = await self.client.jetstream().get_msg(self.stream, seq)
            found.append(int(got.data.rstrip(b"\0")))
        return found

    def said(self, words: str) -> int:
        return sum(words in text for text in self.log.lines)


async def test_a_stream_that_somebody_deletes_is_made_again_and_nothing_is_lost(
    rig: Rig,
) -> None:
    async with line(rig) as each:
        store = Store(each, rig.robot)
        store.put(1)
        await until(lambda: store.durable.stored == 1)
        before = await ask(each.client, f"STREAM.INFO.{store.stream}")
        await ask(each.client, f"STREAM.DELETE.{store.stream}")
        store.put(2, 3)
        await until(lambda: store.durable.stored == 3)
        assert await store.held() == [2, 3]
        after = await ask(each.client, f"STREAM.INFO.{store.stream}")
        assert after["state"]["first_seq"] > before["state"]["last_seq"]
        assert store.said("not stored: the server has no stream") == 1
        assert store.said("stored again") == 1
        assert each.transport.health().ok


async def test_a_consumer_or_stream_that_goes_while_nothing_happens_is_made_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_module, "_CHECK_S", 0.2)
    async with line(rig) as each:
        store = Store(each, rig.robot)
        store.put(1)
        await until(lambda: store.durable.stored == 1)
        for verb in (
            f"CONSUMER.DELETE.{store.stream}.{CONSUMER}",
            f"STREAM.DELETE.{store.stream}",
        ):
            await ask(each.client, verb)
            await until_there(each, f"CONSUMER.INFO.{store.stream}.{CONSUMER}")


async def until_there(each: Line, verb: str) -> None:
    async def there() -> bool:
        reply = await each.client.request(f"$JS.API.{verb}", b"", timeout=3)
        return "error" not in json.loads(reply.data)

    await until_async(there)


async def until_async(condition: Callable[[], Awaitable[Any]], timeout_s: float = 15.0) -> None:
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while not await condition():
        assert loop.time() < deadline_s
        await asyncio.sleep(0.05)


async def test_the_store_of_a_killed_server_is_wiped_and_what_comes_then_is_stored(
    rig: Rig,
) -> None:
    async with line(rig) as each:
        store = Store(each, rig.robot)
        store.put(1)
        await until(lambda: store.durable.stored == 1)
        rig.children[0].stop(signal.SIGKILL)
        shutil.rmtree(nats_server.ServerPorts.path(rig.robot).parent / "jetstream")
        store.put(2)
        rig.start_server()
        await until(lambda: store.durable.stored == 2, 30)
        await until(lambda: each.client.is_connected)
        assert await store.held() == [2]


async def test_an_error_instead_of_an_acknowledgement_is_said_until_it_is_over(rig: Rig) -> None:
    async with line(rig) as each:
        store = Store(each, rig.robot)
        store.put(1)
        await until(lambda: store.durable.stored == 1)
        info = await ask(each.client, f"STREAM.INFO.{store.stream}")
        sealed = {**info["config"], "sealed": True}
        await ask(each.client, f"STREAM.UPDATE.{store.stream}", sealed)
        store.put(2)
        await until(lambda: not each.transport.health().ok)
        assert "durable routes are not stored" in each.transport.health().message
        await ask(each.client, f"STREAM.DELETE.{store.stream}")
        await until(lambda: store.durable.stored == 2)
        await until(lambda: each.transport.health().ok)
        assert await store.held() == [2]


class Deaf(DurableSender):
    """One that does not hear acknowledgements for a while."""

    deaf = True

    async def _on_ack(self, message: Msg) -> None:
        if not self.deaf:
            await super()._on_ack(message)


async def test_what_is_given_again_after_the_server_forgot_its_ids_is_not_stored_twice(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dialtone_bridge.transports.nats.DurableSender", Deaf)
    monkeypatch.setattr(durable_stream, "DUPLICATES_S", 0.1)
    monkeypatch.setattr(durable_module, "_AGAIN_S", 1.0)
    async with line(rig) as each:
        store = Store(each, rig.robot)
        assert isinstance(store.durable, Deaf)
        store.put(*range(1, 21))
        await until_there(each, f"STREAM.INFO.{store.stream}")
        await until(lambda: store.durable.stored == 20)  # asked, ten windows later
        assert store.durable.repeated == 0
        store.durable.deaf = False
        store.put(21)
        await until(lambda: store.durable.stored == 21)
        assert await store.held() == list(range(1, 22))


async def test_a_route_that_is_durable_no_more_leaves_the_stream_and_what_is_stored_stays(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_module, "_CHECK_S", 0.2)
    async with line(rig) as each:
        store = Store(each, rig.robot)
        store.put(1, 2)
        await until(lambda: store.durable.stored == 2)
        later = NatsTransport(NatsSettings(rig.robot, rig.nats_url), each.inbox, each.log)
        await each.transport.aclose()
        await later.open()
        running = asyncio.create_task(later.run())
        wants: list[bool] = []
        plain = RouteTable({}).route("/counter", STRING)
        later.attach(topic_of(plain), wants.append)
        await until(lambda: wants and not wants[-1])
        assert await store.held() == [1, 2]
        await end_task(running)
        await later.aclose()


async def test_commands_do_not_wait_behind_a_flood_of_what_is_stored(rig: Rig) -> None:
    async with line(rig) as each:
        thin = CuttableLine(rig.port, bytes_per_s=400_000)
        await thin.up()
        key = rig.folder / "robot.nk"
        write_secret(key, NatsKeys.load(rig.robot).seeds["robot"])
        settings = NatsSettings(rig.robot, f"nats://127.0.0.1:{thin.port}", str(key))
        transport = NatsTransport(settings, each.inbox, each.log)
        await transport.open()
        running = asyncio.create_task(transport.run())
        route = DURABLE.route("/counter", STRING)
        sink = transport.attach(topic_of(route), lambda _: None)
        sink.put([Sample("/counter", STRING, "cdr", bytes(100_000), n, n, n) for n in range(40)])
        await until(lambda: transport._durable.waiting() > 10)
        commands = transport._commands
        assert commands is not None
        for _ in range(5):
            await asyncio.wait_for(commands.flush(), 1.0)
        assert transport._durable.waiting() > 10
        await end_task(running)
        await transport.aclose()
        await thin.cut()


#: A small disk in a mount namespace of its own, and a server there that is started again.
_SMALL_DISK = """
mount -t tmpfs -o size=16m none "$1" && head -c 8M /dev/zero > "$1/filler" || exit 9
shift
while :; do "$@"; done
"""
UNSHARE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def why_no_mount(folder: Path) -> str:
    command = [*UNSHARE, "mount", "-t", "tmpfs", "none", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


@asynccontextmanager
async def server_on_small_disk(rig: Rig) -> AsyncIterator[tuple[Path, Callable[[], int]]]:
    """The embedded server's folder as it sees it, and its process id."""
    store = nats_server.ServerPorts.path(rig.robot).parent / "jetstream"
    if why := why_no_mount(rig.folder):
        pytest.skip(f"this machine lets nobody mount a small disk: {why}")
    command = nats_server.prepare(rig.robot, rig.port, open_loopback=True)
    store.mkdir()
    pid_file = rig.folder / "nats.pid"
    with_parent = ["setpriv", "--pdeathsig", "KILL", *command, "-P", str(pid_file)]
    log = rig.folder / "small_disk.log"
    child = Child(log, *UNSHARE, "sh", "-c", _SMALL_DISK, "sh", str(store), *with_parent)
    rig.children.append(child)
    await until(lambda: "Server is ready" in child.text())

    def pid() -> int:
        return int(pid_file.read_text())

    yield Path(f"/proc/{pid()}/root{store}"), pid


async def test_a_full_disk_is_said_with_its_fix_and_after_that_all_is_stored(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_module, "_AGAIN_S", 0.3)
    async with server_on_small_disk(rig) as (store_folder, pid):
        made = Line(rig, Feed(), {})
        await made.transport.open()
        running = asyncio.create_task(made.transport.run())
        made.client = await connect(rig.nats_url, "late")
        store = Store(made, rig.robot)
        for first in range(0, 200, 20):
            store.put(*range(first, first + 20), size=50_000)
            await asyncio.sleep(0.05)
        await until(lambda: not made.transport.health().ok, 30)
        await until(lambda: store.said("restart the NATS server") == 1, 30)
        assert 0 < store.durable.stored < 200
        (store_folder / "filler").unlink()
        os.kill(pid(), signal.SIGTERM)
        await until(lambda: store.durable.stored == 200, 40)
        await until(lambda: made.transport.health().ok)
        await until(lambda: made.client.is_connected)
        assert await store.held() == list(range(200))
        assert store.said("stored again") == 1
        await made.client.close()
        await end_task(running)
        await made.transport.aclose()
    assert not is_free(rig.port)
