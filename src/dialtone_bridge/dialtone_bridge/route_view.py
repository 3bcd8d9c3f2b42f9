"""What a bridge answers about its routes, as tables for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Row = dict[str, Any]
#: Wider than any table: nothing is folded.
UNBOUNDED = 4000


class RouteView:
    """Each topic on a line where the lines fit; where they don't, its words under its name."""

    def __init__(self, answer: dict[str, list[Row]], everything: bool) -> None:
        """``everything``: also what may not leave."""
        self._out = answer["routes"]
        self._in = answer["commands"]
        self._denied = answer["denied"]
        self._everything = everything

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        out = _out(self._out)
        wide = Measurement.get(console, options.update(max_width=UNBOUNDED), out).maximum
        yield out if wide <= options.max_width else _narrow_out(self._out)
        yield ""
        yield _in(self._in)
        if self._everything:
            yield ""
            yield _denied_table(self._denied)
        elif self._denied:
            yield f"\n[dim]NOT OUT: {len(self._denied)}; --all shows which and why[/dim]"


def _table(*left: str, right: Iterable[str] = ()) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _out(rows: list[Row]) -> Table:
    figures = _figures(rows)
    table = _table("OUT", "type", "as", "priority", "keeps", right=figures)
    table.add_column("to", overflow="fold")
    for each in rows:
        table.add_row(
            Text(each["topic"]),
            Text(_short(each["type"])),
            each["encoding"],
            each["priority"],
            _keeps(each),
            *(figures[name](each) for name in figures),
            _whom(each),
            style=_style(each),
        )
    return table


def _narrow_out(rows: list[Row]) -> Table:
    figures = _figures(rows)
    table = _table("OUT", right=figures)
    for each in rows:
        words = [_short(each["type"]), each["encoding"], each["priority"], _keeps(each)]
        about = Text(f"{', '.join(words)} → {_whom(each)}", style="dim")
        name = Group(Text(each["topic"], overflow="fold"), Padding(about, (0, 0, 0, 2)))
        table.add_row(name, *(figures[name](each) for name in figures), style=_style(each))
    return table


def _figures(rows: list[Row]) -> dict[str, Any]:
    """Columns of numbers: name, and what says it of a row."""
    figures: dict[str, Any] = {
        "Hz": lambda row: f"{row['rate_hz']:.1f}" if row["subscribed"] else "-",
        "kB": lambda row: _kilo(row["bytes"] / row["messages"]) if row["messages"] else "-",
        "kB/s": lambda row: _kilo(row["bytes_per_s"]) if row["subscribed"] else "-",
        "age": lambda row: _age(row["age_s"]),
        "dropped": lambda row: str(sum(each["dropped"] for each in row["transports"].values())),
    }
    if any(row["max_rate_hz"] for row in rows):
        figures["skipped"] = lambda row: str(row["skipped"]) if row["max_rate_hz"] else "-"
    return figures


def _in(rows: list[Row]) -> Table:
    table = _table("IN", "type", right=("Hz", "age", "messages"))
    for each in rows:
        table.add_row(
            Text(each["topic"]),
            Text(_short(each["type"])),
            f"{each['rate_hz']:.1f}",
            _age(each["age_s"]),
            str(each["messages"]),
        )
    if not rows:
        table.add_row("nothing came yet", style="dim")
    return table


def _denied_table(rows: list[Row]) -> Table:
    table = _table("NOT OUT", "type", "why")
    for each in rows:
        table.add_row(Text(each["topic"]), Text(_short(each["type"])), each["reason"])
    if not rows:
        table.add_row("nothing is held back", style="dim")
    return table


def _style(row: Row) -> str:
    return "" if row["subscribed"] else "dim"


def _short(type_name: str) -> str:
    return type_name.replace("/msg/", "/")


def _kilo(size: float) -> str:
    return f"{size / 1000:.1f}"


def _age(age_s: float | None) -> str:
    return "-" if age_s is None else f"{max(age_s, 0):.1f} s"


def _whom(row: Row) -> str:
    """The transports that want it, with their clients where they can tell."""
    if not row["subscribed"]:
        return "nobody wants it"
    return ", ".join(
        f"{name} ({sink['clients']})" if sink["clients"] else name
        for name, sink in row["transports"].items()
        if sink["wanted"]
    )


def _keeps(row: Row) -> str:
    """What waits at most for a slow reader, and what the route adds."""
    bound = f"{row['max_messages']} / {row['max_bytes'] // 1048576} MB"
    words = ["latest" if row["delivery"] == "latest" else bound]
    words += [f"≤ {row['max_rate_hz']:g} Hz"] if row["max_rate_hz"] else []
    words += [word for word in ("latched", "durable") if row[word]]
    return ", ".join(words)
