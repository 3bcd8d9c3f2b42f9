"""The node from outside: real DDS publishers, a real NATS server, the process itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest
import rclpy
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from dialtone_core import natslink
from dialtone_core.config import build
from dialtone_core.errors import ConfigError, DialtoneError
from dialtone_core.ports import free_ports
from dialtone_recorder.keys import Keys
from dialtone_recorder.manifest import RECORDING, read_episode
from dialtone_recorder.params import RecorderParams
from dialtone_recorder.reader import episode_counts, episode_messages
from dialtone_recorder.verbs.collect import Collection
from dialtone_teleop.cockpit.recording import RecorderKeys
from dialtone_teleop.cockpit.robot import RobotLine, Where
from dialtone_teleop.cockpit.view import View

DEADLINE_S = 15.0


async def until(what: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not ready():
        assert time.monotonic() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.02)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


class Publisher:
    """Publishes odometry, what was applied and pictures at 50 Hz, and one latched text."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node("publisher", context=self.context)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._text = self.node.create_publisher(String, "description", latched)
        self._text.publish(String(data="a rover"))
        self._odom = self.node.create_publisher(Odometry, "odom", 10)
        self._applied = self.node.create_publisher(TwistStamped, "teleop/applied", 10)
        self._image = self.node.create_publisher(CompressedImage, "image", 10)
        self._pixels = os.urandom(20_000)
        self.node.create_timer(0.02, self._publish)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(rclpy.executors.ExternalShutdownException):
            self.executor.spin()

    def _publish(self) -> None:
        odom = Odometry()
        odom.header.stamp = self.node.get_clock().now().to_msg()
        self._odom.publish(odom)
        self._applied.publish(TwistStamped())
        self._image.publish(CompressedImage(format="jpeg", data=self._pixels))

    async def call(self, service: str, kind: type[Any] = Trigger, request: Any = None) -> Any:
        client = self.node.create_client(kind, service)
        try:
            await until(f"service {service}", client.service_is_ready)
            asked = client.call_async(request or kind.Request())
            await until(f"answer of {service}", asked.done)
            return asked.result()
        finally:
            self.node.destroy_client(client)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
        self._thread.join(5)


@pytest.fixture(scope="module")
def publisher() -> Iterator[Publisher]:
    made = Publisher()
    yield made
    made.close()


