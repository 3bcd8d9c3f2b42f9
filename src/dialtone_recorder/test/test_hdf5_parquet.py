"""The HDF5 and plain parquet formats, as their readers open them."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from made_episode import drive

from dialtone_core.errors import DialtoneError
from dialtone_recorder import mapping as mappings
from dialtone_recorder.exporting import check, export
from dialtone_recorder.recording import Recording
from dialtone_recorder.suggest import suggest


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return drive(2.0).write(tmp_path / "e")


def test_hdf5_is_laid_out_as_act_reads_it(episode: Path, tmp_path: Path) -> None:
    export("hdf5", [episode], tmp_path / "out", suggest(Recording(episode)))
    with h5py.File(tmp_path / "out/episode_0.hdf5") as file:
        frames = len(file["action"])
        assert frames > 50
        assert not file.attrs["sim"]
        assert file["observations/qpos"].shape[0] == frames
        assert file["observations/qvel"].shape == (frames, 0)
        assert file["observations/images/front"].shape == (frames, 48, 64, 3)
        assert file["observations/images/front"].dtype == np.uint8
        assert file["observations/images/rear"].attrs["rate_hz"] == pytest.approx(15.0, abs=0.01)
        red = file["observations/images/front"][5, 4, 4]
        assert red[2] > red[0]  # the corner is blue: (200, 60, 20) in OpenCV's order
        assert "timing.age_s" in file


def test_the_jpeg_variant_keeps_the_recorded_bytes(episode: Path, tmp_path: Path) -> None:
    tree = suggest(Recording(episode)).to_json() | {"hdf5_images": "jpeg"}
    export("hdf5", [episode], tmp_path / "out", mappings.from_json(tree, "test"))
    assert check(tmp_path / "out") == []
    recorded = {
        raw.data.split(b"\xff\xd8", 1)[1]
        for raw in Recording(episode).messages(["/camera/front/image_raw/compressed"])
    }
    with h5py.File(tmp_path / "out/episode_0.hdf5") as file:
        lengths = file["compress_len"][0]
        for frame in (0, 20, 40):
            data = bytes(file["observations/images/front"][frame, : lengths[frame]])
            assert any(each.startswith(data[2:]) for each in recorded)
            assert cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape == (48, 64, 3)


def test_hdf5_without_a_state_is_refused(episode: Path, tmp_path: Path) -> None:
    tree = suggest(Recording(episode)).to_json()
    tree["features"] = {"observation.other": tree["features"]["observation.state"]}
    with pytest.raises(DialtoneError, match=r"observation\.qpos, observation\.state"):
        export("hdf5", [episode], tmp_path / "out", mappings.from_json(tree, "test"))


def test_parquet_has_a_column_a_number_and_a_file_a_picture(episode: Path, tmp_path: Path) -> None:
    export("parquet", [episode], tmp_path / "out", suggest(Recording(episode)))
    table = pq.read_table(tmp_path / "out/episode_000000.parquet")
    assert "observation.state.twist.twist.linear.x" in table.column_names
    assert "timing.age_s.action" in table.column_names
    rear = table["observation.images.rear"].to_pylist()
    assert len(set(rear)) < 0.6 * len(rear)  # 15 Hz in 30 fps: each file is named twice
    assert all((tmp_path / "out" / path).is_file() for path in rear)
    assert np.diff(table["time_ns"].to_numpy()).min() > 30_000_000
