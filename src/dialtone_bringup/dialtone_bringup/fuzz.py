"""Commands as nobody sane sends them, for the fault campaign."""

from __future__ import annotations

import json
import random
import time

_NUMBERS: tuple[object, ...] = (
    0,
    -0.0,
    0.5,
    -1,
    1e9,
    -1e308,
    2**53,
    2**70,
    "1",
    None,
    True,
    [],
    {},
    "nan",
)


def fuzz(dice: random.Random) -> bytes:
    """One command: garbage, a broken one, or one that is whole but of nobody who may drive."""
    kind = dice.randrange(4)
    if kind == 0:
        return dice.randbytes(dice.randrange(200))
    body = {
        key: {axis: dice.choice(_NUMBERS) for axis in dice.sample("xyz", dice.randrange(4))}
        for key in dice.sample(["linear", "angular"], dice.randrange(1, 3))
    }
    more = {
        "operator": dice.choice(["", "eve/1", "ada ", "ADA/1", "x" * 64, "x" * 65, 3]),
        "seq": dice.choice([0, -1, 2**62, 1.5, "1"]),
        "ttl_ms": dice.choice([-1, 0, 300, 1e12, "x"]),
        "issued_ns": dice.choice([0, time.time_ns(), -(2**60), "now"]),
    }
    if kind == 1:
        body = {"linear": {"x": dice.uniform(-2, 2)}, "angular": {"z": dice.uniform(-2, 2)}}
        more = {"operator": dice.choice(["", "eve/1"]), "seq": dice.randrange(1 << 40)}
    chosen = {key: more[key] for key in dice.sample(list(more), dice.randrange(len(more) + 1))}
    text = json.dumps({**body, **chosen}).encode()
    return text[: dice.randrange(len(text) + 1)] if kind == 3 else text
