"""Lines of the docroot's source, to be shown: read as text, and never run."""

from __future__ import annotations

import os
import re

#: So many lines of a definition are shown, and so many around a line that is wrong.
MOST_LINES, AROUND = 80, 3

#: A file that is longer (bytes) is no source that somebody wrote.
LONGEST_FILE = 1 << 20

#: The line that a problem names, and the file if it is not the task file: "/srv/shop/carts.py, line 7: SyntaxError: …".
_PLACE = re.compile(r"(?:^(?P<file>/[^\n]*\.py), )?\bline (?P<number>\d{1,7})\b", re.ASCII)


class SourceLine:
    """A line of source.

    :ivar is_it: whether it is the one that is meant.
    """

    __slots__ = ("is_it", "number", "text")

    def __init__(self, number: int, text: str, is_it: bool = False) -> None:
        self.number, self.text, self.is_it = number, text, is_it


def definition(docroot: str, source: str) -> list[SourceLine]:
    """Return the lines of what is defined at "FILE:LINE"; [] where they are not to be had.

    It ends where a line is indented no further than its first one.
    """
    name, _, number = source.rpartition(":")
    lines = _lines(docroot, name)
    if not number.isdecimal() or not 0 < int(number) <= len(lines):
        return []
    begin = int(number) - 1
    while begin > 0 and lines[begin - 1].lstrip().startswith("@"):
        begin -= 1
    end = int(number)
    depth = _indent(lines[int(number) - 1])
    is_signature = True  # which may go on over several lines, and end at the margin: ") -> None:"
    while end < len(lines) and end - begin < MOST_LINES:
        line = lines[end]
        if line.strip() and _indent(line) <= depth and not (is_signature and line.lstrip().startswith(")")):
            break
        is_signature = is_signature and not line.rstrip().endswith(":")
        end += 1
    while end > begin and not lines[end - 1].strip():
        end -= 1
    return [SourceLine(number, lines[number - 1]) for number in range(begin + 1, end + 1)]


def around(docroot: str, name: str, problem: str) -> list[SourceLine]:
    """Return the lines around the one that a problem names; [] where it names none.

    :param name: the file, unless the problem names another one.
    """
    found = _PLACE.search(problem)
    if found is None:
        return []
    it, lines = int(found["number"]), _lines(docroot, found["file"] or name)
    first, last = max(it - AROUND, 1), min(it + AROUND, len(lines))
    return [SourceLine(number, lines[number - 1], number == it) for number in range(first, last + 1)]


def _lines(docroot: str, name: str) -> list[str]:
    path = os.path.normpath(os.path.join(docroot, name))
    if not path.startswith(os.path.join(docroot, "")):
        return []
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO would be waited for
        with open(descriptor, encoding="utf-8", errors="backslashreplace") as file:
            # (Lines as Python counts them: a form feed ends none.)
            return file.read(LONGEST_FILE).removesuffix("\n").expandtabs().split("\n")
    except OSError:
        return []


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
