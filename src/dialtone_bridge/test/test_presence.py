"""What is taken for a robot's presence, and who is there by it; on a clock of the test's."""

from __future__ import annotations

import orjson
import pytest

from dialtone_bridge.presence import Roll, read_presence
from dialtone_bridge.verbs.fleet import server_time_s
from dialtone_core.errors import WireError


def presence(**other: object) -> bytes:
    return orjson.dumps({"robot": "rover", "version": "1", "rtt_ms": None, **other})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "not_json"),
        (b"[]", "not_object"),
        (b'{"version": "1"}', "wrong_robot"),
        (presence(robot="scout"), "wrong_robot"),
        (presence(stamp_ns="now"), "wrong_type"),
        (presence(rtt_ms=True), "wrong_type"),
        (presence(version=None), "wrong_type"),
        (presence(routes=[]), "wrong_type"),
        (presence(more="x" * 300_000), "too_big"),
    ],
)
def test_what_is_no_presence_is_refused_by_name(data: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        read_presence("rover", data)
    assert caught.value.reason == reason


def test_a_presence_may_say_less_or_more_than_we_know() -> None:
    assert read_presence("rover", b'{"robot": "rover"}') == {"robot": "rover"}
    assert read_presence("rover", presence(rtt_ms=1, new=[1]))["new"] == [1]


def test_a_robot_that_restarts_is_one_and_two_that_alternate_are_a_clash() -> None:
    roll = Roll(15.0)
    restarts = [roll.seen("rover", name, at_s) for at_s, name in enumerate("aaabbc")]
    assert restarts == [False] * 6
    assert roll.seen("rover", "b", 7.0)
    assert roll.seen("rover", "c", 8.0)
    assert not roll.seen("scout", "c", 9.0)
    assert not roll.seen("rover", "c", 69.0)  # the other one has gone


def test_who_says_nothing_for_too_long_is_gone_once() -> None:
    roll = Roll(15.0)
    roll.seen("rover", "a", 0.0)
    roll.seen("scout", "b", 10.0)
    roll.seen("left", "c", 0.0)
    roll.forget("left")
    assert roll.take_gone(15.0) == []
    assert roll.take_gone(16.0) == ["rover"]
    assert roll.take_gone(16.0) == []
    assert roll.take_gone(26.0) == ["scout"]


def test_a_servers_time_has_any_number_of_decimals() -> None:
    assert server_time_s("1970-01-01T00:01:00Z") == 60.0
    assert server_time_s("1970-01-01T00:01:00.123456789Z") == pytest.approx(60.123456789)
    assert server_time_s("") == 0.0
