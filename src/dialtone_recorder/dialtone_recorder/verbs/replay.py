"""``dialtone episodes replay``: a recording back onto ROS topics."""

from __future__ import annotations

from typing import Annotated

import typer

from dialtone_core.cli import console, errors
from dialtone_core.errors import DialtoneError
from dialtone_recorder.intake import Intake
from dialtone_recorder.playback import is_command, replayable
from dialtone_recorder.verbs.common import Directory, Episode, find
from dialtone_recorder.verbs.edit import Topics, keeper


def replay(
    episode: Episode,
    speed: Annotated[float, typer.Option(help="How many times as fast.")] = 1.0,
    start: Annotated[float, typer.Option(help="Seconds from its beginning.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="Seconds; default is its end.")] = None,
    topic: Topics = None,
    commands: Annotated[
        bool, typer.Option("--commands", help="Also what may MOVE THE ROBOT.")
    ] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for subscribers.")] = 1.0,
    directory: Directory = "",
) -> None:
    """Publish a recording on its topics. Space pauses, arrows seek and change the speed."""
    from dialtone_recorder.keys import open_keys
    from dialtone_recorder.ros_replay import Replay

    if not 0.01 <= speed <= 1000:
        raise DialtoneError(f"--speed is {speed:g}", fix="give 0.01 to 1000")
    intake = Intake(find(episode, directory))
    keep = keeper(topic)
    kept = [each for each in intake.topics.values() if keep.fullmatch(each.name)]
    topics = [each for each in kept if replayable(each.name, each.type, commands)]
    held = sorted({e.name for e in kept if e not in topics and is_command(e.name, e.type)})
    if held:
        errors.print(f"not replayed without --commands: {', '.join(held)}", highlight=False)
    player = Replay(intake, topics)
    try:
        for name, why in player.skipped.items():
            errors.print(f"not replayed: {name}: {why}", markup=False, highlight=False)
        player.wait_for_subscribers(wait)
        with open_keys() as keys, errors.status("replaying") as status:
            count = player.run(
                speed, start, end, keys,
                lambda at, state: status.update(
                    f"{at:.1f} of {intake.duration_s:.1f} s {state}"
                ),
            )  # fmt: skip
    finally:
        player.close()
    console.print(f"replayed {count} messages", highlight=False)
