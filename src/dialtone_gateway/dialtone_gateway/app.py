"""Assembly: every part of the gateway, in the order in which they open and close."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aiohttp import web

from dialtone_core.clock import Clock, SystemClock
from dialtone_core.errors import DialtoneError
from dialtone_core.naming import check_robot_name
from dialtone_core.paths import make_state_dir, write_secret
from dialtone_core.ports import is_free
from dialtone_gateway.api.episodes import EpisodesApi
from dialtone_gateway.api.logs import LogsApi
from dialtone_gateway.api.metrics import MetricsApi
from dialtone_gateway.api.robot import RobotApi
from dialtone_gateway.api.session import SessionApi
from dialtone_gateway.audit import Audit
from dialtone_gateway.auth.accounts import Accounts, first_start
from dialtone_gateway.auth.limits import Gate, RateLimit
from dialtone_gateway.auth.middleware import Guard, add_headers
from dialtone_gateway.auth.origins import Origins, is_loopback
from dialtone_gateway.auth.tailscale import Tailscale
from dialtone_gateway.auth.tickets import Tickets
from dialtone_gateway.auth.tokens import Connections, Tokens, load_key
from dialtone_gateway.auth.who import Who
from dialtone_gateway.link import RobotLink
from dialtone_gateway.openapi import document
from dialtone_gateway.params import GatewayParams
from dialtone_gateway.prometheus import Metrics
from dialtone_gateway.proxy.foxglove import FoxgloveProxy
from dialtone_gateway.proxy.nats import NatsProxy
from dialtone_gateway.robotstate import RobotState
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import STRING, Route, mount, obj
from dialtone_gateway.server import BoundedRunner
from dialtone_gateway.signalling import Signalling
from dialtone_gateway.static import Dashboard
from dialtone_gateway.tunnel import Tunnel
from dialtone_gateway.video.asked import Stage
from dialtone_gateway.video.hub import Hub
from dialtone_gateway.video.mjpeg import PictureApi
from dialtone_gateway.video.socket import VideoSocketApi
from dialtone_gateway.video.variants import Variants
from dialtone_gateway.video.webrtc import WebRtcApi

LOG = logging.getLogger("gateway")

#: How often open connections are held against the accounts.
RECHECK_S = 5.0


class Gateway:
    """One robot's gateway. ``create`` opens nothing; ``open`` may raise ``DialtoneError``."""

    def __init__(self, params: GatewayParams, clock: Clock | None = None) -> None:
        self.params = params
        self.robot = check_robot_name(params.robot)
        self._clock = clock or SystemClock()
        self._stack = AsyncExitStack()
        self._check()
        self.link = RobotLink(self.robot, params.nats_url, params.nats_credentials)
        self.origins = Origins(params.allowed_hosts, params.allowed_origins, params.bind)
        self.dashboard = Dashboard(params.dashboard)
        self.connections = Connections(self._clock)
        self.hub = Hub(self.link, params.max_viewers)
        self.runner: BoundedRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        host = self.params.bind if self.params.bind not in ("0.0.0.0", "::") else "127.0.0.1"
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def open(self) -> None:
        """Listen. The robot may come later."""
        params = self.params
        if params.port and not is_free(params.port, params.bind):
            raise DialtoneError(
                f"port {params.port} on {params.bind} is in use or not ours to open",
                where="gateway",
                fix="stop what listens there or choose another --port",
            )
        folder = await asyncio.to_thread(make_state_dir, "gateway")
        app = await asyncio.to_thread(self._assemble, folder)
        self._stack.push_async_callback(self.link.aclose)
        await self.link.open()
        self._stack.push_async_callback(self.variants.aclose)
        self._stack.push_async_callback(self.webrtc.aclose)
        await self.state.open()
        runner = BoundedRunner(
            app,
            max_connections=params.max_connections,
            head_timeout_s=params.request_timeout_s,
        )
        self.runner = runner
        self._stack.push_async_callback(runner.cleanup)
        self._stack.callback(self.connections.close_all)
        self._stack.callback(self.hub.close)
        self._stack.push_async_callback(self.signalling.aclose)
        await runner.setup()
        site = web.TCPSite(runner, params.bind, params.port, backlog=256)
        await site.start()
        self.port = runner.addresses[0][1]
        tunnel = Tunnel(params.tunnel, self._public)
        self._stack.push_async_callback(tunnel.aclose)
        tunnel.open()
        self._keep(self._recheck())
        self._announce(folder)

    async def aclose(self) -> None:
        """Close everything, newest first; idempotent."""
        await self._stack.aclose()

    def _check(self) -> None:
        """Settings that are right alone and wrong together."""
        if not self.params.insecure_local:
            return
        if not is_loopback(self.params.bind):
            raise DialtoneError(
                f"insecure_local with bind {self.params.bind} would let the network in",
                where="gateway",
                fix="bind 127.0.0.1, or take insecure_local away",
            )
        if self.params.tunnel.command:
            raise DialtoneError(
                "insecure_local with a tunnel would let the world in",
                where="gateway",
                fix="take one of them away",
            )

    def _assemble(self, folder: Path) -> web.Application:
        """The application; reads and makes the files of the state folder."""
        params = self.params
        accounts = self.accounts = self._accounts(folder)
        self._key = load_key(folder / "token_key")
        tokens = Tokens(
            self.robot,
            self._key,
            params.session_hours * 3600,
            self._clock,
            folder,
        )
        tailscale = Tailscale(params.tailscale, self._clock)
        self._stack.push_async_callback(tailscale.aclose)
        self.who = Who(
            tokens,
            accounts,
            tailscale,
            insecure_local=params.insecure_local,
            trust_forwarded=params.trust_forwarded,
        )
        self.audit = Audit(folder, self._clock)
        gate = self.gate = Gate()
        self._stack.callback(gate.close)
        limit = RateLimit(self._clock, burst=5, every_s=6.0)
        session = SessionApi(
            self.robot, self.who, tokens, accounts, self.connections, self.audit, limit, gate
        )
        self.state = RobotState(self.link, self.audit)
        self.variants = Variants(params.max_variants)
        self.metrics = Metrics(self.robot, self.state, self.hub)
        self.webrtc = WebRtcApi(self.hub, self.connections, self.who, params.webrtc_peers)
        fast = RateLimit(self._clock, burst=50, every_s=0.02)
        self.signalling = Signalling(self.who, self.link, self.connections, fast)
        guard = Guard(self.origins, self.who, params.request_timeout_s, self.metrics.answered)
        app = web.Application(middlewares=guard.middlewares, client_max_size=64 * 1024)
        app.on_response_prepare.append(add_headers)
        self.routes = [
            *session.routes(),
            *self._own_routes(),
            *self._robot_routes(),
            *self.dashboard.routes(),
        ]
        mount(app, self.routes)
        return app

    def _robot_routes(self) -> list[Route]:
        """Pictures and figures of the robot."""
        params, held, who = self.params, self.connections, self.who
        stage = Stage(self.hub, self.variants, held, who, self.metrics.video)
        parts = (
            PictureApi(stage),
            VideoSocketApi(stage),
            RobotApi(params, self.link, self.state, self.hub, held),
            MetricsApi(self.state, self.hub, held, self.metrics, params.public_metrics),
            NatsProxy(params, self._key, held, who),
            FoxgloveProxy(params, held, who, Tickets(self._clock, who.still_good)),
            self.webrtc,
            self.signalling,
            EpisodesApi(params.episodes, self.audit),
            LogsApi(self.robot),
        )
        return [route for part in parts for route in part.routes()]

    def _accounts(self, folder: Path) -> Accounts:
        accounts = Accounts(
            folder,
            os.environ.get("DIALTONE_SHARED_SECRET", ""),
            Role.parse(self.params.shared_role),
        )
        password = os.environ.get("DIALTONE_PASSWORD", "")
        if self.params.insecure_local and not password:
            return accounts  # nobody else gets in, and nobody needs one
        note = first_start(accounts, password)
        if note is not None:
            LOG.warning(
                "first start: made the account admin; its password is in %s until it logs in",
                note,
            )
        return accounts

    def _own_routes(self) -> list[Route]:
        return [
            Route("GET", "/healthz", self._healthz, Role.PUBLIC, "Whether the gateway runs.",
                  answer=obj({"ok": {"type": "boolean"}, "robot": STRING})),
            Route("GET", "/api/openapi.json", self._openapi, Role.PUBLIC, "This document.",
                  answer={"type": "object"}),
        ]  # fmt: skip

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "robot": self.robot})

    async def _openapi(self, request: web.Request) -> web.Response:
        return web.json_response(document(self.robot, self.routes))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` until the gateway closes."""
        task = asyncio.create_task(work)

        async def end() -> None:
            task.cancel()
            await asyncio.wait({task})

        self._stack.push_async_callback(end)

    async def _recheck(self) -> None:
        """Close what belongs to accounts that were removed or lost their role meanwhile."""
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                self.connections.end_where(lambda identity: not self.who.still_good(identity))
            except DialtoneError as error:
                LOG.error("%s", error)

    def _public(self, host: str) -> None:
        """A tunnel got or lost its name."""
        self.origins.public_host = host.lower()

    def _announce(self, folder: Path) -> None:
        """Tell where it listens: in the log, and in a file for the programs beside it."""
        file = folder / self.robot / "listening.json"
        write_secret(file, json.dumps({"url": self.url, "pid": os.getpid()}) + "\n")
        self._stack.callback(file.unlink, missing_ok=True)
        built = "" if self.dashboard.built else " (the dashboard is not built)"
        LOG.info("serving %s at %s%s", self.robot, self.url, built)
        if self.params.insecure_local:
            LOG.warning("insecure_local: this machine's users watch and drive without a login")
