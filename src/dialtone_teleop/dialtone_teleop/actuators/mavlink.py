"""A vehicle behind a MAVLink 2 autopilot, over UDP, TCP or a serial port.

One thread (``mavlink``) reads, keeps the conversation going and heals the line; setpoints are
written in the caller's thread, so a command is on the wire when ``send`` returns. Messages come
from pymavlink's v2 dialect, which frames, checks and packs them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pymavlink.dialects.v20 import common as mavlink

from dialtone_core.clock import Clock
from dialtone_core.command import Attitude, Twist
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.autobaud import find_serial, is_search
from dialtone_teleop.link_url import parse_link_url
from dialtone_teleop.links import Link, open_link
from dialtone_teleop.mavlink_attitude import attitude_target
from dialtone_teleop.mavlink_session import Session
from dialtone_teleop.mavlink_sight import Sight
from dialtone_teleop.mavlink_signing import figures as signing_figures
from dialtone_teleop.mavlink_signing import read_key, sign
from dialtone_teleop.params import MavlinkParams, TeleopParams
from dialtone_teleop.telemetry import Telemetry

#: The reader wakes so often at least, to keep heartbeats and retries going.
_READ_TIMEOUT_S = 0.1
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 5.0


class MavlinkActuator:
    """See the module and ``base.Actuator``."""

    def __init__(self, params: MavlinkParams, clock: Clock) -> None:
        self._params = params
        self._clock = clock
        self._url = parse_link_url(params.url)
        self._codec = mavlink.MAVLink(None, params.system_id, params.component_id)
        self._codec.robust_parsing = True
        if params.signing_key_file:
            key = read_key(Path(params.signing_key_file).expanduser())
            sign(self._codec, key, params.component_id)
        self._lock = threading.RLock()
        self._session = Session(params, self._say)
        self._link: Link | None = None
        self._line_up: bool | None = None
        self._baud = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._on_telemetry: Callable[[Telemetry], None] = lambda _: None
        self._log: Callable[[str, str], None] = lambda *_: None
        self._start_ns = self._session.start_ns = clock.monotonic_ns()
        self._sight = Sight(lambda value: self._on_telemetry(value), self._on_reboot)
        self._bad = 0
        self._handlers: dict[str, Callable[[Any, int, int], None]] = {
            "HEARTBEAT": self._on_heartbeat,
            "COMMAND_ACK": lambda message, *_: self._session.on_ack(message),
            "STATUSTEXT": self._on_text,
            "TIMESYNC": self._on_timesync,
            "PARAM_VALUE": lambda message, *_: self._session.on_parameter(message),
            **self._sight.handlers,
        }

    def open(
        self, on_telemetry: Callable[[Telemetry], None], log: Callable[[str, str], None]
    ) -> None:
        """Start the thread; the line opens there and is tried again for ever."""
        if self._thread is not None:
            return
        self._on_telemetry, self._log = on_telemetry, log
        self._thread = threading.Thread(target=self._run, name="mavlink", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2.0)
        self._drop_link()

    def send(self, twist: Twist) -> Twist | None:
        """Write a setpoint. Zeros go out wherever a vehicle was heard, driving allowed or not.

        Whether they should go to one that a pilot took is ``VehicleState.hands_off`` for the
        caller to ask: an e-stop must get through there too.
        """
        with self._lock:
            reason = self._session.reason(self._clock.monotonic_ns())
            if reason and not (twist.is_zero() and self._session.heard):
                return None
            now_ns = self._clock.monotonic_ns()
            self._session.sent_setpoint(now_ns)
            boot_ms = (now_ns - self._start_ns) // 1_000_000
            sent = Twist(twist.x, twist.y, twist.z, 0.0, 0.0, twist.yaw)
            return sent if self._write(self._session.setpoint(sent, boot_ms)) else None

    def send_attitude(self, attitude: Attitude) -> bool:
        """Write an attitude setpoint, where driving is allowed."""
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            if self._session.reason(now_ns):
                return False
            self._session.sent_setpoint(now_ns)
            boot_ms = (now_ns - self._start_ns) // 1_000_000
            target = self._session.system, self._session.component
            return self._write(attitude_target(attitude, *target, boot_ms))

    def arm(self, wanted: bool) -> None:
        with self._lock:
            self._session.arm(wanted)
            self._keep_talking()

    def modes(self) -> tuple[str, ...]:
        with self._lock:
            return self._session.modes()

    def set_mode(self, name: str) -> None:
        with self._lock:
            self._session.ask_mode(name)
            self._keep_talking()

    def state(self, now_ns: int) -> VehicleState:
        with self._lock:
            session = self._session
            reason = session.reason(now_ns) if self._line_up else "line_down"
            return VehicleState(
                ready=not reason,
                reason=reason,
                link=session.link(now_ns),
                link_age_s=session.link_age_s(now_ns),
                armed=session.armed,
                mode=session.mode,
                hands_off=session.hands_off,
                **self._sight.state(now_ns),
            )

    def figures(self) -> dict[str, object]:
        """Counters of the line, for diagnostics."""
        found: dict[str, object] = {
            "mavlink_received": self._codec.total_packets_received,
            "mavlink_sent": self._codec.total_packets_sent,
            "mavlink_bad": self._bad,
            "autopilot": self._session.dialect.name if self._session.heard else "",
            "advice": " ".join(self._session.advice()),
        }
        sync = self._session.time_sync
        if sync.round_trip_ms is not None and sync.offset_ms is not None:
            found |= {"round_trip_ms": sync.round_trip_ms, "clock_offset_ms": sync.offset_ms}
        found |= {f"param.{name}": each for name, each in self._session.parameters.items()}
        return found | signing_figures(self._codec)

    def _run(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._stopping.is_set():
            try:
                link = self._open_link()
            except OSError as error:
                self._line_is(False, error)
                self._stopping.wait(retry_s)
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
                continue
            with self._lock:
                self._link = link
            self._line_is(True)
            retry_s = _FIRST_RETRY_S
            self._read_until_broken(link)
            if not self._stopping.is_set():
                self._drop_link()
                self._stopping.wait(retry_s)

    def _open_link(self) -> Link:
        if not is_search(self._url):
            return open_link(self._url, _READ_TIMEOUT_S)
        found = find_serial(self._url, _READ_TIMEOUT_S, self._stopping, self._baud)
        self._baud = found.baud
        self._log("info", f"an autopilot speaks on {found.device} at {found.baud} baud")
        return found

    def _read_until_broken(self, link: Link) -> None:
        while not self._stopping.is_set():
            try:
                data = link.read()
            except OSError as error:
                if not self._stopping.is_set():
                    self._line_is(False, error)
                return
            if data:
                self._take(data)
            with self._lock:
                self._keep_talking()
                if self._link is None:
                    return

    def _take(self, data: bytes) -> None:
        now_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        for message in self._codec.parse_buffer(data) or ():
            name = message.get_type()
            if name == "BAD_DATA":
                self._bad += 1
                continue
            handle = self._handlers.get(name)
            if handle is not None and self._session.is_vehicle(message):
                handle(message, now_ns, wall_ns)

    def _keep_talking(self) -> None:
        for message in self._session.tick(self._clock.monotonic_ns()):
            self._write(message)

    def _write(self, message: Any) -> bool:
        """Pack and write, under the lock; a broken line is dropped, the reader opens it anew."""
        if self._link is None:
            return False
        codec = self._codec
        data = message.pack(codec)
        codec.seq = (codec.seq + 1) % 256
        codec.total_packets_sent += 1
        try:
            return self._link.write(data)
        except BlockingIOError:
            return False  # the socket's buffer is full; the next setpoint supersedes this one
        except OSError as error:
            self._line_is(False, error)
            self._drop_link()
            return False

    def _drop_link(self) -> None:
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def _line_is(self, up: bool, error: OSError | None = None) -> None:
        """One log line per change."""
        if self._line_up == up:
            return
        self._line_up = up
        if up:
            self._log("info", f"{self._url} is open")
        else:
            fix = "plug it in or correct mavlink.url; trying on"
            self._log("error", f"{self._url} is not usable ({error}). Fix: {fix}")

    def _say(self, level: str, line: str) -> None:
        self._log(level, line)

    def _on_heartbeat(self, message: Any, now_ns: int, wall_ns: int) -> None:
        with self._lock:
            if self._link is not None:
                self._link.confirm_peer()
            for request in self._session.on_heartbeat(message, now_ns):
                self._write(request)

    def _on_reboot(self) -> None:
        with self._lock:
            self._session.on_reboot()

    def _on_timesync(self, message: Any, now_ns: int, wall_ns: int) -> None:
        with self._lock:
            for answer in self._session.time_sync.on_timesync(message, now_ns):
                self._write(answer)

    def _on_text(self, message: Any, now_ns: int, wall_ns: int) -> None:
        text = message.text.decode("utf-8", "replace") if isinstance(message.text, bytes) else ""
        level = "warn" if message.severity <= mavlink.MAV_SEVERITY_WARNING else "info"
        self._log(level, f"vehicle says: {text or message.text}")


def create(params: TeleopParams, clock: Clock) -> MavlinkActuator:
    return MavlinkActuator(params.mavlink, clock)
