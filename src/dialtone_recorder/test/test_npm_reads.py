"""A closed episode read by JavaScript that is not ours (``web/e2e/episode.mjs``)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest
from made_episode import FRONT, STORE, drive, joints, ns, picture

from dialtone_core.sample import Sample
from dialtone_recorder.closing import index_episode, publish
from dialtone_recorder.session import Facts, Limits, Session
from dialtone_recorder.topics import Topic

WEB = Path(__file__).parents[3] / "web"


def lacking(what: str, fix: str) -> NoReturn:
    """Where everything must run nothing may be left out in silence."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}. Fix: {fix}")
    pytest.skip(f"{what}; {fix} to read an episode with JavaScript")


def node() -> str:
    found = shutil.which("node")
    if found is None:
        lacking("there is no Node", "install Node 20.19 or newer")
    if not (WEB / "node_modules" / "@mcap" / "core").is_dir():
        lacking("@mcap/core is missing", "run npm ci in web/")
    return found


def test_javascript_reads_a_closed_episode_and_decodes_every_message(tmp_path: Path) -> None:
    recipe = drive(1.0)
    recipe.add("/joint_states", [0.1, 0.2], lambda at: joints(at, ["größe", "arm"]))
    session = Session(tmp_path, Facts("made", "rover"), Limits(min_free_bytes=0))
    counts: dict[str, int] = {}
    for topic, kind, at, message in sorted(recipe.messages, key=lambda each: each[2]):
        if topic not in counts:
            definition = STORE.generate_msgdef(kind, ros_version=2)[0]
            session.add_topic(Topic(topic, kind, definition))
        counts[topic] = counts.get(topic, 0) + 1
        data = bytes(STORE.serialize_cdr(message, kind))
        session.put(Sample(topic, kind, "cdr", data, ns(at), ns(at), counts[topic]))
    session.finish()
    index_episode(session.folder)
    session.release()
    (file,) = publish(session.folder).glob("*.mcap")
    done = subprocess.run(
        [node(), WEB / "e2e" / "episode.mjs", file], capture_output=True, text=True, timeout=50,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    topics = told["topics"]
    assert told["profile"] == "ros2"
    assert {name: each["count"] for name, each in topics.items()} == counts
    assert all(each["inOrder"] for each in topics.values())
    assert topics["/odom"]["last"]["pose"]["pose"]["position"]["x"] == 1.0
    assert topics["/odom"]["last"]["pose"]["covariance"] == [float(n) for n in range(36)]
    assert topics["/joint_states"]["last"]["name"] == ["größe", "arm"]
    assert topics["/joint_states"]["last"]["position"] == [0.2, 10.2]
    stamp = topics["/joint_states"]["last"]["header"]["stamp"]
    assert (stamp["sec"], stamp["nanosec"]) == (1_800_000_000, 200_000_000)
    last = picture(counts[FRONT] - 1)
    assert topics[FRONT]["last"]["data"] == {"bytes": len(last), "sum": sum(last)}
