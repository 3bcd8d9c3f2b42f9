"""Byte links to an autopilot: UDP, TCP, serial. Opening and using one raise ``OSError``."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any, Protocol

from dialtone_teleop.link_url import LinkUrl

_READ_BYTES = 65536
#: A write that takes longer is a fault of the line; an e-stop must not wait behind it.
_WRITE_TIMEOUT_S = 0.05
_CONNECT_TIMEOUT_S = 2.0


class Link(Protocol):
    """One open line. ``read`` is called by one thread, ``write`` by one thread at a time."""

    def read(self) -> bytes:
        """What arrived, ``b""`` after the read timeout; raises ``OSError`` for a broken line."""

    def write(self, data: bytes) -> bool:
        """Send; false where nobody is there to send to yet."""

    def confirm_peer(self) -> None:
        """What was read last came from the vehicle: answer there from now on."""

    def close(self) -> None: ...


def open_link(url: LinkUrl, read_timeout_s: float) -> Link:
    """Open ``url``; raises ``OSError``."""
    if url.scheme == "udpin":
        return UdpIn(url, read_timeout_s)
    if url.scheme == "udpout":
        return Stream(_udp_out(url), read_timeout_s, datagrams=True)
    if url.scheme == "tcp":
        connected = socket.create_connection((url.address, url.number), _CONNECT_TIMEOUT_S)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Stream(connected, read_timeout_s)
    return Serial(url, read_timeout_s)


class UdpIn:
    """Bound here; speaks to whoever the vehicle's heartbeat came from."""

    def __init__(self, url: LinkUrl, read_timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._peer: tuple[str, int] | None = None
        self._last: tuple[str, int] | None = None
        try:
            self._socket.bind((url.address, url.number))
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(read_timeout_s)

    def read(self) -> bytes:
        try:
            data, self._last = self._socket.recvfrom(_READ_BYTES)
        except (TimeoutError, ConnectionRefusedError):
            return b""
        return data

    def write(self, data: bytes) -> bool:
        if self._peer is None:
            return False
        with suppress(ConnectionRefusedError):  # an ICMP echo of the past; the link's age tells
            self._socket.sendto(data, socket.MSG_DONTWAIT, self._peer)
        return True

    def confirm_peer(self) -> None:
        self._peer = self._last

    def close(self) -> None:
        self._socket.close()


class Stream:
    """A connected socket: TCP, or UDP to one address."""

    def __init__(
        self, connected: socket.socket, read_timeout_s: float, *, datagrams: bool = False
    ) -> None:
        self._socket = connected
        self._datagrams = datagrams
        connected.settimeout(read_timeout_s)

    def read(self) -> bytes:
        try:
            data = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            return b""
        except ConnectionRefusedError:
            if self._datagrams:  # nobody listens yet
                return b""
            raise
        if not data and not self._datagrams:
            raise ConnectionResetError("the other side closed the connection")
        return data

    def write(self, data: bytes) -> bool:
        try:
            sent = self._socket.send(data, socket.MSG_DONTWAIT)
        except ConnectionRefusedError:
            if self._datagrams:
                return False
            raise
        if sent != len(data):
            raise BrokenPipeError("the line takes no more bytes")
        return True

    def confirm_peer(self) -> None:
        """A connected socket has one peer."""

    def close(self) -> None:
        self._socket.close()


def _udp_out(url: LinkUrl) -> socket.socket:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sender.connect((url.address, url.number))
    except OSError:
        sender.close()
        raise
    return sender


class Serial:
    """A serial port, raw, 8N1. pyserial's ``SerialException`` is an ``OSError``."""

    def __init__(self, url: LinkUrl, read_timeout_s: float) -> None:
        import termios

        import serial

        try:
            self._port: Any = serial.Serial(
                url.address,
                url.number,
                timeout=read_timeout_s,
                write_timeout=_WRITE_TIMEOUT_S,
                exclusive=True,
            )
        except termios.error as error:  # not an OSError; a device that refuses the settings
            raise OSError(*error.args) from error

    def speak_at(self, baud: int) -> None:
        """Change the rate; what arrived at the old one is forgotten."""
        self._port.baudrate = baud
        self._port.reset_input_buffer()

    @property
    def baud(self) -> int:
        return int(self._port.baudrate)

    @property
    def device(self) -> str:
        return str(self._port.port)

    def patience(self, read_timeout_s: float) -> None:
        """``read`` waits so long from now on."""
        self._port.timeout = read_timeout_s

    def read(self) -> bytes:
        try:
            first: bytes = self._port.read(1)
            return first + self._port.read(self._port.in_waiting) if first else b""
        except TypeError as error:  # pyserial: the port was closed under the read
            raise OSError("the port was closed") from error

    def write(self, data: bytes) -> bool:
        self._port.write(data)
        return True

    def confirm_peer(self) -> None:
        """A cable has one other end."""

    def close(self) -> None:
        self._port.close()
