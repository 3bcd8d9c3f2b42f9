"""Parts that are found by name: built in, or offered by an installed distribution."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialtone_core.errors import ConfigError
from dialtone_core.plugins import Plugins

PARTS = Plugins("dialtone.test_parts", {"ours": "dialtone_core.errors:WireError"})


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that offers three parts, two of which cannot be loaded."""
    (tmp_path / "their_part.py").write_text("class Part: pass\n")
    info = tmp_path / "their_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[dialtone.test_parts]\n"
        "theirs = their_part:Part\n"
        "gone = their_part:Nothing\n"
        "poor = their_missing_library:Part\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_what_is_built_in_is_found_without_being_installed() -> None:
    assert PARTS.names() == ["ours"]
    assert PARTS.load("ours", "part").__name__ == "WireError"


def test_what_another_distribution_offers_is_found_by_its_name(installed: None) -> None:
    assert PARTS.names() == ["gone", "ours", "poor", "theirs"]
    assert PARTS.load("theirs", "part").__name__ == "Part"
    PARTS.check("poor", "part")


def test_an_unknown_name_is_one_line_that_lists_the_known_ones(installed: None) -> None:
    for find in (PARTS.load, PARTS.check):
        with pytest.raises(ConfigError) as caught:
            find("warp", "part", "robot")
        says = "robot: part is 'warp'. Fix: give one of gone, ours, poor, theirs"
        assert str(caught.value) == says


@pytest.mark.parametrize(("name", "says"), [("gone", "Nothing"), ("poor", "missing_library")])
def test_a_part_that_cannot_be_loaded_is_one_line_too(
    installed: None, name: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=f"part is '{name}', and .*{says}.*Fix: install"):
        PARTS.load(name, "part")
