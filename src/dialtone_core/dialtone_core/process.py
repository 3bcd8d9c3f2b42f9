"""Child processes that end with their parent, processes that go before others, and their heaps."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
#: malloc.h
_M_ARENA_MAX = -8


def die_with_parent(signum: int = signal.SIGKILL) -> Callable[[], None]:
    """A ``preexec_fn`` that has the kernel signal the child when its parent *thread* ends.

    Source: prctl(2), PR_SET_PDEATHSIG. "Parent" is the thread that forked: start the child from a
    thread that lives as long as the process. A parent that died between fork and prctl is caught.
    """
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True)

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return arm


def follow_parent(signum: int = signal.SIGTERM) -> None:
    """Have the kernel send ``signum`` to *this* process when its parent ends.

    Survives an ``execve`` (prctl(2)), so it holds for a program that this process becomes.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)


def is_running(pid: int, argument: str) -> bool:
    """Whether process ``pid`` was started with ``argument``: pids are given to others in time."""
    try:
        command = Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return False
    return argument.encode() in command.split(b"\0")


#: For what commands pass through on their way, which also moves pictures: not so far before the
#: recorder that it would starve.
COMMANDS_FIRST = -5


def hurry(nice: int) -> None:
    """Go before what may wait on this machine, such as encoders and exports, where we may.

    For the calling thread and those that it starts afterwards; survives an ``execve``. Root and
    CAP_SYS_NICE may, and who has a limit for it (systemd: ``LimitNICE=``); others stay as they
    are.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def share_heaps(count: int = 2) -> None:
    """Let all threads allocate from ``count`` heaps; call before there are any.

    glibc gives threads heaps of their own (mallopt(3), M_ARENA_MAX). Where one thread takes
    messages in and another one sends and frees them, those grow for minutes although nothing is
    kept. Does nothing on another libc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, count)
