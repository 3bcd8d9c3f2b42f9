"""Gives those who come late what a latched topic's publishers hold. Free of ROS.

The source asks the publishers anew (``Ask``), which costs a reader in DDS; however many come while
it is there, it is one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from dialtone_bridge.transports.base import Give
from dialtone_core.sample import Sample

OnHeld = Callable[[list[Sample]], None]
#: Have ``on_held`` given what the publishers hold until ``on_end``; ``False``: nobody holds any.
Ask = Callable[[OnHeld, Callable[[], None]], bool]
#: What tells one message of a topic from another: publisher's stamp, publisher's number.
_Key = tuple[int, "int | None"]
#: Beyond this the oldest is forgotten: publishers hold few.
_MOST = 5000


def _key(sample: Sample) -> _Key:
    return (sample.publish_ns, sample.seq)


class Latecomers:
    """Of one topic; everything in the source's thread."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._found: deque[Sample] = deque(maxlen=_MOST)
        self._waiting: list[tuple[Give, set[_Key]]] = []
        self._asked = False
        self._last: Sample | None = None

    def saw(self, burst: Sequence[Sample]) -> None:
        """These come to everybody just now, also to those who wait."""
        self._last = burst[-1]
        for _, live in self._waiting:
            live.update(map(_key, burst))

    def forget(self) -> None:
        """Nobody keeps the last message current any more."""
        self._last = None

    def join(self, give: Give) -> None:
        """``give`` gets what is held and what it does not get live, in one burst or several."""
        self._waiting.append((give, set()))
        if self._asked:
            if self._found:
                give(list(self._found))
            return
        self._asked = self._ask(self._on_held, self._on_end)
        if not self._asked:
            self._on_end()
            if self._last is not None:
                give([self._last])

    def _on_held(self, burst: list[Sample]) -> None:
        self._found.extend(burst)
        for give, live in self._waiting:
            late = [each for each in burst if _key(each) not in live]
            if late:
                give(late)

    def _on_end(self) -> None:
        self._asked = False
        self._waiting.clear()
        self._found.clear()
