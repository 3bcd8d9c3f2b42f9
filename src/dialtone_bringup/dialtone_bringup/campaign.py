"""A fault campaign on a whole robot: the stage on which ``faults`` are played.

``python -m dialtone_bringup.campaign URL ROBOT`` is an operator in a process of its own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import nats.errors

from dialtone_bringup.observer import AHEAD, SPEED_MPS, Observer, Person
from dialtone_bringup.rig import Rig, until
from dialtone_core.errors import DialtoneError
from dialtone_core.natslink import NO_REPLAY, connect


@dataclass
class Scene:
    """One robot, who watches it, and the person who drives it."""

    rig: Rig
    observer: Observer
    ada: Person
    estop: bool = False

    def allow(self, way: int = AHEAD) -> None:
        self.observer.oracle.allow(way)

    def forbid(self, way: int = 0, grace_s: float = 0.2) -> None:
        self.observer.oracle.forbid(way, grace_s)

    async def moves(self, way: int = AHEAD, timeout_s: float = 15.0) -> None:
        """Return once a setpoint went ``way``."""
        since_ns = time.monotonic_ns()
        await until(
            f"the robot moves ({way:+d})", lambda: self.observer.moving(way, since_ns), timeout_s
        )

    async def stands(self, timeout_s: float = 3.0) -> None:
        await until("the robot stands", self.observer.standing, timeout_s)

    async def starts(self) -> None:
        """Ada gets the lease and drives."""
        await self.ada.hold()
        await self.ada.send(self.ada.command(0.0))
        self.allow()
        self.ada.start()
        await self.moves()

    async def rests(self) -> None:
        """Ada lets go."""
        await self.ada.stop()
        self.forbid()
        await self.stands()

    async def middle(self) -> None:
        """Fire the e-stop in the middle of a fault, if this run is one with it."""
        if self.estop:
            await self.fires()

    async def fires(self) -> None:
        """E-stop by a bystander, who has no lease. Nothing at all may move after the reply."""
        client = await self.rig.nats("bystander")
        bystander = Person(self.rig.robot, client, "bystander", AHEAD)

        async def fired() -> bool:
            try:
                return bool((await bystander.ask("estop", active=True)).get("ok"))
            except (nats.errors.Error, asyncio.TimeoutError):
                return False

        await until("the e-stop answers", fired, 15)
        self.forbid(grace_s=0.0)

    async def recovers(self) -> None:
        """Everything healed: the e-stop is cleared, ada drives as before."""
        await self.ada.stop()
        self.forbid()
        await self.ada.hold()
        if self.estop:
            assert (await self.ada.ask("estop", active=False))["ok"]
        self.allow()
        self.ada.start()
        since_ns = time.monotonic_ns()
        for _ in range(8):  # as a person does: let go, press again, wait whether it goes
            self.ada.speed_mps = 0.0
            await asyncio.sleep(0.3)
            self.ada.speed_mps = SPEED_MPS
            with suppress(DialtoneError):
                await self.moves(timeout_s=2.0)
            if self.observer.moving(AHEAD, since_ns):
                break
        else:
            raise DialtoneError("the robot does not drive again after the fault")
        await self.rests()


Fault = Callable[[Scene], Awaitable[None]]


async def run_fault(rig: Rig, observer: Observer, fault: Fault, estop: bool) -> int:
    """Do one fault and return how many setpoints were unsafe."""
    since_ns = time.monotonic_ns()
    ada = Person(rig.robot, await rig.nats("ada"), "ada/1", AHEAD)
    try:
        await fault(Scene(rig, observer, ada, estop))
    finally:
        await ada.stop()
    await ada.ask("lease.release")
    return len(observer.unsafe(since_ns))


async def _operator(url: str, robot: str) -> None:
    """An operator in a process of its own, which can be frozen."""
    client = await connect(url, "frozen", pending_bytes=NO_REPLAY)
    person = Person(robot, client, "frozen/1", AHEAD)
    await person.hold()
    person.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_operator(*sys.argv[1:]))
