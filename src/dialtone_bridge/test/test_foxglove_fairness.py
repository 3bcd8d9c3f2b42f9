"""What one client asks for holds up nobody else, and everything asked for is answered."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from concurrent.futures import Future

import pytest
from bridge_rig import until
from foxglove_rig import Line, serving
from websockets.asyncio.client import ClientConnection, connect

from dialtone_bridge.clients.foxglove_client import SUBPROTOCOL, open_client
from dialtone_bridge.foxglove import jobs
from dialtone_bridge.foxglove.extras import Extras
from dialtone_bridge.foxglove.jobs import Jobs
from dialtone_bridge.foxglove.services import FoxgloveServices
from dialtone_bridge.transports.base import ServiceInfo
from dialtone_core.errors import DialtoneError, WireError

TRIGGER = "std_srvs/srv/Trigger"


class Robot:
    """``/slow`` never answers, ``/estop`` at once, ``/odd`` has no type; it counts the calls."""

    def __init__(self, line: Line) -> None:
        self.asked: list[str] = []
        self.pending: list[Future[bytes]] = []
        found = [
            ServiceInfo(f"/{name}", name, TRIGGER, "", "") for name in ("slow", "estop", "odd")
        ]
        line.transport.offer_services(FoxgloveServices(self.call), found)

    def call(self, name: str, _: str, payload: bytes) -> Future[bytes]:
        self.asked.append(name)
        answer: Future[bytes] = Future()
        if name == "/odd":
            raise LookupError("message type odd is not installed")
        if name == "/estop":
            answer.set_result(payload)
        else:
            self.pending.append(answer)
        return answer


async def test_hanging_calls_of_one_client_hold_up_no_other_service_and_no_other_client() -> None:
    async with serving() as line, open_client(line.url) as one, open_client(line.url) as two:
        robot = Robot(line)
        await until(lambda: "/slow" in one.services)
        slow = [asyncio.create_task(one.call("/slow", b"x", 30)) for _ in range(64)]
        await until(lambda: len(robot.pending) == 8)
        assert await two.call("/estop", b"stop", 5) == b"stop"
        assert await one.call("/estop", b"stop", 5) == b"stop"
        assert robot.asked.count("/slow") == 8
        answered = 0
        while answered < 64:  # the others had their turn
            for each in robot.pending[answered:]:
                each.set_result(b"done")
                answered += 1
            await asyncio.sleep(0)
        assert await asyncio.gather(*slow) == [b"done"] * 64
        assert one.statuses == two.statuses == []


async def test_a_call_goes_on_when_its_client_leaves() -> None:
    async with serving() as line:
        robot = Robot(line)
        async with open_client(line.url) as panel:
            await until(lambda: "/slow" in panel.services)
            calls = [asyncio.create_task(panel.call("/slow", b"x")) for _ in range(9)]
            await until(lambda: len(robot.pending) == 8)
            for each in calls:
                each.cancel()
        await until(lambda: line.transport.clients == 0)
        assert not any(each.cancelled() for each in robot.pending)
        robot.pending[0].set_result(b"")
        await until(lambda: len(robot.pending) == 9)  # it had been asked for


async def test_each_call_that_cannot_be_answered_fails_by_its_ids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "_MAX_WAITING", 0)

    async def fail(socket: ClientConnection, service: int, encoding: bytes) -> str:
        head = struct.pack("<BIII", 2, service, 7, len(encoding))
        await socket.send(head + encoding + b"\0\1\0\0")
        told = json.loads(await asyncio.wait_for(socket.recv(), 5))
        assert (told["op"], told["serviceId"], told["callId"]) == (
            "serviceCallFailure",
            service,
            7,
        )
        status = json.loads(await asyncio.wait_for(socket.recv(), 5))  # for who knows no failures
        assert status["op"] == "status"
        assert told["message"] in status["message"]
        return str(told["message"])

    async with serving() as line, open_client(line.url) as panel:
        robot = Robot(line)
        await until(lambda: "/odd" in panel.services)
        ids = panel.services
        async with connect(line.url, subprotocols=[SUBPROTOCOL]) as socket:
            for _ in range(3):
                await socket.recv()
            assert "no service 99" in await fail(socket, 99, b"cdr")
            assert "takes cdr, not 'json'" in await fail(socket, ids["/estop"], b"json")
            assert "takes cdr" in await fail(socket, ids["/estop"], b"\xff\xfe")
            assert "not installed" in await fail(socket, ids["/odd"], b"cdr")
            for _ in range(8):
                head = struct.pack("<BIII", 2, ids["/slow"], 1, 3)
                await socket.send(head + b"cdr")
            await until(lambda: len(robot.pending) == 8)
            assert "busy" in await fail(socket, ids["/slow"], b"cdr")
            robot.pending[0].set_exception(DialtoneError("it broke"))
            told = json.loads(await asyncio.wait_for(socket.recv(), 5))
            assert (told["callId"], told["message"]) == (1, "it broke")


async def test_a_panel_with_many_meshes_gets_them_all_and_hangs_nobody() -> None:
    free = threading.Event()

    def read(uri: str) -> bytes:
        if "missing" in uri:
            raise DialtoneError("it does not exist")
        assert free.wait(10)
        return uri.encode()

    async with (
        serving(Extras(asset=read)) as line,
        open_client(line.url) as one,
        open_client(line.url) as two,
    ):
        robot = Robot(line)
        uris = [f"package://a/{number}.dae" for number in range(300)]
        wanted = [asyncio.create_task(one.fetch(uri, 30)) for uri in uris]
        assert await two.call("/estop", b"stop", 5) == b"stop"
        assert await one.call("/estop", b"stop", 5) == b"stop"
        free.set()
        assert await asyncio.gather(*wanted) == [uri.encode() for uri in uris]
        with pytest.raises(RuntimeError, match="does not exist"):
            await one.fetch("package://a/missing.dae")
        await one.send({"op": "fetchAsset", "uri": 1, "requestId": 5})
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        one._calls[5] = answer
        with pytest.raises(RuntimeError, match="no URI"):
            await asyncio.wait_for(answer, 5)
        assert robot.asked == ["/estop", "/estop"]


async def test_what_waits_for_its_turn_is_bounded_in_number_and_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "_MAX_WAITING", 3)
    monkeypatch.setattr(jobs, "_MAX_WAITING_BYTES", 100)
    failures: list[BaseException] = []
    done: list[str] = []
    free = asyncio.Event()
    queue = Jobs(failures.append)

    async def work() -> None:
        await free.wait()
        done.append("")

    async def fail() -> None:
        raise RuntimeError("no")

    queue.start(1, "a", 1, work)
    queue.start(1, "a", 1, work, 90)
    with pytest.raises(WireError, match="busy"):
        queue.start(1, "a", 1, work, 11)
    queue.start(1, "a", 1, fail)
    queue.start(1, "b", 1, work)
    queue.start(1, "b", 1, work)
    with pytest.raises(WireError, match="busy"):
        queue.start(1, "b", 1, work)
    queue.start(2, "b", 1, work)  # another client
    free.set()
    await until(lambda: len(done) == 5)
    await until(lambda: not queue._kinds)
    assert [str(each) for each in failures] == ["no"]
    assert not queue._waiting
    assert not queue._bytes
    queue.start(1, "a", 1, asyncio.Event().wait)  # type: ignore[arg-type]
    queue.close()
    await until(lambda: not queue._kinds)
