"""LeRobot datasets: what its readers rely on, and what strangers' validators say."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import av
import numpy as np
import orjson
import pandas as pd
import pyarrow.parquet as pq
import pytest
from made_episode import START_NS, drive

from dialtone_recorder import datastats
from dialtone_recorder import mapping as mappings
from dialtone_recorder.exporting import check, export
from dialtone_recorder.recording import Recording
from dialtone_recorder.suggest import suggest

FRONT = "observation.images.front"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lerobot")
    episodes = [drive(12.0, offset=n / 10).write(folder / f"e{n}") for n in range(2)]
    export("lerobot", episodes, folder / "out", suggest(Recording(episodes[0])))
    return folder / "out"


def test_papers_and_columns_are_those_of_version_3(dataset: Path) -> None:
    info = orjson.loads((dataset / "meta/info.json").read_bytes())
    assert (info["codebase_version"], info["fps"], info["total_episodes"]) == ("v3.0", 30, 2)
    assert info["splits"] == {"train": "0:2"}
    assert info["features"][FRONT]["info"]["video.codec"] == "h264"
    assert info["features"][FRONT]["info"]["video.pix_fmt"] == "yuv420p"
    data = pq.ParquetFile(dataset / "data/chunk-000/file-000.parquet")
    assert data.num_row_groups == 2
    schema = data.schema_arrow
    assert str(schema.field("action").type).startswith("fixed_size_list")
    assert str(schema.field("timestamp").type) == "float"
    tasks = pd.read_parquet(dataset / "meta/tasks.parquet")
    assert tasks.index.name == "task"
    assert tasks.loc["drive", "task_index"] == 0
    rows = pd.read_parquet(dataset / "meta/episodes/chunk-000/file-000.parquet")
    assert rows["dataset_from_index"].tolist() == [0, rows["length"][0]]
    first = rows[f"videos/{FRONT}/to_timestamp"][0]
    assert rows[f"videos/{FRONT}/from_timestamp"][1] == first == rows["length"][0] / 30
    assert set(datastats.QUANTILES) | {"min", "max", "mean", "std", "count"} == set(
        orjson.loads((dataset / "meta/stats.json").read_bytes())["action"]
    )


def test_each_video_frame_is_the_newest_picture_of_its_instant(dataset: Path) -> None:
    paper = orjson.loads((dataset / "provenance.json").read_bytes())["episodes"][0]
    count = paper["frames"]
    with av.open(str(dataset / f"videos/{FRONT}/chunk-000/file-000.mp4")) as video:
        frames = [frame.to_ndarray(format="gray") for frame in video.decode(video=0)]
    start = (paper["start_ns"] - START_NS) / 1e9
    for number in range(0, count, 7):
        shown = round(float(frames[number][30:, 30:].mean()) / 4) % 60
        assert shown == int((start + number / 30 - 0.005) * 30 + 1e-6) % 60, number


def test_statistics_of_the_whole_are_exact(dataset: Path) -> None:
    told = orjson.loads((dataset / "meta/stats.json").read_bytes())
    table = pq.read_table(dataset / "data/chunk-000/file-000.parquet")
    values = np.stack(table["observation.state"].to_numpy(zero_copy_only=False))
    for name, share in datastats.QUANTILES.items():
        assert told["observation.state"][name] == pytest.approx(
            np.quantile(values.astype(np.float64), share, axis=0)
        )
    assert np.shape(told[FRONT]["mean"]) == (3, 1, 1)
    assert 0 < told[FRONT]["mean"][0][0][0] < 1


def test_files_end_below_their_limits_and_between_episodes(tmp_path: Path) -> None:
    episodes = [drive(3.0, offset=n / 10).write(tmp_path / f"e{n}") for n in range(3)]
    base = suggest(Recording(episodes[0])).to_json()
    base["limits"] = {"data_mb": 1, "video_mb": 1, "chunk_files": 2}
    base["video"] = {"crf": 0, "gop": 1}
    base["images"] = {FRONT: base["images"][FRONT]}
    mapping = mappings.from_json(base, "test")
    out = tmp_path / "out"
    export("lerobot", episodes, out, mapping)
    export("lerobot", [drive(2.0, offset=0.7).write(tmp_path / "e3")], out, mapping, append=True)
    assert check(out) == []
    videos = sorted(out.glob("videos/*/*/*.mp4"))
    assert len(videos) >= 2
    rows = pd.concat(pd.read_parquet(p) for p in sorted(out.glob("meta/episodes/*/*.parquet")))
    assert rows["episode_index"].tolist() == [0, 1, 2, 3]
    assert rows["meta/episodes/file_index"].tolist() == [0, 0, 0, 1]
    assert rows["data/file_index"].tolist() == [0, 0, 0, 1]


def test_av1_is_encoded_where_it_is_asked_for(tmp_path: Path) -> None:
    episode = drive(2.0).write(tmp_path / "e")
    base = suggest(Recording(episode)).to_json() | {"video": {"codec": "av1", "crf": 40}}
    export("lerobot", [episode], tmp_path / "out", mappings.from_json(base, "test"))
    info = orjson.loads((tmp_path / "out/meta/info.json").read_bytes())
    assert info["features"][FRONT]["info"]["video.codec"] == "av1"
    assert check(tmp_path / "out") == []


@pytest.mark.parametrize(
    "command",
    ["lerobot-doctor check --ci --fail-on fail", "robovet doctor"],
)
def test_strangers_validators_pass_it(dataset: Path, command: str) -> None:
    program, *words = command.split()
    done = subprocess.run(
        [Path(sysconfig.get_path("scripts")) / program, *words, dataset],
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CLEAN" in done.stdout or '"FAIL": 0' in done.stdout
