"""The wait set that an executor keeps from one wake-up to the next."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.waitable import NumberOfEntities

from dialtone_ros.drain import DrainedSubscription


class Work(NamedTuple):
    """An entity that is ready, and how rclpy's executor takes what it has."""

    entity: Any
    node: Node
    kind: str
    take: Callable[[Any], Any]

    def exists(self) -> bool:
        """Whether its node still has it: a callback may have destroyed what was ready."""
        return any(each is self.entity for each in getattr(self.node, self.kind))


class Ready(NamedTuple):
    """What ended a wait: drained subscriptions that have messages, and all else by rclpy's order
    of kinds. Neither, if only the executor itself was woken."""

    drained: list[DrainedSubscription]
    others: list[Work]


#: Entities of a node and what rclpy calls one of them, in the order in which it runs what is ready
#: at once; waitables come before all of them.
_KINDS = {
    "timers": "timer",
    "subscriptions": "subscription",
    "guards": "guard_condition",
    "clients": "client",
    "services": "service",
}
#: What rclpy's wait set is sized by, in its order.
_COUNTED = (
    *("num_subscriptions", "num_guard_conditions", "num_timers"),
    *("num_clients", "num_services", "num_events"),
)


class WaitSet:
    """Everything that may wake ``executor``, kept while that stays the same.

    One thread waits and closes it. Whoever adds or destroys something wakes the executor, and the
    next wait is for what there is then; rclpy destroys nothing that is still waited for.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._stack = ExitStack()
        self._entities: list[Any] = []
        self._told = True
        self._stale = True

    def wait(self, only_free: bool) -> Ready:
        """Sleep until anything is ready.

        ``only_free`` leaves out what rclpy would not run now, as one of its callback group waits
        for something. Once the context has ended this raises ``RCLError`` or ``InvalidHandle``.
        """
        self._renew()
        made = self._set
        made.clear_entities()
        for add, handle, entity in self._adds:
            if not only_free or entity is None or self._executor.can_execute(entity):
                add(handle)
        waitables = self._waitables
        if only_free:
            waitables = [each for each in waitables if self._executor.can_execute(each.entity)]
        try:
            for each in waitables:
                each.entity.add_to_wait_set(made)
        except InvalidHandle:  # destroyed since we looked
            self._stale = True
            return Ready([], [])
        made.wait(-1)
        return self._ready(waitables)

    def close(self) -> None:
        """Let go of everything; idempotent."""
        self._stack.close()

    def _ready(self, waitables: list[Work]) -> Ready:
        made, works = self._set, self._works
        drained: list[DrainedSubscription] = []
        others = [each for each in waitables if each.entity.is_ready(made)]
        for kind in _KINDS.values():
            for pointer in made.get_ready_entities(kind):
                found = works.get(pointer)
                if isinstance(found, DrainedSubscription):
                    drained.append(found)
                elif found is None:  # the executor's own
                    self._told = True
                else:
                    others.append(found)
                    if kind == "guard_condition":  # a wait takes what it had to tell
                        found.entity._executor_triggered = True
        return Ready(drained, others)

    def _renew(self) -> None:
        """Make another if something came or went."""
        if not (self._told or self._stale):
            return
        nodes = self._executor.get_nodes()
        entities = [
            entity
            for node in nodes
            for kind in ("waitables", *_KINDS)
            for entity in getattr(node, kind)
        ]
        self._told = False
        if not self._stale and entities == self._entities:
            return
        self._stale = True  # until it is made
        self.close()
        self._make(nodes)
        self._entities = entities
        self._stale = False

    def _make(self, nodes: list[Node]) -> None:
        executor, count = self._executor, NumberOfEntities()
        self._works: dict[int, Work | DrainedSubscription] = {}
        self._waitables: list[Work] = []
        held: list[tuple[str, Any, Any]] = []
        for node in nodes:
            for waitable in node.waitables:
                if self._hold(waitable):
                    count += waitable.get_num_entities()
                    work = Work(waitable, node, "waitables", executor._take_waitable)
                    self._waitables.append(work)
            for entities, kind in _KINDS.items():
                take = getattr(executor, f"_take_{kind}")
                for entity in getattr(node, entities):
                    if self._hold(entity.handle):
                        held.append((kind, entity.handle, entity))
                        work = Work(entity, node, entities, take)
                        self._works[entity.handle.pointer] = _drains(entity) or work
            for guard in node.guards:
                if guard._executor_triggered:
                    guard.trigger()  # whoever spun before us left it
        for own in (executor._guard, executor._sigint_gc):
            if own is not None and self._hold(own.handle):
                held.append(("guard_condition", own.handle, None))
        for kind, *_ in held:
            setattr(count, f"num_{kind}s", getattr(count, f"num_{kind}s") + 1)
        context = executor.context.handle
        self._stack.enter_context(context)
        self._set = _rclpy.WaitSet(*(getattr(count, each) for each in _COUNTED), context)
        self._adds = [(getattr(self._set, f"add_{kind}"), *rest) for kind, *rest in held]

    def _hold(self, handle: Any) -> bool:
        try:
            self._stack.enter_context(handle)
        except InvalidHandle:  # destroyed a moment ago; the executor will be woken for it
            return False
        return True


def _drains(entity: Any) -> DrainedSubscription | None:
    """Whose callback it is, if it is that of a drained subscription."""
    owner = getattr(entity.callback, "__self__", None) if hasattr(entity, "callback") else None
    return owner if isinstance(owner, DrainedSubscription) else None
