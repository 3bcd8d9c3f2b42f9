"""A line of the doctor's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Verdict(Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The thing, what it is, and what to do if it is not well."""

    name: str
    verdict: Verdict
    what: str
    fix: str = ""

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict.value}


def ok(name: str, what: str) -> Finding:
    return Finding(name, Verdict.OK, what)


def warn(name: str, what: str, fix: str) -> Finding:
    return Finding(name, Verdict.WARN, what, fix)


def fail(name: str, what: str, fix: str) -> Finding:
    return Finding(name, Verdict.FAIL, what, fix)
