"""Whose commands may move the robot at all: the lease, for every source that is a person's.

A command that names its operator needs that operator to hold the lease. One that names nobody may
come only from a source that ``lease.implicit`` lists: the first to come drives until it falls
silent (the arbiter sees to that), and a lease that somebody holds beats it. Autonomy needs no
lease; its priority lies below every person's. Pure; times are monotonic ns; not thread-safe.
"""

from __future__ import annotations

from dialtone_core.command import Command
from dialtone_teleop.lease import Lease
from dialtone_teleop.params import TeleopParams


class Authority:
    """Judges each command by who sent it. ``lease`` is asked for changes by its owner."""

    def __init__(self, params: TeleopParams) -> None:
        self.lease = Lease(tuple(params.lease.roles), params.lease.ttl_s)
        self._free = {name for name, source in params.sources.items() if source.autonomy}
        self._implicit = set(params.lease.implicit)

    def refuse(self, command: Command, now_ns: int) -> str:
        """``no_lease`` (nobody holds it, this one must), ``lease_held`` (by another), or ""."""
        if command.source in self._free:
            return ""
        holder = self.lease.holder(now_ns)
        operator = command.envelope.operator
        if holder is not None:
            return "" if operator == holder.operator else "lease_held"
        return "" if not operator and command.source in self._implicit else "no_lease"
