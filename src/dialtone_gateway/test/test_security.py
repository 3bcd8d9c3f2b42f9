"""What a stranger, another site, a viewer and a patient attacker get: nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from typing import Any

import aiohttp
import jwt
import pytest

from dialtone_core.errors import DialtoneError
from dialtone_gateway.app import Gateway
from dialtone_gateway.openapi import document
from dialtone_gateway.params import GatewayParams, TunnelParams
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import TABLE, Route

ROLES = {"": Role.PUBLIC, "vera": Role.VIEWER, "otto": Role.OPERATOR, "ada": Role.ADMIN}
#: What everybody may call. A new route with the role ``public`` must be added here, on purpose.
PUBLIC = {
    ("POST", "/login"),
    ("POST", "/logout"),
    ("GET", "/healthz"),
    ("GET", "/api/openapi.json"),
    ("GET", "/"),
    ("GET", "/{path:assets/.+|(?!log(?:in|out)$)[^/]+}"),
    ("*", "/socket.io/"),
    ("GET", "/foxglove/{ticket:[A-Za-z0-9_-]+}"),
}


def path_of(route: Route) -> str:
    return re.sub(r"\{\w+(:[^}]*)?\}", "nosuch", route.path)


async def test_nothing_is_served_that_is_not_in_the_route_table(lab: Any) -> None:
    gateway: Gateway = await lab.gateway()
    assert gateway.runner is not None
    table = gateway.runner.app[TABLE]
    for made in gateway.runner.app.router.routes():
        assert made.resource is not None
        method = "GET" if made.method == "HEAD" else made.method
        assert (method, made.resource.canonical) in table
    public = {(each.method, each.path) for each in gateway.routes if each.role is Role.PUBLIC}
    assert public == PUBLIC


@pytest.mark.usefixtures("no_camera")
@pytest.mark.parametrize("user", list(ROLES))
async def test_every_role_gets_its_routes_and_no_other(lab: Any, user: str) -> None:
    gateway: Gateway = await lab.gateway()
    for route in gateway.routes:
        if route.own_auth or route.path in ("/logout",):
            continue
        person = await lab.person(gateway, user)
        send = person.post if route.method == "POST" else person.get
        options: dict[str, Any] = {"data": b"{}", "headers": {"Content-Type": "application/json"}}
        if route.method == "GET":
            options = {"timeout": aiohttp.ClientTimeout(total=8)}
        status, _ = await send(path_of(route), **options)
        allowed = ROLES[user] >= route.role
        if allowed:
            assert status not in (401, 403), route
        else:
            assert status == (403 if user else 401), route
        await person.http.close()


def forge(token: str, **changes: Any) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return {**claims, **changes}


def unsigned(claims: dict[str, Any], algorithm: str) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}."


async def test_forged_expired_and_foreign_tokens_are_nobody(lab: Any) -> None:
    gateway = await lab.gateway()
    otto = await lab.person(gateway, "otto")
    key = (lab.home / "gateway" / "token_key").read_text().strip()
    admin = forge(otto.token, role="admin", sub="ada")
    head, body, signature = otto.token.split(".")
    other = jwt.encode(admin, "x" * 64, algorithm="HS256").split(".")[1]
    bad = [
        "",
        "x",
        "..",
        otto.token[:-2],
        f"{head}.{other}.{signature}",
        f"{head}.{body}.",
        jwt.encode(admin, "x" * 64, algorithm="HS256"),
        jwt.encode(admin, key, algorithm="HS512"),
        *(unsigned(admin, name) for name in ("none", "None", "NONE", "HS256")),
        jwt.encode(forge(otto.token, exp=int(time.time()) - 1), key, algorithm="HS256"),
        jwt.encode(forge(otto.token, iss="dialtone/other"), key, algorithm="HS256"),
        jwt.encode(forge(otto.token, role="king"), key, algorithm="HS256"),
        jwt.encode(forge(otto.token, sub="gone"), key, algorithm="HS256"),
        jwt.encode(forge(otto.token, sid=["x"]), key, algorithm="HS256"),
        "a" * 100_00,
    ]
    stranger = await lab.person(gateway)
    for token in bad:
        for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"dt_session={token}"}):
            status, _ = await stranger.get("/api/v1/session", headers=headers)
            assert status in (400, 401), token
    # A role beyond the account's own is cut down to it, even with the right key.
    raised = jwt.encode(forge(otto.token, role="admin"), key, algorithm="HS256")
    status, who = await stranger.get(
        "/api/v1/session", headers={"Authorization": f"Bearer {raised}"}
    )
    assert (status, who["role"]) == (200, "operator")


async def test_another_sites_page_can_do_nothing_with_the_cookie(lab: Any) -> None:
    gateway = await lab.gateway()
    otto = await lab.person(gateway, "otto")
    (cookie,) = otto.http.cookie_jar
    assert cookie["samesite"] == "Strict"
    assert cookie["httponly"]
    evil = {"Origin": "https://evil.example"}
    assert (await otto.get("/api/v1/session", headers=evil))[0] == 403
    assert (await otto.post("/api/v1/refresh", headers=evil))[0] == 403
    assert (await otto.get("/stream/front.mjpeg", headers=evil))[0] == 403
    assert (await otto.post("/api/v1/refresh", headers={"X-Dialtone": "0"}))[0] == 403
    hidden = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert (await otto.get("/snapshot/front.jpg", headers=hidden))[0] == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await otto.get("/", headers=link))[0] == 200
    same = {"Origin": gateway.url}
    assert (await otto.post("/api/v1/refresh", headers=same))[0] == 200


@pytest.mark.parametrize("path", ["/ws/video/front", "/nats", "/foxglove"])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "file://", "http://127.0.0.1", "http://127.0.0.1:1"]
)
async def test_a_cross_origin_websocket_is_refused(lab: Any, path: str, origin: str) -> None:
    gateway = await lab.gateway()
    otto = await lab.person(gateway, "otto")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await otto.http.ws_connect(otto.url(path), origin=origin)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("127.0.0.1", True),
        ("localhost:8080", True),
        ("[::1]:8080", True),
        ("192.168.1.7", True),
        ("robot.example", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1@evil.example", False),
        ("evil.example#127.0.0.1", False),
        ("", False),
    ],
)
async def test_a_rebound_name_is_refused(lab: Any, host: str, good: bool) -> None:
    gateway = await lab.gateway(insecure_local=True, allowed_hosts=["robot.example"])
    stranger = await lab.person(gateway)
    status, _ = await stranger.get("/healthz", headers={"Host": host})
    assert status == (200 if good else 421)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "192.168.1.7"},
        {"Host": "robot.example"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"Cf-Connecting-Ip": "203.0.113.9"},
        {"Tailscale-User-Login": "ada@example.com"},
    ],
)
async def test_insecure_local_is_for_this_machine_only(lab: Any, headers: dict[str, str]) -> None:
    gateway = await lab.gateway(insecure_local=True, allowed_hosts=["robot.example"])
    stranger = await lab.person(gateway)
    assert (await stranger.get("/api/v1/session", headers=headers))[0] == 401
    status, who = await stranger.get("/api/v1/session")
    assert (status, who["role"]) == (200, "operator")
    assert (await stranger.get("/api/v1/session", headers=headers))[0] == 401


@pytest.mark.parametrize(
    "params",
    [
        GatewayParams(insecure_local=True, bind="0.0.0.0"),
        GatewayParams(insecure_local=True, tunnel=TunnelParams(command=["tailscale", "funnel"])),
    ],
)
def test_insecure_local_never_starts_where_others_could_come_in(params: GatewayParams) -> None:
    with pytest.raises(DialtoneError, match="insecure_local"):
        Gateway(params)


TRAVERSALS = [
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fsecret",
    "..",
    ".",
    ".%2e",
    "....%2f%2f",
    "%00",
    "secret%00.jpg",
    "..%5c..%5csecret",
    "%2fetc%2fpasswd",
    "link",
]


@pytest.mark.usefixtures("no_camera")
@pytest.mark.parametrize("name", TRAVERSALS)
async def test_no_path_leads_out_of_its_folder(lab: Any, name: str) -> None:
    home = lab.home
    (home / "episodes").mkdir(parents=True)
    (home / "logs" / "1_rover").mkdir(parents=True)
    (home / "secret").mkdir()
    (home / "secret" / "episode.json").write_text("{}")
    (home / "secret.log").write_text("the secret")
    (home / "episodes" / "link").symlink_to(home / "secret")
    (home / "logs" / "1_rover" / "link.log").symlink_to(home / "secret.log")
    gateway = await lab.gateway()
    ada = await lab.person(gateway, "ada")
    for path in (
        f"/api/v1/episodes/{name}/download",
        f"/api/v1/episodes/{name}/preview.jpg",
        f"/api/v1/logs?name={name}",
        f"/assets/{name}",
        f"/assets/../{name}",
        f"/{name}",
        f"/stream/{name}.mjpeg",
        f"/snapshot/{name}.jpg",
    ):
        url = aiohttp.client.URL(gateway.url + path, encoded=True)
        async with ada.http.get(url) as response:
            body = await response.read()
            assert response.status in (400, 404) or (path == "/." and response.status == 200), path
            assert b"secret" not in body
    labels = f"/api/v1/episodes/{name}/labels"
    url = aiohttp.client.URL(gateway.url + labels, encoded=True)
    async with ada.http.post(url, json={}, headers={"X-Dialtone": "1"}) as response:
        assert response.status in (400, 404)
    assert (home / "secret" / "episode.json").read_text() == "{}"


@pytest.mark.parametrize("path", ["/login", "/api/v1/webrtc", "/api/v1/episodes/one/labels"])
async def test_an_oversized_body_is_refused_before_it_is_read(lab: Any, path: str) -> None:
    gateway = await lab.gateway()
    otto = await lab.person(gateway, "otto")
    headers = {"Content-Type": "application/json"}
    status, _ = await otto.post(path, data=b"x" * 200_000, headers=headers)
    assert status == 413

    async def endless() -> Any:
        for _ in range(100):
            yield b"x" * 10_000

    try:
        status, _ = await otto.post(path, data=endless(), headers=headers)
        assert status == 413
    except aiohttp.ClientError:
        pass  # cut while it was still sending
    assert (await otto.post(path, data=b"{}"))[0] == 415
    assert (await otto.post(path, data=b"{}", headers=headers))[0] in (400, 404)
    assert (await otto.post(path, data=b"\xff[", headers=headers))[0] in (400, 404)


async def test_a_head_that_never_ends_is_cut_and_others_are_served_meanwhile(lab: Any) -> None:
    gateway = await lab.gateway(request_timeout_s=0.5)
    vera = await lab.person(gateway, "vera")
    slow = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(30)]
    for number, (_, writer) in enumerate(slow):
        if number % 3:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-")
    assert (await vera.get("/api/v1/session"))[0] == 200
    for reader, writer in slow:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 20)
        writer.close()
    assert gateway.runner is not None
    assert gateway.runner.bounded.timed_out == 30


async def test_a_body_that_trickles_is_cut(lab: Any) -> None:
    gateway = await lab.gateway(request_timeout_s=0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{"
    )
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 408")
    writer.close()


async def test_connections_beyond_the_bound_are_closed_at_once(lab: Any, eventually: Any) -> None:
    gateway = await lab.gateway(max_connections=8)
    held = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(12)]
    ends = [asyncio.create_task(reader.read(1)) for reader, _ in held]
    await eventually(lambda: sum(end.done() for end in ends) == 4)
    assert gateway.runner is not None
    assert gateway.runner.bounded.refused == 4
    assert gateway.runner.bounded.open_connections == 8
    for _, writer in held:
        writer.close()
    await asyncio.wait(ends)
    assert {type(end.exception()) for end in ends} <= {type(None), ConnectionResetError}


async def test_a_thousand_wrong_logins_cost_little_and_open_nothing(lab: Any) -> None:
    gateway = await lab.gateway()
    eve = await lab.person(gateway)
    gate = gateway.gate
    before = gate.runs
    statuses: list[int] = []
    began_s = time.monotonic()
    for _ in range(10):
        tries = (eve.log_in("ada", f"guess {number}") for number in range(100))
        statuses += await asyncio.gather(*tries)
    assert set(statuses) == {401, 429}
    allowed = 5 + (time.monotonic() - began_s) / 6 + 1
    assert gate.runs - before == statuses.count(401) <= allowed
    assert (await eve.get("/api/v1/session"))[0] == 401
    text = (lab.home / "gateway" / "audit.jsonl").read_text()
    assert text.count("login_failed") == statuses.count(401)
    assert (await eve.get("/healthz"))[0] == 200


async def test_wrong_user_and_wrong_password_answer_alike(lab: Any) -> None:
    gateway = await lab.gateway()
    answers = []
    for user in ("ada", "nobody"):
        person = await lab.person(gateway)
        body = {"uuid": user, "password": "wrong password"}
        answers.append(await person.post("/login", json=body))
    assert answers[0] == answers[1] == (401, {"error": "wrong user or password"})


@pytest.mark.parametrize(
    "body",
    [
        [], {}, "x", 1, {"uuid": "ada"}, {"uuid": 1, "password": "x"},
        {"uuid": "ada", "password": ["x"]}, {"uuid": "a" * 41, "password": "x"},
        {"uuid": "ada", "password": "x" * 257}, {"uuid": "", "password": ""},
    ],
)  # fmt: skip
async def test_a_login_that_is_none_is_400(lab: Any, body: Any) -> None:
    gateway = await lab.gateway()
    assert (await (await lab.person(gateway)).post("/login", json=body))[0] == 400


async def test_every_answer_has_the_security_headers_and_no_version(lab: Any, camera: Any) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    camera.roll()
    for path in ("/", "/nope", "/api/v1/session", "/stream/front.mjpeg", "/login"):
        async with vera.http.get(vera.url(path)) as response:
            assert "default-src 'self'" in response.headers["Content-Security-Policy"]
            assert "unsafe" not in response.headers["Content-Security-Policy"]
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Server"] == "dialtone"


async def test_an_unexpected_failure_tells_a_stranger_nothing(lab: Any, monkeypatch: Any) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")

    def broken() -> None:
        raise RuntimeError("the secret detail")

    monkeypatch.setattr(gateway.state, "cameras", broken)
    status, body = await vera.get("/api/v1/cameras")
    assert status == 500
    assert "secret" not in json.dumps(body)


async def test_the_document_names_every_route_with_its_role(lab: Any) -> None:
    gateway = await lab.gateway()
    paths = document("rover", gateway.routes)["paths"]
    assert paths["/api/v1/logs"]["get"]["x-role"] == "operator"
    assert paths["/stream/{camera}.mjpeg"]["get"]["parameters"][0]["in"] == "path"
    assert "security" not in paths["/login"]["post"]
