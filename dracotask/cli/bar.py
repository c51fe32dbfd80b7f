"""How far a run is, drawn: the last line of a terminal while a task is at work, and a cell of the list."""

from __future__ import annotations

import os
import sys

from ..clock import in_words, utc_now
from ..report.pace import eta, eta_in_words, share_done
from ..visible import visible_line
from .output import Paper, cells

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from ..model import Run

#: The eighths of a letter's width.
_EIGHTHS = "·▏▎▍▌▋▊▉"

#: The bar of a line takes a third of it, and no less and no more letters than these.
NARROWEST, WIDEST = 5, 30


def drawn(share: float, width: int, paper: Paper) -> str:
    """Return a bar of so many letters, of which a share (0 to 1) is done."""
    if not paper.unicode:
        return ("#" * int(share * width)).ljust(width, ".")
    full, eighths = divmod(int(share * width * 8), 8)
    return (f"{'█' * full}{_EIGHTHS[eighths] if eighths else ''}").ljust(width, "·")


def percent(share: float) -> str:
    """Return a share as people read it; a hundred is said only of what is done."""
    return f"{int(100 * share)}%"


def progress_line(run: Run, now: datetime, paper: Paper, width: int) -> str:
    """Return how far a Run is in one line of at most ``width`` letters: "63% ███████▌···  about 25s left  page 12"."""
    note, share = visible_line(run.progress_note or ""), share_done(run)
    if share is None:
        took = (now - run.started_at).total_seconds() if run.started_at else 0.0
        parts = (f"{run.progress_done or 0:g} done", in_words(max(took, 0.0)), note)
        return paper.cut("  ".join(filter(None, parts)), width)
    head, bar = f"{percent(share):>4} ", drawn(share, min(max(width // 3, NARROWEST), WIDEST), paper)
    if cells(head + bar) > width:
        return paper.cut(head.strip(), width)
    rest = "".join(f"  {part}" for part in (eta_in_words(eta(run, now, None)), note) if part)
    room = width - cells(head + bar)
    return head + paper.paint(bar, "cyan") + (paper.cut(rest, room) if room > 2 else "")


def on_terminal(run: Run, progress: tuple[float, float | None, str | None]) -> bytes:
    """Return the line that stands below what a run prints; a letter less than the terminal's width, so it never wraps.

    The width is asked each time: people resize their windows.
    """
    done, total, note = progress
    run = run.but(progress_done=done, progress_total=total, progress_note=note)
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        columns = 80
    line = progress_line(run, utc_now(), Paper.of(sys.stdout), max(columns - 1, 1))
    return line.encode(sys.stdout.encoding or "ascii", "replace")
