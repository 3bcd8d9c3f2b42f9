"""Reading chosen fields out of recorded CDR by the ``ros2msg`` definition in the file.

No ROS is needed, so any type of any package works. A definition is compiled once: neighbouring
primitives become one ``struct`` whose unwanted fields are padding, so the cost of a message
depends on its strings and sequences, not on its fields. Layout as in ``dialtone_core.cdr``
(XCDR1: a primitive is aligned to its own size, counted from behind the encapsulation header).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from dialtone_core.cdr import ENCAPSULATION_BYTES, byte_order
from dialtone_core.errors import WireError
from dialtone_core.naming import normalize_type

_CODES = {
    "bool": "?", "byte": "B", "char": "B", "int8": "b", "uint8": "B", "int16": "h",
    "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float32": "f", "float64": "d",
}  # fmt: skip
_DTYPES = {"?": "u1", "b": "i1", "B": "u1", "h": "i2", "H": "u2", "i": "i4", "I": "u4",
           "q": "i8", "Q": "u8", "f": "f4", "d": "f8"}  # fmt: skip
_ARRAY = re.compile(r"(?P<base>[^\[]+)(?:\[(?P<bound><=)?(?P<size>\d*)\])?")
#: No message nests deeper; a definition that contains itself must not hang the reader.
_MAX_DEPTH = 32


class Field(NamedTuple):
    """One line of a definition; ``size`` is ``None`` for a scalar, -1 for a sequence."""

    name: str
    type: str
    size: int | None


@dataclass(frozen=True)
class Definition:
    """A message type and everything that it contains."""

    root: str
    types: dict[str, tuple[Field, ...]]

    def paths(self) -> list[str]:
        """Every leaf's path: ``twist.twist.linear.x``, ``position``, ``transforms[0].header…``."""
        return self._paths(self.root, "", 0)

    def _paths(self, name: str, prefix: str, depth: int) -> list[str]:
        found: list[str] = []
        for field in self.types.get(name, ()) if depth < _MAX_DEPTH else ():
            path = f"{prefix}{field.name}"
            if field.type in self.types:
                inner = path if field.size is None else f"{path}[0]"
                found += self._paths(field.type, f"{inner}.", depth + 1)
            else:
                found.append(path)
        return found

    def has_header(self) -> bool:
        """Whether the message begins with a ``std_msgs/msg/Header``."""
        fields = self.types[self.root]
        return bool(fields) and fields[0][1:] == ("std_msgs/msg/Header", None)


@cache
def parse(root: str, text: str) -> Definition:
    """``text``: rosbag2's schema, types parted by a line of ``=``; raises ``ValueError``."""
    root = normalize_type(root)
    types: dict[str, tuple[Field, ...]] = {}
    for number, part in enumerate(re.split(r"^=+\s*$", text, flags=re.MULTILINE)):
        name, body = root, part
        if number:
            head, _, body = part.strip("\n").partition("\n")
            if not head.startswith("MSG: "):
                raise ValueError(f"no 'MSG:' line but {head[:40]!r}")
            name = normalize_type(head[5:].strip())
        lines = (_field(line, name) for line in body.splitlines())
        types[name] = tuple(field for field in lines if field is not None)
    return Definition(root, types)


def _field(line: str, owner: str) -> Field | None:
    words = line.split("#")[0].split(None, 2)
    if len(words) < 2 or "=" in words[1] or (len(words) > 2 and words[2].startswith("=")):
        return None
    found = _ARRAY.fullmatch(words[0])
    if found is None:
        raise ValueError(f"{owner}: not understood: {line[:60]!r}")
    base = found["base"].split("<=")[0]
    if base not in _CODES and base not in ("string", "wstring"):
        base = "std_msgs/Header" if base == "Header" else base
        base = normalize_type(base if "/" in base else f"{owner.split('/')[0]}/{base}")
    size: int | None = None
    if "[" in words[0]:
        size = int(found["size"]) if found["size"] and not found["bound"] else -1
    return Field(words[1], base, size)


class _Run:
    """Neighbouring primitives. One ``struct`` for each phase that it may begin at."""

    def __init__(self) -> None:
        self.items: list[tuple[str, int, int | None]] = []
        self._made: dict[tuple[str, int], tuple[struct.Struct, list[tuple[int, int, int]]]] = {}

    def layout(self, order: str, phase: int) -> tuple[struct.Struct, list[tuple[int, int, int]]]:
        if (order, phase) not in self._made:
            at, taken, text, slots = phase, 0, order, []
            for code, count, slot in self.items:
                size = struct.calcsize(f"={code}")
                pad = -at % size
                at += pad + size * count
                text += f"{pad}x"
                if slot is None:
                    text += f"{size * count}x"
                else:
                    text += f"{count}{code}"
                    slots.append((slot, taken, count))
                    taken += count
            self._made[order, phase] = struct.Struct(text), slots
        return self._made[order, phase]


class _Text(NamedTuple):
    """``size`` strings, a sequence of them where it is -1, one where it is ``None``."""

    size: int | None
    slot: int | None


class _Numbers(NamedTuple):
    """A sequence of primitives."""

    code: str
    slot: int | None


class _Messages(NamedTuple):
    """``size`` messages (-1: a sequence); ``wanted`` ones are read, the others passed over."""

    size: int
    wanted: dict[int, list[Any]]
    other: list[Any]


