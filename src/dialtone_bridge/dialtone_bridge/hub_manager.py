"""The program beside a hub's server: keeps presence, and a stream for each durable robot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from dialtone_bridge.hub import HubSettings, hub_stream, own_tls
from dialtone_bridge.jetstream import JetStreamError, bucket, ensure_stream
from dialtone_bridge.presence import Roll, read_presence
from dialtone_core import wire
from dialtone_core.aio import end_if_cancelled
from dialtone_core.errors import WireError
from dialtone_core.naming import check_robot_name
from dialtone_core.natsaccess import PRESENCE
from dialtone_core.natslink import connect

#: A robot that says nothing for this long is gone.
PRESENCE_TTL_S = 15.0
_LOOK_S = 1.0
#: What the server refused is asked again.
_AGAIN_S = 5.0


class HubManager:
    """Presence by the hub's clock; streams; who has gone without a word; who is there twice."""

    def __init__(self, settings: HubSettings, url: str, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._url = url
        self._say_line = say
        self._said: dict[str, str] = {}
        self._roll = Roll(PRESENCE_TTL_S)
        self._has_bucket = False
        #: Robots with durable routes, and when to make their stream; infinite: it is made.
        self._streams: dict[str, float] = {}

    async def run(self, seed_file: Path) -> None:
        """Until cancelled."""
        certificate = self._settings.tls_cert
        tls = partial(own_tls, certificate) if certificate else None
        client = await connect(
            self._url, "hub manager", credentials=str(seed_file), tls=tls, on_state=self._on_state
        )

        async def seen(message: Msg) -> None:
            await self._seen(client, message)

        async def left(message: Msg) -> None:
            await self._left(client, message)

        try:
            await client.subscribe("dt.*.evt.presence", cb=seen)
            await client.subscribe("dt.*.evt.offline", cb=left)
            while True:
                if client.is_connected:
                    await self._tend(client)
                end_if_cancelled()
                await asyncio.sleep(_LOOK_S)
        finally:
            await client.close()

    def _on_state(self, connected: bool, _: str) -> None:
        """What stood in the memory of a server that ended is to be made anew."""
        self._has_bucket = False
        self._streams = dict.fromkeys(self._streams, 0.0)

    def _say(self, about: str, words: str) -> None:
        """Each thing once, until there is something else to say about the same."""
        if self._said.get(about) != words:
            self._said[about] = words
            if words:
                self._say_line(f"{about}: {words}")

    async def _tend(self, client: Client) -> None:
        try:
            if not self._has_bucket:
                await ensure_stream(
                    client, bucket(PRESENCE, ttl_s=PRESENCE_TTL_S, storage="memory")
                )
                self._has_bucket = True
                self._say("presence", "")
            for robot in self._roll.take_gone(time.monotonic()):
                body = {"by": "hub", "stamp_ns": time.time_ns()}
                await client.publish(wire.event_subject(robot, "offline"), orjson.dumps(body))
        except (JetStreamError, nats.errors.Error) as error:
            self._say("presence", f"waiting for JetStream: {error}")
        for robot, due_s in list(self._streams.items()):
            if time.monotonic() >= due_s:
                await self._make_stream(client, robot)

    async def _make_stream(self, client: Client, robot: str) -> None:
        try:
            await ensure_stream(client, hub_stream(robot, self._settings.stream_max_bytes))
        except JetStreamError as error:
            self._streams[robot] = time.monotonic() + _AGAIN_S
            limit = self._settings.stream_max_bytes
            fix = (
                f". Fix: more disk, or a --stream-max-bytes below {limit}"
                if "insufficient" in str(error)
                else ""
            )
            self._say(f"{robot} stream", f"not made, tried again: {error}{fix}")
        else:
            self._streams[robot] = float("inf")
            self._say(f"{robot} stream", "fetching its durable routes")

    async def _seen(self, client: Client, message: Msg) -> None:
        robot = message.subject.split(".")[1]
        try:
            said = read_presence(check_robot_name(robot), message.data)
        except WireError as error:
            self._say(f"{robot} presence", f"refused: {error}")
            return
        self._say(f"{robot} presence", "")
        clash = self._roll.seen(robot, said.get("instance", ""), time.monotonic())
        self._say(
            robot,
            "two robots go by this name, and take each other's commands. Fix: give one of them "
            "another robot name and a key of its own (dialtone hub add)"
            if clash
            else "",
        )
        said.pop("clash", None)
        body = orjson.dumps({**said, "clash": True}) if clash else message.data
        pong = {"ping": said.get("ping"), **({"clash": True} if clash else {})}
        try:
            await client.publish(f"$KV.{PRESENCE}.{robot}", body)
            if message.reply == f"dt.{robot}.sync.pong":  # with our rights, so nowhere else
                await client.publish(message.reply, orjson.dumps(pong))
        except nats.errors.Error as error:
            self._say("presence", f"cannot pass it on: {error}")
        if said.get("durable"):
            self._streams.setdefault(robot, 0.0)

    async def _left(self, client: Client, message: Msg) -> None:
        """A robot goes, by its own word or ours: its entry goes too."""
        robot = message.subject.split(".")[1]
        self._roll.forget(robot)
        try:
            gone = {"KV-Operation": "DEL"}
            await client.publish(f"$KV.{PRESENCE}.{robot}", b"", headers=gone)
        except nats.errors.Error as error:
            self._say("presence", f"cannot take {robot} off the list: {error}")
