"""The NATS side under garbage, wrong types, many subscriptions, and clients that never read."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

import nats
import nats.errors
import orjson
import psutil
from bridge_rig import Peer, Rig, until
from geometry_msgs.msg import TwistStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from dialtone_bridge.transports.base import Inbound
from dialtone_bridge.transports.nats_commands import NatsCommands
from dialtone_core.aio import timeout
from dialtone_core.command import Envelope, Twist
from dialtone_core.natsaccess import PRESENCE, last_bucket

_SEEDS = [
    b'{"linear":{"x":0.4},"angular":{"z":0.1}}',
    b'{"twist":{"linear":{"x":1}},"operator":"ada/3","seq":4,"ttl_ms":300,"issued_ns":1}',
    b"[" * 2000,
    b'{"linear":' * 500,
    b"\xff\xfe\x00",
    b"",
]


_ODD = [b"1e308", b"1e999", b"NaN", b"-", b'"', b"{}", b"null", b"\\u0000"]


class _Message:
    """What nats-py hands to a callback."""

    def __init__(self, subject: str, data: bytes, headers: dict[str, str] | None) -> None:
        self.subject, self.data, self.headers = subject, data, headers


class _Counter(Inbound):
    """Takes what passes, and holds it to be finite and well formed."""

    def __init__(self) -> None:
        self.passed = 0

    def velocity(self, source: str, twist: Twist, envelope: Envelope) -> None:
        assert twist.is_finite()
        assert len(envelope.operator) <= 64
        self.passed += 1

    def message(
        self, path: str, type_name: str, encoding: str, payload: bytes, client: object = None
    ) -> None:
        raise AssertionError("nothing but cmd_vel was let in")

    def accepts(self, path: str) -> bool:
        return False

    def left(self, client: object) -> None:
        return


class _Quiet:
    def info(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...


def _spoil(chance: random.Random) -> bytes:
    data = bytearray(chance.choice(_SEEDS))
    for _ in range(chance.randint(1, 4)):
        kind = chance.randrange(3)
        at = chance.randrange(len(data) + 1)
        if kind == 0:
            data[at:at] = chance.randbytes(chance.randrange(8))
        elif kind == 1:
            del data[at : at + chance.randrange(8)]
        else:
            data[at:at] = chance.choice(_ODD)
    return bytes(data)


async def test_a_hundred_thousand_garbage_commands_end_nothing() -> None:
    inbound = _Counter()
    commands = NatsCommands("rover", "nats", inbound, _Quiet())
    chance = random.Random(7)
    subjects = ["dt.rover.cmd.cmd_vel", "dt.rover.cmd.x", "dt.rover.cmd.", "dt.other.cmd.cmd_vel"]
    headers: list[Any] = [None, {"Dt-Operator": "x" * 999}, {"Dt-Encoding": "?", "Dt-Type": "a/b"}]
    began_s = time.monotonic()
    for _ in range(100_000):
        subject = subjects[0] if chance.random() < 0.8 else chance.choice(subjects)
        message: Any = _Message(subject, _spoil(chance), chance.choice(headers))
        commands.judge([message])
    assert inbound.passed + commands.refusals.total() == 100_000
    assert commands.received == inbound.passed
    assert time.monotonic() - began_s < 40
    assert set(commands.refusals.by_reason) <= {
        "too_big", "not_json", "not_object", "unknown_field", "empty", "not_number", "not_string",
        "not_finite", "out_of_range", "topic_not_allowed", "foreign_subject",
    }  # fmt: skip


class _Heard(_Counter):
    """Notes each velocity that is acted on."""

    def __init__(self) -> None:
        super().__init__()
        self.acted: list[tuple[str, float]] = []

    def velocity(self, source: str, twist: Twist, envelope: Envelope) -> None:
        self.acted.append((envelope.operator, twist.x))


def _velocity(operator: str, x: float) -> Any:
    body = orjson.dumps({"linear": {"x": x}, "operator": operator})
    return _Message("dt.rover.cmd.cmd_vel", body, None)


async def test_of_commands_that_wait_the_newest_of_each_operator_counts() -> None:
    inbound = _Heard()
    commands = NatsCommands("rover", "nats", inbound, _Quiet())
    waiting = [_velocity("ada", n / 100) for n in range(50)] + [_velocity("eve", 0.3)]
    commands.judge([*waiting, _velocity("ada", 0.0), _Message("dt.rover.cmd.cmd_vel", b"?", None)])
    assert inbound.acted == [("eve", 0.3), ("ada", 0.0)]
    assert (commands.received, commands.superseded, commands.refusals.total()) == (2, 50, 1)


async def test_who_let_go_and_drives_again_at_once_has_let_go() -> None:
    """After an e-stop teleop waits for a zero; without it the robot stays for ever."""
    inbound = _Heard()
    commands = NatsCommands("rover", "nats", inbound, _Quiet())
    speeds = [0.1, 0.0, 0.0, 0.2, 0.3]
    commands.judge([_velocity("ada", x) for x in speeds] + [_velocity("eve", 0.4)])
    assert inbound.acted == [("ada", 0.0), ("ada", 0.3), ("eve", 0.4)]
    assert (commands.received, commands.superseded) == (3, 3)


async def test_a_kept_message_that_the_server_sends_is_no_command() -> None:
    inbound = _Heard()
    commands = NatsCommands("rover", "nats", inbound, _Quiet())
    kept = {"Nats-Stream": "KV_dt_rover_last", "Nats-Sequence": "7"}
    body = b'{"linear":{"x":0.4}}'
    for subject in ("dt.rover.cmd.cmd_vel", "dt.rover.cmd.goal_pose"):
        message: Any = _Message(subject, body, kept)
        commands.judge([message])
    assert inbound.acted == []
    assert commands.refusals.by_reason == {"stored": 2}


async def test_a_stop_behind_a_hundred_thousand_commands_is_acted_on_at_once(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    heard = peer.listen(TwistStamped, "cmd_vel/nats", 10)
    bridge = psutil.Process(rig.start_bridge().process.pid)
    await rig.file()
    while not heard:  # a flood may be over before DDS has matched both ends
        await client.publish(f"dt.{rig.robot}.cmd.cmd_vel", b'{"linear":{"x":0.1}}')
        await asyncio.sleep(0.05)
    flood = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _FLOOD, rig.nats_url, f"dt.{rig.robot}.cmd.cmd_vel",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert flood.stdout is not None
    assert await flood.stdout.readline() == b"sent\n"
    before = bridge.cpu_times()
    await until(lambda: heard and heard[-1].twist.linear.x == 0.0, 60)
    after = bridge.cpu_times()
    # On a busy machine it may take long, but not much work: passing on each of them is 7 s of it.
    assert after.user + after.system - before.user - before.system < 3.0
    count = len(heard)
    await asyncio.sleep(0.3)
    assert len(heard) == count  # and nothing comes after it
    await flood.wait()


#: What an operator's program in a loop without a pause does before it stops.
_FLOOD = """
import asyncio, sys, nats
async def main():
    client = await nats.connect(sys.argv[1])
    for number in range(100_000):
        await client.publish(sys.argv[2], b'{"linear":{"x":0.4}}')
    await client.publish(sys.argv[2], b'{"linear":{"x":0.0}}')
    await client.flush()
    print("sent", flush=True)
