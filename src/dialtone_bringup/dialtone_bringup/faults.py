"""The fault campaign: what is done to a whole robot while somebody drives it.

Each fault drives first, hurts, and drives again at the end, so that a robot that simply never
moves does not pass. With ``Scene.estop`` the e-stop is fired in the middle of it as well. What
counts is ``observer.Observer.unsafe`` afterwards.
"""

from __future__ import annotations

import asyncio
import random
from urllib.parse import urlsplit

from dialtone_bringup.campaign import Fault, Scene
from dialtone_bringup.faults_process import (
    autopilot_rebooted,
    bridge_killed,
    nats_server_killed,
    operator_stopped,
    teleop_killed,
)
from dialtone_bringup.fuzz import fuzz
from dialtone_bringup.observer import AHEAD, BACK, Person, StallingProxy
from dialtone_bringup.rig import Rig
from dialtone_core.clock import NS_PER_S
from dialtone_core.natslink import NO_REPLAY, connect
from dialtone_core.wire import command_subject

STALL_S = 5.0


async def _stall(scene: Scene, stall_s: float) -> None:
    at = urlsplit(scene.rig.nats_url)
    async with StallingProxy((at.hostname or "", at.port or 0)) as proxy:
        client = await connect(f"nats://127.0.0.1:{proxy.port}", "far", pending_bytes=NO_REPLAY)
        far, near = Person(scene.rig.robot, client, "far/1", AHEAD), scene.ada
        scene.ada = far
        try:
            await scene.starts()
            proxy.stall()
            scene.forbid()
            await asyncio.sleep(max(0.4, stall_s - 0.8))
            far.speed_mps = None  # what is younger than max_delay_s may still move it
            await scene.middle()
            await asyncio.sleep(min(0.8, stall_s))
            assert scene.observer.standing(), "it stood before the release"
            proxy.release()
            await asyncio.sleep(1.0)
            far.speed_mps = 0.3
            await scene.recovers()
            await far.ask("lease.release")
        finally:
            scene.ada = near
            await far.stop()
            await client.close()


async def network_stalled_5_s(scene: Scene) -> None:
    """Five seconds of commands and renewals arrive at once; the lease is gone by then."""
    await _stall(scene, STALL_S)


async def network_stalled_within_the_lease(scene: Scene) -> None:
    """1.7 s of commands arrive at once while the lease still lives: only their age tells."""
    await _stall(scene, 1.7)


async def clock_stepped(scene: Scene) -> None:
    """Ada's clock jumps an hour ahead and back; what she then sends looks an hour old."""
    await scene.starts()
    scene.ada.clock_offset_ns = 3600 * NS_PER_S
    await scene.moves()
    await scene.middle()
    scene.ada.clock_offset_ns = -3600 * NS_PER_S
    await scene.stands()
    scene.forbid(grace_s=0.0)
    scene.ada.speed_mps = None
    await asyncio.sleep(0.3)
    scene.ada.clock_offset_ns = 3600 * NS_PER_S
    scene.ada.speed_mps = 0.3
    await scene.recovers()
    scene.ada.clock_offset_ns = 0


async def commands_replayed(scene: Scene) -> None:
    """Somebody recorded ada's commands and sends them again, at once and after a pause."""
    await scene.starts()
    await asyncio.sleep(0.5)
    recorded = list(scene.ada.sent[-10:])
    scene.ada.speed_mps = None  # the lease lives on
    scene.forbid()
    await scene.stands()
    await scene.middle()
    for _ in range(5):
        for payload in recorded:
            await scene.ada.send(payload)
        await asyncio.sleep(0.5)
    scene.ada.speed_mps = 0.3
    await scene.recovers()


