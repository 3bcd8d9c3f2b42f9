"""The dashboard on a whole robot, used by people with browsers: the tests of ``web/e2e``.

What the page shows is judged there, with patience for a busy machine. Whether the robot stopped in
time is judged here, on the robot's own stamps: no moment at which some process got the processor
counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from dialtone_bridge.hub import HubSettings, Members, write_config
from dialtone_bridge.nats_server import find_binary
from dialtone_bringup.rig import Rig, running, until
from dialtone_core.ports import free_ports
from dialtone_core.process import die_with_parent
from dialtone_core.wire import telemetry_subject
from dialtone_gateway.auth.accounts import Accounts
from dialtone_gateway.roles import Role
from dialtone_ros.types import decode

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

WEB = Path(__file__).parents[1] / "web"
PASSWORD = "only for this test"
#: The command timeout, a step of the sender's clock, and what a busy machine adds to both.
STOPS_WITHIN_S = 0.3 + 0.05 + 0.35


def lacking(what: str, fix: str) -> NoReturn:
    """Where everything must run nothing may be left out in silence."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}. Fix: {fix}")
    pytest.skip(f"{what}; {fix} to run the browser tests")


def npm() -> str:
    found = shutil.which("npm")
    if found is None:
        lacking("there is no npm", "install Node 20.19 or newer")
    if not (WEB / "node_modules").is_dir():
        lacking("the dashboard's parts are missing", "run npm ci in web/")
    return found


def chromium() -> str:
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        lacking("there is no Chromium", "apt install chromium, or name one in CHROMIUM")
    return found


@dataclass
class Witness:
    """What the robot received and what it did, by its own clock, seconds."""

    asked: list[float] = field(default_factory=list)
    moved: list[float] = field(default_factory=list)
    stood: list[float] = field(default_factory=list)

    async def watch(self, rig: Rig) -> None:
        client = await rig.nats("witness")
        for topic, note in (("cmd_vel/nats", self._asked), ("teleop/applied", self._applied)):
            await client.subscribe(telemetry_subject(rig.robot, topic), cb=note)
        await client.flush()

    async def _asked(self, message: Msg) -> None:
        stamp_s, motion = _read(message)
        if motion:
            self.asked.append(stamp_s)

    async def _applied(self, message: Msg) -> None:
        stamp_s, motion = _read(message)
        (self.moved if motion else self.stood).append(stamp_s)

    def late(self) -> list[float]:
        """By how much motion outlived the last command that asked for it, where too much."""
        ages = []
        for moved_s in self.moved:
            before = bisect_left(self.asked, moved_s)
            ages.append(moved_s - self.asked[before - 1] if before else float("inf"))
        return [age for age in ages if age > STOPS_WITHIN_S]


def _read(message: Msg) -> tuple[float, bool]:
    stamped: Any = decode("geometry_msgs/msg/TwistStamped", message.data)
    stamp, twist = stamped.header.stamp, stamped.twist
    return stamp.sec + stamp.nanosec / 1e9, twist.linear.x != 0 or twist.angular.z != 0


