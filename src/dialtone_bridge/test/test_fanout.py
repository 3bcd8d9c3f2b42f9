"""Topics to clients: who gets what, also before the topic or after the client is there."""

from __future__ import annotations

import asyncio

from contract_rig import topic_of
from feed_rig import STRING

from dialtone_bridge.transports.fanout import Switchboard
from dialtone_core.delivery import Outbox
from dialtone_core.sample import Sample


def samples(*numbers: int) -> list[Sample]:
    return [Sample("/map", STRING, "cdr", b"%d" % n, n, n, n) for n in numbers]


def taken(client: Outbox[Sample]) -> list[bytes]:
    return [sample.payload for _, sample in client.drain()]


def connected() -> Outbox[Sample]:
    made: Outbox[Sample] = Outbox()
    made.bind(asyncio.get_running_loop())
    return made


async def test_a_client_may_want_a_topic_that_comes_later_and_again() -> None:
    board, client, wanted = Switchboard(), connected(), list[bool]()
    board.subscribe(client, "map")
    for number in range(2):
        sink = board.attach(topic_of("/map"), wanted.append)
        sink.put(samples(number))
        assert taken(client) == [b"%d" % number]
        sink.close()
        sink.put(samples(7))
        assert taken(client) == []
    assert wanted == [True, False, True, False]


async def test_a_topic_is_wanted_from_the_first_client_to_the_last() -> None:
    board, one, two, wanted = Switchboard(), connected(), connected(), list[bool]()
    sink = board.attach(topic_of("/map"), wanted.append)
    for client in (one, two, two):
        board.subscribe(client, "map")
    sink.put(samples(1, 2))
    assert (taken(one), taken(two)) == ([b"1", b"2"], [b"1", b"2"])
    assert sink.stats().clients == 2
    board.unsubscribe(one, "map")
    board.unsubscribe(one, "map")
    assert wanted == [True]
    board.drop(two)
    board.drop(two)
    assert wanted == [True, False]


async def test_what_a_client_lost_is_still_known_when_it_is_gone() -> None:
    board, client = Switchboard(), connected()
    sink = board.attach(topic_of("/map", max_messages=3), lambda _: None)
    board.subscribe(client, "map")
    sink.put(samples(*range(10)))
    client.drain(1)
    board.drop(client)
    stats = sink.stats()
    assert (stats.sent, stats.dropped, stats.waiting, stats.clients) == (1, 9, 0, 0)
