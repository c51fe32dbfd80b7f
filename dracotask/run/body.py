"""In a body: one task's ``run()``, and what becomes of it."""

from __future__ import annotations

import os
import sys
from time import monotonic

from ..errors import Interrupted, Skip, Stopped, TimedOut
from ..failpoints import reach
from ..model import Policy, Run
from ..state import is_current
from ..task import Task
from .channel import receive, run_of
from .limits import limit_memory
from .loader import enter, execute, find_task, read_task_file
from .process import leave_at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signal import SIGQUIT, SIGTERM, signal
    from types import TracebackType

    from ..state import State
    from .channel import Sender
else:
    from _signal import SIGQUIT, SIGTERM, signal


def one_run(state: State, orders: int, report: Sender) -> int:
    """Do one run of a task of the site, as it is ordered; return the exit code.

    The task file is loaded at once, while the supervisor still sees to the Run; the run begins when
    the supervisor has won it and says so.
    """
    Task.reads_schedules = False
    _prepare_last_words()
    seen, problem = _load(state)
    if not report.is_of_this_process():
        leave_at_once(0)  # the file forks while it is loaded: the work is done once
    order = receive(orders)
    if order is None:
        return 0  # the Run is another's, or the supervisor is gone
    run, stamps, niceness = run_of(order)
    os.nice(niceness)
    if _is_stale(stamps, seen, problem):
        report.send("stale")
        return 0
    return _do(run, state.docroot, problem, report)


def _load(state: State) -> tuple[str, BaseException | None]:
    """Load the task file; return how it looked, and what it raised."""
    seen = "-"
    try:
        enter(state.docroot)
        source, seen = read_task_file(state.docroot)
        execute(source, state)
    except BaseException as error:
        return seen, error
    return seen, None


def _is_stale(stamps: str, seen: str, problem: BaseException | None) -> bool:
    """Tell whether the task file was saved since it was loaded, or a helper that is now half a one."""
    return seen != stamps.partition("\t")[0] or (problem is not None and not is_current(stamps))


def _do(run: Run, docroot: str, problem: BaseException | None, report: Sender) -> int:
    """Run the task and report how that went; return the exit code."""
    policy = Policy.from_text(run.policy)
    sys.argv = ["dracotask.py", docroot, run.task]
    try:
        limit_memory(policy.memory_limit)
        _listen_for_stop(policy)
        if problem:
            raise problem
        summary = _run(find_task(run.task, docroot), run)
        reach("work_done")
        _end_database("commit")
        report.send("done", summary)
        reach("work_reported")
        return 0
    except BaseException as error:
        return _report_failure(error, report)
    finally:
        _end_database("close")  # which rolls back what is not committed


def _run(kind: type[Task], run: Run) -> str:
    """Run the task and return its one-line summary; Skip and a polite exit are summaries too."""
    task = kind()
    task.current_run = run
    try:
        result = task.run(**_arguments(run))
    except Skip as reason:
        return f"skipped: {reason}" if str(reason) else "skipped"
    except SystemExit as leaving:
        if leaving.code:
            raise
        result = None
    return result if isinstance(result, str) else ""


def _arguments(run: Run) -> dict[str, object]:
    if run.arguments == "{}":
        return {}
    import json

    return dict(json.loads(run.arguments))


def _end_database(method: str) -> None:
    """Commit or close the database of the run, if the task ever touched it."""
    work = sys.modules.get("dracotask.work")
    if work is not None:
        getattr(work.database, method)()


def _report_failure(error: BaseException, report: Sender) -> int:
    """Print the traceback as far as it is the task's, report the error in one line, return the exit code."""
    if isinstance(error, SystemExit):
        report.send("failed", f"the task called sys.exit({error.code!r})")
        return error.code if isinstance(error.code, int) and 0 < error.code < 256 else 1
    # First the report: to print a traceback takes memory, of which there may be none left.
    if isinstance(error, Interrupted):
        report.send("interrupted", type(error).__name__)
    else:
        report.send("failed", f"{type(error).__name__}: {error}".removesuffix(": "))
    try:
        _print_traceback(error)
    except MemoryError:
        pass
    return 1


def _print_traceback(error: BaseException) -> None:
    import traceback

    traceback.print_exception(type(error), error, _without_our_frames(error.__traceback__))


def _without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the task's first frame to its last: what called it and stopped it tells nothing."""
    theirs, entry = [], trace
    while entry is not None:
        if entry.tb_frame.f_globals.get("__package__") != __package__:
            theirs.append(entry)
        entry = entry.tb_next
    if not theirs:
        return trace
    theirs[-1].tb_next = None
    return theirs[0]


def _listen_for_stop(policy: Policy) -> None:
    """Turn TERM into an exception in the main thread."""
    begun = monotonic()

    def stop(number: int, frame: object) -> None:
        limit = policy.time_limit
        raise TimedOut if limit and monotonic() - begun >= limit - 0.1 else Stopped

    signal(SIGTERM, stop)


def _prepare_last_words() -> None:
    """Have every stack printed at QUIT and at a segmentation fault.

    A body that keeps the GIL in C code hears neither TERM nor reason; the stacks are printed by
    C code too, and are the last words before KILL.
    """
    import faulthandler

    faulthandler.enable()
    faulthandler.register(SIGQUIT, all_threads=True, chain=False)
