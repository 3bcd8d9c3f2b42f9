"""Robots that are hurt: killed parts, signals, neighbours."""

from __future__ import annotations

import asyncio
import signal
import time

import orjson
import psutil
import pytest

from dialtone_bringup.rig import CAMERA, Operator, running, until
from dialtone_core.paths import RobotFile


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_everything_within_3_s_and_leaves_no_half_file(
    signum: signal.Signals,
) -> None:
    async with running("--record", robot="ended") as rig:
        await rig.ready()
        operator = Operator(rig, await rig.nats())
        await operator.next(CAMERA)

        async def recording() -> bool:
            return bool(orjson.loads(await operator.call("recorder", "status"))["recording"])

        await until("it records", recording)
        await operator.drive(0.3, 0.0, 0.5)
        took_s = await rig.stop(signum)
        assert took_s < 3.0
        assert rig.process.returncode == 0
        assert rig.leftovers() == []
        assert RobotFile.read(rig.robot, rig.home) is None
        folders = list(rig.episodes.iterdir())
        assert len(folders) == 1
        names = sorted(path.name for path in folders[0].iterdir())
        assert "metadata.yaml" in names
        assert "episode.json" in names
        assert not [name for name in names if "part" in name or "tmp" in name]


@pytest.mark.parametrize("name", ["bridge_node", "teleop_node", "nats-server"])
async def test_a_killed_part_comes_back_and_the_robot_drives_again(name: str) -> None:
    async with running(robot="hurt") as rig:
        await rig.ready()
        operator = Operator(rig, await rig.nats())
        await operator.next(CAMERA)
        victim = rig.processes()[name]
        victim.kill()
        await until(
            f"{name} is back",
            lambda: rig.processes().get(name, victim).pid != victim.pid,
        )
        rig.file = None
        await rig.ready()
        again = Operator(rig, await rig.nats())
        await again.next(CAMERA)
        deadline = time.monotonic() + 15
        applied = asyncio.ensure_future(again.next("teleop/applied", 15))
        while not applied.done() and time.monotonic() < deadline:
            await again.drive(0.3, 0.0, 0.2)
        await applied
        assert "was killed by SIGKILL" in rig.tail(10_000)


async def test_a_killed_supervisor_leaves_no_process_behind() -> None:
    async with running(robot="orphan") as rig:
        await rig.ready()
        rig.process.kill()
        await rig.process.wait()
        await until("all children are gone", lambda: rig.leftovers() == [])


async def test_two_robots_on_one_machine_do_not_meet() -> None:
    async with running(robot="one") as one, running(robot="two") as two:
        await one.ready()
        await two.ready()
        first, second = Operator(one, await one.nats()), Operator(two, await two.nats())
        await first.next(CAMERA)
        await second.next(CAMERA)
        assert one.nats_url != two.nats_url
        assert one.foxglove_url != two.foxglove_url
        await first.drive(0.5, 0.0, 1.0)
        with pytest.raises(Exception, match="no teleop/applied"):
            await second.next("teleop/applied", 0.5)


async def test_the_robots_own_memory_is_a_few_hundred_megabytes() -> None:
    async with running(robot="small") as rig:
        await rig.ready()
        await Operator(rig, await rig.nats()).next(CAMERA)
        real = {n: p for n, p in rig.processes().items() if n not in ("vehicle", "camera_node")}
        resident = {n: p.memory_info().rss / 2**20 for n, p in real.items()}
        assert sum(resident.values()) < 500, resident
        assert all(psutil.pid_exists(process.pid) for process in real.values())