@contextmanager
def child(*command: str, **environment: str) -> Iterator[None]:
    """A process that ends with the test."""
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, preexec_fn=die_with_parent(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Hub:
    """A NATS server that robots join, with members of their own for the browsers' roles."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        port, self.leaf_port, websocket_port = free_ports(3)
        self.url = f"nats://127.0.0.1:{port}"
        self.websocket_url = f"ws://127.0.0.1:{websocket_port}"
        settings = HubSettings(
            "web_hub", port=port, leaf_port=self.leaf_port, websocket_port=websocket_port
        )
        members = Members.load(settings.name)
        for name in ("web", "scout"):
            members = members.add(name, "robot", folder / f"{name}.nk")
        for role in ("viewer", "operator", "admin"):
            members = members.add(f"browser_{role}", role, folder / f"{role}.nk")
        self.config = write_config(settings, members)

    def params(self, robot: str, **gateway: object) -> str:
        """A params file for ``dialtone up``: joins the hub, has a small picture, logs in."""
        camera = {"width": 320, "height": 240, "rate_hz": 15.0}
        sections = {
            "bridge": {
                "hub_url": f"nats://127.0.0.1:{self.leaf_port}",
                "hub_credentials": str(self.folder / f"{robot}.nk"),
            },
            **({"gateway": gateway} if gateway else {}),
            **({"camera_front": camera} if robot != "web" else {}),
        }
        file = self.folder / f"{robot}.yaml"
        tree = {f"/**/{name}": {"ros__parameters": each} for name, each in sections.items()}
        file.write_text(json.dumps(tree))
        return str(file)


@dataclass
class Site:
    """A robot that wants a login, and the browser tests' environment for it."""

    rig: Rig
    hub: Hub
    environment: dict[str, str]
    witness: Witness

    async def run(self, file: str, **environment: str) -> tuple[int, str]:
        """``npm run e2e`` for one file: how many tests passed, and everything it said."""
        process = await asyncio.create_subprocess_exec(
            npm(), "run", "--silent", "e2e:file", f"e2e/{file}.test.mjs",
            cwd=WEB, env={**self.environment, **environment}, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        text = said.decode(errors="replace")
        assert process.returncode == 0, text[-6000:]
        passed = [line for line in text.splitlines() if line.startswith("ok ")]
        return sum("# SKIP" not in line for line in passed), text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    browser, _ = chromium(), npm()
    if not (WEB / "dist" / "index.html").is_file():
        lacking("the dashboard is not built", "run npm run build in web/")
    hub = Hub(tmp_path_factory.mktemp("hub"))
    login = ("--params-file", hub.params("web", insecure_local=False))
    first = {"DIALTONE_PASSWORD": PASSWORD}
    with child(str(find_binary()), "--config", str(hub.config)):
        async with running(*login, robot="web", env=first) as rig:
            yield await open_site(rig, hub, browser, tmp_path_factory.getbasetemp())


async def listening(home: Path, robot: str) -> str:
    """Where the gateway with the state folder ``home`` listens."""
    file = home / "gateway" / robot / "listening.json"
    await until("the gateway listens", file.exists, 60)
    url: str = json.loads(file.read_text())["url"]
    return url


async def open_site(rig: Rig, hub: Hub, browser: str, kept: Path) -> Site:
    await rig.ready(60)
    url = await listening(rig.home, rig.robot)
    Accounts(rig.home / "gateway").put("otto", PASSWORD, Role.OPERATOR)
    environment = {
        **os.environ,
        "CHROMIUM": browser,
        "DIALTONE_URL": url,
        "DIALTONE_ROBOT": rig.robot,
        "DIALTONE_USER": "otto",
        "DIALTONE_USER_PASSWORD": PASSWORD,
        "DIALTONE_ADMIN_PASSWORD": PASSWORD,
        "DIALTONE_E2E": os.environ.get("DIALTONE_E2E", "short"),
        "DIALTONE_PATIENCE": os.environ.get("DIALTONE_PATIENCE", "4"),
        "DIALTONE_SHOTS": os.environ.get("DIALTONE_SHOTS", str(kept / "screenshots")),
    }
    witness = Witness()
    await witness.watch(rig)
    return Site(rig, hub, environment, witness)


async def test_people_see_drive_contend_and_stop_the_robot_from_their_browsers(
    site: Site,
) -> None:
    passed, said = await site.run("drive")
    assert passed >= 6, said[-6000:]
    witness = site.witness
    assert len(witness.asked) > 20
    assert len(witness.moved) > 20
    assert len(witness.stood) > 20
    assert witness.late() == []


async def test_people_record_and_label_from_their_browsers(site: Site) -> None:
    passed, said = await site.run("episodes")
    assert passed >= 1, said[-6000:]
    facts = [json.loads(file.read_text()) for file in site.rig.episodes.glob("*/episode.json")]
    assert [each["outcome"] for each in facts] == ["fail"], "labelled anew afterwards"
    assert facts[0]["operator"].startswith("otto")


async def test_a_page_at_the_hub_shows_and_drives_another_robot(
    site: Site, tmp_path: Path
) -> None:
    hub = site.hub
    roles = {f"DIALTONE_NATS_{role}": str(hub.folder / f"{role.lower()}.nk")
             for role in ("VIEWER", "OPERATOR", "ADMIN")}  # fmt: skip
    gateway = child(
        sys.executable, "-m", "dialtone_gateway.main", "--robot", "web", "--port", "0",
        "--insecure-local", "--nats-url", hub.url, "--nats-ws-url", hub.websocket_url,
        "--nats-credentials", roles["DIALTONE_NATS_OPERATOR"],
        DIALTONE_HOME=str(tmp_path), **roles,
    )  # fmt: skip
    with gateway:
        params = hub.params("scout", insecure_local=False)
        async with running("--params-file", params, robot="scout") as scout:
            await scout.ready(60)
            url = await listening(tmp_path, "web")
            told = f"password in {scout.home / 'gateway' / 'first_password'}"
            witness = Witness()
            await witness.watch(scout)
            passed, said = await site.run("fleet", DIALTONE_URL=url, DIALTONE_OTHER="scout")
            assert passed == 1, said[-6000:]
            await until("the first password's place is told", lambda: told in scout.tail(99), 60)
            assert len(witness.moved) > 5
            assert witness.late() == []


async def test_the_pages_own_parts_pass_their_tests() -> None:
    process = await asyncio.create_subprocess_exec(
        npm(), "test", "--silent", cwd=WEB, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode(errors="replace")[-6000:]