asyncio.run(main())
"""


async def test_a_command_of_a_wrong_or_unknown_type_is_named_and_ends_nothing(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    bridge = rig.start_bridge()
    await rig.file()
    subject = f"dt.{rig.robot}.cmd.goal_pose"
    asked = {
        "no_such_msgs/msg/Thing": b"{}",
        "geometry_msgs/msg/PoseStamped": b'{"pose":3}',
        "not a type": b"{}",
        "std_msgs/msg/String": b'{"data":7}',
    }
    for type_name, body in asked.items():
        await client.publish(subject, body, headers={"Dt-Type": type_name})
    await client.publish(subject, b"\x00\x01\x00", headers={"Dt-Encoding": "cdr",
                         "Dt-Type": "geometry_msgs/msg/PoseStamped"})  # fmt: skip
    reply = await client.request(f"dt.{rig.robot}.srv.bridge.routes", b"{}", timeout=5)
    assert json.loads(reply.data)["ok"]
    await until(lambda: "refused a command" in bridge.text())
    assert bridge.process.poll() is None


async def test_a_thousand_subscriptions_cost_only_those_that_match(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    rig.start_bridge()
    chatter = peer.node.create_publisher(String, "chatter", 10)
    other = peer.node.create_publisher(String, "other", 10)
    for number in range(1000):
        await client.subscribe(f"dt.{rig.robot}.tlm.topic{number}")
    inbox = await client.subscribe(f"dt.{rig.robot}.tlm.chatter")
    await rig.file()
    await until(lambda: chatter.get_subscription_count() > 0)
    assert other.get_subscription_count() == 0
    chatter.publish(String(data="hello"))
    assert b"hello" in (await inbox.next_msg(timeout=5)).data


async def test_a_client_that_never_reads_stalls_nobody(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    heard = peer.listen(TwistStamped, "cmd_vel/nats")
    rig.start_bridge()
    publisher = peer.node.create_publisher(String, "chatter", 100)
    deaf_reader, deaf = await asyncio.open_connection("127.0.0.1", rig.port, limit=1024)
    deaf.write(b"CONNECT {}\r\nSUB dt.*.tlm.> 1\r\n")
    inbox = await client.subscribe(f"dt.{rig.robot}.tlm.chatter")
    await rig.file()
    await until(lambda: publisher.get_subscription_count() > 0)
    deaf_reader._transport.pause_reading()  # type: ignore[attr-defined]
    for number in range(150):
        publisher.publish(String(data=f"{number:04d}" + "x" * 500_000))
        message = await inbox.next_msg(timeout=5)
        assert f"{number:04d}".encode() in message.data[:16]
    before = len(heard)
    await client.publish(f"dt.{rig.robot}.cmd.cmd_vel", b'{"linear":{"x":0.1}}')
    await until(lambda: len(heard) > before, 2)
    deaf.transport.abort()


async def test_who_comes_late_finds_what_is_latched_and_who_is_there(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    rig.start_bridge()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = peer.node.create_publisher(String, "map_name", latched)
    publisher.publish(String(data="attic"))
    await rig.file()
    subject = (
        f"$JS.API.DIRECT.GET.KV_{last_bucket(rig.robot)}.$KV.{last_bucket(rig.robot)}.map_name"
    )
    async with timeout(15):
        while True:
            try:
                found = await client.request(subject, b"", timeout=1)
                if found.data:
                    break
            except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
                pass
            await asyncio.sleep(0.1)
    assert b"attic" in found.data
    assert found.headers["Dt-Type"] == "std_msgs/msg/String"
    key = f"$JS.API.DIRECT.GET.KV_{PRESENCE}.$KV.{PRESENCE}.{rig.robot}"
    said = orjson.loads((await client.request(key, b"", timeout=5)).data)
    assert said["robot"] == rig.robot
    assert 0 < said["rtt_ms"] < 1000


async def test_a_bridge_says_when_it_comes_and_when_it_goes(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    inbox = await client.subscribe(f"dt.{rig.robot}.evt.*")
    bridge = rig.start_bridge()
    heard = []
    async with timeout(20):
        while "online" not in heard:
            heard.append((await inbox.next_msg(timeout=15)).subject.rpartition(".")[2])
        bridge.stop()
        while "offline" not in heard:
            heard.append((await inbox.next_msg(timeout=5)).subject.rpartition(".")[2])
