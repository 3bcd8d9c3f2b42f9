"""The vehicle process: MAVLink 2 over UDP around the autopilot, and the pose for the cameras.

One thread, one loop: it sleeps until a datagram comes or the next tick is due, acts at once on
what came, then lets time pass. SIGINT and SIGTERM end it with code 0.
"""

from __future__ import annotations

import json
import logging
import math
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from pymavlink.dialects.v20 import common as mavlink

from dialtone_core.arguments import parse_arguments
from dialtone_core.errors import DialtoneError
from dialtone_sim.answers import handle
from dialtone_sim.autopilot import Autopilot, SetpointEvent
from dialtone_sim.links import UdpAddress, bind_udp, connect_udp, parse_udp
from dialtone_sim.params import VehicleParams

LOG = logging.getLogger("vehicle")

_MAX_DATAGRAM = 2048
#: Datagrams taken in one turn, so that a flood does not stop time for the vehicle.
_MAX_BURST = 64
#: Linux's SO_TIMESTAMPNS: the kernel's receipt of each datagram (socket(7)).
SO_TIMESTAMPNS = 35


class MavlinkLink:
    """A UDP socket that speaks MAVLink 2. ``peer`` is unknown until somebody calls (udpin)."""

    def __init__(self, address: UdpAddress, sysid: int) -> None:
        self._listening = address.scheme == "udpin"
        opened = bind_udp if self._listening else connect_udp
        self.socket = opened(address, "mavlink_url")
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.peer: tuple[str, int] | None = None if self._listening else address.pair
        self.dropped = 0
        self._codec = mavlink.MAVLink(None, srcSystem=sysid, srcComponent=1)
        self._codec.robust_parsing = True

    def receive(self) -> tuple[list[Any], int] | None:
        """The messages of one datagram and its receipt (CLOCK_MONOTONIC ns); None: no more.

        A message never spans datagrams, so the parser starts clean with each: a truncated frame
        cannot swallow the next one.
        """
        try:
            data, ancillary, _, sender = self.socket.recvmsg(_MAX_DATAGRAM, 64)
        except BlockingIOError:
            return None
        except ConnectionRefusedError:
            return [], time.monotonic_ns()  # nobody listens yet
        if self._listening:
            self.peer = sender
        codec = self._codec
        codec.buf, codec.buf_index = bytearray(), 0
        codec.expected_length = mavlink.HEADER_LEN_V1 + 2
        return codec.parse_buffer(data) or [], receipt_ns(ancillary)

    def send(self, message: Any) -> None:
        """Send now or drop: a vehicle's telemetry is never worth waiting for."""
        if self.peer is None:
            return
        try:
            data = message.pack(self._codec)
            self._codec.seq = (self._codec.seq + 1) % 256
            if self._listening:
                self.socket.sendto(data, self.peer)
            else:
                self.socket.send(data)
        except OSError:
            self.dropped += 1

    def close(self) -> None:
        self.socket.close()


