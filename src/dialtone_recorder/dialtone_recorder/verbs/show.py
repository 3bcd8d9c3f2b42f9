"""``dialtone episodes show``: what an episode holds, in numbers and as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from dialtone_core.cli import console
from dialtone_core.errors import DialtoneError
from dialtone_recorder.intake import Intake
from dialtone_recorder.progress import progress
from dialtone_recorder.verbs.common import Directory, Episode, Json, find

_FACTS = ("task", "instruction", "operator", "outcome", "tags", "closed_by", "recovered",
          "preroll_s", "derived", "error", "unrecorded")  # fmt: skip


def show(
    episode: Episode,
    directory: Directory = "",
    json: Json = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Write a PNG: timeline and contact sheet.")
    ] = None,
) -> None:
    """Show what an episode holds: rates, gaps, losses and clocks, topic by topic."""
    from dialtone_recorder.analyse import analyse

    if plot is not None and plot.exists():
        raise DialtoneError("exists already", where=str(plot), fix="give another name")
    intake = Intake(find(episode, directory))
    with progress("reading", intake.messages_total) as advance:
        reports = analyse(intake, advance)
    if plot is not None:
        from dialtone_recorder.plot import draw, to_png

        try:
            plot.write_bytes(to_png(draw(intake, reports)))
        except OSError as error:
            raise DialtoneError(
                f"cannot be written ({error.strerror})", where=str(plot), fix="check the path"
            ) from error
    topics = [each.to_json() for each in reports.values()]
    if json:
        text = orjson.dumps({**intake.facts, "name": intake.name, "topics": topics})
        console.print_json(text.decode())
        return
    _print(intake, topics)
    if plot is not None:
        console.print(f"wrote {plot}", soft_wrap=True, highlight=False)


def _print(intake: Intake, topics: list[dict[str, Any]]) -> None:
    console.print(
        f"{intake.name}: {intake.duration_s:.3f} s, {intake.messages_total} messages, "
        f"{len(intake.files)} file(s)", markup=False, highlight=False,
    )  # fmt: skip
    for key in _FACTS:
        if intake.facts.get(key):
            console.print(f"{key}: {intake.facts[key]}", markup=False, highlight=False)
    gate = intake.facts.get("gate") or {}
    if gate:
        said = f"gate: {gate['start']} at the start, {gate['worst']} at worst"
        why = f" ({'; '.join(gate['reasons'])})" if gate["reasons"] else ""
        console.print(said + why, markup=False, highlight=False)
    _table(topics, ("messages", "Hz", "longest gap s", "lost", "lost on the way"), lambda each: (
        str(each["messages"]), f"{each['rate_hz']:.1f}", f"{each['max_gap_s']:.3f}",
        str(each["lost_recorder"]),
        "?" if each["lost_transport"] is None else str(each["lost_transport"]),
    ))  # fmt: skip
    console.print(
        "\ngaps by length in medians; clocks as median and furthest, ms", highlight=False
    )
    _table(topics, ("≤1.5 ≤2.5 ≤5 ≤20 more", "receipt-publish", "-header"), lambda each: (
        " ".join(map(str, each["gap_histogram"])), _offset(each["publish_offset_s"]),
        _offset(each["header_offset_s"]),
    ))  # fmt: skip


def _table(
    topics: list[dict[str, Any]],
    columns: tuple[str, ...],
    cells: Callable[[dict[str, Any]], tuple[str, ...]],
) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("topic", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    for each in topics:
        if each["messages"]:
            table.add_row(each["name"], *cells(each))
    console.print(table)


def _offset(offsets: list[float] | None) -> str:
    """Median and the furthest."""
    if offsets is None:
        return ""
    return f"{offsets[0] * 1000:.1f} {offsets[1] * 1000:.1f}"
