"""Pieces of big messages: whatever is lost or mixed, no message comes out wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_core.chunks import CHUNK_BYTES, COUNT, ID, INDEX, MAX_CHUNKS, Assembler, split
from dialtone_core.errors import WireError


def pieces(payload: bytes, number: int, size: int) -> list[tuple[dict[str, str], bytes]]:
    """As a client sees them."""
    return [
        (dict(line.split(": ") for line in lines.decode().split("\r\n") if line), part)
        for lines, part in split(payload, number, size)
    ]


@given(st.binary(max_size=300), st.integers(1, 40))
def test_what_was_split_is_whole_again(payload: bytes, size: int) -> None:
    made = Assembler()
    whole = [made.take(headers, part) for headers, part in pieces(payload, 7, size)]
    assert whole[-1] == payload
    assert all(each is None for each in whole[:-1])
    assert made.spoilt == 0


@given(st.data())
def test_two_messages_mixed_and_with_holes_come_out_whole_or_not_at_all(data: Any) -> None:
    first, second = bytes(range(100)), bytes(range(100, 200))
    queues = [pieces(first, 1, 9), pieces(second, 2, 7)]
    made, out = Assembler(), []
    while any(queues):
        queue = data.draw(st.sampled_from([each for each in queues if each]))
        headers, part = queue.pop(0)
        if data.draw(st.booleans()) or data.draw(st.booleans()):
            out.append(made.take(headers, part))
    assert {each for each in out if each is not None} <= {first, second}


def test_a_message_without_chunk_headers_passes() -> None:
    assert Assembler().take(None, b"x") == b"x"
    assert Assembler().take({"Dt-Type": "a"}, b"x") == b"x"


def test_memory_is_bounded_whatever_is_begun_and_never_ended() -> None:
    made = Assembler(max_bytes=1000)
    for number in range(500):
        made.take({ID: str(number), INDEX: "0", COUNT: "9"}, bytes(100))
    assert made.spoilt == 490


def test_pieces_without_a_byte_are_bounded_too() -> None:
    made = Assembler(max_bytes=1000, max_messages=16)
    for number in range(100_000):
        made.take({ID: str(number), INDEX: "0", COUNT: "2"}, b"")
    assert made.spoilt == 100_000 - 16
    assert len(made._open) == len(made._given_up) == 16


@pytest.mark.parametrize("lost", [0, 3, 8])
def test_a_message_that_lost_a_piece_is_spoilt_once_and_no_other_is(lost: int) -> None:
    made = Assembler()
    for index, (headers, part) in enumerate(pieces(bytes(range(100)), 1, 10)):
        if index != lost:
            assert made.take(headers, part) is None
    assert made.spoilt == 1
    whole = [made.take(headers, part) for headers, part in pieces(b"next one", 2, 3)]
    assert (whole[-1], made.spoilt) == (b"next one", 1)


@pytest.mark.parametrize(
    "headers",
    [
        {ID: "1"},
        {ID: "1", INDEX: "x", COUNT: "2"},
        {ID: "1", INDEX: "2", COUNT: "2"},
        {ID: "1", INDEX: "-1", COUNT: "2"},
        {ID: "1", INDEX: "0", COUNT: str(MAX_CHUNKS + 1)},
        {ID: "1" * 65, INDEX: "0", COUNT: "2"},
    ],
)
def test_headers_that_make_no_sense_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(WireError, match="bad_chunk"):
        Assembler().take(headers, b"")


def test_more_pieces_than_a_reader_takes_are_never_sent() -> None:
    with pytest.raises(WireError, match="too_big"):
        list(split(bytes(MAX_CHUNKS + 1), 1, 1))
    assert CHUNK_BYTES * MAX_CHUNKS >= 256 * 1024 * 1024


def test_the_recipe_in_the_documents_does_the_same() -> None:
    wire = next(
        path / "docs" / "wire.md"
        for path in Path(__file__).resolve().parents
        if (path / "docs" / "wire.md").exists()
    )
    text = wire.read_text(encoding="utf-8")
    recipe = re.search(r"```python\n(def whole.*?)```", text, re.S)
    assert recipe is not None
    assert recipe.group(1).count("\n") <= 20
    names: dict[str, Any] = {}
    exec(recipe.group(1), names)
    payload = bytes(range(256)) * 5
    out = [names["whole"](headers, part) for headers, part in pieces(payload, 3, 100)]
    assert out[-1] == payload
    assert set(out[:-1]) == {None}
    assert names["whole"](None, b"small") == b"small"
    broken = pieces(payload, 4, 100)
    assert [names["whole"](*each) for each in (broken[0], broken[2])] == [None, None]
