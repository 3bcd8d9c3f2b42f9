"""Refuses commands that come late or twice. Pure; one ``Freshness`` for all sources.

*Late*: an operator's clock is never compared with ours. Instead the smallest difference between
our monotonic receipt and the sender's stamp over the last seconds is taken for the clocks'
offset plus the fastest way, and what a command took beyond that is its delay. Commands that a
stalled network held back and then released have delays of seconds and are refused; a stepped
clock looks the same and heals when the window has passed.

*Twice*: ``seq`` must rise for each operator. One who fell silent may begin anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dialtone_core.clock import NS_PER_S
from dialtone_core.command import Command

#: An offset is forgotten after one to two windows, each this long *and* this full: silence alone
#: forgets nothing, or what was held back during a long outage would look fresh at its end.
WINDOW_NS = 5 * NS_PER_S
_WINDOW_COUNT = 20
#: After so much silence an operator's numbers may start over.
RESTART_NS = 2 * NS_PER_S
#: Senders remembered at once; a flood of invented names must not fill the memory.
MAX_SENDERS = 64


class DelayMeter:
    """Delay beyond the fastest seen, from stamps of a clock whose offset is unknown."""

    def __init__(self) -> None:
        self._current: int | None = None
        self._previous: int | None = None
        self._since_ns = 0
        self._count = 0

    def delay_ns(self, sent_ns: int, received_ns: int) -> int:
        """Delay of a message stamped ``sent_ns`` by its sender, received at ``received_ns``."""
        if self._count >= _WINDOW_COUNT and received_ns - self._since_ns >= WINDOW_NS:
            self._previous, self._current, self._count = self._current, None, 0
        if self._count == 0:
            self._since_ns = received_ns
        self._count += 1
        offset = received_ns - sent_ns
        self._current = offset if self._current is None else min(self._current, offset)
        least = self._current if self._previous is None else min(self._current, self._previous)
        return offset - least


@dataclass(slots=True)
class _Sender:
    seq: int = -1
    heard_ns: int = -RESTART_NS
    meter: DelayMeter = field(default_factory=DelayMeter)


class Freshness:
    """Judges each command once, whatever becomes of it later."""

    def __init__(self, max_delay_s: float) -> None:
        self._max_delay_ns = round(max_delay_s * NS_PER_S)
        self._senders: dict[tuple[str, str], _Sender] = {}
        #: Delay of the last command beyond the fastest of its sender; ``None``: it had no stamp.
        self.delay_ns: int | None = None

    def refuse(self, command: Command) -> str:
        """``stale``, ``replayed`` (the same seq), ``reordered`` (a lower one), or ""."""
        envelope = command.envelope
        self.delay_ns = None
        if envelope.seq is None and envelope.issued_ns is None:
            return ""
        sender = self._sender(command)
        if envelope.issued_ns is not None:
            delay_ns = sender.meter.delay_ns(envelope.issued_ns, command.received_ns)
            self.delay_ns = delay_ns
            if delay_ns > self._max_delay_ns:
                return "stale"
        if envelope.seq is None:
            return ""
        restarted = command.received_ns - sender.heard_ns >= RESTART_NS
        if envelope.seq <= sender.seq and not restarted:
            return "replayed" if envelope.seq == sender.seq else "reordered"
        sender.seq, sender.heard_ns = envelope.seq, command.received_ns
        return ""

    def _sender(self, command: Command) -> _Sender:
        key = (command.source, command.envelope.operator)
        sender = self._senders.pop(key, None) or _Sender()
        self._senders[key] = sender  # the most recently heard is last
        if len(self._senders) > MAX_SENDERS:
            del self._senders[next(iter(self._senders))]
        return sender
