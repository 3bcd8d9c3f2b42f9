"""The doctor's look at an autopilot: does the vehicle stop when this computer falls silent?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dialtone_bringup.finding import Finding, fail, ok, warn
from dialtone_bringup.settings import Settings
from dialtone_core.config import build
from dialtone_core.errors import DialtoneError

if TYPE_CHECKING:
    from dialtone_teleop.params import MavlinkParams

_NAME = "autopilot"


def mavlink_settings(url: str, params_file: str) -> MavlinkParams | None:
    """How to reach the autopilot: ``url`` where one is given, else what the params file says.

    ``None`` where neither names a line. Raises ``DialtoneError`` for a wrong setting.
    """
    from dialtone_teleop.params import MavlinkParams

    values = {}
    if params_file:
        file = Path(params_file).expanduser().absolute()
        values = Settings([file], "/").value("teleop", "mavlink", dict[str, object]())
    if url:
        values = {**values, "url": url}
    if "url" not in values:
        return None
    return build(MavlinkParams, values, where=params_file or "--mavlink")


def autopilot(params: MavlinkParams) -> Iterator[Finding]:
    """Ask the autopilot for its failsafe parameters and judge each, with the fix."""
    from dialtone_teleop.mavlink_ask import ask_autopilot
    from dialtone_teleop.mavlink_failsafe import rules

    try:
        found = ask_autopilot(params)
    except DialtoneError as error:
        yield fail(_NAME, error.what, error.fix)
        return
    yield ok(_NAME, f"{found.dialect}, system {found.target.system}, at {params.url}")
    for rule in rules(found.dialect):
        told = next((name for name in rule.names if name in found.values), None)
        advice = rule.judge(found.values, params.system_id)
        if told is None:
            names = " or ".join(rule.names)
            yield warn(_NAME, f"does not tell {names}", "look it up with a ground station")
        elif advice is not None:
            yield warn(_NAME, advice.what, advice.fix)
        else:
            yield ok(_NAME, f"{told} is {found.values[told]:g}")