async def two_fight(scene: Scene) -> None:
    """Eve wants the wheel: by commands, by asking, by force with too low and with enough role."""
    await scene.starts()
    eve = Person(scene.rig.robot, await scene.rig.nats("eve"), "eve/1", BACK)
    eve.renewing = False
    eve.start()
    assert not await eve.acquire()
    key = scene.rig.home / "nats" / scene.rig.robot / "admin.nk"
    client = await connect(scene.rig.nats_url, "boss", credentials=str(key))
    boss = Person(scene.rig.robot, client, "eve/1", BACK)
    assert not (await boss.ask("lease.force", role="operator"))["ok"]
    await asyncio.sleep(1.0)
    await scene.middle()
    await eve.stop()
    if not scene.estop:  # what eve sent just before may arrive just after she got the lease
        scene.allow(BACK)
    assert (await boss.ask("lease.force", role="admin"))["ok"]
    scene.forbid(AHEAD, 0.0)
    await client.close()
    eve.renewing = True
    eve.start()
    if not scene.estop:
        await scene.presses(eve)
    await asyncio.sleep(0.5)
    await eve.stop()
    scene.forbid(BACK)
    await eve.ask("lease.release")
    await scene.stands()
    await scene.recovers()


async def holder_vanished(scene: Scene) -> None:
    """Ada's renewals stop and her commands go on: the lease runs out under her hand."""
    await scene.starts()
    await scene.ada.ask("lease.renew")
    scene.ada.renewing = False
    scene.forbid(grace_s=2.0 + 0.7)  # a renewal may have been on its way
    await asyncio.sleep(1.0)
    await scene.middle()
    await asyncio.sleep(2.5)
    assert scene.observer.standing(), "the lease ran out and the robot stands"
    scene.ada.renewing = True
    await scene.recovers()


async def noise_on_the_line(scene: Scene) -> None:
    """Garbage, half frames and a stranger's heartbeats come in at teleop's MAVLink port."""
    from pymavlink.dialects.v20 import common as mavlink

    await scene.starts()
    port = _mavlink_port(scene.rig)
    stranger = mavlink.MAVLink(None, srcSystem=77, srcComponent=1)
    heartbeat = mavlink.MAVLink_heartbeat_message(10, 3, 0x81, 0, 4, 3)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port)
    )
    dice = random.Random(1)
    for _ in range(100):
        frame = heartbeat.pack(stranger)
        transport.sendto(dice.randbytes(dice.randrange(1, 300)))
        transport.sendto(frame[: dice.randrange(1, len(frame))])
        transport.sendto(frame)
        await asyncio.sleep(0.005)
    await scene.middle()
    transport.close()
    if not scene.estop:
        await scene.moves()
    await scene.recovers()


def _mavlink_port(rig: Rig) -> int:
    """Where the vehicle sends to: teleop's own port."""
    for each in rig.processes()["vehicle"].net_connections("udp"):
        if each.raddr and _listens(rig, each.raddr.port):
            return int(each.raddr.port)
    raise AssertionError("the vehicle talks to no port of teleop")


def _listens(rig: Rig, port: int) -> bool:
    return any(
        each.laddr.port == port for each in rig.processes()["teleop_node"].net_connections("udp")
    )


async def estop_and_held_key(scene: Scene) -> None:
    """The e-stop is cleared while ada holds the key: nothing moves until she let go."""
    await scene.starts()
    await scene.fires()
    await asyncio.sleep(0.5)
    assert not (await scene.ada.ask("estop", active=False, role="viewer"))["ok"]
    assert (await scene.ada.ask("estop", active=False))["ok"]
    await asyncio.sleep(1.0)
    await scene.recovers()


async def fuzzed_commands(scene: Scene, count: int = 100_000) -> None:
    """Ada holds the lease and stands still; ``count`` commands of every kind come in."""
    await scene.starts()
    scene.ada.speed_mps = None
    scene.forbid()
    await scene.stands()
    client = await scene.rig.nats("fuzzer")
    dice = random.Random(2)
    subject = command_subject(scene.rig.robot, "cmd_vel")
    for number in range(count):
        await client.publish(subject, fuzz(dice))
        if number % 500 == 0:
            await client.flush(timeout=10)
            if number % 5000 == 0 and number == count // 2 // 5000 * 5000:
                await scene.middle()
    await client.flush(timeout=10)
    await asyncio.sleep(1.0)
    scene.ada.speed_mps = 0.3
    await scene.recovers()


FAULTS: tuple[Fault, ...] = (
    two_fight,
    holder_vanished,
    commands_replayed,
    clock_stepped,
    estop_and_held_key,
    noise_on_the_line,
    network_stalled_within_the_lease,
    network_stalled_5_s,
    operator_stopped,
    autopilot_rebooted,
    fuzzed_commands,
    bridge_killed,
    teleop_killed,
    nats_server_killed,
)