class Vehicle:
    """Wires sockets, autopilot and signals. ``create`` opens nothing; ``run`` does."""

    def __init__(self, params: VehicleParams) -> None:
        self._params = params
        self._stopped = False
        self._log: socket.socket | None = None
        self._received_ns = 0
        self._poses: list[socket.socket] = []

    def run(self) -> None:
        """Run until a signal; raises ``DialtoneError`` where an address cannot be opened."""
        params = self._params
        with ExitStack() as stack:
            link = MavlinkLink(parse_udp(params.mavlink_url, "mavlink_url"), params.sysid)
            stack.callback(link.close)
            for url in params.pose_urls:
                self._poses.append(connect_udp(parse_udp(url, "pose_urls"), "pose_urls"))
                stack.callback(self._poses[-1].close)
            if params.setpoint_log:
                address = parse_udp(params.setpoint_log, "setpoint_log")
                self._log = connect_udp(address, "setpoint_log")
                stack.callback(self._log.close)
            wake = stack.enter_context(_signals(self._stop))
            LOG.info("speaking MAVLink 2 at %s as system %d", params.mavlink_url, params.sysid)
            self._loop(link, wake)

    def _stop(self, signum: int, _: object) -> None:
        self._stopped = True

    def _loop(self, link: MavlinkLink, wake: socket.socket) -> None:
        poll = select.poll()
        poll.register(link.socket, select.POLLIN)
        poll.register(wake, select.POLLIN)
        on_setpoint = self._log_setpoint if self._log else lambda event: None
        autopilot = Autopilot(self._params, time.monotonic_ns(), on_setpoint)
        tick_ns = round(1e9 / self._params.tick_rate_hz)
        pose_ns = round(1e9 / self._params.pose_rate_hz)
        tick_due_ns = pose_due_ns = time.monotonic_ns()
        while not self._stopped:
            wait_ns = min(tick_due_ns, pose_due_ns) - time.monotonic_ns()
            poll.poll(max(0, -(-wait_ns // 1_000_000)))
            self._receive(link, autopilot)
            now_ns = time.monotonic_ns()
            if now_ns < min(tick_due_ns, pose_due_ns):
                continue
            for message in autopilot.advance(now_ns, time.time_ns()):
                link.send(message)
            tick_due_ns = _next(tick_due_ns, tick_ns, now_ns)
            if now_ns >= pose_due_ns:
                pose_due_ns = _next(pose_due_ns, pose_ns, now_ns)
                self._send_pose(autopilot, now_ns)

    def _receive(self, link: MavlinkLink, autopilot: Autopilot) -> None:
        for _ in range(_MAX_BURST):
            received = link.receive()
            if received is None:
                return
            messages, self._received_ns = received
            for message in messages:
                for answer in handle(autopilot, message, time.monotonic_ns(), time.time_ns()):
                    link.send(answer)

    def _send_pose(self, autopilot: Autopilot, now_ns: int) -> None:
        pose = autopilot.pose(now_ns).encode()
        for sender in self._poses:
            with suppress(OSError):  # no camera there, or it is slow: the next pose is better
                sender.send(pose)

    def _log_setpoint(self, event: SetpointEvent) -> None:
        """See ``setpoint_datagram``."""
        if self._log is not None:
            with suppress(OSError):
                self._log.send(setpoint_datagram(event, self._received_ns))


def setpoint_datagram(event: SetpointEvent, received_ns: int) -> bytes:
    """What ``setpoint_log`` gets: JSON with ``received_ns``, when the kernel had the datagram.

    ``received_ns`` is CLOCK_MONOTONIC of this machine. Then ``seq`` (MAVLink's, 0..255), ``type``,
    ``accepted``, ``reason``, and ``vx``, ``vy``, ``yaw_rate`` as they came (null if not finite).
    """
    message = event.message
    body = {
        "received_ns": received_ns,
        "seq": message.get_seq(),
        "type": message.get_type(),
        "accepted": not event.reason,
        "reason": event.reason,
    }
    names = {"vx": "vx", "vy": "vy", "yaw_rate": "yaw_rate", "body_yaw_rate": "yaw_rate"}
    for field, key in names.items():
        value = getattr(message, field, None)
        if value is not None:
            body[key] = value if math.isfinite(value) else None
    return json.dumps(body).encode()


def receipt_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The kernel's stamp (CLOCK_REALTIME) as CLOCK_MONOTONIC ns, or now where there is none."""
    now_ns = time.monotonic_ns()
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) == 16:
            seconds, nanoseconds = map(int, struct.unpack("qq", data))
            age_ns = time.time_ns() - (seconds * 1_000_000_000 + nanoseconds)
            return now_ns - max(0, age_ns)
    return now_ns


def _next(due_ns: int, interval_ns: int, now_ns: int) -> int:
    """The next slot of a steady rate; slots missed while the machine was busy are skipped."""
    return max(due_ns + interval_ns, now_ns)


@contextmanager
def _signals(stop: Any) -> Iterator[socket.socket]:
    """While open, SIGINT and SIGTERM call ``stop`` and make the given socket readable."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)
    try:
        yield reader
    finally:
        for signum in (signal.SIGINT, signal.SIGTERM):
            # Ctrl-C under launch arrives twice; the second one must not kill an orderly end.
            signal.signal(signum, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        reader.close()
        writer.close()


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the executable ``vehicle``; exit code 2 for a wrong setting."""
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s] [%(name)s]: %(message)s")
    try:
        arguments = sys.argv[1:] if argv is None else argv
        params = parse_arguments(
            arguments, VehicleParams, "vehicle", "A simulated rover that speaks MAVLink 2."
        )
        Vehicle(params).run()
    except DialtoneError as error:
        LOG.critical("%s", error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
