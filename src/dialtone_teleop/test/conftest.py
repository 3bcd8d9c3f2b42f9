"""What the tests of teleop share."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_path = Path(__file__).with_name("mavlink_peer.py")
_spec = importlib.util.spec_from_file_location("mavlink_peer", _path)
assert _spec is not None
assert _spec.loader is not None
_peer = importlib.util.module_from_spec(_spec)
sys.modules["mavlink_peer"] = _peer
_spec.loader.exec_module(_peer)


@pytest.fixture
def until() -> Callable[..., object]:
    """Polls a condition to a deadline: ``until(what, condition, deadline_s)``."""
    return _peer.until  # type: ignore[no-any-return]
