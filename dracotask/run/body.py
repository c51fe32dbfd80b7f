"""In a body: one task's ``run()``, and what becomes of it."""

from __future__ import annotations

import os
import sys
from time import monotonic

from ..errors import Interrupted, Retry, Skip, Stopped, TaskNotFound, TimedOut, lineage
from ..failpoints import reach
from ..model import Policy, Run
from ..state import is_current
from ..tasks import Task, is_surrounded
from .channel import identity, receive, run_of
from .limits import MARK, limit_memory
from .loader import enter, execute, find_task, read_task_file
from .outcome import LINE
from .process import leave_at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from signal import SIGQUIT, SIGTERM, signal
    from types import TracebackType
    from typing import Any

    from ..state import State
    from ..steering import Steering
    from .channel import Sender
else:
    from _signal import SIGQUIT, SIGTERM, signal


#: The names of an exception and its bases; in four bytes each they are still one message (:data:`.channel.LONGEST`).
_LONGEST_LINEAGE = 1000


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
    os.environ[MARK] = run.id
    if run.attempt > 1:
        run.checkpoint = _checkpoint(state.checkpoint_file(run.id))
    if _is_stale(stamps, seen, problem):
        report.send("stale")
        return 0
    SteeringOnFirstUse.put_in_place(state.progress_file(run.id), orders, report)
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


def _checkpoint(path: str) -> Any:
    """Return what an earlier attempt has left, read; None for nothing."""
    from .steering import read_checkpoint

    text = read_checkpoint(path)
    if text is None:
        return None
    import json

    return json.loads(text)


class SteeringOnFirstUse:
    """Stands for ``Task.steering`` until a task takes it: most never do, and are spared the import."""

    def __init__(self, *way: Any) -> None:
        self.way = way

    @classmethod
    def put_in_place(cls, progress_file: str, orders: int, report: Sender) -> None:
        # What is the pipe of orders is asked now: the task may close all it finds, and have a file of that number.
        Task.steering = cls(progress_file, orders, identity(orders), report)  # type: ignore[assignment]

    def __get__(self, task: object, kind: object) -> Steering:
        from .steering import PipeSteering

        Task.steering = found = PipeSteering(*self.way)
        return found


def _do(run: Run, docroot: str, problem: BaseException | None, report: Sender) -> int:
    """Run the task and report how that went; return the exit code."""
    policy = Policy.from_text(run.policy)
    sys.argv = ["dracotask.py", docroot, run.task]
    stop = StopSignal(policy.time_limit)
    try:
        limit_memory(policy.memory_limit)
        signal(SIGTERM, stop)
        if problem:
            raise problem
        try:
            kind = find_task(run.task, docroot)
        except TaskNotFound:  # which the next load finds too, when the file has had its time
            report.send("gone")
            return 2
        summary = _run(kind, run, stop, policy.stop_grace)
        reach("work_done")
        stop.is_too_late = True
        end_database("commit")
        report.send("done", _cut(summary))
        reach("work_reported")
        return 0
    except BaseException as error:
        return _report_failure(error, report)
    finally:
        end_database("close")  # which rolls back what is not committed
        stop.is_too_late = False  # it may still end what waits for a thread


def _run(kind: type[Task], run: Run, stop: StopSignal, grace: float) -> str:
    """Run the task and return its one-line summary; Skip and a polite exit are summaries too."""
    task = Task.of_this_process = kind()
    arguments = _arguments(run)
    task.current_run = run.but(arguments=arguments)
    result: object = None
    try:
        if is_surrounded(task):
            with task.around():
                result = _result(task, arguments, stop, grace)
        else:
            result = _result(task, arguments, stop, grace)
    except Skip as reason:
        return f"skipped: {reason}" if str(reason) else "skipped"
    except SystemExit as leaving:
        if leaving.code:
            raise
    return result if isinstance(result, str) else ""


