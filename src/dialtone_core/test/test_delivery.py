"""Lanes are bounded, count what they drop, and are served by priority, in turn."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_core.delivery import LATEST, Outbox, Policy, Priority


def _drained(outbox: Outbox[int], limit: int = 1000) -> list[tuple[str, int]]:
    return [(lane.name, item) for lane, item in outbox.drain(limit)]


@given(st.lists(st.integers(1, 50)), st.integers(1, 10), st.integers(1, 200))
def test_a_queue_never_exceeds_its_bounds_and_counts_every_loss(
    sizes: list[int], max_messages: int, max_bytes: int
) -> None:
    outbox: Outbox[int] = Outbox()
    lane = outbox.open_lane("a", Policy("queue", max_messages, max_bytes))
    for number, size in enumerate(sizes):
        lane.put(number, size)
        assert len(lane) <= max_messages
        assert lane.waiting_bytes <= max_bytes or len(lane) == 1
    kept = [item for _, item in _drained(outbox)]
    assert kept == list(range(len(sizes)))[len(sizes) - len(kept) :]
    assert lane.dropped + lane.delivered == len(sizes)


def test_latest_keeps_the_newest_only() -> None:
    outbox: Outbox[int] = Outbox()
    lane = outbox.open_lane("video", LATEST)
    for number in range(5):
        lane.put(number, 100)
    assert _drained(outbox) == [("video", 4)]
    assert (lane.dropped, lane.dropped_bytes) == (4, 400)


def test_a_command_goes_first_and_peers_take_turns() -> None:
    outbox: Outbox[int] = Outbox()
    bulk = outbox.open_lane("bulk", priority=Priority.BULK)
    one = outbox.open_lane("one")
    two = outbox.open_lane("two")
    command = outbox.open_lane("command", priority=Priority.COMMAND)
    for lane in (bulk, one, two):
        lane.put(1, 1)
        lane.put(2, 1)
    command.put(0, 1)
    names = [name for name, _ in _drained(outbox)]
    assert names == ["command", "one", "two", "one", "two", "bulk", "bulk"]


def test_a_command_that_arrives_after_a_drain_overtakes_what_waits() -> None:
    outbox: Outbox[int] = Outbox()
    lane = outbox.open_lane("telemetry")
    command = outbox.open_lane("command", priority=Priority.COMMAND)
    lane.put(1, 1)
    lane.put(2, 1)
    seen = _drained(outbox, 1)
    command.put(9, 1)
    seen += _drained(outbox)
    assert seen == [("telemetry", 1), ("command", 9), ("telemetry", 2)]


@given(st.lists(st.integers(1, 50)), st.integers(1, 200))
def test_a_drain_ends_with_the_item_that_passes_its_bytes(sizes: list[int], most: int) -> None:
    outbox: Outbox[int] = Outbox()
    lane = outbox.open_lane("a")
    lane.put_all([(size, size) for size in sizes])
    while lane.waiting_bytes:
        taken = [item for _, item in outbox.drain(max_bytes=most)]
        assert sum(taken) > most or not lane.waiting_bytes
        assert sum(taken[:-1]) <= most
    assert lane.delivered == len(sizes)


async def test_a_burst_keeps_the_bounds_and_wakes_the_reader_once() -> None:
    outbox: Outbox[int] = Outbox()
    outbox.bind(asyncio.get_running_loop())
    lane = outbox.open_lane("a", Policy("queue", 5))
    lane.put_all([(number, 10) for number in range(20)])
    await asyncio.wait_for(outbox.wait(), 5)
    assert _drained(outbox) == [("a", number) for number in range(15, 20)]
    assert (lane.dropped, lane.dropped_bytes, lane.waiting_bytes) == (15, 150, 0)


async def test_items_cross_from_a_thread_to_the_loop_without_loss() -> None:
    outbox: Outbox[int] = Outbox()
    lane = outbox.open_lane("a", Policy("queue", 100_000))
    lane.put(-1, 1)
    outbox.bind(asyncio.get_running_loop())
    producer = threading.Thread(target=lambda: [lane.put(n, 1) for n in range(5000)])
    producer.start()
    seen: list[int] = []
    while len(seen) < 5001:
        await asyncio.wait_for(outbox.wait(), 5)
        seen += [item for _, item in outbox.drain(64)]
    producer.join()
    assert seen == [-1, *range(5000)]


async def test_a_closed_lane_is_forgotten_with_what_waits_in_it() -> None:
    outbox: Outbox[int] = Outbox()
    outbox.bind(asyncio.get_running_loop())
    lane = outbox.open_lane("a")
    lane.put(1, 1)
    outbox.close_lane(lane)
    outbox.close_lane(lane)
    assert _drained(outbox) == []


async def test_a_producer_survives_the_end_of_the_loop() -> None:
    loop = asyncio.new_event_loop()
    outbox: Outbox[int] = Outbox()
    outbox.bind(loop)
    loop.close()
    outbox.open_lane("a").put(1, 1)
    assert len(outbox.lanes[0]) == 1


def test_a_lane_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Policy("queue", 0)


@given(st.lists(st.integers(0, 40)), st.integers(1, 100), st.integers(0, 200))
def test_what_waited_too_long_gives_way_to_what_is_newer_and_counts(
    gaps: list[int], max_age_ns: int, stall_ns: int
) -> None:
    now_ns = 1_000
    outbox: Outbox[int] = Outbox(now_ns=lambda: now_ns)
    lane = outbox.open_lane("pictures", Policy("queue", 1000, 1000, max_age_ns))
    for gap_ns in gaps:
        now_ns += gap_ns
        lane.put(now_ns, 1)
    newest_ns = now_ns
    now_ns += stall_ns
    kept = [item for _, item in _drained(outbox)]
    assert all(now_ns - put_ns <= max_age_ns or put_ns == newest_ns for put_ns in kept)
    assert bool(kept) == bool(gaps)  # the newest always goes
    assert lane.dropped + lane.delivered == len(gaps)
    assert lane.waiting_bytes == 0


def test_without_an_age_nothing_grows_too_old() -> None:
    now_ns = 0
    outbox: Outbox[int] = Outbox(now_ns=lambda: now_ns)
    lane = outbox.open_lane("events")
    lane.put_all([(1, 1), (2, 1)])
    now_ns += 10**18
    assert [item for _, item in _drained(outbox)] == [1, 2]


def test_beyond_the_bound_of_all_lanes_the_biggest_pays() -> None:
    outbox: Outbox[int] = Outbox(max_bytes=1000)
    small, big = outbox.open_lane("small"), outbox.open_lane("big")
    for number in range(50):
        small.put(number, 10)
        big.put(number, 300)
    assert small.dropped == 0
    assert big.dropped == 49
    assert big.waiting_bytes + small.waiting_bytes <= 1000
    assert len(_drained(outbox)) == 51


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=80), st.data())
def test_whoever_grows_and_goes_the_bound_holds_and_the_newest_of_each_lane_stays(
    puts: list[tuple[int, int]], data: st.DataObject
) -> None:
    outbox: Outbox[int] = Outbox(max_bytes=150)
    lanes = [outbox.open_lane(str(number)) for number in range(6)]
    newest: dict[int, int] = {}
    for number, (which, size) in enumerate(puts):
        before = {lane.name: lane.waiting_bytes for lane in lanes}
        before[lanes[which].name] += size
        dropped = [lane.dropped for lane in lanes]
        lanes[which].put(number, size)
        newest[which] = number
        held = sum(lane.waiting_bytes for lane in lanes)
        assert held <= 150 or all(len(lane) < 2 for lane in lanes)
        payers = [i for i, lane in enumerate(lanes) if lane.dropped > dropped[i]]
        if len(payers) == 1 and lanes[payers[0]].dropped == dropped[payers[0]] + 1:
            rich = [i for i, lane in enumerate(lanes) if len(lane) + (i in payers) > 1]
            assert before[str(payers[0])] == max(before[str(i)] for i in rich)
        if data.draw(st.booleans()):
            for lane, _ in outbox.drain(data.draw(st.integers(1, 3))):
                if not len(lane):
                    newest.pop(int(lane.name), None)
    kept: dict[str, int] = {}
    for name, item in _drained(outbox):
        kept[name] = item
    assert kept == {str(which): number for which, number in newest.items()}


def test_a_full_outbox_of_a_thousand_lanes_is_not_looked_through_at_each_message() -> None:
    outbox: Outbox[int] = Outbox(max_bytes=100_000)
    lanes = [outbox.open_lane(str(number)) for number in range(1000)]
    for _ in range(2):
        for lane in lanes:
            lane.put(0, 100)
    looked = 0

    class Lanes(list):  # type: ignore[type-arg]
        def __iter__(self):  # type: ignore[no-untyped-def]
            nonlocal looked
            looked += 1
            return super().__iter__()

    outbox._lanes = Lanes(outbox._lanes)
    outbox._heavy = None
    for turn in range(5000):
        lanes[turn % 1000].put(turn, 100)
    assert sum(lane.waiting_bytes for lane in lanes) == 100_000
    assert looked < 10


def test_a_lane_that_is_not_shared_pays_for_nobody_and_nobody_for_it() -> None:
    outbox: Outbox[int] = Outbox(max_bytes=100)
    own = outbox.open_lane("own", Policy("queue", 10, 1000), shared=False)
    common = outbox.open_lane("common")
    for number in range(12):
        own.put(number, 90)
        common.put(number, 30)
    assert (len(own), own.dropped) == (10, 2)
    assert (len(common), common.dropped) == (3, 9)
    assert [name for name, _ in _drained(outbox, 6)].count("own") == 3
    outbox.close_lane(own)
    assert [item for _, item in _drained(outbox)] == []
    for number in range(4):
        common.put(number, 30)
    assert len(common) == 3


def test_a_closed_lane_gives_its_bytes_back_and_takes_no_more() -> None:
    outbox: Outbox[int] = Outbox(max_bytes=100)
    gone, stays = outbox.open_lane("gone"), outbox.open_lane("stays")
    gone.put(1, 90)
    outbox.close_lane(gone)
    gone.put(2, 90)
    stays.put(3, 60)
    stays.put(4, 40)
    assert [item for _, item in _drained(outbox)] == [3, 4]
