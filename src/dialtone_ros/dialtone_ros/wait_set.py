"""The wait set that an executor keeps from one wake-up to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from itertools import chain
from typing import Any, NamedTuple

from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.waitable import NumberOfEntities

from dialtone_ros.drain import DrainedSubscription, drained


class Ready(NamedTuple):
    """What ended a wait."""

    #: Drained subscriptions that have messages.
    drained: list[DrainedSubscription]
    #: Whether anything else on the nodes is ready.
    others: bool
    #: Whether the executor itself was woken: by what came or went, a task, or its end.
    told: bool


class WaitSet:
    """Everything that may wake ``executor``, kept while that stays the same.

    One thread renews it, waits and closes it. rclpy destroys nothing that is waited for, so
    that what goes is gone after ``renew``; whoever adds or destroys wakes the executor.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._stack = ExitStack()
        self._stale = True
        self._entities = _Entities.of([])

    def _make(self, entities: _Entities) -> None:
        self._entities, self._stale = entities, False
        executor = self._executor
        self._guards = self._held(entities.guards)
        own = self._held((executor._guard, executor._sigint_gc))
        guards = [*self._guards, *own]
        subscriptions = self._held(entities.subscriptions)
        timers, clients = self._held(entities.timers), self._held(entities.clients)
        services = self._held(entities.services)
        self._waitables = [each for each in entities.waitables if self._hold(each)]
        count = NumberOfEntities(
            len(subscriptions), len(guards), len(timers), len(clients), len(services)
        )
        for each in self._waitables:
            count += each.get_num_entities()
        context = executor.context.handle
        self._stack.enter_context(context)
        self._set = _rclpy.WaitSet(*(getattr(count, each) for each in _COUNTED), context)
        kinds: list[tuple[Callable[[Any], None], list[Any]]] = [
            (self._set.add_subscription, subscriptions),
            (self._set.add_guard_condition, guards),
            (self._set.add_timer, timers),
            (self._set.add_client, clients),
            (self._set.add_service, services),
        ]
        self._adds = [(add, each.handle) for add, many in kinds for each in many]
        self._own = {each.handle.pointer for each in own}
        self._drained = {
            each.pointer: each for node in executor.get_nodes() for each in drained(node)
        }

    def renew(self) -> None:
        """Make another if something came or went. rclpy raises once its context has ended."""
        entities = _Entities.of(self._executor.get_nodes())
        if self._stale or entities != self._entities:
            self.close()
            self._make(entities)

    def close(self) -> None:
        """Let go of everything; idempotent."""
        self._stack.close()

    def wait(self, timeout_ns: int) -> Ready:
        """Sleep until anything is ready, or for so long; for ever if negative."""
        made = self._set
        made.clear_entities()
        for add, handle in self._adds:
            add(handle)
        try:
            for waitable in self._waitables:
                waitable.add_to_wait_set(made)
        except InvalidHandle:  # destroyed since we looked
            self._stale = True
            return Ready([], False, True)
        made.wait(timeout_ns)
        subscriptions = made.get_ready_entities("subscription")
        hot = [self._drained[each] for each in subscriptions if each in self._drained]
        guards = set(made.get_ready_entities("guard_condition"))
        others = (
            len(hot) < len(subscriptions)
            or any(made.get_ready_entities(kind) for kind in ("timer", "client", "service"))
            or not guards <= self._own
        )
        self._trigger_again(guards - self._own)
        for waitable in self._waitables:
            others |= waitable.is_ready(made)
        return Ready(hot, others, not guards.isdisjoint(self._own))

    def _trigger_again(self, pointers: set[int]) -> None:
        """A wait takes what a guard condition had to tell, and rclpy's own wait wants it too."""
        if pointers:
            for each in self._guards:
                if each.handle.pointer in pointers:
                    with suppress(InvalidHandle):
                        each.trigger()

    def _held(self, entities: Iterable[Any]) -> list[Any]:
        return [each for each in entities if each is not None and self._hold(each.handle)]

    def _hold(self, handle: Any) -> bool:
        try:
            self._stack.enter_context(handle)
        except InvalidHandle:  # destroyed a moment ago; the executor will be woken for it
            return False
        return True


#: What rclpy's wait set is sized by, in its order.
_COUNTED = (
    "num_subscriptions",
    "num_guard_conditions",
    "num_timers",
    "num_clients",
    "num_services",
    "num_events",
)


class _Entities(NamedTuple):
    """All that nodes have, in tuples that tell whether they still have the same."""

    subscriptions: tuple[Any, ...]
    timers: tuple[Any, ...]
    clients: tuple[Any, ...]
    services: tuple[Any, ...]
    guards: tuple[Any, ...]
    waitables: tuple[Any, ...]

    @classmethod
    def of(cls, nodes: list[Node]) -> _Entities:
        kinds = (
            chain.from_iterable(getattr(node, kind) for node in nodes) for kind in cls._fields
        )
        return cls(*map(tuple, kinds))