class Recorder:
    """The node's process and a NATS client of its services."""

    def __init__(self, directory: Path, url: str, *parameters: str) -> None:
        self.directory = directory
        self.url = url
        self._parameters = parameters
        self.process: subprocess.Popen[str]
        self.start_process()

    def start_process(self) -> None:
        server = (f"nats_url:={self.url}",) if self.url else ()
        parameters = (f"directory:={self.directory}", *server, *self._parameters)
        arguments = [word for each in parameters for word in ("-p", each)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dialtone_recorder.node", "--ros-args", *arguments],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    async def call(self, verb: str, **request: Any) -> dict[str, Any]:
        client = await nats.connect(self.url)
        try:
            deadline = time.monotonic() + DEADLINE_S
            while True:
                try:
                    reply = await client.request(
                        f"dt.rover.srv.recorder.{verb}", orjson.dumps(request), timeout=5
                    )
                    return dict(orjson.loads(reply.data))
                except nats.errors.NoRespondersError:
                    assert time.monotonic() < deadline, "the recorder never served"
                    await asyncio.sleep(0.05)
        finally:
            await client.close()

    async def record(self, messages: int, **request: Any) -> str:
        """Start and wait until so many messages are in; returns the episode's path."""
        started = await self.call("start", **request)
        assert started["ok"], started
        deadline = time.monotonic() + DEADLINE_S
        while (await self.call("status"))["messages"] < messages:
            assert time.monotonic() < deadline, "too few messages"
        return str(started["path"])

    def close(self) -> None:
        """End it politely: a killed node's services would haunt the next test's discovery."""
        self.process.terminate()
        self.process.communicate(timeout=10)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A real nats-server on a port that was free."""
    (port,) = free_ports(1)
    with running_server(port) as made:
        yield made


@contextlib.contextmanager
def running_server(port: int) -> Iterator[str]:
    server = Path(sys.executable).with_name("nats-server")
    process = subprocess.Popen(
        [str(server), "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def recorder(tmp_path: Path, url: str, publisher: Publisher) -> Iterator[Recorder]:
    made = Recorder(tmp_path / "episodes", url)
    yield made
    made.close()


async def test_an_episode_holds_every_topic_and_is_read_by_mcap_and_rosbags(
    recorder: Recorder,
) -> None:
    path = await recorder.record(200, task="Look around!", operator="ada")
    stopped = await recorder.call("stop", outcome="success")
    assert stopped["ok"], stopped
    assert not stopped["closing"]
    assert stopped["path"] == path
    assert path.endswith("_rover_look-around")
    counts = episode_counts(path)
    assert counts["/description"] == 1
    assert min(counts["/odom"], counts["/teleop/applied"], counts["/image"]) > 40
    assert sum(counts.values()) == stopped["messages"]
    with AnyReader([Path(path)]) as reader:
        read = [(each.topic, reader.deserialize(raw, each.msgtype)) for each, _, raw in
                reader.messages()]  # fmt: skip
    assert len(read) == stopped["messages"]
    facts = read_episode(Path(path))
    assert (facts["task"], facts["operator"], facts["outcome"]) == (
        "Look around!", "ada", "success",
    )  # fmt: skip
    assert facts["state"] == "closed"
    assert facts["indexed"]
    assert facts["lost_recorder"] == facts["lost_transport"] == 0


async def test_each_message_keeps_its_source_stamp_and_sequence_number(
    recorder: Recorder,
) -> None:
    path = await recorder.record(100)
    await recorder.call("stop")
    odom = [each for each in episode_messages(path) if each.topic == "/odom"]
    assert [each.sequence for each in odom] == list(
        range(odom[0].sequence, odom[0].sequence + len(odom))
    )
    assert all(0 < each.log_ns - each.publish_ns < 1_000_000_000 for each in odom)


async def test_ros_services_start_and_stop_and_refuse_by_name(
    recorder: Recorder, publisher: Publisher
) -> None:
    refused = await publisher.call("recorder/stop")
    assert not refused.success
    assert "nothing is being recorded" in refused.message
    started = await publisher.call("recorder/start")
    assert started.success
    again = await publisher.call("recorder/start")
    assert not again.success
    stopped = await publisher.call("recorder/stop")
    assert stopped.success
    assert "/odom" in episode_counts(orjson.loads(stopped.message)["path"])


async def test_a_killed_recorder_loses_at_most_a_second_and_is_recovered_at_the_next_start(
    recorder: Recorder,
) -> None:
    path = Path(await recorder.record(300, task="cut"))
    killed_ns = time.time_ns()
    recorder.process.kill()
    recorder.process.communicate()
    assert path.with_name(path.name + RECORDING).is_dir()
    recorder.start_process()
    await until("recovered", path.is_dir)
    facts = read_episode(path)
    assert facts["recovered"]
    assert facts["task"] == "cut"
    assert killed_ns - max(each["last_ns"] for each in facts["topics"]) < 1_000_000_000
    with AnyReader([path]) as reader:
        assert sum(1 for _ in reader.messages()) == facts["messages"] >= 290


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_closes_the_episode_within_the_budget(
    recorder: Recorder, signum: signal.Signals
) -> None:
    path = Path(await recorder.record(100))
    began = time.monotonic()
    recorder.process.send_signal(signum)
    await until("ended", lambda: recorder.process.poll() is not None)
    assert time.monotonic() - began < 2.5
    assert recorder.process.returncode == 0
    assert names(recorder.directory) == [path.name]
    assert names(path) == [f"{path.name}_0.mcap", "episode.json", "metadata.yaml"]
    assert episode_counts(path)["/odom"] > 20


async def test_a_discarded_episode_leaves_nothing(recorder: Recorder) -> None:
    await recorder.record(50)
    assert (await recorder.call("discard"))["ok"]
    assert names(recorder.directory) == []


async def test_a_wrong_label_is_refused_and_nothing_begins(recorder: Recorder) -> None:
    reply = await recorder.call("start", outcome="great")
    assert not reply["ok"]
    assert "success or fail" in reply["error"]
    assert not (await recorder.call("status"))["recording"]


async def test_the_server_may_come_up_after_the_node(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    made = Recorder(tmp_path / "late", f"nats://127.0.0.1:{port}")
    try:
        await until("the node is up", (tmp_path / "late").is_dir)
        with running_server(port):
            assert (await made.call("status"))["ok"]
    finally:
        made.close()


def test_a_folder_that_cannot_be_written_stops_the_start_with_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    made = Recorder(blocked / "episodes", "")
    _, said = made.process.communicate(timeout=20)
    assert made.process.returncode == 2
    (line,) = [each for each in said.splitlines() if "episodes cannot be written" in each]
    assert str(blocked / "episodes") in line
    assert "Fix:" in line


def text_parameter(name: str, text: str) -> Any:
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
    return SetParameters.Request(parameters=[Parameter(name=name, value=value)])


@pytest.fixture
def labelled(tmp_path: Path, url: str, publisher: Publisher) -> Iterator[Recorder]:
    """A recorder that was started with labels."""
    made = Recorder(tmp_path / "episodes", url, "label.operator:=ada", "label.tags:=['night']")
    yield made
    made.close()


def test_an_outcome_is_no_label_to_start_a_recorder_with() -> None:
    with pytest.raises(ConfigError, match=r"label\.outcome is known at an episode's end"):
        build(RecorderParams, {"label": {"outcome": "success"}})


async def test_ros_pauses_with_setbool_and_labels_with_parameters(
    labelled: Recorder, publisher: Publisher
) -> None:
    recorder = labelled
    path = await recorder.record(50)
    paused = await publisher.call("recorder/pause", SetBool, SetBool.Request(data=True))
    assert paused.success
    assert orjson.loads(paused.message)["paused"]
    resumed = await publisher.call("recorder/pause", SetBool, SetBool.Request(data=False))
    assert not orjson.loads(resumed.message)["paused"]
    for label, text, taken in (
        ("task", "by parameter", True), ("outcome", "success", True), ("outcome", "so so", False),
    ):  # fmt: skip
        answer = await publisher.call(
            "recorder/set_parameters", SetParameters, text_parameter(f"label.{label}", text)
        )
        assert answer.results[0].successful is taken
    assert (await recorder.call("stop"))["ok"]
    facts = read_episode(Path(path))
    assert (facts["task"], facts["outcome"]) == ("by parameter", "success")
    assert (facts["operator"], facts["tags"]) == ("ada", ["night"])
    again = await recorder.record(10)
    await recorder.call("stop")
    assert read_episode(Path(again))["task"] == "by parameter"
    assert read_episode(Path(again))["outcome"] == ""


async def test_a_red_gate_refuses_an_episode_unless_forced_and_is_written_into_it(
    tmp_path: Path, url: str, publisher: Publisher
) -> None:
    gate = ("gate.lidar.topic:=lidar", "gate.lidar.max_gap_s:=0.2", "gate.odom.topic:=odom",
            "gate.odom.rate_hz:=50.0")  # fmt: skip
    made = Recorder(tmp_path / "episodes", url, *gate)
    events = await natslink.connect(url, "listener")
    heard = await events.subscribe("dt.rover.evt.recorder")
    try:
        deadline = time.monotonic() + DEADLINE_S
        while (await made.call("status"))["gate"] != "red":
            assert time.monotonic() < deadline
        told = orjson.loads((await heard.next_msg(timeout=5)).data)
        assert (told["event"], told["gate"]) == ("gate", "red")
        assert any("/lidar: silent" in each for each in told["reasons"])
        refused = await made.call("start")
        assert not refused["ok"]
        assert "the gate is red: /lidar: silent" in refused["error"]
        path = await made.record(100, force=True)
        await made.call("stop")
        verdict = read_episode(Path(path))["gate"]
        assert (verdict["start"], verdict["forced"], verdict["worst"]) == ("red", True, "red")
    finally:
        await events.close()
        made.close()


async def test_a_recovered_episode_is_told_to_everybody(recorder: Recorder, url: str) -> None:
    path = Path(await recorder.record(50))
    recorder.process.kill()
    recorder.process.communicate()
    events = await natslink.connect(url, "listener")
    heard = await events.subscribe("dt.rover.evt.recorder")
    await events.flush()
    try:
        recorder.start_process()
        told = orjson.loads((await heard.next_msg(timeout=DEADLINE_S)).data)
        assert (told["event"], told["episode"]) == ("recovered", path.name)
    finally:
        await events.close()


async def test_a_drivers_keys_begin_pause_judge_end_and_throw_away(
    recorder: Recorder, url: str
) -> None:
    await recorder.call("status")
    line = await RobotLine.open(Where("rover", url), "ada/1")
    view = View(robot="rover", operator="ada/1", input="")
    keys = RecorderKeys(line, view)
    try:
        await keys.key("p")
        assert view.notice == "nothing is being recorded: r begins"
        await keys.key("r")
        kept = view.recording
        await keys.key("p")
        assert view.paused
        assert (await recorder.call("status"))["paused"]
        await keys.key("p")
        await keys.key("k")
        await keys.key("o")
        assert (await recorder.call("status"))["outcome"] == view.outcome == "success"
        await keys.key("r")
        assert (view.recording, view.outcome) == ("", "")
        await keys.key("r")
        assert view.recording not in ("", kept)
        await keys.discard()
        assert not (await recorder.call("status"))["recording"]
    finally:
        await line.close()
    await until("closed", (recorder.directory / kept).is_dir)
    assert names(recorder.directory) == [kept]
    facts = read_episode(recorder.directory / kept)
    assert (facts["outcome"], facts["operator"]) == ("success", "ada/1")


class Pressed(Keys):
    """Keys of a real pipe: the next is pressed once each recording has some messages.

    A recording is known by its start: one that is begun anew within a second has the same name.
    """

    def __init__(self, reading: int, writing: int, directory: Path, presses: str) -> None:
        super().__init__(reading)
        self._writing = writing
        self._directory = directory
        self._presses = iter(presses)
        self._seen: set[int] = set()

    def get(self, timeout_s: float) -> str:
        for path in self._directory.glob(f"*{RECORDING}/*.mcap"):
            with contextlib.suppress(FileNotFoundError, DialtoneError):
                begun_ns = read_episode(path.parent)["started_ns"]
                if begun_ns not in self._seen and path.stat().st_size > 100_000:
                    self._seen.add(begun_ns)
                    os.write(self._writing, next(self._presses).encode())
        return super().get(timeout_s)


async def test_collect_records_episodes_again_and_labels_how_they_ended(
    recorder: Recorder, url: str
) -> None:
    """The first try is thrown away, then a failure, a success by Enter, one by the time."""
    await recorder.call("status")
    reading, writing = os.pipe()
    try:
        keys = Pressed(reading, writing, recorder.directory, "rf\n")
        collection = Collection("rover", url, "", keys)
        assert await collection.run({"task": "stack"}, 2, DEADLINE_S, 0.0) == 2
        await until("closed", lambda: not list(recorder.directory.glob(f"*{RECORDING}")))
        collection = Collection("rover", url, "", Keys(reading))
        assert await collection.run({"task": "stack"}, 1, 0.1, 0.0) == 1
    finally:
        os.close(reading)
        os.close(writing)
    await until("closed", lambda: not list(recorder.directory.glob(f"*{RECORDING}")))
    kept = [read_episode(each) for each in sorted(recorder.directory.iterdir())]
    assert [each["outcome"] for each in kept] == ["fail", "success", "success"]
    assert {each["task"] for each in kept} == {"stack"}
