"""In a body: the listeners of the task file, told of one event after the other.

Before each the body says what it is about to do, and after it that it is done: so whoever watches knows of which
listener it has died.
"""

from __future__ import annotations

import os
import sys

from .process import leave_at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from signal import SIGQUIT, SIGTERM
    from typing import NoReturn

    from ..events import Event, Listener
    from ..state import State
    from ..stores.outbox import Row
    from .channel import Sender
else:
    from _signal import SIGQUIT, SIGTERM


def tell(state: State, rows: list[Row], first: int, report: Sender) -> NoReturn:
    """Load the task file and tell its listeners of these events.

    :param first: the number of the listener to begin with, at the first event.
    """
    from ..events import Listener, event_from_json
    from ..tasks import Task

    Task.reads_schedules = False
    _prepare_last_words()
    if not _has_loaded(state, report):
        leave_at_once(1)
    for row in rows:
        event = _read(row, event_from_json)
        for number, listener in enumerate(Listener.defined):
            if event is not None and number >= first and listener.hears(event):
                report.send("begin", str(row.number), str(number), _in_words(listener, event))
                _call(listener, event, state.docroot, report)
                if not report.is_of_this_process() or not report.is_open():
                    leave_at_once(0)  # a listener has forked: the work is done once; or nobody could hear of the next
                report.send("over")
        first = 0
        report.send("all", str(row.number))
    leave_at_once(0)


def _prepare_last_words() -> None:
    """Have every stack printed when it takes too long: where it hangs is what its author wants to know."""
    import faulthandler

    faulthandler.register(SIGTERM, all_threads=True, chain=True)
    faulthandler.register(SIGQUIT, all_threads=True, chain=False)


def _has_loaded(state: State, report: Sender) -> bool:
    import traceback

    from .loader import enter, execute, read_task_file

    try:
        enter(state.docroot)
        sys.argv = ["dracotask.py", state.docroot, "listeners"]
        execute(read_task_file(state.docroot)[0], state)
        return True
    except BaseException:
        report.send("broken")
        traceback.print_exc()
        return False


def _read(row: Row, read: Callable[[str], Event]) -> Event | None:
    """Return the event of a row; None for one of another version."""
    try:
        return read(row.text)
    except (ValueError, TypeError):
        return None


def _in_words(listener: Listener, event: Event) -> str:
    of = getattr(event, "schedule", None)
    run = getattr(event, "run_id", None)
    what = f"{event.kind} of {of:.200}" if of else event.kind
    return f"{listener.name:.100} (line {listener.line}) at {what}" + (f", run {run}," if run else "")


def _call(listener: Listener, event: Event, docroot: str, report: Sender) -> None:
    """Tell a listener, and keep what it has done in the site's database, if it has not failed."""
    from .body import end_database

    try:
        os.chdir(docroot)  # the one before may have gone elsewhere
        promise = listener.function(event)
        if hasattr(promise, "__await__"):
            from ..promises import wait_for

            wait_for(promise)
        end_database("commit")
    except BaseException as error:
        from .outcome import one_line

        report.send("complained", one_line(f"{type(error).__name__}: {error}".removesuffix(": ")) or "")
        _print_traceback(error)
        end_database("rollback")


def _print_traceback(error: BaseException) -> None:
    try:
        import traceback

        traceback.print_exception(type(error), error, error.__traceback__)
        sys.stderr.flush()
    except BaseException:
        pass  # it was a MemoryError, or stderr is closed: the line in the site's log is told already
