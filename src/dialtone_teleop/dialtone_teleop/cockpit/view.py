"""What the driver sees, as a rich renderable. Pure: a ``View`` in, a picture out."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_BAR = 10


@dataclass(slots=True)
class View:
    """Everything on the screen. Speeds m/s and rad/s, ``None`` is "not known"."""

    robot: str = ""
    operator: str = ""
    connected: bool = False
    asked_mps: float = 0.0
    asked_rps: float = 0.0
    speed_mps: float | None = None
    turn_rps: float | None = None
    top_mps: float = 0.0
    top_rps: float = 0.0
    limit_mps: float | None = None
    estop: bool | None = None
    estop_by: str = ""
    armed: bool | None = None
    mode: str = ""
    reasons: tuple[str, ...] = ()
    lease: str = "none"
    holder: str = ""
    latency_ms: float | None = None
    battery: float | None = None
    recording: str = ""
    paused: bool = False
    outcome: str = ""
    input: str = ""
    focused: bool = True
    question: str = ""
    notice: str = ""


def render(view: View, width: int = 80) -> RenderableType:
    """One panel; narrow terminals lose the hints first."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_row("speed", _speed(view.asked_mps, view.speed_mps, view.top_mps, "m/s", "▲▼"))
    table.add_row("turn", _speed(view.asked_rps, view.turn_rps, view.top_rps, "rad/s", "◀▶"))
    table.add_row("vehicle", _vehicle(view))
    table.add_row("lease", _lease(view))
    table.add_row("link", _link(view))
    table.add_row("battery", _battery(view.battery))
    table.add_row("reasons", Text(" ".join(view.reasons) or "–"))
    table.add_row("recording", _recording(view))
    table.add_row("input", _input(view))
    parts: list[RenderableType] = [_banner(view), Text(), table, Text(), _last_line(view)]
    parts += [_hints(view)] if width >= 50 else []
    title = f"[bold]dialtone drive[/bold] · {view.robot}"
    alarm = view.estop or not view.connected
    return Panel(
        Group(*parts),
        title=title,
        subtitle=f"[dim]{view.operator}[/dim]",
        box=box.ROUNDED,
        border_style="red" if alarm else "green" if view.asked_mps or view.asked_rps else "blue",
        padding=(1, 2),
        width=min(width, 84),
    )


def _banner(view: View) -> Text:
    if not view.connected:
        return Text(" NO LINK: the robot has stopped by itself ", style="bold white on red")
    if view.estop:
        by = f" by {view.estop_by}" if view.estop_by else ""
        return Text(f" E-STOP{by}: c clears it ", style="bold white on red")
    if not view.focused:
        return Text(" another window has the keyboard ", style="black on yellow")
    if view.asked_mps or view.asked_rps:
        return Text(" DRIVING ", style="bold black on green")
    return Text(" standing: hold W A S D or the arrow keys to drive ", style="reverse")


def _speed(asked: float, measured: float | None, top: float, unit: str, marks: str) -> Text:
    share = max(-1.0, min(1.0, asked / top)) if top else 0.0
    cells = round(abs(share) * _BAR)
    low, high = ("█" * cells, "") if share < 0 else ("", "█" * cells)
    low, high = (high, low) if marks == "◀▶" else (low, high)
    text = Text(f"{low:>{_BAR}}", style="cyan")
    text.append("│", style="dim")
    text.append(f"{high:<{_BAR}}")
    known = "    –" if measured is None else f"{round(measured, 2) + 0.0:+5.2f}"
    text.append(f"  {known} {unit}", style="bold default")
    text.append(f"   asked {asked + 0.0:+.2f} of {top:.2f}", style="dim")
    return text


def _vehicle(view: View) -> Text:
    if view.armed is None:
        return Text("not heard", style="yellow")
    armed = Text("armed", style="green") if view.armed else Text("not armed", style="yellow")
    text = Text.assemble(armed, f"  {view.mode or 'no mode'}")
    if view.limit_mps is not None:
        text.append(f"   limit {view.limit_mps:g} m/s", style="dim")
    return text


def _lease(view: View) -> Text:
    if view.lease == "none":
        return Text("this robot has none", style="dim")
    if view.lease == "held":
        return Text("yours", style="green")
    if view.holder:
        return Text(f"{view.holder} holds it", style="yellow")
    return Text("free: taken when you drive", style="dim")


def _link(view: View) -> Text:
    if not view.connected:
        return Text("down, reconnecting", style="red")
    if view.latency_ms is None:
        return Text("the robot does not answer", style="yellow")
    style = "green" if view.latency_ms < 150 else "yellow" if view.latency_ms < 400 else "red"
    return Text(f"{view.latency_ms:.1f} ms to the robot and back", style=style)


def _battery(share: float | None) -> Text:
    if share is None:
        return Text("not told", style="dim")
    style = "green" if share > 0.3 else "yellow" if share > 0.15 else "bold red"
    return Text(f"{share * 100:.0f} %", style=style)


def _recording(view: View) -> Text:
    if not view.recording:
        return Text("off", style="dim")
    text = Text(f"● {view.recording}", style="red")
    if view.paused:
        text = Text(f"‖ {view.recording} paused", style="yellow")
    return text.append(f" {view.outcome}") if view.outcome else text


def _input(view: View) -> Text:
    return Text(view.input, style="dim")


def _last_line(view: View) -> Text:
    if view.question:
        return Text(view.question, style="bold yellow")
    return Text(view.notice, style="yellow")


def _hints(view: View) -> Text:
    keys = [("space", "E-STOP"), ("+ −", "speed"), ("r", "record"), ("l", "let go of lease")]
    if view.recording:
        keys += [("p", "pause"), ("o k", "success, fail"), ("⌫", "discard")]
    keys += [("f", "take it over"), ("g", "arm"), ("q", "quit")]
    text = Text()
    for key, meaning in keys:
        # A hint is not broken across lines.
        text.append(key.replace(" ", "\u00a0"), style="bold")
        text.append("\u00a0" + meaning.replace(" ", "\u00a0"), style="dim")
        text.append("   ")
    return text
