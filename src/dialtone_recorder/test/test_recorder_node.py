"""The node from outside: real DDS publishers, a real NATS server, the process itself."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import orjson
import pytest
from recorder_rig import DEADLINE_S, Recorder, names, running_server, until
from rosbags.highlevel import AnyReader

from dialtone_core import natslink
from dialtone_core.ports import free_ports
from dialtone_recorder.manifest import RECORDING, read_episode
from dialtone_recorder.reader import episode_counts, episode_messages


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
    assert time.monotonic() - began < 6.0  # a budget of 1.5 s, on a machine that may be busy
    assert recorder.process.returncode == 0
    assert names(recorder.directory) == [path.name]
    assert names(path) == [f"{path.name}_0.mcap", "episode.json", "metadata.yaml"]
    assert episode_counts(path)["/odom"] > 20


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
