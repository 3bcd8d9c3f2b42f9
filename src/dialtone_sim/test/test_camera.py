"""The picture shows the world from the rover's pose."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dialtone_core.errors import WireError
from dialtone_sim.camera import Intrinsics, Mount, Renderer
from dialtone_sim.pose import Pose, decode_pose

INTRINSICS = Intrinsics.from_fov(320, 240, math.radians(70))


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(INTRINSICS, Mount())


def _picture(renderer: Renderer, pose: Pose) -> NDArray[np.int16]:
    return renderer.render(pose).astype(np.int16)


def _difference(one: NDArray[np.int16], two: NDArray[np.int16]) -> float:
    return float(np.abs(one - two).mean())


def test_the_same_pose_gives_the_same_picture_in_another_process(renderer: Renderer) -> None:
    pose = Pose(x=1.0, y=2.0, yaw=0.5)
    assert _difference(_picture(renderer, pose), _picture(renderer, pose)) == 0
    again = Renderer(INTRINSICS, Mount())
    assert _difference(_picture(renderer, pose), _picture(again, pose)) == 0


@pytest.mark.parametrize("moved", [Pose(x=0.2), Pose(y=0.2), Pose(yaw=0.1)])
def test_the_picture_moves_when_the_rover_moves(renderer: Renderer, moved: Pose) -> None:
    assert _difference(_picture(renderer, Pose()), _picture(renderer, moved)) > 2


def test_driving_on_makes_a_cone_grow(renderer: Renderer) -> None:
    def orange(pose: Pose) -> int:
        blue, green, red = np.moveaxis(_picture(renderer, pose), 2, 0)
        return int(((red > 180) & (green < 150) & (blue < 100)).sum())

    # The first cone stands at (3, 0.9).
    sizes = [orange(Pose(x=x, y=0.9)) for x in (0.0, 0.8, 1.6)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_turning_left_moves_what_is_seen_to_the_right(renderer: Renderer) -> None:
    def middle_of_cone(yaw: float) -> float:
        blue, green, red = np.moveaxis(_picture(renderer, Pose(x=1.5, y=0.9, yaw=yaw)), 2, 0)
        columns = np.nonzero((red > 180) & (green < 150) & (blue < 100))[1]
        return float(np.median(columns))

    assert middle_of_cone(0.2) > middle_of_cone(0.0) + 20


def test_a_camera_that_looks_back_sees_what_lies_behind(renderer: Renderer) -> None:
    back = Renderer(INTRINSICS, Mount(x=-0.2, yaw=math.pi))
    turned = _picture(renderer, Pose(yaw=math.pi))
    assert _difference(_picture(back, Pose()), turned) < 1
    assert _difference(_picture(renderer, Pose()), turned) > 2


def test_paving_joints_lie_where_the_intrinsics_say(renderer: Renderer) -> None:
    """The joint at x = 2 m appears at the row that a pinhole of these intrinsics gives."""
    mount, size = renderer.mount, renderer.intrinsics
    forward = 2.0 - mount.x
    angle = math.atan2(mount.z, forward) - mount.pitch
    row = size.cy + size.fy * math.tan(angle)
    # Halfway between two joints in y, so that only the crossing one is seen.
    column = _picture(renderer, Pose(y=0.5))[:, size.width // 2].sum(axis=1)
    window = column[round(row) - 6 : round(row) + 7]
    assert abs(int(np.argmin(window)) - 6) <= 1


def test_the_world_repeats_only_beyond_its_posts_and_far_poses_still_draw(
    renderer: Renderer,
) -> None:
    for pose in (Pose(x=1e5, y=-1e5), Pose(x=-3.99, y=7.99, yaw=99.0)):
        assert _picture(renderer, pose).std() > 10


def test_caption_and_note_change_only_the_topmost_rows(renderer: Renderer) -> None:
    plain = _picture(renderer, Pose())
    labelled = renderer.render(Pose(), "time and pose", "no pose").astype(np.int16)
    assert _difference(plain[:44], labelled[:44]) > 5
    assert _difference(plain[44:], labelled[44:]) == 0


@pytest.mark.parametrize("size", [(16, 16), (160, 120), (1280, 720)])
@pytest.mark.parametrize("pitch", [-0.5, 0.0, 0.9])
def test_any_size_and_tilt_draws_without_a_gap(size: tuple[int, int], pitch: float) -> None:
    made = Renderer(Intrinsics.from_fov(*size, math.radians(90)), Mount(pitch=pitch))
    made._frame[:] = 255
    one = made.render(Pose(x=0.3, yaw=0.2)).copy()
    made._frame[:] = 0
    two = made.render(Pose(x=0.3, yaw=0.2))
    assert np.array_equal(one, two)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-10, 10))
def test_a_pose_survives_the_wire(x: float, yaw: float) -> None:
    pose = Pose(123, x, -x, yaw, 1.5, -0.5)
    assert decode_pose(pose.encode()) == pose


@given(st.binary(max_size=100))
def test_junk_is_no_pose(junk: bytes) -> None:
    with pytest.raises(WireError):
        decode_pose(junk)


def test_a_pose_that_is_not_finite_is_refused() -> None:
    with pytest.raises(WireError, match="not_finite"):
        decode_pose(Pose(1, math.nan).encode())


def test_a_pose_is_carried_on_to_the_moment_of_the_picture_but_not_for_ever() -> None:
    pose = Pose(0, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert pose.at(20_000_000).x == pytest.approx(0.02)
    assert pose.at(5_000_000_000) == pose
    assert pose.at(-5) == pose
