"""Puts the helpers of this folder on the path of its tests; what tests of the node share."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from recorder_rig import Publisher, Recorder, running_server

from dialtone_core.ports import free_ports


@pytest.fixture(scope="module")
def publisher() -> Iterator[Publisher]:
    made = Publisher()
    yield made
    made.close()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A real nats-server on a port that was free."""
    (port,) = free_ports(1)
    with running_server(port) as made:
        yield made


@pytest.fixture
def recorder(tmp_path: Path, url: str, publisher: Publisher) -> Iterator[Recorder]:
    made = Recorder(tmp_path / "episodes", url)
    yield made
    made.close()
