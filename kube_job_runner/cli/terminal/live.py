"""Live lines and screens drawn with rich. Only commands that draw on a terminal import this module: rich costs 80 ms."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from kube_job_runner.cli.terminal import tables
from kube_job_runner.domain import durations


def console(*, stderr: bool = False, colored: bool = True) -> Console:
    """Return a console without markup and highlighting, coloured or not."""
    return Console(stderr=stderr, no_color=not colored, highlight=False, markup=False, emoji=False)


class Screen:
    """Lines on a terminal that are replaced by newer ones; a context manager. The last ones stay."""

    def __init__(self, *, colored: bool) -> None:
        # rich would take the place of stdout, and hide which encoding it has.
        plain_console = console(colored=colored)
        self._live = Live(console=plain_console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def show(self, lines: Sequence[str]) -> None:
        """Replace the lines; they may hold escape sequences of colours."""
        self._live.update(Text.from_ansi("\n".join(lines), no_wrap=True, overflow="crop"), refresh=True)


class PhaseLine:
    """The phases of a job on one line of stderr. The current phase has a spinner and its duration so far."""

    def __init__(self, *, colored: bool, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._done: list[tuple[str, float]] = []
        self._phase = ""
        self._since = monotonic()
        self._note = ""
        self._due_at: float | None = None
        self._spinner = Spinner("dots")
        self._console = console(stderr=True, colored=colored)
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=8, transient=True)
        self._live.start()

    def enter(self, phase: str, note: str, *, due_at: float | None = None) -> None:
        """Show that the job is in `phase`, with a note on what it waits for, or a countdown to `due_at` (Unix seconds)."""
        if phase != self._phase:
            now = self._monotonic()
            if self._phase:
                self._done.append((self._phase, now - self._since))
            self._phase, self._since = phase, now
        self._note, self._due_at = note, due_at

    def discard(self) -> None:
        """Remove the line."""
        self._live.stop()

    def close(self, *, ended: bool) -> None:
        """Leave the phases as a final line. `ended` says whether the last phase has ended too."""
        self._live.stop()
        line = self._finished()
        line.append(self._phase, style=tables.state_color(self._phase.partition(" ")[0]))
        if ended:
            line.append(f" {durations.show(self._monotonic() - self._since)}")
        self._console.print(line)

    def _finished(self) -> Text:
        line = Text()
        for phase, seconds in self._done:
            line.append("✓ ", style="green")
            line.append(f"{phase} {durations.show(seconds)}  ")
        return line

    def _render(self) -> RenderableType:
        elapsed = durations.show(self._monotonic() - self._since)
        left_seconds = 0.0 if self._due_at is None else self._due_at - time.time()
        note = f"starts in {durations.show(left_seconds)}" if left_seconds > 0 else self._note
        self._spinner.update(text=Text.assemble(f"{self._phase} {elapsed}", (f"  {note}", "dim")))
        grid = Table.grid(padding=0)
        grid.add_row(self._finished(), self._spinner)
        return grid
