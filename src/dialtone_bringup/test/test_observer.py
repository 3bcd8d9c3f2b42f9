"""The oracle that judges setpoints, judged."""

from __future__ import annotations

from dialtone_bringup.observer import AHEAD, BACK, Oracle, Seen


def test_the_oracle_knows_a_forbidden_setpoint() -> None:
    oracle = Oracle()
    oracle.allow(AHEAD)
    start_ns = oracle.spans[0][1]
    oracle.forbid(AHEAD, 0.0)
    end_ns = oracle.spans[0][2]
    assert oracle.allowed(Seen(end_ns, AHEAD, {}))
    assert oracle.allowed(Seen(end_ns + 1, 0, {}))
    assert not oracle.allowed(Seen(end_ns + 1, AHEAD, {}))
    assert not oracle.allowed(Seen(start_ns - 1, AHEAD, {}))
    assert not oracle.allowed(Seen(start_ns, BACK, {}))
    assert not oracle.allowed(Seen(start_ns, 2, {})), "a sideways or broken setpoint is never"
