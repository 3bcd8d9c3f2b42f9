"""The signalling hub, with the socket.io client that neck clients use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio

from dialtone_gateway.signalling import NECK_LINE


class Peer:
    """A neck client."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.client.on("*", self._hear)

    async def _hear(self, event: str, body: Any = None) -> None:
        self.heard.put_nowait((event, body))

    async def next(self) -> tuple[str, Any]:
        return await asyncio.wait_for(self.heard.get(), 5)


@pytest.fixture
async def peers(lab: Any) -> AsyncIterator[Any]:
    made: list[Peer] = []

    async def join(person: Any, **options: Any) -> Peer:
        peer = Peer()
        made.append(peer)
        await peer.client.connect(
            person.gateway.url, auth={"token": person.token}, wait_timeout=5, **options
        )
        return peer

    yield join
    for peer in made:
        await peer.client.disconnect()


async def test_peers_meet_talk_and_part(lab: Any, peers: Any) -> None:
    gateway = await lab.gateway()
    one = await peers(await lab.person(gateway, "otto"))
    assert await one.next() == ("existing-peers", [])
    two = await peers(await lab.person(gateway, "vera"), transports=["websocket"])
    ((card),) = (await two.next())[1]
    assert (card["uuid"], card["roles"]) == ("otto", ["operator"])
    event, new = await one.next()
    assert (event, new["uuid"], new["roles"]) == ("new-peer", "vera", ["viewer"])
    await two.client.emit("peer-message", {"target": card["id"], "message": {"sdp": 1}})
    assert await one.next() == ("peer-message", {"peerId": new["id"], "message": {"sdp": 1}})
    await one.client.emit("broadcast-message", {"message": "hello"})
    assert await two.next() == (
        "broadcast-message", {"peerId": card["id"], "message": "hello"},
    )  # fmt: skip
    await two.client.disconnect()
    event, gone = await one.next()
    assert (event, gone["id"]) == ("peer-disconnect", new["id"])


async def test_neck_lines_of_operators_reach_the_robot_in_their_name(
    lab: Any, peers: Any, bus: Any, eventually: Any
) -> None:
    asked: list[tuple[str, str, str]] = []

    async def answer(request: Any) -> None:
        body = json.loads(request.data)
        verb = request.subject.rpartition(".")[2]
        asked.append((verb, body["operator"], body.get("role", "")))
        await request.respond(
            json.dumps({"ok": free[0], "error": "eve/1 holds the lease"}).encode()
        )

    free = [True]
    gateway = await lab.gateway()
    otto, vera = await lab.person(gateway, "otto"), await lab.person(gateway, "vera")
    heard = await bus.subscribe("dt.rover.cmd.>")
    await bus.subscribe("dt.rover.srv.teleop.lease.*", cb=answer)
    await bus.flush()
    one, two = await peers(otto), await peers(vera)
    await one.next()
    await one.next()
    await two.next()
    await one.client.emit("neck_command", {"command": "X50,Y-20"})
    message = await heard.next_msg(5)
    name = f"operator=otto%2F{otto.session}"
    assert json.loads(message.data) == {"data": f"X50,Y-20?{name}"}
    assert message.headers["Dt-Operator"] == f"otto/{otto.session}"
    assert message.headers["Dt-Type"] == "std_msgs/msg/String"
    assert await one.next() == ("neck_ack", {"command": "X50,Y-20"})
    await one.client.emit("broadcast-message", {"message": "HOME"})
    assert json.loads((await heard.next_msg(5)).data) == {"data": f"HOME?{name}"}
    assert asked == [("acquire", f"otto/{otto.session}", "operator")]
    await two.next()
    await two.client.emit("neck_command", {"command": "HOME"})
    event, body = await two.next()
    assert (event, body["error"]) == ("neck_error", "needs the role operator")
    for bad in ("", "rm -rf", "X1\nHOME", None, {"a": 1}, "1:" + "5" * 400):
        await one.client.emit("neck_command", {"command": bad})
        assert (await one.next())[0] == "neck_error"
    await one.client.disconnect()
    await eventually(lambda: asked[-1][0] == "release")
    free[0] = False
    again = await peers(otto)
    await again.next()
    await again.client.emit("neck_command", {"command": "X1"})
    assert await again.next() == (
        "neck_error", {"command": "X1", "error": "eve/1 holds the lease"},
    )  # fmt: skip


@pytest.mark.parametrize("token", ["", "forged", None, 5])
async def test_a_peer_without_a_token_is_refused(lab: Any, token: Any) -> None:
    gateway = await lab.gateway()
    peer = Peer()
    with pytest.raises(socketio.exceptions.ConnectionError):
        await peer.client.connect(gateway.url, auth={"token": token}, wait_timeout=2)
    await peer.client.disconnect()


async def test_a_logout_parts_a_peer(lab: Any, peers: Any, eventually: Any) -> None:
    gateway = await lab.gateway()
    otto = await lab.person(gateway, "otto")
    peer = await peers(otto)
    await otto.post("/logout")
    await eventually(lambda: not peer.client.connected)


def test_neck_grammar_takes_commands_and_no_prose() -> None:
    for line in ("HOME", "HOME_SOFT", "1:55,2:60", "X50,Y-20,H5", "Q:1,0,0,0,H10,S1,A1", "STATUS"):
        assert NECK_LINE.fullmatch(line), line
    for line in ("hello", "HOME now", "Z", "", "7:1", "S tay"):
        assert not NECK_LINE.fullmatch(line), line