class Reader:
    """Reads the fields at ``paths`` of one type's messages.

    A path is ``twist.twist.linear.x``, an array (``position``), or something in one of several
    messages (``transforms[0].transform.translation.x``). Raises ``KeyError`` with
    the path that the definition lacks, ``ValueError`` for a definition that cannot be read.
    """

    def __init__(self, definition: Definition, paths: list[str]) -> None:
        self._types = definition.types
        self._paths = list(dict.fromkeys(paths))
        self._scalars: list[int] = []
        self._found: set[str] = set()
        ops = self._compile(definition.root, "", set(self._paths), 0)
        for path in self._paths:
            if path not in self._found:
                raise KeyError(path)
        self._ops = ops

    def read(self, payload: bytes) -> list[Any]:
        """The values in the order of ``paths`` (each once): numbers, tuples, arrays, strings.

        Raises ``WireError`` where the bytes end early or an element is not there.
        """
        values: list[Any] = [None] * len(self._paths)
        order = byte_order(payload)
        try:
            _execute(self._ops, payload, ENCAPSULATION_BYTES, order, values)
        except (struct.error, IndexError) as error:
            raise WireError("truncated", "the message ends before its fields do") from error
        if any(value is None for value in values):
            raise WireError("truncated", "an element that is asked for is not in the message")
        for slot in self._scalars:
            values[slot] = values[slot][0]
        return values

    def _compile(self, name: str, prefix: str, wanted: set[str], depth: int) -> list[Any]:
        if name not in self._types:
            raise ValueError(f"the definition lacks {name}")
        if depth > _MAX_DEPTH:
            raise ValueError(f"{name} contains itself")
        ops: list[Any] = []
        # rosidl gives a message without fields one byte, because C has no empty struct.
        for field in self._types[name] or (Field("", "uint8", None),):
            for op in self._compile_field(field, f"{prefix}{field.name}", wanted, depth):
                if isinstance(op, _Run) and ops and isinstance(ops[-1], _Run):
                    ops[-1].items += op.items
                else:
                    ops.append(op)
        return ops

    def _compile_field(self, field: Field, path: str, wanted: set[str], depth: int) -> list[Any]:
        if field.type == "wstring":
            raise ValueError(f"{path}: wstring cannot be read")
        if field.type == "string":
            return [_Text(field.size, self._slot(path, wanted))]
        if field.type in _CODES:
            slot = self._slot(path, wanted)
            if field.size == -1:
                return [_Numbers(_CODES[field.type], slot)]
            run = _Run()
            run.items.append((_CODES[field.type], 1 if field.size is None else field.size, slot))
            if slot is not None and field.size is None:
                self._scalars.append(slot)
            return [run]
        if field.size is None:
            return self._compile(field.type, f"{path}.", wanted, depth + 1)
        picked = {
            int(found.group(1))
            for each in wanted
            if (found := re.match(re.escape(path) + r"\[(\d+)\]\.", each))
        }
        return [_Messages(
            field.size,
            {n: self._compile(field.type, f"{path}[{n}].", wanted, depth + 1) for n in picked},
            self._compile(field.type, "", set(), depth + 1),
        )]  # fmt: skip

    def _slot(self, path: str, wanted: set[str]) -> int | None:
        if path not in wanted:
            return None
        self._found.add(path)
        return self._paths.index(path)


def _execute(ops: list[Any], data: bytes, at: int, order: str, values: list[Any]) -> int:
    for op in ops:
        if isinstance(op, _Run):
            layout, slots = op.layout(order, (at - ENCAPSULATION_BYTES) % 8)
            found = layout.unpack_from(data, at)
            for slot, start, count in slots:
                values[slot] = found[start : start + count]
            at += layout.size
        elif isinstance(op, _Text):
            at = _texts(op, data, at, order, values)
        elif isinstance(op, _Numbers):
            at = _numbers(op, data, at, order, values)
        else:
            count, at = _count(data, at, order) if op.size == -1 else (op.size, at)
            if count > len(data):
                raise IndexError
            for number in range(count):
                at = _execute(op.wanted.get(number, op.other), data, at, order, values)
    return at


def _count(data: bytes, at: int, order: str) -> tuple[int, int]:
    at += -(at - ENCAPSULATION_BYTES) % 4
    return struct.unpack_from(f"{order}I", data, at)[0], at + 4


def _texts(op: _Text, data: bytes, at: int, order: str, values: list[Any]) -> int:
    count = 1 if op.size is None else op.size
    if count == -1:
        count, at = _count(data, at, order)
    if count > len(data):
        raise IndexError
    texts = []
    for _ in range(count):
        length, at = _count(data, at, order)
        if at + length > len(data):
            raise IndexError
        if op.slot is not None:
            texts.append(data[at : at + max(0, length - 1)].decode("utf-8", "replace"))
        at += length
    if op.slot is not None:
        values[op.slot] = texts[0] if op.size is None else tuple(texts)
    return at


def _numbers(op: _Numbers, data: bytes, at: int, order: str, values: list[Any]) -> int:
    count, at = _count(data, at, order)
    dtype = np.dtype(order + _DTYPES[op.code])
    if count:
        at += -(at - ENCAPSULATION_BYTES) % dtype.itemsize
    stop = at + count * dtype.itemsize
    if stop > len(data):
        raise IndexError
    if op.slot is not None:
        values[op.slot] = np.frombuffer(data, dtype, count, at)
    return stop
