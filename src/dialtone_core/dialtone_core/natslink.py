"""One way to be a NATS client: reconnect for ever, never replay commands."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import nats
import nats.errors
import orjson
from nats.aio.client import Client
from nats.protocol.command import sub_cmd

from dialtone_core.aio import bound_send_buffer, end_task
from dialtone_core.errors import DialtoneError
from dialtone_core.natsauth import check_url, find_login, tls_context
from dialtone_core.natsretry import NO_TLS, Backoff

MakeTls = Callable[[], "ssl.SSLContext | None"]

#: Buffered publishes are *delivered after a reconnect* (facts: NATS): stale telemetry is worth
#: little, a stale command is dangerous. 0 makes a publish fail at once while disconnected.
NO_REPLAY = 0


#: Seconds before the next attempt to connect: doubled from the first to the second.
_FIRST_WAIT_S, _LAST_WAIT_S = 0.1, 2.0

#: Closing flushes what waits; a server that does not read must not hold up the end.
_CLOSE_S = 1.0


def _unusable(error: DialtoneError) -> nats.errors.Error:
    """As an error that the library's reconnecting outlives."""
    return nats.errors.Error(f"{error.where}: {error.what}" if error.where else error.what)


class _Patient(Client):  # type: ignore[misc]
    """A ``nats.NATS`` that never gives up, from the first attempt on.

    The library blocks in ``connect`` until a server answers, forgets its subscriptions when a
    handshake fails, and closes for good on any ``-ERR`` of the server but a permission's.
    """

    url = credentials = ""
    wants_tls = live = False

    def __init__(self, make_tls: MakeTls) -> None:
        super().__init__()
        self.closing = asyncio.Lock()
        self.waits = Backoff(_FIRST_WAIT_S, _LAST_WAIT_S)
        self._make_tls = make_tls

    async def _connect_to_server(self, s: Any) -> None:
        """With TLS by the files as they are now: certificates are renewed under their names.

        What is wrong with our own files is not brought before the server.
        """
        try:
            find_login(self.url, self.credentials)
            context = self._make_tls()
        except DialtoneError as error:
            raise _unusable(error) from error
        if context is not None:
            self.options["tls"] = context
        await super()._connect_to_server(s)

    def _connect_command(self) -> bytes:
        """CONNECT as whom we are now: keys may have been made or exchanged since the last.

        The library would go on in the clear where a server, or somebody between, offers no TLS.
        """
        if self.wants_tls and not self._server_info.get("tls_required"):
            raise nats.errors.Error(NO_TLS)
        plain: bytes = super()._connect_command()
        body = orjson.loads(plain.removeprefix(b"CONNECT "))
        try:
            login = find_login(self.url, self.credentials)
            body |= login.hello(self._server_info.get("nonce", ""))
        except DialtoneError as error:
            raise _unusable(error) from error
        return b"CONNECT " + orjson.dumps(body) + b"\r\n"

    async def _process_connect_init(self) -> None:
        """The library takes a server that hangs up during the handshake for one that is there.

        With TLS 1.3 that is how a server refuses a client without a certificate.
        """
        why = ""
        writer = getattr(self._transport, "_io_writer", None)
        if self.live and writer is not None:
            bound_send_buffer(writer.transport)
        try:
            await super()._process_connect_init()
        except ConnectionError as error:
            why = f" ({error.strerror or error})"
        if why or self._status != Client.CONNECTED:
            for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
                if task is not None:
                    task.cancel()
            hint = ", perhaps for want of a certificate" if self.wants_tls else ""
            raise nats.errors.Error(f"the server hung up{why}{hint}")

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        if status != Client.DISCONNECTED:
            await super()._close(status, do_cbs)
            return
        async with self.closing:
            self._abort()
            kept = dict(self.__dict__["_subs"])
            self._subs: dict[int, Any] = {}
            await super()._close(status, do_cbs)
            self._subs = kept
            self._status = Client.DISCONNECTED

    def _abort(self) -> None:
        """Break and forget the line: where TLS failed the library waits for its end in vain."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
            self._transport: Any = None

    async def subscribe(self, *args: Any, **options: Any) -> Any:
        """Not while an attempt that failed is being cleared away: the library says closed then."""
        async with self.closing:
            pass
        return await super().subscribe(*args, **options)

    async def _process_err(self, err_msg: str) -> None:
        if "permissions violation" in err_msg.lower():
            await super()._process_err(err_msg)
        else:
            await self._process_op_err(nats.errors.Error(f"nats: {err_msg.strip()}"))

    async def _process_pong(self) -> None:
        """Answer whoever waits; a flush that gave up left its cancelled future in the row.

        The library would set a result on that, and its reader would die of it with the link up.
        """
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    def back_off(self, why: str) -> None:
        """Wait longer before the next attempt."""
        self.options["reconnect_time_wait"] = self.waits.next_s(why)

    def forget_unsent(self) -> None:
        """Drop what a line that broke did not take; the library would send it on the next one."""
        self._pending: list[bytes] = []
        self._pending_data_size = 0

    def hang_up(self) -> None:
        """Close the socket of an attempt that was cancelled halfway."""
        if self._transport is not None:
            self._transport.close()

    async def resubscribe(self) -> None:
        """Tell the server all subscriptions; one that it has already it ignores."""
        for sid, sub in self._subs.items():
            await self._send_command(sub_cmd(sub._subject, sub._queue, sid))
        await self.flush()


async def connect(
    url: str,
    name: str,
    *,
    pending_bytes: int = 2 * 1024 * 1024,
    live: bool = False,
    on_state: Callable[[bool, str], None] | None = None,
    on_trouble: Callable[[str], None] | None = None,
    credentials: str = "",
    tls: MakeTls | None = None,
) -> Client:
    """A client that connects to ``url`` and keeps connected for ever.

    Returns once connected, or when the first attempt failed: the attempts then go on behind the
    returned client, with subscriptions made meanwhile kept. ``on_state(connected, why)`` runs on
    the loop whenever the link comes or goes, and at each attempt that failed, and
    ``on_trouble(words)`` on what goes wrong while connected: the server denies a publish or a
    subscription (nothing else tells that what is published there reaches nobody), a callback
    failed, a subscription was too slow. Pass
    ``pending_bytes=NO_REPLAY`` for a connection that carries commands, and ``live`` for one whose
    messages are worth little once they waited. End it with ``await client.close()``. As whom, and
    with which TLS unless ``tls`` makes it: ``natsauth``, anew at each attempt.
    """
    login = find_login(check_url(url), credentials)  # what cannot be read is said now
    make_tls = tls or partial(tls_context, url)
    context = make_tls()
    client = _Patient(make_tls)
    client.url, client.credentials, client.live = url, credentials, live
    client.wants_tls = context is not None and not url.startswith(("ws://", "wss://"))
    first = asyncio.Event()

    def tell(connected: bool, why: str) -> None:
        first.set()
        if on_state is not None:
            on_state(connected, why)

    async def on_error(error: Exception) -> None:
        if not client.is_connected:
            why = str(error) or type(error).__name__
            client.back_off(why)
            tell(False, why)
        elif on_trouble is not None and not isinstance(error, nats.errors.UnexpectedEOF):
            on_trouble((str(error) or repr(error)).removeprefix("nats: ").strip("'")[:300])

    async def on_up() -> None:
        client.waits.reset()
        tell(True, "connected")

    async def on_down() -> None:
        if pending_bytes == NO_REPLAY:
            client.forget_unsent()
        tell(False, "disconnected")

    async def keep_connecting() -> None:
        await client.connect(
            url,
            name=name,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_FIRST_WAIT_S,
            connect_timeout=2,
            ping_interval=5,
            max_outstanding_pings=2,
            drain_timeout=2,
            pending_size=pending_bytes,
            inbox_prefix=login.inbox,
            error_cb=on_error,
            reconnected_cb=on_up,
            disconnected_cb=on_down,
            **({"tls": context} if context is not None else {}),
        )
        await client.resubscribe()
        await on_up()

    await _first_of(client, keep_connecting(), first)
    return client


async def _first_of(
    client: _Patient, connecting: Coroutine[Any, Any, None], first: asyncio.Event
) -> None:
    """Run ``connecting`` as a task that ends with ``client``; return when ``first`` is set.

    What can never succeed, such as a URL that is none, is raised here.
    """
    task = asyncio.create_task(connecting)
    waiting = asyncio.create_task(first.wait())
    close = client.close

    async def close_all() -> None:
        if not task.done():
            await end_task(task)
            client.hang_up()
        # In a task of its own: where the library is in the middle of reconnecting, its close ends
        # with the cancellation of that, which is not the caller's.
        closing = asyncio.create_task(close())
        await asyncio.wait({closing}, timeout=_CLOSE_S)
        if closing.done() and not closing.cancelled():
            closing.exception()
        else:
            client.hang_up()

    client.close = close_all
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        task.cancel()
        raise
    finally:
        waiting.cancel()
    if task.done() and task.exception() is not None:
        error = task.exception()
        raise DialtoneError(
            f"cannot be a NATS client: {error or type(error).__name__}",
            fix="give a URL such as nats://127.0.0.1:4222",
        ) from error


def frame_head(headers: Mapping[str, str]) -> bytes:
    """The fixed part of a message's NATS headers, for ``publish_frame``; build it once a topic."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}".encode()


