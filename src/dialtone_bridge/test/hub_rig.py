"""A hub with its manager, a robot behind a line that can be cut, and what the hub holds of it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import nats
from bridge_rig import Child, Peer, Rig, until
from std_msgs.msg import UInt32

from dialtone_bridge.clients.cuttable_line import CuttableLine
from dialtone_bridge.durable_stream import stream_name
from dialtone_bridge.hub import HubSettings, Members, replace_users, write_config
from dialtone_bridge.hub_manager import HubManager
from dialtone_bridge.jetstream import JetStreamError, ask
from dialtone_bridge.nats_server import find_binary
from dialtone_core.ports import free_ports


class Hub:
    """A hub with its manager, for one test."""

    def __init__(self, rig: Rig, **settings: Any) -> None:
        self.port, self.leaf_port = free_ports(2)
        self.settings = HubSettings(
            f"hub_{rig.robot}",
            port=self.port,
            leaf_port=self.leaf_port,
            stream_max_bytes=1 << 28,
            **settings,
        )
        self.members = Members.load(self.settings.name)
        self.url = f"{'tls' if self.settings.tls_cert else 'nats'}://127.0.0.1:{self.port}"
        self.key = rig.folder / "robot.nk"
        self.members = self.members.add(rig.robot, "robot", self.key)
        self.config = write_config(self.settings, self.members)
        self.admin = str(self.members.folder / "manager.nk")
        self.said: list[str] = []
        self._rig = rig
        self.start()

    def start(self) -> None:
        """The server; again after it was killed."""
        log = self._rig.folder / "hub.log"
        self.server = Child(log, str(find_binary()), "--config", str(self.config))
        self._rig.children.append(self.server)

    async def let_in(self, name: str, role: str, key: Path) -> None:
        """One more member, of a hub that runs."""
        said = "Reloaded server configuration"
        before = self.server.text().count(said)
        self.members = Members.load(self.settings.name).add(name, role, key)
        replace_users(self.config, self.members)
        self.server.process.send_signal(signal.SIGHUP)
        await until(lambda: self.server.text().count(said) > before)

    def kill(self) -> None:
        """As a power cut would."""
        self.server.process.kill()
        self.server.process.wait(10)
        self._rig.children.remove(self.server)

    async def manage(self) -> None:
        manager = HubManager(self.settings, self.url, self.said.append)
        await manager.run(Path(self.admin))


class Counter:
    """Publishes 1, 2, 3 … on the ROS topic ``counter``."""

    def __init__(self, peer: Peer) -> None:
        self.publisher = peer.node.create_publisher(UInt32, "counter", 100)
        self.value = 0

    async def count(self, more: int) -> None:
        for _ in range(more):
            self.value += 1
            self.publisher.publish(UInt32(data=self.value))
            if self.value % 20 == 0:
                await asyncio.sleep(0.02)


def start_robot(rig: Rig, hub: Hub, line: CuttableLine, **params: Any) -> tuple[Child, Child]:
    """Its server, joined to the hub over ``line``, and its bridge with ``counter`` durable."""
    address = f"nats://127.0.0.1:{line.port}"
    server = rig.start_server(
        "--open-loopback", "--hub", address, "--hub-credentials", str(hub.key)
    )
    durable: dict[str, Any] = {"routes.c.topic": "counter", "routes.c.durable": "true"}
    return server, rig.start_bridge(**durable, **params)


async def stored(client: nats.NATS, robot: str) -> int:
    """How many messages the hub holds of ``robot``."""
    try:
        info = await ask(client, f"STREAM.INFO.{stream_name(robot)}")
    except JetStreamError:
        return 0
    return int(info["state"]["messages"])


async def reach(client: nats.NATS, robot: str, count: int, timeout_s: float = 40.0) -> None:
    """Wait until the hub holds ``count``."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while (have := await stored(client, robot)) < count:
        assert loop.time() < deadline_s, f"{have} of {count} within {timeout_s:g} s"
        await asyncio.sleep(0.1)


async def payloads(client: nats.NATS, robot: str) -> list[bytes]:
    """What the hub holds of the topic ``counter``, in order."""
    subscription = await client.jetstream().subscribe(
        f"dt.{robot}.tlm.counter", stream=stream_name(robot), ordered_consumer=True
    )
    found = []
    for _ in range(await stored(client, robot)):
        found.append((await subscription.next_msg(timeout=15)).data)
    await subscription.unsubscribe()
    return found


async def numbers(client: nats.NATS, robot: str) -> list[int]:
    """The values of the UInt32 messages that the hub holds, in order."""
    return [int.from_bytes(each[4:8], "little") for each in await payloads(client, robot)]
