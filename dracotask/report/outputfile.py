"""The output of a run as its supervisor keeps it, read while it grows."""

from __future__ import annotations

import os
import re
import time

from ..model import Policy
from ..run.output import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Run
    from ..state import State

_MARK = re.compile(re.escape(MARK).replace(b"%d", rb"(\d+)"))


class OutputFile:
    """The output of a Run as its supervisor keeps it: a head that stays, and a tail that is written anew.

    :ivar shown: the bytes of the stream that were returned or left out so far.
    """

    def __init__(self, path: str, max_output: int) -> None:
        self.path, self.half = path, max(max_output // 2, 1)
        self.shown = 0
        self._seen: tuple[int, int] | None = None

    def news(self) -> list[bytes]:
        """Return what is new since the last call; a line tells what was left out before it came to be seen."""
        data = self._read_if_changed()
        news: list[bytes] = []
        if data is None:
            return news
        head, begin, tail = self._apart(data)
        if self.shown < len(head):
            news.append(head[self.shown :])
            self.shown = len(head)
        if self.shown < begin:
            news.append(MARK % (begin - self.shown))
            self.shown = begin
        if self.shown - begin < len(tail):
            news.append(tail[self.shown - begin :])
            self.shown = begin + len(tail)
        return news

    def _apart(self, data: bytes) -> tuple[bytes, int, bytes]:
        """Return the head, the place in the stream where the tail begins, and the tail."""
        head, rest = data[: self.half], data[self.half :]
        mark = _MARK.match(rest)
        # Where something is left out the tail is full; so a task that prints such a line is not taken for us.
        if mark and len(rest) - mark.end() == self.half:
            return head, self.half + int(mark[1]), rest[mark.end() :]
        return head, len(head), rest

    def _read_if_changed(self) -> bytes | None:
        """Return the file as a whole, or None when it is as before, or not there.

        The tail is written while we read: two readings that agree were not disturbed.
        """
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                seen = (status.st_mtime_ns, status.st_size)
                # A file of this very instant may change again without a new time.
                if seen == self._seen and time.time() - status.st_mtime > 1:
                    return None
                data = file.read()
                for _ in range(10):
                    file.seek(0)
                    before, data = data, file.read()
                    if before == data:
                        break
        except FileNotFoundError:
            return None
        self._seen = seen
        return data


def output_of(state: State, run: Run, attempt: int) -> OutputFile:
    """Return what is kept of the output of an attempt."""
    return OutputFile(state.output_file(run.id, attempt), Policy.from_text(run.policy).max_output)
