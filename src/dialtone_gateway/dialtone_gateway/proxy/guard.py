"""The client's side of the NATS protocol, looked at on its way through the gateway. Pure.

The server's permissions say which subjects a role may use. They can't say that who sends
``{"operator": "ada/3f2a"}`` is ada: here a login only speaks in its own name and role, so that the
lease is worth something (``claims``). And ``_INBOX.>`` would overhear everybody's replies.

Protocol: docs.nats.io/reference/reference-protocols/nats-protocol. A line ends with CR LF;
``PUB subject [reply] size`` and ``HPUB subject [reply] head size`` are followed by ``size`` bytes.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

import orjson

from dialtone_core.natsauth import Login
from dialtone_gateway.proxy.claims import answers_to_an_inbox, in_the_name_of
from dialtone_gateway.roles import Identity

_MOST_LINE = 4096
_MOST_PAYLOAD = 256 * 1024
#: What of a browser's CONNECT is passed on; who it is comes from the gateway.
_CONNECT_FIELDS = (
    "verbose",
    "pedantic",
    "lang",
    "version",
    "protocol",
    "echo",
    "headers",
    "no_responders",
)


class ProtocolError(ValueError):
    """The client does not speak NATS, or breaks a bound: the connection ends."""


class NatsGuard:
    """One browser's connection.

    ``secret`` is what it must say as password; ``login`` is who it is to the server, which wants
    ``nonce`` signed by one that is a key.
    ``feed`` returns what goes on to the server; ``replies`` collects what goes back to the client.
    """

    def __init__(self, identity: Identity, secret: str, login: Login) -> None:
        self._identity = identity
        self._secret = secret
        self._login = login
        #: Tokens of an inbox that no wildcard may stand for: its prefix, and one of its own.
        self._named = login.inbox.count(".") + 2
        self.nonce = ""
        self._buffer = bytearray()
        self._out = bytearray()
        self.replies = bytearray()
        self.refused = 0
        self.connected = False
        self._verbs: dict[bytes, Callable[[bytes, list[bytes]], bool]] = {
            b"CONNECT": self._connect,
            b"PUB": self._publish,
            b"HPUB": self._publish,
            b"SUB": self._subscribe,
            b"UNSUB": self._pass,
            b"PING": self._pass,
            b"PONG": self._pass,
        }

    def feed(self, data: bytes) -> bytes:
        """Take what the client sent; raises ``ProtocolError``."""
        self._buffer += data
        while self._one():
            pass
        passed = bytes(self._out)
        self._out.clear()
        return passed

    def take_replies(self) -> bytes:
        replies = bytes(self.replies)
        self.replies.clear()
        return replies

    def _one(self) -> bool:
        """Handle one whole operation of the buffer; ``False`` where there is none yet."""
        end = self._buffer.find(b"\r\n", 0, _MOST_LINE + 2)
        if end < 0:
            if len(self._buffer) > _MOST_LINE:
                raise ProtocolError("a line without an end")
            return False
        line = bytes(self._buffer[:end])
        words = line.split()
        verb = words[0].upper() if words else b""
        handle = self._verbs.get(verb)
        if handle is None:
            raise ProtocolError("an unknown operation")
        if not self.connected and verb != b"CONNECT":
            raise ProtocolError("CONNECT comes first")
        return handle(line, words)

    def _pass(self, line: bytes, words: list[bytes]) -> bool:
        self._drop(len(line) + 2, True)
        return True

    def _connect(self, line: bytes, words: list[bytes]) -> bool:
        """Replace the login's own credentials by those of its role."""
        try:
            told = orjson.loads(line.split(None, 1)[1])
            user, secret = told["user"], told["pass"]
            good = user == self._identity.operator and hmac.compare_digest(secret, self._secret)
        except (IndexError, KeyError, TypeError, ValueError):
            good, told = False, {}
        if not good or self.connected:
            self.replies += b"-ERR 'Authorization Violation'\r\n"
            raise ProtocolError("wrong credentials")
        self.connected = True
        made = {key: told[key] for key in _CONNECT_FIELDS if key in told}
        made |= {
            "name": f"browser of {self._identity.operator}",
            **self._login.hello(self.nonce),
            "tls_required": False,
        }
        self._out += b"CONNECT " + orjson.dumps(made) + b"\r\n"
        self._drop(len(line) + 2, False)
        return True

    def _subscribe(self, line: bytes, words: list[bytes]) -> bool:
        if not 3 <= len(words) <= 4:
            raise ProtocolError("SUB subject [queue] sid")
        tokens = words[1].split(b".")
        named = self._named
        overhears = tokens[0] in (b"*", b">") or (
            tokens[0] == b"_INBOX"
            and (len(tokens) <= named or any(each in (b"*", b">") for each in tokens[1:named]))
        )
        if overhears:
            self._refuse("Subscription to", words[1])
        self._drop(len(line) + 2, not overhears)
        return True

    def _publish(self, line: bytes, words: list[bytes]) -> bool:
        sizes = 2 if words[0].upper() == b"HPUB" else 1
        if not 2 + sizes <= len(words) <= 3 + sizes:
            raise ProtocolError("PUB subject [reply] size")
        numbers = words[-sizes:]
        if not all(number.isdigit() and len(number) < 10 for number in numbers):
            raise ProtocolError("a size that is none")
        head, size = (int(numbers[0]) if sizes == 2 else 0), int(numbers[-1])
        if size > _MOST_PAYLOAD or head > size:
            raise ProtocolError("too big a message")
        start = len(line) + 2
        if len(self._buffer) < start + size + 2:
            return False
        if self._buffer[start + size : start + size + 2] != b"\r\n":
            raise ProtocolError("a message that does not end where it says")
        headers = bytes(self._buffer[start : start + head])
        payload = bytes(self._buffer[start + head : start + size])
        self._drop(start + size + 2, False)
        signed = self._sign(words[1:-sizes], headers, payload)
        if signed is None:
            self._refuse("Publish to", words[1])
        else:
            counts = [b"%d" % head] if sizes == 2 else []
            start_line = b" ".join([*words[:-sizes], *counts, b"%d" % (head + len(signed))])
            self._out += b"\r\n".join((start_line, headers + signed, b""))
        return True

    def _sign(self, names: list[bytes], headers: bytes, payload: bytes) -> bytes | None:
        """The payload in the login's own name; ``names``: subject, and where an answer goes."""
        if len(names) == 2 and not answers_to_an_inbox(names[1]):
            return None
        subject = names[0].decode("utf-8", "replace")
        return in_the_name_of(self._identity, subject, headers, payload)

    def _refuse(self, what: str, subject: bytes) -> None:
        """As the server says it, so that a client shows it as a permission error."""
        self.refused += 1
        name = subject[:200].decode("ascii", "replace").replace("'", "?").replace('"', "?")
        self.replies += f"-ERR 'Permissions Violation for {what} \"{name}\"'\r\n".encode(
            "ascii", "replace"
        )

    def _drop(self, size: int, forward: bool) -> None:
        if forward:
            self._out += self._buffer[:size]
        del self._buffer[:size]
