"""In a body: what a task says to its supervisor while it is at work, and hears of it.

The methods may be called by any thread, and by what the task forks.
"""

from __future__ import annotations

import json
import os
import select

from ..state import write_whole
from ..steering import LARGEST_CHECKPOINT, Steering, checked_progress
from .channel import LONGEST, identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .channel import Sender


class PipeSteering(Steering):
    """The way to the supervisor of this run.

    :param progress_file: where the supervisor reads, every second or so, how far the work is.
    :param orders: the descriptor of the pipe in which a stop comes to lie.
    :param pipe: what tells that pipe from any other file.
    """

    def __init__(self, progress_file: str, orders: int, pipe: tuple[int, int] | None, report: Sender) -> None:
        self.progress_file, self.orders, self.pipe, self.report = progress_file, orders, pipe, report
        self.checkpoint_file = progress_file.removesuffix(".progress") + ".checkpoint"
        self._has_asked = self._has_heard = self._has_progress = False

    def proceed(self) -> bool:
        if not self._has_asked:
            self._has_asked = True
            self.report.say("polite")
        if not self._is_over():
            return True
        if not self._has_heard:
            self._has_heard = True
            self.report.say("told")
        return False

    def _is_over(self) -> bool:
        """Tell whether a stop lies in the pipe, or nobody is left to put one there. It is not taken out of it."""
        poll = select.poll()  # one of its own: threads may not share any
        poll.register(self.orders, select.POLLIN)
        # The pipe of a task that closes all it finds is gone, and its number perhaps another file's.
        return bool(poll.poll(0)) and identity(self.orders) == self.pipe

    def progress(self, done: float, total: float | None, note: str | None) -> None:
        done, total, note = checked_progress(done, total, note)
        record = f"{done!r}\t{'' if total is None else repr(total)}\t{note or ''}\n"
        self._write(record.encode("utf-8", "replace"))
        if not self._has_progress:
            self._has_progress = True
            self.report.say("progress")

    def _write(self, record: bytes) -> None:
        """Put the record in the file. A disk that is full costs the progress, and never the run.

        It is opened each time: nothing is left open that a task could close or hand on.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(self.progress_file, flags, 0o600)
            try:
                os.pwrite(file, record.ljust(RECORD_SIZE, b"\0"), 0)
            finally:
                os.close(file)
        except OSError:
            pass

    def checkpoint(self, text: str) -> None:
        write_whole(self.checkpoint_file, text.encode())

    def steer(self, verb: str, details: dict[str, str | None]) -> None:
        text = json.dumps(details)
        if len(text) + len(verb) + len("steer\0\0") > LONGEST:
            raise ValueError(f"{verb} with {len(text)} letters is too long: {LONGEST // 2} are plenty.")
        self.report.say("steer", verb, text)


#: Always as long, so that nothing of a longer one before stands behind it.
RECORD_SIZE = 1024


def read_progress(path: str) -> tuple[float, float | None, str | None] | None:
    """Return what a body wrote last; None when there is nothing that could be read: a task may write there too."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            record = os.pread(file, RECORD_SIZE, 0).partition(b"\n")[0].decode("utf-8", "replace")
        finally:
            os.close(file)
        done, total, note = record.split("\t", 2)
        return checked_progress(float(done), float(total) if total else None, note or None)
    except (OSError, ValueError):
        return None


def read_checkpoint(path: str) -> str | None:
    """Return what an attempt has left for the next one, as JSON; None for nothing: a task may write there too."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            text = os.pread(file, LARGEST_CHECKPOINT + 1, 0).decode("ascii")
        finally:
            os.close(file)
        json.loads(text)
    except (OSError, ValueError, RecursionError):
        return None
    return text if len(text) <= LARGEST_CHECKPOINT else None
