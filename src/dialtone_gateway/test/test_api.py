"""What /api/v1, /metrics and the dashboard's files answer."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from mcap.writer import Writer

from dialtone_core.errors import WireError
from dialtone_gateway.api.metrics import processes
from dialtone_gateway.cdrread import Status, read_camera_size, read_diagnostics


def camera_info(cdr: Any, width: int = 640, height: int = 480) -> bytes:
    made: bytes = cdr().header("optical").u32(height).u32(width).text("plumb_bob").done()
    return made


def diagnostics(cdr: Any) -> bytes:
    made = cdr().header("").u32(2)
    made.u8(0).text("host_metrics: cpu").text("12 %").text("rover")
    made.u32(1).text("percent").text("12.5")
    made.u8(1).text("host_metrics: processes").text("2 processes").text("rover")
    made.u32(3).text("bridge_cpu_percent").text("7.5").text("bridge_rss_mb").text("60")
    made.text("count").text("2")
    done: bytes = made.done()
    return done


def test_camera_info_and_diagnostics_are_read_from_their_bytes(cdr: Any) -> None:
    assert read_camera_size(camera_info(cdr)) == (640, 480)
    cpu, rest = read_diagnostics(diagnostics(cdr))
    assert cpu == Status(0, "host_metrics: cpu", "12 %", {"percent": "12.5"})
    assert rest.level == 1
    assert processes(rest) == [{"name": "bridge", "cpu_percent": 7.5, "rss_mb": 60.0}]


def test_every_truncation_is_a_wire_error(cdr: Any) -> None:
    whole = diagnostics(cdr)
    for size in range(len(whole) - 1):
        with pytest.raises(WireError):
            read_diagnostics(whole[:size])
    with pytest.raises(WireError, match="too_many"):
        read_diagnostics(cdr().header("").u32(4_000_000_000).done())


async def test_cameras_are_known_without_a_viewer(
    lab: Any, bus: Any, cdr: Any, eventually: Any
) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    for _ in range(3):
        await bus.publish("dt.rover.tlm.camera.front.camera_info", camera_info(cdr))
    await bus.publish("dt.rover.tlm.camera.rear.camera_info", b"garbage")
    await eventually(lambda: gateway.state.cameras() and gateway.state.bad)
    status, (front,) = await vera.get("/api/v1/cameras")
    assert status == 200
    assert (front["name"], front["width"], front["height"]) == ("front", 640, 480)
    assert front["viewers"] == 0
    assert 0 <= front["age_s"] < 5


async def test_the_robot_tells_of_teleop_where_it_answers(
    lab: Any, bus: Any, eventually: Any
) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    _, robot = await vera.get("/api/v1/robot")
    assert robot["nats_connected"]
    assert robot["teleop"] is None
    holder = {"operator": "otto/1", "role": "operator"}

    async def answer(message: Any) -> None:
        await message.respond(json.dumps({"ok": True, "holder": holder}).encode())

    await bus.subscribe("dt.rover.srv.teleop.status", cb=answer)
    await bus.flush()

    async def told() -> Any:
        return (await vera.get("/api/v1/robot"))[1]["teleop"]

    assert (await eventually(told))["holder"] == holder
    assert (await vera.get("/api/v1/operators"))[1]["holder"] == holder


async def test_metrics_are_the_robots_own_diagnostics(
    lab: Any, bus: Any, cdr: Any, eventually: Any
) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    await bus.publish("dt.rover.tlm.diagnostics", diagnostics(cdr))
    await eventually(lambda: gateway.state.statuses())
    _, body = await vera.get("/api/v1/metrics")
    assert body["host"] == {"cpu": {"message": "12 %", "percent": 12.5}}
    assert body["processes"][0]["name"] == "bridge"
    assert len(body["diagnostics"]) == 2
    _, text = await vera.get("/metrics")
    part = b'dialtone_diagnostic_value{key="percent",part="host_metrics: cpu",robot="rover"} 12.5'
    assert part in text
    assert b'dialtone_gateway_requests_total{method="GET",route="/api/v1/metrics"' in text


async def test_events_of_the_robot_are_audited(lab: Any, bus: Any, eventually: Any) -> None:
    await lab.gateway()
    await bus.publish("dt.rover.evt.presence", b'{"robot": "rover"}')
    body = {"active": True, "by": "otto/1", "stamp_ns": 1}
    await bus.publish("dt.rover.evt.teleop.estop", json.dumps(body).encode())
    path = lab.home / "gateway" / "audit.jsonl"
    await eventually(lambda: path.exists() and path.read_text())
    (line,) = map(json.loads, path.read_text().splitlines())
    assert line["event"] == "evt.teleop.estop"
    assert line["body"] == body


def write_episode(home: Path, name: str, jpeg: bytes, cdr: Any) -> Path:
    folder = home / "episodes" / name
    folder.mkdir(parents=True)
    facts = {
        "task": "pick", "outcome": "success", "duration_s": 2.5, "messages": 3,
        "started_ns": 1_700_000_000_000_000_000, "recovered": False,
        "gate": {"verdict": "green"},
    }  # fmt: skip
    (folder / "episode.json").write_text(json.dumps(facts))
    message = cdr().header("optical").text("jpeg").u32(len(jpeg))
    message.body += jpeg
    with (folder / f"{name}_0.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2")
        schema = writer.register_schema("sensor_msgs/msg/CompressedImage", "ros2msg", b"x")
        channel = writer.register_channel("/camera/front/image_raw/compressed", "cdr", schema)
        for number in range(3):
            writer.add_message(channel, number * 10, message.done(), number * 10)
        writer.finish()
    return folder


async def test_episodes_are_listed_shown_and_taken_along(lab: Any, cdr: Any) -> None:
    jpeg = b"\xff\xd8 a picture"
    folder = write_episode(lab.home, "20261121-093015_rover_pick", jpeg, cdr)
    (lab.home / "episodes" / "now.recording").mkdir()
    broken = lab.home / "episodes" / "broken"
    broken.mkdir()
    (broken / "episode.json").write_text("{")
    gateway = await lab.gateway()
    otto = await lab.person(gateway, "otto")
    _, (row,) = await otto.get("/api/v1/episodes")
    assert (row["name"], row["task"], row["outcome"]) == (folder.name, "pick", "success")
    assert (row["duration_s"], row["messages"], row["gate"]) == (2.5, 3, "green")
    assert await otto.get(f"/api/v1/episodes/{folder.name}/preview.jpg") == (200, jpeg)
    status, data = await otto.get(f"/api/v1/episodes/{folder.name}/download")
    assert status == 200
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        for file in folder.iterdir():
            assert archive.read(f"{folder.name}/{file.name}") == file.read_bytes()
    assert (await otto.get("/api/v1/episodes/broken/preview.jpg"))[0] == 404
    assert (await otto.get("/api/v1/episodes/now.recording/download"))[0] == 404


async def test_an_old_episode_is_labelled_and_the_rest_of_it_stays(lab: Any, cdr: Any) -> None:
    folder = write_episode(lab.home, "20261121-093015_rover_pick", b"\xff\xd8", cdr)
    before = json.loads((folder / "episode.json").read_text())
    gateway = await lab.gateway()
    otto = await lab.person(gateway, "otto")
    path = f"/api/v1/episodes/{folder.name}/labels"
    for labels in ({"outcome": "fail", "tags": ["dark"]}, {"task": "place"}):
        assert await otto.post(path, json=labels) == (200, {"ok": True})
    after = json.loads((folder / "episode.json").read_text())
    assert after == {**before, "outcome": "fail", "tags": ["dark"], "task": "place"}
    _, (row,) = await otto.get("/api/v1/episodes")
    assert (row["task"], row["outcome"]) == ("place", "fail")
    for bad in ({"outcome": "maybe"}, {"bytes": 1}, {"task": 5}, [], "x"):
        assert (await otto.post(path, json=bad))[0] == 400
    assert json.loads((folder / "episode.json").read_text()) == after
    assert (await otto.post(path.replace("pick", "nope"), json={}))[0] == 404
    line = (lab.home / "gateway" / "audit.jsonl").read_text().splitlines()[-1]
    assert json.loads(line)["by"] == f"otto/{otto.session}"


async def test_the_end_of_a_log_is_what_was_written_last(lab: Any) -> None:
    run = lab.home / "logs" / "20261121-093015_rover"
    run.mkdir(parents=True)
    lines = [f"line {number} é" for number in range(100_000)]
    (run / "bridge.log").write_text("\n".join(lines) + "\n")
    (run / "empty.log").touch()
    gateway = await lab.gateway()
    otto = await lab.person(gateway, "otto")
    _, body = await otto.get("/api/v1/logs?name=bridge&lines=3")
    assert body == {"names": ["bridge", "empty"], "lines": lines[-3:]}
    assert (await otto.get("/api/v1/logs?name=empty"))[1]["lines"] == []
    assert (await otto.get("/api/v1/logs?name=none"))[0] == 404
    assert (await otto.get("/api/v1/logs?name=bridge&lines=0"))[0] == 400


async def test_the_dashboard_is_served_packed_and_its_hashed_files_for_ever(
    lab: Any, tmp_path: Path
) -> None:
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    script = b"console.log('hello');" * 100
    (dist / "index.html").write_text("<!doctype html><title>one</title>")
    (dist / "assets" / "main-3f2a.js").write_bytes(script)
    (dist / "manifest.webmanifest").write_text("{}")
    (dist / ".secret").write_text("x")
    (dist / "assets" / "out").symlink_to(tmp_path)
    gateway = await lab.gateway(dashboard=str(dist))
    person = await lab.person(gateway, auto_decompress=False)
    async with person.http.get(person.url("/assets/main-3f2a.js")) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert "immutable" in response.headers["Cache-Control"]
        assert response.content_type == "text/javascript"
        assert gzip.decompress(await response.read()) == script
        etag = {"If-None-Match": response.headers["ETag"]}
    assert (await person.get("/assets/main-3f2a.js", headers=etag))[0] == 304
    plain = {"Accept-Encoding": "identity"}
    assert (await person.get("/assets/main-3f2a.js", headers=plain))[1] == script
    async with person.http.get(person.url("/manifest.webmanifest")) as response:
        assert response.content_type == "application/manifest+json"
    assert (await person.get("/.secret"))[0] == 404
    assert (await person.get("/", headers=plain))[1].endswith(b"<title>one</title>")
    (dist / "index.html").write_text("<!doctype html><title>two</title>")
    os.utime(dist / "index.html", ns=(1, 1))
    assert (await person.get("/", headers=plain))[1].endswith(b"<title>two</title>")


async def test_without_a_dashboard_the_page_says_how_to_build_it(lab: Any, tmp_path: Path) -> None:
    gateway = await lab.gateway(dashboard=str(tmp_path / "nothing"))
    status, page = await (await lab.person(gateway)).get("/")
    assert status == 200
    assert b"npm run build" in page
