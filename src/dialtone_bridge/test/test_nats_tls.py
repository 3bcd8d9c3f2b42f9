"""TLS by files: a server that wants certificates, clients with right, wrong and no ones."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest
from bridge_rig import Child, Rig, until
from hub_rig import Hub

from dialtone_bridge.clients.cuttable_line import CuttableLine
from dialtone_bridge.nats_server import find_binary
from dialtone_bridge.transports.base import Inbound
from dialtone_bridge.transports.nats import NatsSettings, NatsTransport
from dialtone_core import natsretry
from dialtone_core.aio import end_task, timeout
from dialtone_core.command import Envelope, Twist
from dialtone_core.errors import WireError
from dialtone_core.natslink import connect
from dialtone_core.ports import free_ports, is_free


class Said:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str) -> None:
        self.lines.append(message)

    warning = info


async def openssl(*words: str) -> None:
    made = await asyncio.create_subprocess_exec(
        "openssl", *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    assert await made.wait() == 0, words


async def authority(folder: Path, name: str) -> Path:
    """A certificate that signs others; its key beside it."""
    await openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                  "-days", "2", "-subj", f"/CN={name}", "-keyout", str(folder / f"{name}.key"),
                  "-out", str(folder / f"{name}.pem"))  # fmt: skip
    return folder / f"{name}.pem"


async def certificate(folder: Path, name: str, by: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, signed ``by`` an authority."""
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    request, names = folder / f"{name}.csr", folder / f"{name}.ext"
    names.write_text("subjectAltName=IP:127.0.0.1\n")
    await openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                  f"/CN={name}", "-keyout", str(key), "-out", str(request))  # fmt: skip
    await openssl("x509", "-req", "-in", str(request), "-CA", str(by), "-CAkey",
                  str(by.with_suffix(".key")), "-set_serial", "7", "-days", "2", "-extfile",
                  str(names), "-out", str(cert))  # fmt: skip
    return cert, key


class Nobody(Inbound):
    """Takes nothing in."""

    def velocity(self, source: str, twist: Twist, envelope: Envelope) -> None:
        raise WireError("read_only")

    def message(
        self, path: str, type_name: str, encoding: str, payload: bytes, client: object = None
    ) -> None:
        raise WireError("read_only")

    def accepts(self, path: str) -> bool:
        return False

    def left(self, client: object) -> None:
        return


class Link:
    """A NATS transport, its log, and what becomes of its link."""

    def __init__(self, url: str) -> None:
        self.log = Said()
        self.transport = NatsTransport(NatsSettings("rover", url), Nobody(), self.log)

    async def __aenter__(self) -> Link:
        await self.transport.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.aclose()


@pytest.fixture
async def files(tmp_path: Path) -> Path:
    """``right.pem`` and ``wrong.pem`` authorities, ``server`` and ``client`` signed by right."""
    right, _ = await asyncio.gather(*(authority(tmp_path, name) for name in ("right", "wrong")))
    await asyncio.gather(*(certificate(tmp_path, name, right) for name in ("server", "client")))
    return tmp_path


def start(rig: Rig, files: Path, tls: str) -> str:
    (port,) = free_ports(1)
    config = files / "server.conf"
    config.write_text(f'listen: "127.0.0.1:{port}"\n{tls}')
    rig.children.append(Child(files / "server.log", str(find_binary()), "--config", str(config)))
    return f"tls://127.0.0.1:{port}"


async def test_tls_comes_about_with_the_right_files_and_else_is_one_line_and_patience(
    rig: Rig, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"cert_file": files / "server.pem", "key_file": files / "server.key",
           "ca_file": files / "right.pem"}  # fmt: skip
    lines = "".join(f"  {key}: {json.dumps(str(path))}\n" for key, path in own.items())
    url = start(rig, files, f"tls {{\n{lines}  verify: true\n}}\n")
    await until(lambda: not is_free(int(url.rpartition(":")[2])))
    for authority_name, certificate_name in (("wrong", "client"), ("right", "")):
        monkeypatch.setenv("DIALTONE_NATS_CA", str(files / f"{authority_name}.pem"))
        for each, suffix in (("CERT", "pem"), ("KEY", "key")):
            path = files / f"{certificate_name}.{suffix}"
            monkeypatch.setenv(f"DIALTONE_NATS_{each}", str(path) if certificate_name else "")
        async with Link(url) as link:
            await until(partial(len, link.log.lines))
            assert len(link.log.lines) == 1
            assert "certificate" in link.log.lines[0].lower()
            assert "DIALTONE_NATS_CA" in link.log.lines[0]
            assert not link.transport.health().ok
            client = link.transport._out.client
            assert client is not None
            assert client.options["reconnect_time_wait"] >= 15
    monkeypatch.setenv("DIALTONE_NATS_CERT", str(files / "client.pem"))
    monkeypatch.setenv("DIALTONE_NATS_KEY", str(files / "client.key"))
    async with Link(url) as link, timeout(15):
        await link.transport.connected.wait()
        assert link.transport.health().ok


