"""Faults of processes: killed, or frozen with the key held. See ``faults``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from dialtone_bringup.campaign import Scene
from dialtone_bringup.rig import until

FROZEN_S = 5.0


async def _kill(scene: Scene, name: str) -> None:
    await scene.starts()
    victim = scene.rig.processes()[name]
    victim.kill()
    scene.forbid()
    await scene.ada.stop()
    if name not in ("teleop_node", "vehicle"):
        await scene.stands()
    await until(
        f"{name} is back",
        lambda: scene.rig.processes().get(name, victim).pid != victim.pid,
        20,
    )
    await scene.middle()
    await scene.recovers()


async def bridge_killed(scene: Scene) -> None:
    await _kill(scene, "bridge_node")


async def nats_server_killed(scene: Scene) -> None:
    """With publishing going on meanwhile: a client that buffers must not move the robot later."""
    await scene.starts()
    victim = scene.rig.processes()["nats-server"]
    victim.kill()
    scene.forbid()
    await scene.stands()
    await until(
        "the server is back",
        lambda: scene.rig.processes().get("nats-server", victim).pid != victim.pid,
        20,
    )
    await scene.ada.stop()
    await asyncio.sleep(2.2)
    await scene.middle()
    await scene.recovers()


async def teleop_killed(scene: Scene) -> None:
    await _kill(scene, "teleop_node")


async def autopilot_rebooted(scene: Scene) -> None:
    """The vehicle's process dies and starts anew, while ada goes on as if nothing had happened."""
    await scene.starts()
    victim = scene.rig.processes()["vehicle"]
    victim.kill()
    await until(
        "the vehicle is back",
        lambda: scene.rig.processes().get("vehicle", victim).pid != victim.pid,
        20,
    )
    await scene.middle()
    if not scene.estop:
        await scene.moves()
    await scene.recovers()


async def operator_stopped(scene: Scene) -> None:
    """The operator's process is frozen with the key held (SIGSTOP), and thawed 5 s later."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dialtone_bringup.campaign", scene.rig.nats_url, scene.rig.robot),
        env={**os.environ, "DIALTONE_HOME": str(scene.rig.home)},
    )
    try:
        scene.allow()
        await scene.moves()
        process.send_signal(signal.SIGSTOP)
        scene.forbid()
        await scene.stands()
        await scene.middle()
        await asyncio.sleep(FROZEN_S)
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(1.5)
    finally:
        process.kill()
        await process.wait()
    await scene.recovers()
