"""Late, repeated and reordered commands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_core.command import Command, Envelope, Twist
from dialtone_teleop.freshness import MAX_SENDERS, Freshness

MS = 1_000_000
S = 1_000 * MS


def command(
    received_ns: int, seq: int | None = None, issued_ns: int | None = None, operator: str = "ada"
) -> Command:
    return Command("nats", Twist(0.1), received_ns, Envelope(operator, seq, None, issued_ns))


def test_the_same_number_is_replayed_and_a_lower_one_reordered() -> None:
    fresh = Freshness(0.5)
    assert fresh.refuse(command(0, 5)) == ""
    assert fresh.refuse(command(1, 5)) == "replayed"
    assert fresh.refuse(command(2, 4)) == "reordered"
    assert fresh.refuse(command(3, 6)) == ""


def test_two_operators_count_for_themselves() -> None:
    fresh = Freshness(0.5)
    assert fresh.refuse(command(0, 5, operator="ada")) == ""
    assert fresh.refuse(command(1, 1, operator="bob")) == ""


def test_an_operator_who_restarted_begins_at_one_after_a_silence() -> None:
    fresh = Freshness(0.5)
    fresh.refuse(command(0, 500))
    assert fresh.refuse(command(1 * S, 1)) == "reordered"
    assert fresh.refuse(command(2 * S, 1)) == ""


@pytest.mark.parametrize("offset_ns", [0, 3600 * S, -3600 * S, 10**18])
def test_a_stalled_network_that_releases_its_commands_moves_nothing(offset_ns: int) -> None:
    fresh = Freshness(0.5)
    for index in range(20):
        at = index * 50 * MS
        assert fresh.refuse(command(at + 20 * MS, None, at + offset_ns)) == ""
    for index in range(20, 100):
        issued = index * 50 * MS
        expected = "stale" if 6 * S - issued > 521 * MS else ""
        assert fresh.refuse(command(6 * S, None, issued + offset_ns)) == expected


def test_what_a_long_outage_held_back_moves_nothing_either() -> None:
    fresh = Freshness(0.5)
    for index in range(200):
        assert fresh.refuse(command(index * 50 * MS, None, index * 50 * MS)) == ""
    for index in range(200, 2000):
        issued = index * 50 * MS
        if fresh.refuse(command(100 * S, None, issued)) == "":
            assert issued >= 100 * S - 500 * MS


@pytest.mark.parametrize("step_ns", [3600 * S, -3600 * S])
def test_a_stepped_clock_is_forgiven_within_ten_seconds(step_ns: int) -> None:
    fresh = Freshness(0.5)
    for index in range(100):
        fresh.refuse(command(index * 50 * MS, None, index * 50 * MS))
    refused = [
        index
        for index in range(100, 400)
        if fresh.refuse(command(index * 50 * MS, None, index * 50 * MS + step_ns))
    ]
    assert len(refused) <= 200
    assert not refused or refused[-1] < 310


def test_commands_without_number_or_stamp_pass() -> None:
    fresh = Freshness(0.5)
    assert [fresh.refuse(command(at)) for at in (0, 0, 1)] == ["", "", ""]


def test_a_flood_of_names_does_not_fill_the_memory() -> None:
    fresh = Freshness(0.5)
    for index in range(10 * MAX_SENDERS):
        fresh.refuse(command(index, 1, operator=f"o{index}"))
    assert len(fresh._senders) == MAX_SENDERS


@given(st.lists(st.tuples(st.integers(0, S), st.integers(0, 30)), max_size=60))
def test_accepted_numbers_rise_unless_a_silence_lies_between(
    steps: list[tuple[int, int]],
) -> None:
    fresh, now_ns, last, heard_ns = Freshness(0.5), 0, -1, 0
    for wait_ns, seq in steps:
        now_ns += wait_ns
        if fresh.refuse(command(now_ns, seq)) == "":
            assert seq > last or now_ns - heard_ns >= 2 * S
            last, heard_ns = seq, now_ns