async def test_a_certificate_that_turns_wrong_during_a_reconnect_is_named_and_mends_itself(
    rig: Rig, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await certificate(files, "forged", files / "wrong.pem")
    monkeypatch.setenv("DIALTONE_NATS_CA", str(files / "right.pem"))
    monkeypatch.setattr(natsretry, "REFUSED_WAIT_S", 0.3)
    (port,) = free_ports(1)

    async def serve(name: str) -> Child:
        config = files / f"{name}.conf"
        own = f'cert_file: "{files / name}.pem", key_file: "{files / name}.key"'
        config.write_text(f'listen: "127.0.0.1:{port}"\ntls {{ {own} }}\n')
        child = Child(files / f"{name}.log", str(find_binary()), "--config", str(config))
        rig.children.append(child)
        await until(lambda: not is_free(port))
        return child

    server = await serve("server")
    async with Link(f"tls://127.0.0.1:{port}") as link, timeout(40):
        await link.transport.connected.wait()
        for _ in range(2):
            before = len(link.log.lines)
            server.stop()
            server = await serve("forged")
            await until(lambda: "certificate" in link.transport.health().message.lower())
            await until(lambda log=server: log.text().count("TLS handshake error") > 2)  # type: ignore[misc]
            server.stop()
            server = await serve("server")
            await until(lambda: link.transport.health().ok)
            said = link.log.lines[before:]
            assert len(said) == 3, said
            assert "disconnected" in said[0]
            assert "certificate verify failed" in said[1]
            assert "Fix: name the authority" in said[1]
            assert said[2].startswith("connected to")


async def test_files_that_are_renewed_under_their_names_are_used_at_the_next_attempt(
    rig: Rig, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(natsretry, "REFUSED_WAIT_S", 0.3)
    for each, name in (("CA", "right.pem"), ("CERT", "client.pem"), ("KEY", "client.key")):
        monkeypatch.setenv(f"DIALTONE_NATS_{each}", str(files / name))
    own = {"cert_file": files / "server.pem", "key_file": files / "server.key",
           "ca_file": files / "right.pem"}  # fmt: skip
    lines = "".join(f"  {key}: {json.dumps(str(path))}\n" for key, path in own.items())
    url = start(rig, files, f"tls {{\n{lines}  verify: true\n}}\n")
    async with Link(url) as link, timeout(30):
        await link.transport.connected.wait()
        rig.children.pop().stop()
        await until(lambda: not link.transport.health().ok)
        right = await authority(files, "right")  # another one, of the same name
        await asyncio.gather(*(certificate(files, name, right) for name in ("server", "client")))
        command = (str(find_binary()), "--config", str(files / "server.conf"))
        rig.children.append(Child(files / "server.log", *command))
        await until(lambda: link.transport.health().ok)


async def test_a_server_that_offers_no_tls_is_told_no_secret(
    rig: Rig, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALTONE_NATS_TOKEN", "sesame")
    url = start(rig, files, 'authorization { token: "sesame" }\n')
    port = int(url.rpartition(":")[2])
    await until(lambda: not is_free(port))
    line = CuttableLine(port)
    await line.up()
    async with Link(f"tls://127.0.0.1:{line.port}") as link:
        await until(lambda: link.log.lines)
        assert "offers no TLS" in link.log.lines[0]
        assert line.sent_bytes == 0
    await line.cut()


async def test_a_robot_joins_a_hub_by_tls_and_the_hub_trusts_itself(
    rig: Rig, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(rig, tls_cert=str(files / "server.pem"), tls_key=str(files / "server.key"))
    monkeypatch.setenv("DIALTONE_NATS_CA", str(files / "right.pem"))
    managing = asyncio.create_task(hub.manage())
    url = f"tls://127.0.0.1:{hub.leaf_port}"
    rig.start_server("--open-loopback", "--hub", url, "--hub-credentials", str(hub.key))
    await until(lambda: not is_free(rig.port))
    monkeypatch.delenv("DIALTONE_NATS_CA")  # the robot's own server speaks none
    mouth = await connect(rig.nats_url, "mouth")
    monkeypatch.setenv("DIALTONE_NATS_CA", str(files / "right.pem"))
    ear = await connect(hub.url, "ear", credentials=hub.admin)
    heard = await ear.subscribe("dt.*.evt.>")
    pong = await mouth.subscribe(f"dt.{rig.robot}.sync.pong")
    said = b'{"robot":"%b","ping":1}' % rig.robot.encode()
    async with timeout(20):
        while not (heard.pending_msgs and pong.pending_msgs):
            await mouth.publish(f"dt.{rig.robot}.evt.presence", said, f"dt.{rig.robot}.sync.pong")
            await asyncio.sleep(0.1)
    for each in (mouth, ear):
        await each.close()
    await end_task(managing)
