"""The demo's live view: a terminal page that is drawn anew, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from atf.bootstrap.demo import ReplayCounts
from atf.demo.summary import Summary


class View(Protocol):
    """Shows how far the replay has come."""

    def say(self, sentence: str) -> None:
        """Tell what happens before and after the replay."""
        ...

    def update(self, counts: ReplayCounts, sessions: int) -> None:
        """Show the counts of this moment."""
        ...


class LiveView:
    """The page: market date, bars, runs, messages, newest triggers, progress."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._live = live

    def say(self, sentence: str) -> None:
        """Print a line above the page."""
        self._console.print(sentence)

    def update(self, counts: ReplayCounts, sessions: int) -> None:
        """Draw the page anew."""
        self._live.update(_page(counts, sessions), refresh=True)


class PlainView:
    """A line for every twentieth of the way, on standard error so that ``--json`` stays clean."""

    def __init__(self) -> None:
        self._shown = -1

    def say(self, sentence: str) -> None:
        """Print a line."""
        sys.stderr.write(f"{sentence}\n")

    def update(self, counts: ReplayCounts, sessions: int) -> None:
        """Print a line when another twentieth has passed."""
        twentieth = 20 * counts.step // max(1, sessions)
        if twentieth == self._shown:
            return
        self._shown = twentieth
        runs = counts.runs.get("COMPLETED", 0)
        self.say(
            f"{counts.session:%Y-%m-%d}  session {counts.step}/{sessions}  bars {counts.bars}  "
            f"runs {runs}  triggers {counts.triggers}  delivered {counts.deliveries.get('SENT', 0)}  "
            f"fills {counts.fills}"
        )


@contextmanager
def open_view(*, plain: bool) -> Iterator[View]:
    """Open the page on a terminal, the plain lines elsewhere."""
    console = Console()
    if plain or not console.is_terminal:
        yield PlainView()
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        yield LiveView(console, live)


def print_summary(summary: Summary) -> None:
    """Print the summary as a table."""
    table = Table(title="What happened", title_justify="left", show_header=False)
    rows = {
        "sessions": f"{summary.sessions} ({summary.first_session:%Y-%m-%d} to {summary.last_session:%Y-%m-%d})",
        "bars": summary.bars,
        "runs": _counted(summary.runs),
        "triggers": summary.triggers,
        "messages": summary.messages,
        "deliveries": f"{summary.deliveries} over {', '.join(summary.channels)}: "
        + _counted(summary.deliveries_by_status),
        "in the inbox": summary.inbox,
        "bots": f"{summary.bots} on paper: {summary.fills} fills, {summary.trades} closed trades, "
        f"{summary.earned:+,.2f} earned; books balanced with the venue's",
        "seconds": summary.seconds,
        "result": "every stage passed" if summary.passed else "; ".join(summary.failures),
    }
    for name, value in rows.items():
        table.add_row(name, str(value))
    Console().print(table, markup=False)


def _page(counts: ReplayCounts, sessions: int) -> RenderableType:
    figures = Table.grid(padding=(0, 3))
    figures.add_row("market date", f"{counts.session:%A %d %B %Y}")
    figures.add_row("bars", f"{counts.bars:,}")
    figures.add_row("runs", _counted(counts.runs))
    figures.add_row("triggers", f"{counts.triggers:,}")
    figures.add_row("deliveries", _counted(counts.deliveries))
    figures.add_row("bots", f"{counts.fills} fills, {counts.trades} closed trades, {counts.earned:+,.2f} earned")
    triggers = Table.grid(padding=(0, 2))
    for trigger in counts.newest:
        triggers.add_row(f"{trigger.bar_time:%Y-%m-%d}", trigger.body)
    progress = Table.grid(padding=(0, 2))
    progress.add_row(
        ProgressBar(total=sessions, completed=counts.step, width=60), f"session {counts.step} of {sessions}"
    )
    return Panel(
        Group(figures, "", progress, "", "newest triggers", triggers),
        title="ATF replays AAPL, FB, GOOG, IBM and MSFT",
        title_align="left",
    )


def _counted(counts: object) -> str:
    return ", ".join(f"{n:,} {status}" for status, n in sorted(dict(counts).items())) or "none"  # type: ignore[call-overload]
