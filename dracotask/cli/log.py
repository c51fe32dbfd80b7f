"""``log``: the output of a run, or the site's own log; and following either while it grows."""

from __future__ import annotations

import codecs
import os
import sys
import time

from ..model import NEVER_STARTED, QUEUED, RUNNING, Run
from ..report.outputfile import output_of
from ..report.reading import find_run, open_to_read
from ..state import is_locked
from ..visible import visible
from .running import say_how_it_ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .invocation import Invocation

#: Seconds between two looks at a file that may have grown; its tail is written five times a second.
LOOK_EVERY = 0.3

_CHUNK = 1 << 16

#: What stands above the output of an attempt where a Run had several.
HEADER = b"--- attempt %d ---\n"


def print_run_log(invocation: Invocation, word: str, *, follow: bool) -> None:
    """Print the output of a Run, or of a Task's newest one; with ``follow`` until it ends."""
    with open_to_read(invocation) as store:
        run = find_run(invocation, store, word)
    if run.state in NEVER_STARTED:
        reason = run.summary or "no reason is on record"
        print(f"{run.schedule} was {run.state} at that time: {reason}", file=sys.stderr)
        return
    printer = Printer()
    shown = _print_attempts(invocation, run, printer, follow=follow)
    printer.close()
    if follow and run.state in (QUEUED, RUNNING):
        _say_end(invocation, run.id)
    elif not shown:
        print(f"{run.schedule} has printed nothing.", file=sys.stderr)


def _print_attempts(invocation: Invocation, run: Run, printer: Printer, *, follow: bool) -> int:
    """Print the output of each attempt, in order; return how many bytes that were.

    Where there are several, a line stands above each.
    """
    attempt = shown = 0
    while attempt < max(run.attempt, 1):
        attempt += 1
        if attempt > 1 or run.attempt > 1:
            printer.write(HEADER % attempt)
        shown += _print_stream(invocation, run, attempt, printer, follow=follow)
        if follow:
            run = _next_attempt(invocation, run, attempt)
    return shown


def _next_attempt(invocation: Invocation, run: Run, attempt: int) -> Run:
    """Return a Run as it is by now, once it has begun another attempt or come to its end."""
    while True:
        with open_to_read(invocation) as store:
            run = store.run(run.id) or run
        if run.state != QUEUED or run.attempt > attempt or not run.attempt:
            return run
        time.sleep(LOOK_EVERY)


def _print_stream(invocation: Invocation, run: Run, attempt: int, printer: Printer, *, follow: bool) -> int:
    """Print what there is, and with ``follow`` what comes; return how many bytes of the stream are past."""
    state = invocation.state
    output = output_of(state, run, attempt)
    is_over = not follow or not _goes_on(invocation, run.id, attempt)
    while True:
        for data in output.news():
            printer.write(data)
        if is_over:
            return output.shown
        time.sleep(LOOK_EVERY)
        # Asked before the last look, so that nothing printed in between is missed.
        is_over = not _goes_on(invocation, run.id, attempt)


def _goes_on(invocation: Invocation, run_id: str, attempt: int) -> bool:
    """Tell whether an attempt may still print: the kernel's lock says so, and the store only where there is none."""
    if os.path.exists(invocation.state.output_file(run_id, attempt + 1)):
        return False
    if is_locked(invocation.state.run_lock(run_id)):
        return True
    with open_to_read(invocation) as store:
        run = store.run(run_id)
    if run is None or run.state not in (QUEUED, RUNNING) or run.attempt > attempt or run.not_before:
        return False
    # Running without a lock: its supervisor is gone, unless it has just taken the one and not the other.
    return run.state == QUEUED or is_locked(invocation.state.run_lock(run_id))


def _say_end(invocation: Invocation, run_id: str) -> None:
    with open_to_read(invocation) as store:
        run = store.run(run_id)
    if run is None:
        return
    if run.state == RUNNING:
        words = f"the supervisor of {run.schedule} is gone: the next look records it as lost."
        print(f"dracotask: {words}", file=sys.stderr)
    else:
        say_how_it_ended(run)


class Printer:
    """Passes bytes on to stdout: raw into a pipe, and with all escapes made visible on a terminal."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held = ""
        self._ended_line = True

    def write(self, data: bytes) -> None:
        if not self.is_terminal:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        self._print(self._decoder.decode(data))

    def close(self) -> None:
        """Print what was held back, and end the last line of a terminal, so that the prompt stands on its own."""
        if self.is_terminal:
            self._print(self._decoder.decode(b"", final=True), last=True)
            if not self._ended_line:
                print()

    def _print(self, text: str, *, last: bool = False) -> None:
        text = self._held + text
        # Half of a line end, perhaps: shown as an escape only when it proves to be none.
        self._held = "\r" if text.endswith("\r") and not last else ""
        text = visible(text[: len(text) - len(self._held)])
        if text:
            self._ended_line = text.endswith("\n")
        sys.stdout.write(text)
        sys.stdout.flush()


def print_site_log(invocation: Invocation, *, follow: bool) -> None:
    """Print the site's log; with ``follow`` also what is added, until Ctrl-C."""
    path = invocation.state.log_file
    if os.path.lexists(invocation.state.path):
        invocation.state.check_user()
    printer = Printer()
    offset, inode = print_file(path, 0, printer)
    if not offset and not follow:
        print(f"Nothing is on record in {path}.", file=sys.stderr)
    while follow:
        time.sleep(LOOK_EVERY)
        try:
            status = os.stat(path)
        except FileNotFoundError:
            continue
        if status.st_ino != inode or status.st_size < offset:
            offset, inode = 0, status.st_ino  # it was too long, and begun anew
        if status.st_size > offset:
            offset, inode = print_file(path, offset, printer)
    printer.close()


def print_file(path: str, offset: int, printer: Printer) -> tuple[int, int]:
    """Print a file from ``offset`` on, and return where it ends and its inode."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            while data := file.read(_CHUNK):
                printer.write(data)
            return file.tell(), os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return 0, 0
