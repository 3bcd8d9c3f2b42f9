"""What the tests of teleop share."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def _load(name: str) -> ModuleType:
    """Make the helper beside this file importable by its name, whatever else is on the path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_peer = _load("mavlink_peer")
_load("nats_rig")
_load("node_rig")
_load("serial_peers")
_load("actuator_rigs")
_load("drive_rig")


@pytest.fixture
def until() -> Callable[..., object]:
    """Polls a condition to a deadline: ``until(what, condition, deadline_s)``."""
    return _peer.until  # type: ignore[no-any-return]