def publish_frame(client: Client, subject: bytes, head: bytes, more: bytes, payload: bytes) -> int:
    """Queue one message whose headers are ``head`` + ``more`` (whole lines), without copying.

    ``Client.publish`` costs 13 µs for its checks and its joining of headers and payload; this one
    costs 3, which decides at 10,000 messages a second. Returns the bytes that now wait; follow a
    batch by ``flush_frames``. The client must be connected. Raises ``MaxPayloadError``.
    """
    header_bytes = len(head) + len(more) + 2
    total = header_bytes + len(payload)
    if total > client.max_payload:
        raise nats.errors.MaxPayloadError
    first = b"HPUB %b %d %d\r\n%b%b\r\n" % (subject, header_bytes, total, head, more)
    client._pending += (first, payload, b"\r\n")
    client._pending_data_size += len(first) + len(payload) + 2
    client.stats["out_msgs"] += 1
    client.stats["out_bytes"] += len(payload)
    return int(client._pending_data_size)


def publish_request(
    client: Client, subject: bytes, reply: bytes, head: bytes, more: bytes, payload: bytes
) -> int:
    """Like ``publish_frame``, naming ``reply`` as where the answer goes."""
    return publish_frame(client, subject + b" " + reply, head, more, payload)


async def flush_frames(client: Client, wait: bool) -> None:
    """Hand what ``publish_frame`` queued to the socket; ``wait`` until the socket took it."""
    await client._flush_pending(force_flush=wait)
