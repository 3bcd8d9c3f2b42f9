"""Puts the helpers of this folder on the path of its tests; the fixture that two of them share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from spinning_rig import Spinning


@pytest.fixture
def spinning() -> Iterator[Spinning]:
    made = Spinning()
    yield made
    made.close()
