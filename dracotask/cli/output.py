"""What the commands print on: a terminal or a pipe, with or without colours and Unicode.

Lean, since the end of every run by hand comes here.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, TextIO

# -- The paper ---------------------------------------------------------------------------------

#: By meaning: in Unicode, in ASCII and in the colour of SGR.
MARKS = {
    "failed": ("✕", "x", "31"),
    "running": ("▶", ">", "36"),
    "ok": ("✓", "+", "32"),
    "late": ("!", "!", "33"),
    "held": ("‖", "=", "2"),
    "": (" ", " ", ""),
}

COLOURS = {"red": "31", "yellow": "33", "green": "32", "cyan": "36", "dim": "2", "bold": "1"}


class Paper:
    """What a stream can show.

    :param width: columns; None where nothing is cut off.
    """

    __slots__ = ("colour", "unicode", "width")

    def __init__(self, *, unicode: bool = True, colour: bool = False, width: int | None = None) -> None:
        self.unicode, self.colour, self.width = unicode, colour, width

    @classmethod
    def of(cls, stream: TextIO) -> Self:
        is_terminal = stream.isatty()
        colour = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(unicode=_shows_unicode(stream), colour=colour, width=_columns(stream) if is_terminal else None)

    def mark(self, meaning: str) -> str:
        """Return the mark of that meaning, in its colour."""
        in_unicode, in_ascii, colour = MARKS[meaning]
        return self._sgr(in_unicode if self.unicode else in_ascii, colour)

    def paint(self, text: str, colour: str) -> str:
        return self._sgr(text, COLOURS[colour])

    def dots(self) -> str:
        return "…" if self.unicode else "..."

    def cut(self, text: str, width: int) -> str:
        """Return the text in at most ``width`` columns, with dots where something is missing."""
        if cells(text) <= width:
            return text
        kept, room = [], max(width - cells(self.dots()), 0)
        for letter in text:
            room -= cells(letter)
            if room < 0:
                break
            kept.append(letter)
        return ("".join(kept).rstrip() + self.dots())[: max(width, 0)]

    def _sgr(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self.colour and colour else text


def cells(text: str) -> int:
    """Return how many columns a text takes: Chinese letters take two, combining accents none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _shows_unicode(stream: TextIO) -> bool:
    """Tell whether the stream and the locale speak UTF-8. Python itself takes a locale of C for UTF-8."""
    if "utf" not in (stream.encoding or "").lower():
        return False
    environ = os.environ
    named = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    if named in ("C.UTF-8", "C.utf8", "UTF-8") and not environ.get("LC_ALL"):
        named = environ.get("LANG") or named  # Python writes LC_CTYPE where LANG=C stood alone (PEP 538)
    return not named or "utf" in named.lower()


def _columns(stream: TextIO) -> int:
    try:
        said = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        said = 0
    try:
        return max(said or os.get_terminal_size(stream.fileno()).columns or 80, 20)
    except (OSError, ValueError):
        return 80


# -- To the streams ----------------------------------------------------------------------------


def settle_streams() -> None:
    """Let no letter that a stream's encoding lacks end a command half-way."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def print_json(value: Any) -> None:
    """Print a value as JSON for machines; in ASCII, so that neither an encoding nor a terminal minds."""
    import json

    print(json.dumps(value, indent=2))
