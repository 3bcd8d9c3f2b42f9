"""The latch file of the e-stop."""

from __future__ import annotations

from pathlib import Path

from dialtone_teleop.estop import EStopFile


def test_what_was_latched_is_read_again_until_it_is_cleared(tmp_path: Path) -> None:
    file = EStopFile(tmp_path / "estop" / "rover.json")
    assert file.read() is None
    file.write("ada/3f2a")
    assert EStopFile(tmp_path / "estop" / "rover.json").read() == "ada/3f2a"
    file.write(None)
    file.write(None)
    assert file.read() is None


def test_a_file_that_makes_no_sense_counts_as_latched(tmp_path: Path) -> None:
    path = tmp_path / "rover.json"
    for text in (b"", b"{", b"[]", b"{}", b"\xff"):
        path.write_bytes(text)
        assert EStopFile(path).read() == "unknown"
