"""What could hold up a stop although nobody did anything wrong, and how it is kept from doing so.

* *Other processes on the machine.* The node asks for real-time scheduling, or for a better nice
  value where it may not have that.
* *A listener that is frozen or starved.* Fast DDS writes to a reader on the same machine through
  shared memory under a lock that the reader's process may hold while it is stopped (SIGSTOP,
  Ctrl-Z, no CPU). rclpy publishes with Python's global lock held, so the whole node stood still
  for up to a second with it. The node therefore speaks UDP only: a socket never waits for who
  reads it.
* *A log that nobody reads* (Ctrl-S on the terminal). A pipe that is full loses lines instead.
* *Python's own threads and its garbage collector*: a shorter switch interval, and what was there
  when the node began is not looked through any more.

ROS-free. Everything here is done before rclpy starts, in the main thread; threads inherit it.
"""

from __future__ import annotations

import gc
import os
import resource
import stat
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

from dialtone_core import process

#: Lowest real-time priority: before everything that has none, behind everything that has.
_REAL_TIME = 1
_NICE = -10
#: A real-time thread that computes so long (s) without a pause is caught in a loop: the kernel
#: ends the node (SIGXCPU), and it is started again. Starting takes 1 to 4 s.
_LONGEST_BURST_S = 10
_SWITCH_S = 0.0005
_PROFILES = Path(__file__).parent / "fastdds"
#: Fast DDS 2 (Jazzy) and 3 (Kilted on) ask for their settings under different names.
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
#: What the supervisor gives to every node; it has shared memory, for pictures.
_COMMON_PROFILE = ("dialtone_bringup", "config", "fastdds.xml")
_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"


def prepare(environment: MutableMapping[str, str] | None = None) -> None:
    """Everything of the above that must be done before rclpy starts."""
    sockets_only(os.environ if environment is None else environment)
    never_wait_for_a_reader(1, 2)
    sys.setswitchinterval(_SWITCH_S)
    hurry()


def hurry() -> str:
    """Go before others as far as we may; returns what ``scheduling`` then says."""
    with suppress(OSError, AttributeError):
        _, most = resource.getrlimit(resource.RLIMIT_RTTIME)
        resource.setrlimit(resource.RLIMIT_RTTIME, (_LONGEST_BURST_S * 1_000_000, most))
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_REAL_TIME))
        return scheduling()
    process.hurry(_NICE)
    return scheduling()


def scheduling() -> str:
    """``real time``, ``nice -10``, or ``normal``: how this thread is scheduled."""
    if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR:
        return "real time"
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    return f"nice {nice}" if nice < 0 else "normal"


def sockets_only(environment: MutableMapping[str, str]) -> None:
    """Give Fast DDS settings without shared memory, unless somebody chose other ones.

    Ours for all nodes are replaced. Static peers on a machine that else looks for nobody would be
    lost with the discovery range, so then all stays as it is.
    """
    chosen = {environment[name] for name in _PROFILE_VARIABLES if environment.get(name)}
    if any(Path(path).parts[-3:] != _COMMON_PROFILE for path in chosen):
        return
    local = environment.get(_RANGE, "").upper() == "LOCALHOST"
    if local and environment.get("ROS_STATIC_PEERS"):
        return
    profile = _PROFILES / ("loopback.xml" if local else "network.xml")
    environment.update(dict.fromkeys(_PROFILE_VARIABLES, str(profile)))
    if local:
        environment[_RANGE] = "SYSTEM_DEFAULT"


def never_wait_for_a_reader(*descriptors: int) -> None:
    """Make the pipes among ``descriptors`` lose what does not fit, instead of waiting."""
    for each in descriptors:
        with suppress(OSError):
            if stat.S_ISFIFO(os.fstat(each).st_mode):
                os.set_blocking(each, False)


def settle() -> None:
    """Take all that exists now out of the garbage collector's later rounds."""
    gc.collect()
    gc.freeze()