def _result(task: Task, arguments: dict[str, object], stop: StopSignal, grace: float) -> object:
    """Return what ``run()`` returns once its work is done, also where it has only promised that."""
    result: object = task.run(**arguments)
    if _is_promise(result):
        from .coroutines import awaited

        result = awaited(result, stop, grace)
    return result


def _is_promise(result: object) -> bool:
    """Tell whether a returned object may be a coroutine, or a generator, so that the work is still to be done."""
    kind = type(result)
    return hasattr(kind, "__await__") or hasattr(kind, "__next__") or hasattr(kind, "__anext__")


def _arguments(run: Run) -> dict[str, object]:
    if run.arguments == "{}":
        return {}
    import json

    return dict(json.loads(run.arguments))


def _cut(words: str) -> str:
    """Return as much of a summary or an error as is kept of its first line: no message may be longer than a few."""
    return words.strip()[: LINE + 1]


def end_database(method: str) -> None:
    """Commit, roll back or close the database, if anybody in this process ever touched it."""
    work = sys.modules.get("dracotask.work")
    if work is not None:
        getattr(work.database, method)()


def _report_failure(error: BaseException, report: Sender) -> int:
    """Print the traceback as far as it is the task's, report the error in one line, return the exit code."""
    if isinstance(error, SystemExit):
        report.send("failed", _cut(f"the task called sys.exit({error.code!r})"))
        return error.code if isinstance(error.code, int) and 0 < error.code < 256 else 1
    if isinstance(error, Retry):  # which is no failure, and has no traceback worth a look
        report.send("retry", "" if error.after is None else repr(error.after), _cut(str(error)))
        print(f"The task asks to be tried again{f': {error}' if str(error) else ''}.", file=sys.stderr)
        return 1
    # First the report: to print a traceback takes memory, of which there may be none left.
    if isinstance(error, Interrupted):
        report.send("interrupted", type(error).__name__)
    else:
        report.send("raised", ",".join(lineage(error))[:_LONGEST_LINEAGE])
        report.send("failed", _cut(f"{type(error).__name__}: {error}".removesuffix(": ")))
    try:
        _print_traceback(error)
    except MemoryError:
        pass
    return 1


def _print_traceback(error: BaseException) -> None:
    import traceback

    traceback.print_exception(type(error), error, _without_our_frames(error.__traceback__))


#: Where the frames are at home that are none of the task's.
_OURS = (__package__, __package__.rpartition(".")[0])


def _without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the task's first frame to its last: what called it and stopped it tells nothing."""
    theirs, entry = [], trace
    while entry is not None:
        if entry.tb_frame.f_globals.get("__package__") not in _OURS:
            theirs.append(entry)
        entry = entry.tb_next
    if not theirs:
        return trace
    theirs[-1].tb_next = None
    return theirs[0]


class StopSignal:
    """What becomes of TERM: an exception in the main thread.

    :ivar deliver: what is done with it; a coroutine has itself cancelled.
    :ivar is_too_late: whether the work is done, and its end must not be torn: committed, and on record as stopped.
    """

    def __init__(self, time_limit: float | None) -> None:
        self.limit_at = monotonic() + time_limit - 0.1 if time_limit else float("inf")
        self.is_too_late = False
        self.deliver: Callable[[type[Interrupted]], None] = _raise

    def __call__(self, number: int, frame: object) -> None:
        if not self.is_too_late:
            self.deliver(TimedOut if monotonic() >= self.limit_at else Stopped)


def _raise(interruption: type[Interrupted]) -> None:
    raise interruption


def _prepare_last_words() -> None:
    """Have every stack printed at QUIT and at a segmentation fault.

    A body that keeps the GIL in C code hears neither TERM nor reason; the stacks are printed by
    C code too, and are the last words before KILL.
    """
    import faulthandler

    faulthandler.enable()
    faulthandler.register(SIGQUIT, all_threads=True, chain=False)
