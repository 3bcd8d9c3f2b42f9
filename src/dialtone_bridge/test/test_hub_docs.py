"""What the hub page gives for an existing cluster is what our own hub does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dialtone_bridge.hub import HubSettings, hub_permissions, hub_stream


@pytest.fixture(scope="module")
def page() -> str:
    found = next(
        path / "docs" / "hub.md"
        for path in Path(__file__).resolve().parents
        if (path / "docs" / "hub.md").exists()
    )
    return found.read_text(encoding="utf-8")


def test_the_stream_is_ours(page: str) -> None:
    block = re.search(r"```json\n(.*?)```", page, re.S)
    assert block is not None
    assert json.loads(block.group(1)) == hub_stream("rover", HubSettings().stream_max_bytes)


def test_the_permissions_are_ours(page: str) -> None:
    ours = hub_permissions("rover", "robot")
    for name, subjects in (("publish", ours.publish), ("subscribe", ours.subscribe)):
        block = re.search(name + r": \{ allow: (\[.*?\])", page, re.S)
        assert block is not None
        assert tuple(json.loads(block.group(1))) == subjects
