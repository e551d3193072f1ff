"""The live view of a run: a progress bar per method, and what every round brought."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

ROWS = 12
"""Rounds that the table shows; all of them stand in the report."""


class LiveView:
    """Shows progress on a terminal; where there is none, one line a round."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: list[tuple[str, Mapping[str, Any]]] = []
        self._bars = Progress(
            TextColumn("{task.fields[name]:<10}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[what]}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._render)

    def __enter__(self) -> "LiveView":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def started(self, name: str, rounds: int, done: int) -> None:
        """A run begins, or goes on after ``done`` rounds."""
        self._tasks[name] = self._bars.add_task("", total=rounds, completed=done, name=name, what="")

    def step(self, name: str, what: str) -> None:
        """Show what the run is at."""
        if name in self._tasks:
            self._bars.update(self._tasks[name], what=what)
        if not self._console.is_terminal:
            self._console.print(f"{name}: {what}", markup=False, soft_wrap=True)

    def played(self, name: str, row: Mapping[str, Any]) -> None:
        """Show a round."""
        self._rows.append((name, row))
        self._bars.update(self._tasks[name], advance=1, what="")
        if not self._console.is_terminal:
            self._console.print(
                "  ".join([f"{name:<8}", *(f"{k} {v}" for k, v in _cells(row))]), markup=False
            )

    def ended(self, name: str, reason: str) -> None:
        """Show why the run is over."""
        self.step(name, reason)

    def _render(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("method")
        for heading in _HEADINGS:
            table.add_column(heading, justify="right")
        for name, row in self._rows[-ROWS:]:
            table.add_row(name, *(value for _, value in _cells(row)))
        return Group(table, self._bars) if self._rows else Group(self._bars)


_HEADINGS = ("round", "time", "accuracy", "arrived", "valid", "attackers' weight", "paid", "outcome")


def _cells(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    weight = row["malicious_weight"]
    values = (
        str(row["round"]),
        f"{row['ended_s']:.0f} s",
        f"{row['accuracy']:.1%}",
        f"{row['arrived']}/{row['selected']}",
        f"{row['valid']}/{row['arrived']}",
        "-" if weight is None else f"{weight:.1%}",
        f"{row['paid']:.2f}",
        row["outcome"],
    )
    return list(zip(_HEADINGS, values, strict=True))


class GridView:
    """A bar over the cells of a grid."""

    def __init__(self, console: Console, total: int, *, silent: bool) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=silent,
        )
        self._task = self._bar.add_task("grid", total=total)

    def __enter__(self) -> "GridView":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def told(self, done: int, total: int, last: str) -> None:
        """A cell is done."""
        self._bar.update(self._task, completed=done, total=total, description=last)
