"""The output of a run as its page shows it: at first its end, and then what comes."""

from __future__ import annotations

from ..model import ACTIVE
from ..report.outputfile import output_of
from .ansi import AnsiState, beginning_of_end, to_html

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from markupsafe import Markup

    from ..model import Run
    from ..state import State

#: Of a long output a page shows so many bytes and lines at first; all of it is a click away.
LAST, LAST_LINES = 1 << 16, 2000


class Tail:
    """A piece of output.

    :ivar data: the bytes as they were printed.
    :ivar html: its lines that have ended; ``open`` is the one that has not.
    :ivar after: the place in the stream where that one begins; what comes next is asked for from there, in ``style``.
    :ivar is_cut: whether there is more before it.
    """

    def __init__(self, data: bytes, end: int, *, style: str = "", is_cut: bool = False) -> None:
        self.data, self.is_cut = data, is_cut
        self.html, state = to_html(data, AnsiState.from_text(style))
        self.open: Markup = state.open_html()
        self.after, self.style = end - len(state.open), state.to_text()

    @classmethod
    def end_of(cls, state: State, run: Run, attempt: int) -> Tail:
        """Return the last of what an attempt of a Run has printed so far."""
        kept = output_of(state, run, attempt)
        data = b"".join(kept.news())
        begin = beginning_of_end(data, most_bytes=LAST, most_lines=LAST_LINES)
        return cls(data[begin:], kept.shown, is_cut=begin > 0)

    @classmethod
    def from_place(cls, state: State, run: Run, attempt: int, after: int, style: str) -> Tail:
        """Return what comes after a place in the stream, which begins in a style."""
        kept = output_of(state, run, attempt)
        kept.shown = after
        return cls(b"".join(kept.news()), kept.shown, style=style)

    def as_json(self, run: Run) -> dict[str, Any]:
        return {
            "after": self.after, "style": self.style, "html": self.html, "open": self.open,
            "state": run.state, "goes_on": run.state in ACTIVE,
        }  # fmt: skip
