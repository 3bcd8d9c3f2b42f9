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

from dialtone_bringup.observer import AHEAD, IN_FLIGHT_S, SPEED_MPS, Observer, Person, Seen
from dialtone_bringup.rig import Rig, until
from dialtone_core.errors import DialtoneError
from dialtone_core.natslink import NO_REPLAY, connect

#: A clock that was stepped far is believed again after 10 s (``freshness``); and some.
_PRESSES = 10


@dataclass
class Scene:
    """One robot, who watches it, and the person who drives it."""

    rig: Rig
    observer: Observer
    ada: Person
    estop: bool = False

    def allow(self, way: int = AHEAD) -> None:
        self.observer.oracle.allow(way)

    def forbid(self, way: int = 0, grace_s: float = IN_FLIGHT_S) -> None:
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
        self.allow()
        self.ada.speed_mps = 0.0
        self.ada.start()
        await self.presses(self.ada)

    async def presses(self, person: Person) -> None:
        """Until the robot goes: let go, press again, wait whether it does, as a person does.

        Letting go comes first because an e-stop may have been cleared just before, and zeros may
        be lost or refused as late as any other command.
        """
        since_ns = time.monotonic_ns()
        for _ in range(_PRESSES):
            person.speed_mps = 0.0
            await asyncio.sleep(0.3)
            person.speed_mps = SPEED_MPS
            with suppress(DialtoneError):
                await self.moves(person.way, timeout_s=2.0)
            if self.observer.moving(person.way, since_ns):
                return
        raise DialtoneError(f"the robot does not drive for {person.operator}")

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
        if not self.estop:  # what she sent just before may arrive just after she got the lease
            self.allow()
        await self.ada.hold()
        if self.estop:
            assert (await self.ada.ask("estop", active=False))["ok"]
            self.allow()
        self.ada.start()
        await self.presses(self.ada)
        await self.rests()


Fault = Callable[[Scene], Awaitable[None]]


async def run_fault(rig: Rig, observer: Observer, fault: Fault, estop: bool) -> list[Seen]:
    """Do one fault and return the setpoints that were unsafe.

    Raises ``DialtoneError`` that names the fault and what teleop says where the robot stood still
    although it should have moved, or the other way round.
    """
    since_ns = time.monotonic_ns()
    ada = Person(rig.robot, await rig.nats("ada"), "ada/1", AHEAD)
    try:
        await fault(Scene(rig, observer, ada, estop))
        await ada.stop()
        await ada.ask("lease.release")
    except (DialtoneError, AssertionError, OSError, nats.errors.Error) as error:
        name = f"{fault.__name__}{' with e-stop' if estop else ''}"
        what = str(error) or type(error).__name__
        raise DialtoneError(f"fault {name}: {what} ({await _says(ada)})") from error
    finally:
        await ada.stop()
    return observer.unsafe(since_ns)


async def _says(person: Person) -> str:
    """What teleop says of itself, for a person who reads why a fault did not end well."""
    try:
        status = await person.ask("status")
    except (nats.errors.Error, asyncio.TimeoutError) as error:
        return f"teleop does not answer: {type(error).__name__}"
    holder = (status.get("holder") or {}).get("operator", "nobody")
    flags = " ".join(name for name in ("ready", "armed", "estop") if status.get(name))
    return f"teleop: {' '.join(status.get('reasons', []))}; {holder} holds the lease; {flags}"


async def _operator(url: str, robot: str) -> None:
    """An operator in a process of its own, which can be frozen; lets go before it presses."""
    client = await connect(url, "frozen", pending_bytes=NO_REPLAY)
    person = Person(robot, client, "frozen/1", AHEAD)
    await person.hold()
    person.speed_mps = 0.0
    person.start()
    await asyncio.sleep(0.3)
    person.speed_mps = SPEED_MPS
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_operator(*sys.argv[1:]))
