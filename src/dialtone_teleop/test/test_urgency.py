"""What must not hold up a stop: other processes, frozen listeners, a log that nobody reads."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from dialtone_teleop.urgency import never_wait_for_a_reader, sockets_only

COMMON = "/opt/ws/share/dialtone_bringup/config/fastdds.xml"
BOTH = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


@pytest.mark.parametrize(
    ("given", "profile", "discovery"),
    [
        ({}, "network.xml", None),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, "network.xml", "SUBNET"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, "loopback.xml", "SYSTEM_DEFAULT"),
        ({BOTH[0]: COMMON, BOTH[1]: COMMON}, "network.xml", None),
        ({BOTH[0]: "/home/ada/mine.xml"}, None, None),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_STATIC_PEERS": "10.0.0.2"},
         None, "LOCALHOST"),
    ],
)  # fmt: skip
def test_fast_dds_gets_no_shared_memory_unless_somebody_chose_other_settings(
    given: dict[str, str], profile: str | None, discovery: str | None
) -> None:
    environment = dict(given)
    sockets_only(environment)
    assert environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE") == discovery
    for name in BOTH:
        if profile is None:
            assert environment.get(name) == given.get(name)
        else:
            assert Path(environment[name]).name == profile
            assert Path(environment[name]).is_file()


def test_a_log_that_nobody_reads_loses_lines_and_holds_nobody_up() -> None:
    reader, writer = os.pipe()
    try:
        never_wait_for_a_reader(writer)
        with suppress(BlockingIOError):
            while os.write(writer, bytes(65536)):
                pass
    finally:
        os.close(reader)
        os.close(writer)


def test_a_node_that_may_goes_before_others_and_says_how() -> None:
    code = "from dialtone_teleop.urgency import hurry, scheduling; print(hurry(), scheduling())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("real time real time", "nice -10 nice -10", "normal normal")
    if os.geteuid() == 0:
        assert not done.stdout.startswith("normal")
