"""A NATS client sends goals to a real action server, by a real bridge."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
from bridge_rig import Peer, Rig
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.task import Future
from std_msgs.msg import Int32, String

from dialtone_bridge.actions import ActionInfo
from dialtone_core.aio import timeout

TYPES = Path(__file__).with_name("types")


class Counting:
    """Counts to the goal, a step each 10 ms; refuses to count below 0.

    All in the executor's thread: the composed type is serialized in Python, by Fast DDS with a
    lock held that another thread might wait for with Python's.
    """

    def __init__(self, peer: Peer, kind: Any) -> None:
        self._running: list[tuple[Any, Iterator[int], Future]] = []
        self._servers = [
            ActionServer(
                peer.node,
                kind,
                name,
                self._execute,
                goal_callback=self._judge,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
            )
            for name in ("private/count", "arm/count")
        ]
        self._timer = peer.node.create_timer(0.01, self._step)
        self._leaving = peer.node.create_guard_condition(self._leave)
        self.left = threading.Event()

    def _judge(self, goal: Any) -> GoalResponse:
        return GoalResponse.REJECT if goal.data < 0 else GoalResponse.ACCEPT

    async def _execute(self, handle: Any) -> Any:
        ended = Future()
        self._running.append((handle, iter(range(handle.request.data)), ended))
        return await ended

    def _step(self) -> None:
        for each in list(self._running):
            handle, steps, ended = each
            step = next(steps, None)
            if handle.is_cancel_requested:
                handle.canceled()
                ended.set_result(String(data=f"stopped at {step}"))
            elif step is None:
                handle.succeed()
                ended.set_result(String(data="counted"))
            else:
                handle.publish_feedback(Int32(data=step))
                continue
            self._running.remove(each)

    def leave(self) -> None:
        """The action goes, its node stays; ``left`` is set then."""
        self._leaving.trigger()

    def _leave(self) -> None:
        if not self.left.is_set():
            self._running.clear()
            for server in self._servers:
                server.destroy()
            self.left.set()


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An action type that the bridge's process finds too."""
    monkeypatch.syspath_prepend(str(TYPES))
    monkeypatch.setenv("PYTHONPATH", f"{TYPES}:{':'.join(sys.path[1:])}")
    from dialtone_test_msgs.action import Count

    return Count


@pytest.fixture
def counting(count: Any, peer: Peer) -> Iterator[Counting]:
    made = Counting(peer, count)
    yield made
    made.leave()
    made.left.wait(10)


class Asker:
    """A NATS client of ``arm/count``."""

    def __init__(self, client: nats.NATS, robot: str) -> None:
        self.client, self.robot = client, robot

    async def ask(self, verb: str, **body: Any) -> dict[str, Any]:
        subject = f"dt.{self.robot}.srv.arm.count.{verb}"
        reply = await self.client.request(subject, json.dumps(body).encode(), timeout=15)
        answer: dict[str, Any] = json.loads(reply.data)
        return answer

    async def until_served(self) -> None:
        async with timeout(20):
            while True:
                try:
                    await self.ask("cancel")
                    return
                except nats.errors.NoRespondersError:
                    await asyncio.sleep(0.05)


@pytest.fixture
async def asker(rig: Rig, counting: Counting, client: nats.NATS) -> Asker:
    rig.start_bridge(allow_actions="['arm/.*']")
    await rig.file()
    made = Asker(client, rig.robot)
    await made.until_served()
    return made


async def test_a_goal_is_sent_followed_and_ends(rig: Rig, asker: Asker) -> None:
    inbox = await asker.client.subscribe(f"dt.{rig.robot}.evt.arm.count.*")
    sent = await asker.ask("send_goal", goal={"data": 20})
    assert sent["ok"], sent
    ended = await asker.ask("result", goal_id=sent["goal_id"], timeout_s=10)
    assert ended == {"ok": True, "status": "succeeded", "result": {"data": "counted"}}
    assert await asker.ask("result", goal_id=sent["goal_id"]) == ended
    heard: list[tuple[str, dict[str, Any]]] = []
    while not heard or heard[-1][0] != "result":
        message = await inbox.next_msg(timeout=10)
        heard.append((message.subject.rpartition(".")[2], json.loads(message.data)))
    assert {each["goal_id"] for _, each in heard} == {sent["goal_id"]}
    steps = [each["feedback"]["data"] for kind, each in heard if kind == "feedback"]
    assert steps
    assert steps == list(range(steps[0], 20))
    assert heard[-1][1]["status"] == "succeeded"


