"""What every dataset format promises; a new one is added to the list and passes unchanged."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from made_episode import FRONT, drive, image

from dialtone_core.errors import DialtoneError
from dialtone_recorder import mapping as mappings
from dialtone_recorder.exporting import check, export
from dialtone_recorder.exports.base import exporter_names, find_exporter
from dialtone_recorder.mapping import Mapping
from dialtone_recorder.recording import Recording
from dialtone_recorder.suggest import suggest

FORMATS = exporter_names()


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("episodes")
    return [drive(2.0, offset=n / 10).write(folder / f"episode-{n}") for n in range(3)]


@pytest.fixture(scope="module")
def mapping(episodes: list[Path]) -> Mapping:
    return suggest(Recording(episodes[0]))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_is_good_and_tells_what_it_was_made_of(
    kind: str, episodes: list[Path], mapping: Mapping, tmp_path: Path
) -> None:
    told: list[float] = []
    out = tmp_path / "out"
    done = export(kind, episodes[:2], out, mapping, on_progress=lambda _, part: told.append(part))
    assert done.episodes == 2
    assert check(out) == []
    paper = orjson.loads((out / "provenance.json").read_bytes())
    assert [each["name"] for each in paper["episodes"]] == ["episode-0", "episode-1"]
    assert sum(each["frames"] for each in paper["episodes"]) == done.frames
    assert paper["mapping_sha256"] == mapping.digest()
    assert set(paper["files"]) == contents(out).keys() - {"provenance.json"}
    assert str(tmp_path) not in (out / "provenance.json").read_text()
    assert any("rear is slow: 15.0 pictures a second" in note for note in done.notes)
    assert max(told) == 1.0
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_input_and_mapping_make_the_same_bytes(
    kind: str, episodes: list[Path], mapping: Mapping, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        export(kind, episodes[:2], tmp_path / name, mapping)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("kind", FORMATS)
def test_appending_adds_episodes_and_leaves_the_old_files_as_they_were(
    kind: str, episodes: list[Path], mapping: Mapping, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export(kind, episodes[:1], out, mapping)
    before = contents(out)
    export(kind, episodes[1:], out, mapping, append=True)
    assert check(out) == []
    after = contents(out)
    paper = orjson.loads(after["provenance.json"])
    assert len(paper["episodes"]) == 3
    kept = [n for n in before if n.startswith(("data", "videos", "episode", "frames"))]
    assert kept
    assert all(after[name] == before[name] for name in kept)
    with pytest.raises(DialtoneError, match="episode-1 is in it already"):
        export(kind, episodes[1:2], out, mapping, append=True)
    other = mappings.from_json(mapping.to_json() | {"fps": 10}, "test")
    with pytest.raises(DialtoneError, match="fps differs"):
        export(kind, episodes[:1], out, other, append=True)
    assert contents(out) == after


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("append", [False, True])
def test_a_failure_in_the_middle_leaves_everything_as_it_was(
    kind: str, append: bool, episodes: list[Path], mapping: Mapping, tmp_path: Path
) -> None:
    recipe = drive(2.0)
    recipe.messages = [
        (t, y, at, image(at, b"\xff\xd8 no JPEG") if t == FRONT and at > 1.5 else m)
        for t, y, at, m in recipe.messages
    ]
    broken = recipe.write(tmp_path / "broken")
    out = tmp_path / "out"
    if append:
        export(kind, episodes[:1], out, mapping)
    before = contents(out) if append else {}
    if kind == "parquet":
        # Recorded bytes are copied, not decoded: the check is what finds them.
        export(kind, [broken], out, mapping, append=append)
        assert any("is no picture" in problem for problem in check(out))
        return
    with pytest.raises(DialtoneError, match=r"observation\.images\.front.*cannot be decoded"):
        export(kind, [episodes[1], broken], out, mapping, append=append)
    assert (contents(out) if append else {}) == before
    assert out.exists() == append
    assert sorted(p.name for p in tmp_path.iterdir()) == (
        ["broken", "out"] if append else ["broken"]
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_is_overwritten(
    kind: str, episodes: list[Path], mapping: Mapping, tmp_path: Path
) -> None:
    (tmp_path / "kept").write_text("mine")
    for out in (tmp_path, tmp_path / "kept"):
        with pytest.raises(DialtoneError, match="exists already"):
            export(kind, episodes[:1], out, mapping)
    with pytest.raises(DialtoneError, match="no dataset to append to"):
        export(kind, episodes[:1], tmp_path / "new", mapping, append=True)
    with pytest.raises(DialtoneError, match="cannot write there"):
        export(kind, episodes[:1], tmp_path / "kept" / "in", mapping)
    assert (tmp_path / "kept").read_text() == "mine"


@pytest.mark.parametrize("kind", FORMATS)
def test_the_check_finds_a_changed_a_missing_and_a_foreign_file(
    kind: str, episodes: list[Path], mapping: Mapping, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export(kind, episodes[:1], out, mapping)
    names = contents(out).keys() - {"provenance.json"}
    biggest = max((out / name for name in names), key=lambda path: path.stat().st_size)
    data = bytearray(biggest.read_bytes())
    data[len(data) // 2] ^= 0xFF
    biggest.write_bytes(data)
    (out / "note.txt").write_text("x")
    problems = check(out)
    assert f"{biggest}: changed since it was exported" in problems
    assert f"{out / 'note.txt'}: not of this export" in problems
    biggest.unlink()
    assert f"{biggest}: missing" in check(out)


def test_an_unknown_format_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DialtoneError, match="hdf5, lerobot, parquet"):
        find_exporter("rlds")
