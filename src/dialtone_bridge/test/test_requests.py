"""ROS services that somebody on NATS answers: real callers, a real server, a real bridge."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import nats
import pytest
from bridge_rig import Peer, Rig, until
from std_srvs.srv import Empty, SetBool, Trigger

from dialtone_bridge.params import RequestParams
from dialtone_bridge.requests import Asked, Forwarder, resolve
from dialtone_core.aio import end_task, timeout
from dialtone_core.errors import ConfigError, DialtoneError

_REQUESTS = {
    "requests.dock.type": "std_srvs/srv/SetBool",
    "requests.dock.service": "fleet/dock",
    "requests.dock.timeout_s": "8.0",
    "requests.slow.type": "std_srvs/srv/Trigger",
    "requests.slow.timeout_s": "0.3",
    "requests.wipe.type": "std_srvs/srv/Empty",
    "requests.wipe.subject": "fleet.wipe",
}


class Caller:
    """Calls services from the ROS side."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def start(self, kind: Any, name: str, **fields: Any) -> Any:
        """The future of one call, sent once the service is there."""
        client = self._peer.node.create_client(kind, name)
        await until(client.service_is_ready)
        return client.call_async(kind.Request(**fields))

    async def call(self, kind: Any, name: str, **fields: Any) -> Any:
        pending = await self.start(kind, name, **fields)
        await until(pending.done)
        return pending.result()


async def test_a_ros_node_asks_somebody_on_nats(rig: Rig, peer: Peer, client: nats.NATS) -> None:
    bridge = rig.start_bridge(**_REQUESTS)
    asked: list[Any] = []
    replies: list[bytes] = [
        b'{"ok":true,"success":true,"message":"docked"}',
        b'{"success":true}',
        b'{"ok":false,"error":"no dock is free"}',
        b'{"success":"yes"}',
        b"soon",
    ]

    async def answer(message: Any) -> None:
        asked.append(json.loads(message.data))
        await message.respond(replies[len(asked) - 1])

    async def say_nothing(message: Any) -> None:
        asked.append(message.subject)

    await rig.file()
    caller = Caller(peer)
    nobody = await caller.call(SetBool, "fleet/dock", data=True)
    assert (nobody.success, "nobody answers there" in nobody.message) == (False, True)
    await client.subscribe(f"dt.{rig.robot}.req.fleet.dock", cb=answer)
    await client.subscribe(f"dt.{rig.robot}.req.slow", cb=say_nothing)
    await client.flush(timeout=10)
    heard = [await caller.call(SetBool, "fleet/dock", data=True) for _ in replies]
    assert asked == [{"data": True}] * len(replies)
    assert [each.success for each in heard] == [True, True, False, False, False]
    assert [each.message for each in heard[:2]] == ["docked", ""]
    for words, each in zip(("no dock is free", "not_bool", "not_json"), heard[2:], strict=True):
        assert words in each.message
    silent = await caller.call(Trigger, "slow")
    assert not silent.success
    assert "no reply within 0.3 s" in silent.message
    # Empty has no words for a failure: its caller gets none, and the log has the line.
    pending = await caller.start(Empty, "wipe")
    await until(lambda: "service wipe: " in bridge.text())
    assert not pending.done()
    rig.children[0].stop()
    await until(lambda: "disconnected" in bridge.text())
    away = await caller.call(SetBool, "fleet/dock", data=True)
    assert (away.success, "cannot ask" in away.message) == (False, True)
    assert bridge.process.poll() is None


async def test_a_call_that_waits_holds_up_no_other() -> None:
    release = asyncio.Event()
    answers: list[tuple[bytes, str]] = []

    async def ask(subject: str, body: bytes, timeout_s: float) -> bytes:
        if subject == "slow":
            await release.wait()
        if subject == "bad":
            raise DialtoneError("nobody answers there", where=subject)
        return body

    forwarder = Forwarder(ask)
    running = asyncio.create_task(forwarder.run())
    for subject in ("slow", "bad", "fast"):
        forwarder.put(Asked(subject, subject.encode(), 1.0, lambda *each: answers.append(each)))
    await until(lambda: len(answers) == 2)
    assert answers[0][0] == b""
    assert "nobody" in answers[0][1]
    assert answers[1] == (b"fast", "")
    release.set()
    await until(lambda: len(answers) == 3)
    assert forwarder.figures() == {"answered": 2, "failed": 1, "dropped": 0}
    async with timeout(10):
        await end_task(running)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (RequestParams(), "type is empty"),
        (RequestParams(type="std_srvs/srv/Trigger", subject="a.*"), "no subject"),
        (RequestParams(type="std_srvs/srv/Trigger", subject="a..b"), "no subject"),
    ],
)
def test_a_request_that_cannot_be_stops_the_start(entry: RequestParams, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve("rover", {"dock": entry})
    whole = RequestParams("dock", "std_srvs/srv/Trigger")
    assert resolve("rover", {"a": whole})["dock"].subject == "dt.rover.req.dock"
    with pytest.raises(ConfigError, match="another entry"):
        resolve("rover", {"a": whole, "dock": whole})
