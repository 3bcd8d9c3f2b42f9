"""Regular expressions of ROS names, as params files give them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dialtone_core.errors import ConfigError


class Patterns:
    """Each is matched whole, and against every name that a thing has: its path without the
    robot's namespace and its full ROS name, so that nobody need know which of them is meant.

    ``parameter`` names them in the ``ConfigError`` for what is no regular expression.
    """

    def __init__(self, parameter: str, texts: Sequence[str]) -> None:
        self._patterns = [
            compile_pattern(f"{parameter}[{index}]", text) for index, text in enumerate(texts)
        ]

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def match(self, *names: str) -> bool:
        """Whether any pattern matches any of these names of one thing."""
        return any(each.fullmatch(name) for each in self._patterns for name in names)

    def spell(self, *names: str) -> bool:
        """Whether one of them is no more than such a name itself."""
        return any(each.pattern in names for each in self._patterns)


def compile_pattern(name: str, text: str) -> re.Pattern[str]:
    """Raises ``ConfigError`` where ``text``, the parameter ``name``, is no regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(
            f"{name} is {text!r}, no regular expression ({error})", fix="correct the pattern"
        ) from error
