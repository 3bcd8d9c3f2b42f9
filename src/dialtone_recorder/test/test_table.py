"""From an episode to frames: mapping errors, clocks, tolerance, actions, joints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from made_episode import (
    FRONT,
    REAR,
    START_NS,
    Recipe,
    drive,
    image,
    joints,
    ns,
    odometry,
    picture,
    steps,
    twist_stamped,
)

from dialtone_core.errors import ConfigError, DialtoneError
from dialtone_recorder import mapping as mappings
from dialtone_recorder.mapping import Mapping
from dialtone_recorder.recording import Recording
from dialtone_recorder.suggest import suggest
from dialtone_recorder.table import Table, build_table

MINIMAL = """
fps: 30
features:
  observation.state:
    odom: {topic: /odom, fields: [pose.pose.position.x, twist.twist.linear.x], units: [m, m/s]}
images:
  observation.images.front: {topic: /camera/front/image_raw/compressed}
action:
  source: {topic: /teleop/applied, fields: [twist.linear.x, twist.angular.z]}
"""


def made(tmp_path: Path, text: str = MINIMAL, **changes: Any) -> Mapping:
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(text) | changes))
    return mappings.load(path)


def table(recipe: Recipe, tmp_path: Path, mapping: Mapping, force: bool = False) -> Table:
    return build_table(Recording(recipe.write(tmp_path / "episode")), mapping, force)


@pytest.fixture
def episode(tmp_path: Path) -> Recording:
    return Recording(drive().write(tmp_path / "made"))


def test_each_frame_holds_the_newest_past_sample_and_says_how_old_it_is(
    episode: Recording, tmp_path: Path
) -> None:
    made_table = build_table(episode, made(tmp_path))
    times = (made_table.times_ns - START_NS) / 1e9
    state = made_table.columns["observation.state"]
    assert state.units == ["m", "m/s"]
    expected = np.floor(times * 50 + 1e-6) / 50
    assert state.values[:, 0] == pytest.approx(expected, abs=1e-6)
    ages = made_table.columns["timing.age_s"]
    assert ages.names == ["observation.state.odom", "action", "observation.images.front"]
    assert ages.values[:, 0] == pytest.approx(times - expected, abs=1e-6)
    assert (ages.values >= 0).all()
    spread = ages.values.max(axis=1) - ages.values.min(axis=1)
    assert made_table.columns["timing.skew_s"].values[:, 0] == pytest.approx(spread, abs=1e-6)
    front = made_table.cameras["observation.images.front"]
    assert (front.pictures.stamps[front.index] <= made_table.times_ns).all()


def test_applied_is_the_default_action_and_command_is_another(
    episode: Recording, tmp_path: Path
) -> None:
    applied = build_table(episode, made(tmp_path)).columns["action"].values
    asked = {"kind": "command", "source": {
        "topic": "/cmd_vel/nats", "fields": ["twist.linear.x", "twist.angular.z"]
    }}  # fmt: skip
    command = build_table(episode, made(tmp_path, action=asked)).columns["action"].values
    assert np.abs(command[:, 0]).max() > 1.8 * np.abs(applied[:, 0]).max()


def test_next_state_and_delta_come_from_the_following_frame(
    episode: Recording, tmp_path: Path
) -> None:
    for kind in ("next_state", "delta"):
        following = build_table(episode, made(tmp_path, action={"kind": kind}))
        state = following.columns["observation.state"].values
        expected = state[1:] - (state[:-1] if kind == "delta" else 0)
        assert following.columns["action"].values[:-1] == pytest.approx(expected, abs=1e-6)
        assert len(following) == len(following.cameras["observation.images.front"].index)


def test_joints_are_picked_by_name_even_when_messages_reorder_them(tmp_path: Path) -> None:
    recipe = drive(2.0)
    recipe.add("/joint_states", steps(0, 1, 50), lambda at: joints(at, ["a", "b", "c"]))
    recipe.add("/joint_states", steps(1.01, 2, 50), lambda at: joints(at, ["c", "a", "b"]))
    features = {"observation.state": {"arm": {
        "topic": "/joint_states", "fields": ["position"], "joints": ["c", "a"]
    }}}  # fmt: skip
    column = table(recipe, tmp_path, made(tmp_path, features=features)).columns[
        "observation.state"
    ]
    assert column.names == ["position.c", "position.a"]
    early, late = column.values[0], column.values[-1]
    assert (early[0] - early[1]) == pytest.approx(20.0)
    assert (late[0] - late[1]) == pytest.approx(-10.0)


def test_arrays_elements_and_names_of_the_mapping_are_taken(
    episode: Recording, tmp_path: Path
) -> None:
    features = {"observation.state": {"odom": {
        "topic": "/odom", "fields": ["pose.covariance[7]", "pose.covariance"],
    }}}  # fmt: skip
    column = build_table(episode, made(tmp_path, features=features)).columns["observation.state"]
    assert column.values.shape[1] == 37
    assert column.values[3].tolist() == [7.0, *map(float, range(36))]
    assert column.names[0] == "pose.covariance[7]"
    features["observation.state"]["odom"] = {
        "topic": "/odom", "fields": ["pose.pose.position.x"], "names": ["x"],
    }  # fmt: skip
    column = build_table(episode, made(tmp_path, features=features)).columns["observation.state"]
    assert column.names == ["x"]


def test_a_cameras_own_clock_gives_one_frame_a_picture_and_never_another_rate(
    episode: Recording, tmp_path: Path
) -> None:
    images = {"observation.images.rear": {"topic": REAR}}
    clock = "observation.images.rear"
    with pytest.raises(DialtoneError, match=r"15\.00 Hz.*30 fps.*give fps: 15"):
        build_table(episode, made(tmp_path, images=images, clock=clock))
    own = build_table(episode, made(tmp_path, images=images, clock=clock, fps=15))
    camera = own.cameras[clock]
    assert (np.diff(camera.index) == 1).all()
    assert (own.times_ns == camera.pictures.stamps[camera.index]).all()
    slow = build_table(episode, made(tmp_path, images=images))
    assert slow.cameras[clock].rate_hz == pytest.approx(15.0, abs=0.01)


def gap(seconds: tuple[float, float]) -> Recipe:
    recipe = drive()
    recipe.messages = [
        each
        for each in recipe.messages
        if each[0] != "/odom" or not seconds[0] < each[2] < seconds[1]
    ]
    return recipe


def test_an_episode_outside_of_tolerance_is_refused_with_the_numbers(tmp_path: Path) -> None:
    recording = Recording(gap((1.0, 2.0)).write(tmp_path / "gap"))
    with pytest.raises(DialtoneError) as refused:
        build_table(recording, made(tmp_path))
    line = str(refused.value)
    assert "observation.state.odom: 15 frames, worst 0.9" in line
    assert "allowed 0.5 s" in line
    assert refused.value.exit_code == 2
    forced = build_table(recording, made(tmp_path), force=True)
    assert forced.report["outside_tolerance"] == {"observation.state.odom": 15}
    allowed = made(tmp_path, tolerance={"bad_frames_percent": 20.0})
    assert len(build_table(recording, allowed)) == len(forced)


def test_drop_leaves_the_frames_out_and_keeps_their_real_time(tmp_path: Path) -> None:
    recording = Recording(gap((1.0, 2.0)).write(tmp_path / "gap"))
    features = yaml.safe_load(MINIMAL)["features"]
    features["observation.state"]["odom"]["align"] = "drop"
    dropped = build_table(recording, made(tmp_path, features=features))
    assert dropped.dropped == 15
    assert np.diff(dropped.columns["timing.recorded_s"].values[:, 0]).max() > 0.5


def test_clocks_that_disagree_are_found_before_they_align_into_nonsense(tmp_path: Path) -> None:
    recipe = drive()
    recipe.messages = [each for each in recipe.messages if each[0] != "/odom"]
    recipe.add("/odom", steps(0, 4, 50), lambda at: odometry(at, ns(at + 170)))
    recording = Recording(recipe.write(tmp_path / "clocks"))
    with pytest.raises(DialtoneError, match=r"observation\.state\.odom run 170\.000 s ahead"):
        build_table(recording, made(tmp_path))
    assert len(build_table(recording, made(tmp_path, timeline="receive"))) > 100


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fps": "fast"}, r"mapping\.yaml.*fps is 'fast'"),
        ({"fsp": 30}, "did you mean fps"),
        ({"clock": "front"}, "clock is 'front'"),
        ({"action": {"kind": "applied"}}, "action has no topic"),
        ({"action": {"kind": "guess"}}, r"action\.kind is 'guess'.*one of applied"),
        ({"action": {"kind": "delta", "of": "x"}}, r"action\.of is 'x'"),
        ({"images": {"a/b": {"topic": "/x"}}}, "'a/b'"),
        ({"features": {"timing.age_s": {}}}, "timing"),
        ({"features": {"s": {"p": {"topic": "/odom", "fields": "x"}}}}, "fields is 'x'.*a list"),
        ({"features": {"s": {"p": {"topic": "/odom", "fields": ["x"], "align": "q"}}}}, "align"),
    ],
)
def test_a_wrong_mapping_is_one_line_that_names_file_and_field(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told) as wrong:
        made(tmp_path, **change)
    assert "mapping.yaml" in str(wrong.value)
    assert wrong.value.exit_code == 2


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"topic": "/odo", "fields": ["x"]}, "no message of /odo was recorded.*map one of.*/odom"),
        ({"topic": "/odom", "fields": ["pose.pose.x"]}, r"no field 'pose\.pose\.x'.*known"),
        ({"topic": "/odom", "fields": ["child_frame_id"]}, "child_frame_id.*no number"),
        ({"topic": "/odom", "fields": ["pose.covariance[99]"]}, "36 elements"),
        ({"topic": "/odom", "fields": ["pose.pose.position.x"], "units": ["m", "m"]}, "2 units"),
        ({"topic": "/odom", "fields": ["pose.pose.position.x"], "names": ["a", "b"]}, "2 names"),
        ({"topic": "/odom", "fields": ["pose.covariance"], "joints": ["a"]}, "no field 'name'"),
    ],
)
def test_a_mapping_that_does_not_fit_the_episode_names_feature_and_topic(
    episode: Recording, tmp_path: Path, source: dict[str, Any], told: str
) -> None:
    with pytest.raises(DialtoneError, match=told) as wrong:
        build_table(episode, made(tmp_path, features={"observation.state": {"odom": source}}))
    assert "observation.state.odom" in str(wrong.value)


def test_a_topic_without_header_or_picture_is_refused_where_one_is_needed(tmp_path: Path) -> None:
    recipe = drive(2.0)
    recipe.add("/cmd_vel", steps(0, 2, 20), lambda at: twist_stamped(at, at, 0).twist)
    recording = Recording(recipe.write(tmp_path / "bare"))
    bare = {"kind": "command", "source": {"topic": "/cmd_vel", "fields": ["linear.x"]}}
    with pytest.raises(DialtoneError, match=r"/cmd_vel has no header.*timeline: publish"):
        build_table(recording, made(tmp_path, action=bare))
    bare["source"] |= {"timeline": "publish"}  # type: ignore[operator]
    assert len(build_table(recording, made(tmp_path, action=bare))) > 50
    with pytest.raises(DialtoneError, match="/odom is a nav_msgs/msg/Odometry"):
        build_table(recording, made(tmp_path, images={"i": {"topic": "/odom"}}))


def test_pictures_that_come_out_of_order_are_left_out_and_counted(tmp_path: Path) -> None:
    recipe = drive(2.0)
    late = image(0.5, picture(1))
    recipe.messages.append((FRONT, late.__msgtype__, 1.5, late))
    made_table = table(recipe, tmp_path, made(tmp_path))
    assert made_table.report["disordered"] == {"observation.images.front": 1}
    shown = list(made_table.shown())
    assert sum(each.frames for each in shown) == len(made_table)
    assert [each.first for each in shown] == sorted(each.first for each in shown)


def test_a_suggested_mapping_reads_back_and_fits_its_episode(
    episode: Recording, tmp_path: Path
) -> None:
    suggested = suggest(episode)
    assert suggested.fps == 30
    assert suggested.action.kind == "applied"
    assert list(suggested.images) == ["observation.images.front", "observation.images.rear"]
    path = tmp_path / "suggested.yaml"
    path.write_text(mappings.dump(suggested), encoding="utf-8")
    again = mappings.load(path)
    assert again == suggested
    made_table = build_table(episode, again)
    assert len(made_table) > 100
    assert math.isfinite(float(made_table.columns["observation.state"].values.sum()))