async def test_what_is_no_goal_is_refused_in_words(asker: Asker) -> None:
    nobody = str(uuid.uuid4())
    refused = {
        "does not accept": await asker.ask("send_goal", goal={"data": -1}),
        "unknown_field": await asker.ask("send_goal", goal={"dato": 1}),
        "out_of_range": await asker.ask("send_goal", goal={"data": 2**40}),
        '{"goal": {…}}': await asker.ask("send_goal", data=3),
        "no UUID": await asker.ask("result", goal_id="seven"),
        "no number": await asker.ask("result", goal_id=nobody, timeout_s="soon"),
        "no such goal": await asker.ask("cancel", goal_id=nobody),
    }
    for words, answer in refused.items():
        assert not answer["ok"]
        assert words in answer["error"]
    private = f"dt.{asker.robot}.srv.private.count.cancel"
    with pytest.raises(nats.errors.NoRespondersError):
        await asker.client.request(private, b"{}", timeout=10)


async def test_goals_are_cancelled_by_id_or_all_and_end_with_their_action(
    asker: Asker, counting: Counting
) -> None:
    name = str(uuid.uuid4())
    first = await asker.ask("send_goal", goal={"data": 100_000}, goal_id=name)
    second = await asker.ask("send_goal", goal={"data": 100_000})
    assert first["goal_id"] == name
    assert await asker.ask("cancel", goal_id=name) == {"ok": True, "canceling": [name]}
    ended = await asker.ask("result", goal_id=name, timeout_s=10)
    assert ended["status"] == "canceled"
    assert ended["result"]["data"].startswith("stopped at ")
    running = await asker.ask("result", goal_id=second["goal_id"], timeout_s=0)
    assert running == {"ok": True, "status": "running"}
    assert (await asker.ask("cancel"))["canceling"] == [second["goal_id"]]
    assert (await asker.ask("result", goal_id=second["goal_id"], timeout_s=10))["ok"]
    sent = await asker.ask("send_goal", goal={"data": 100_000})
    counting.leave()  # and so does what is on NATS
    gone = False
    async with timeout(20):
        while not gone:
            try:
                await asker.ask("result", goal_id=sent["goal_id"], timeout_s=0)
                await asyncio.sleep(0.05)
            except nats.errors.NoRespondersError:
                gone = True


async def test_goals_of_a_server_that_was_started_anew_end_as_unknown(
    rig: Rig, asker: Asker, counting: Counting, count: Any
) -> None:
    inbox = await asker.client.subscribe(f"dt.{rig.robot}.evt.arm.count.result")
    sent = await asker.ask("send_goal", goal={"data": 100_000})
    counting.leave()
    other = Peer()
    again = Counting(other, count)
    try:
        ended = json.loads((await inbox.next_msg(timeout=20)).data)
        assert (ended["goal_id"], ended["status"]) == (sent["goal_id"], "unknown")
        assert "went away" in ended["error"]
        await asker.until_served()
        assert (await asker.ask("send_goal", goal={"data": 2}))["ok"]
    finally:
        again.leave()
        again.left.wait(10)
        other.close()


async def test_those_who_wait_for_results_keep_nobody_from_cancelling(asker: Asker) -> None:
    sent = await asker.ask("send_goal", goal={"data": 100_000})
    subject = f"dt.{asker.robot}.srv.arm.count.result"
    body = json.dumps({"goal_id": sent["goal_id"], "timeout_s": 3600}).encode()
    for _ in range(200):
        await asker.client.publish(subject, body, reply="_INBOX.nobody")
    assert "busy" in (await asker.ask("result", goal_id=sent["goal_id"]))["error"]
    assert not (await asker.ask("cancel", goalid=sent["goal_id"]))["ok"]
    assert (await asker.ask("cancel", goal_id=sent["goal_id"]))["ok"]
    routes = f"dt.{asker.robot}.srv.bridge.routes"
    assert json.loads((await asker.client.request(routes, b"{}", timeout=5)).data)["ok"]


def test_an_action_outside_of_the_namespace_has_subjects_of_its_own() -> None:
    own = ActionInfo("/robot2/arm/pick", "arm/pick", "x/action/Pick")
    foreign = ActionInfo("/arm/pick", "/arm/pick", "x/action/Pick")
    assert (own.tail, foreign.tail) == ("arm.pick", "_root.arm.pick")
