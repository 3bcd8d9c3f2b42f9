"""When each message of a recording is due, at any speed, with pause and seek. No ROS in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dialtone_recorder.intake import Intake
from dialtone_recorder.reader import Recorded

#: Names and types that move something; replayed only when told to, whatever the robot's names are.
_COMMAND_NAME = re.compile(r"(.*/)?(cmd|command|set|goal)[^/]*(/.*)?|.*(cmd|command|goal)s?")
_COMMAND_TYPE = re.compile(
    r".*/(Twist|TwistStamped|AckermannDrive(Stamped)?|JointTrajectory|JointJog|Joy|"
    r"PositionTarget|AttitudeTarget|MultiDOFJointTrajectory|Wrench(Stamped)?)"
)
_EFFECT = re.compile(r"(.*/)?teleop/applied")
_RESERVED = re.compile(r"/(rosout|parameter_events)")


def is_command(name: str, type_name: str) -> bool:
    """Whether a topic could move a robot. What *became* of commands could not."""
    if _EFFECT.fullmatch(name):
        return False
    return bool(_COMMAND_NAME.fullmatch(name) or _COMMAND_TYPE.fullmatch(type_name))


def replayable(name: str, type_name: str, commands: bool) -> bool:
    """Whether a topic is replayed: not what every node of the graph publishes by itself."""
    return not _RESERVED.fullmatch(name) and (commands or not is_command(name, type_name))


class Playback:
    """Maps monotonic time to the recording's; the caller passes the present in.

    ``due()`` is the next message and ``wait_s`` how long until it. Seeking begins the reading
    anew at that moment.
    """

    def __init__(
        self, intake: Intake, topics: list[str], speed: float, start_s: float, now_ns: int
    ) -> None:
        self._intake = intake
        self._topics = topics
        self.speed = speed
        self.paused = False
        self._next: Recorded | None = None
        self._messages: Iterator[Recorded] = iter(())
        self._stand(start_s, now_ns)

    def _stand(self, at_s: float, now_ns: int) -> None:
        at_s = min(max(0.0, at_s), self._intake.duration_s)
        self._base_ns = self._intake.start_ns + round(at_s * 1e9)
        self._since_ns = now_ns
        self._messages = self._intake.messages(self._base_ns, None, self._topics)
        self._next = next(self._messages, None)

    def position_s(self, now_ns: int) -> float:
        """Where in the recording we are, seconds from its beginning."""
        passed_ns = 0.0 if self.paused else (now_ns - self._since_ns) * self.speed
        return min((self._base_ns - self._intake.start_ns + passed_ns) / 1e9,
                   self._intake.duration_s)  # fmt: skip

    def seek(self, by_s: float, now_ns: int) -> None:
        """Go on ``by_s`` later or earlier."""
        self._stand(self.position_s(now_ns) + by_s, now_ns)

    def rate(self, speed: float, now_ns: int) -> None:
        """Go on at another speed."""
        self._base_ns += 0 if self.paused else round((now_ns - self._since_ns) * self.speed)
        self._since_ns = now_ns
        self.speed = speed

    def pause(self, paused: bool, now_ns: int) -> None:
        """Stand still, or go on."""
        self.rate(self.speed, now_ns)
        self.paused = paused

    @property
    def ended(self) -> bool:
        return self._next is None

    def wait_s(self, now_ns: int) -> float:
        """Seconds until the next message is due; negative where it is late."""
        if self._next is None or self.paused:
            return 3600.0
        due_ns = self._since_ns + (self._next.log_ns - self._base_ns) / self.speed
        return (due_ns - now_ns) / 1e9

    def take(self) -> Recorded:
        """The next message; it is not asked for again."""
        message = self._next
        assert message is not None
        self._next = next(self._messages, None)
        return message
