"""The node as people ask it: services, parameters, keys of a driver, a guided collection."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from recorder_rig import DEADLINE_S, Publisher, Recorder, names, until
from std_srvs.srv import SetBool

from dialtone_core import natslink
from dialtone_core.config import build
from dialtone_core.errors import ConfigError, DialtoneError
from dialtone_recorder.keys import Keys
from dialtone_recorder.manifest import RECORDING, read_episode
from dialtone_recorder.params import RecorderParams
from dialtone_recorder.reader import episode_counts
from dialtone_recorder.verbs.collect import Collection
from dialtone_teleop.cockpit.recording import RecorderKeys
from dialtone_teleop.cockpit.robot import RobotLine, Where
from dialtone_teleop.cockpit.view import View


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


async def test_a_discarded_episode_leaves_nothing(recorder: Recorder) -> None:
    await recorder.record(50)
    assert (await recorder.call("discard"))["ok"]
    assert names(recorder.directory) == []


async def test_a_wrong_label_is_refused_and_nothing_begins(recorder: Recorder) -> None:
    reply = await recorder.call("start", outcome="great")
    assert not reply["ok"]
    assert "success or fail" in reply["error"]
    assert not (await recorder.call("status"))["recording"]


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
