"""Which QoS to subscribe with, given what the publishers offer. Pure.

A reader that asks for more than a writer offers gets nothing from it (DDS 1.4 §2.2.3), so it asks
for ``reliable`` and ``transient_local`` only where *every* publisher offers that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: The publishers' history depth is not told over the wire (Fast DDS reports 0), so the reader's
#: depth is what a burst may hold until the next drain.
DEPTH = 5000
BULK_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Offer:
    """What one publisher offers."""

    reliable: bool
    transient_local: bool


@dataclass(frozen=True, slots=True)
class QosPlan:
    """What to ask for; ``mixed`` names the policies on which the publishers differ."""

    reliable: bool
    transient_local: bool
    depth: int
    mixed: tuple[str, ...] = ()


def latching(offers: Sequence[Offer]) -> QosPlan | None:
    """The QoS for a reader of what those hold who latch; ``None`` where nobody does."""
    held = [each for each in offers if each.transient_local]
    return plan(held) if held else None


def plan(
    offers: Sequence[Offer],
    *,
    reliability: str = "auto",
    durability: str = "auto",
    bulk: bool = False,
) -> QosPlan:
    """The QoS for a subscription; a route's override wins over what the publishers offer."""
    reliable = {offer.reliable for offer in offers}
    transient = {offer.transient_local for offer in offers}
    mixed = tuple(
        name
        for name, kinds in (("reliability", reliable), ("durability", transient))
        if len(kinds) > 1
    )
    return QosPlan(
        reliable == {True} if reliability == "auto" else reliability == "reliable",
        transient == {True} if durability == "auto" else durability == "transient_local",
        BULK_DEPTH if bulk else DEPTH,
        mixed,
    )
