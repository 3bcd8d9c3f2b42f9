"""Messages over a NATS server's ``max_payload``, in pieces. Pure.

Every piece has the headers of the message and three more: ``Dt-Chunk-Id`` (the same for all pieces
of a message, different for every message), ``Dt-Chunk`` (0, 1, …) and ``Dt-Chunks`` (how many).
The pieces of one message come in order, possibly with other messages between. A piece that is
missing spoils its message and no other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from dialtone_core.errors import WireError

ID, INDEX, COUNT = "Dt-Chunk-Id", "Dt-Chunk", "Dt-Chunks"
#: Kept under every server's default limit of 1 MiB, with room for headers.
CHUNK_BYTES = 512 * 1024
#: The most that anyone sends in pieces; the reader's bound on a liar's count.
MAX_CHUNKS = 512


def split(payload: bytes, number: int, size: int = CHUNK_BYTES) -> Iterator[tuple[bytes, bytes]]:
    """The header lines and the bytes of each piece of ``payload``.

    ``number`` tells this message from others. Raises ``WireError`` over ``MAX_CHUNKS`` pieces.
    """
    count = max(1, -(-len(payload) // size))
    if count > MAX_CHUNKS:
        raise WireError("too_big", f"{len(payload)} bytes in pieces of {size}")
    view = memoryview(payload)
    for index in range(count):
        lines = b"Dt-Chunk-Id: %d\r\nDt-Chunk: %d\r\nDt-Chunks: %d\r\n" % (number, index, count)
        yield lines, bytes(view[index * size : (index + 1) * size])


class Assembler:
    """Puts pieces together again; one for each subject and sender.

    Holds at most ``max_messages`` incomplete messages of ``max_bytes`` together and gives up the
    oldest beyond; ``spoilt`` counts the messages that were given up, each once.
    """

    def __init__(self, max_bytes: int = 256 * 1024 * 1024, max_messages: int = 256) -> None:
        self.spoilt = 0
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._bytes = 0
        self._open: OrderedDict[str, list[bytes]] = OrderedDict()
        #: Given up while more of their pieces may come, which must not count again.
        self._given_up: OrderedDict[str, None] = OrderedDict()

    def take(self, headers: Mapping[str, str] | None, payload: bytes) -> bytes | None:
        """The whole message if this was all of it or its last piece, else ``None``.

        Raises ``WireError`` where the headers of a piece make no sense.
        """
        if headers is None or ID not in headers:
            return payload
        name, index, count = _place(headers)
        if name in self._given_up:
            return None
        parts = self._open.setdefault(name, [])
        if index != len(parts):
            self._give_up(name)
            return None
        parts.append(payload)
        self._bytes += len(payload)
        if len(parts) == count:
            self._bytes -= sum(map(len, self._open.pop(name)))
            return b"".join(parts)
        while self._bytes > self._max_bytes or len(self._open) > self._max_messages:
            self._give_up(next(iter(self._open)))
        return None

    def _give_up(self, name: str) -> None:
        self._bytes -= sum(map(len, self._open.pop(name)))
        self.spoilt += 1
        self._given_up[name] = None
        if len(self._given_up) > self._max_messages:
            self._given_up.popitem(last=False)


def _place(headers: Mapping[str, str]) -> tuple[str, int, int]:
    try:
        name, index, count = headers[ID], int(headers[INDEX]), int(headers[COUNT])
    except (KeyError, ValueError) as error:
        raise WireError("bad_chunk", str(error)[:60]) from error
    if not 0 <= index < count <= MAX_CHUNKS or len(name) > 64:
        raise WireError("bad_chunk", f"{index} of {count}")
    return name, index, count
