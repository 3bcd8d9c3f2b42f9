"""``dialtone episodes trim``, ``split``, ``merge``: new episodes from old ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from dialtone_core.cli import console
from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import DialtoneError
from dialtone_recorder.derive import cut
from dialtone_recorder.derive import merge as merge_all
from dialtone_recorder.intake import Intake
from dialtone_recorder.progress import progress
from dialtone_recorder.verbs.common import Directory, Episode, find

Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Name or path of what is made; must not exist.")
]
Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", "-t", help="Regular expression of topics to keep; repeat it."),
]


def target_of(out: Path | None, intake: Intake, suffix: str) -> Path:
    """``out`` beside the source where it is a bare name; the source's name with a suffix."""
    if out is None:
        return intake.path.with_name(f"{intake.name}-{suffix}")
    return intake.path.with_name(out.name) if len(out.parts) == 1 else out


def keeper(topics: list[str] | None) -> re.Pattern[str]:
    """What ``--topic`` keeps; raises ``DialtoneError`` for what is no regular expression."""
    try:
        return re.compile("|".join(f"(?:{each})" for each in topics or [".*"]))
    except re.error as error:
        raise DialtoneError(
            f"--topic is no regular expression ({error})", fix="every name is .*"
        ) from error


def moment(intake: Intake, at_s: float) -> int:
    """Seconds from the beginning, or before the end where negative, as a stamp in ns."""
    base = intake.start_ns if at_s >= 0 else intake.end_ns
    return base + round(at_s * NS_PER_S)


def trim(
    episode: Episode,
    start: Annotated[
        float, typer.Option(help="Seconds from its beginning; negative: its end.")
    ] = 0,
    end: Annotated[float | None, typer.Option(help="As --start; default is its end.")] = None,
    topic: Topics = None,
    out: Out = None,
    directory: Directory = "",
) -> None:
    """Make an episode of a part of one: of a time, of some topics, or both."""
    intake = Intake(find(episode, directory))
    start_ns = moment(intake, start)
    end_ns = intake.end_ns + 1 if end is None else moment(intake, end)
    if not intake.start_ns <= start_ns < end_ns or start_ns > intake.end_ns:
        raise DialtoneError(
            f"nothing lies between {start:g} s and {'the end' if end is None else f'{end:g} s'}",
            where=str(intake.path), fix=f"it is {intake.duration_s:.3f} s long",
        )  # fmt: skip
    target = target_of(out, intake, "trim")
    keep = keeper(topic)
    with progress("trimming", intake.messages_total) as advance:
        cut(intake, target, start_ns, end_ns, "trim", advance, lambda n: bool(keep.fullmatch(n)))
    console.print(str(target), soft_wrap=True, highlight=False)


def split(
    episode: Episode,
    at: Annotated[list[float] | None, typer.Option(help="Seconds; repeat it.")] = None,
    every: Annotated[float, typer.Option(help="Length of each part, seconds.")] = 0,
    out: Out = None,
    directory: Directory = "",
) -> None:
    """Make several episodes of one, cut at some moments or into equal parts."""
    intake = Intake(find(episode, directory))
    cuts = {moment(intake, each) for each in at or []}
    if every < 0 or (0 < every < 0.1):
        raise DialtoneError(f"--every is {every:g} s", fix="give at least 0.1")
    if every:
        step = round(every * NS_PER_S)
        cuts |= set(range(intake.start_ns + step, intake.end_ns, step))
    edges = sorted({intake.start_ns, intake.end_ns + 1} | cuts)
    if len(edges) < 3 or edges[0] < intake.start_ns or edges[-1] > intake.end_ns + 1:
        raise DialtoneError(
            "no cut lies inside of it", where=str(intake.path),
            fix=f"it is {intake.duration_s:.3f} s long; give --at or --every",
        )  # fmt: skip
    base = target_of(out, intake, "part")
    targets = [base.with_name(f"{base.name}{number}") for number in range(1, len(edges))]
    for target in targets:
        if target.exists():
            raise DialtoneError("exists already", where=str(target), fix="give another --out")
    with progress("splitting", intake.messages_total) as advance:
        for target, start_ns, end_ns in zip(targets, edges, edges[1:], strict=False):
            cut(intake, target, start_ns, end_ns, "split", advance)
            console.print(str(target), soft_wrap=True, highlight=False)


def merge(
    episodes: Annotated[list[Path], typer.Argument(help="Two or more recordings.")],
    out: Out = None,
    directory: Directory = "",
) -> None:
    """Make one episode of several, in the order of receipt: of split ones, or of two machines."""
    intakes = [Intake(find(each, directory)) for each in episodes]
    if len(intakes) < 2:
        raise DialtoneError("one recording is merged already", fix="give two or more")
    target = target_of(out, intakes[0], "merged")
    with progress("merging", sum(each.messages_total for each in intakes)) as advance:
        merge_all(intakes, target, advance)
    console.print(str(target), soft_wrap=True, highlight=False)
