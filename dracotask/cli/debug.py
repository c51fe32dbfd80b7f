"""``run --debug``: a task in this very process and on this terminal, so that a debugger works."""

from __future__ import annotations

import json
import os
import sys

from ..arguments import handed, parameters_of
from ..errors import ControlError, Interrupted, Retry, Skip, TaskNotFound
from ..model import Schedule
from ..run.loader import enter, execute, find_task, read_task_file
from ..site import run_environment
from ..tasks import Task, work_of
from ..visible import visible_line
from .running import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..site import Site


def debug(site: Site, name: str, words: Mapping[str, str] | None) -> int:
    """Run a task with no supervisor, no record and no limit; return the exit code.

    :param name: of a Task, or of a Schedule that was added.
    :param words: what ``run()`` is handed by name; None for the Schedule's own arguments.
    :raises TaskNotFound: there is none of that name; ControlError: the arguments do not fit.
    """
    from ..work import database

    site.state.create()  # its default database lies there
    schedule = _schedule(site, name)
    os.environ.update(run_environment(site.config.environment()))
    sys.argv = [sys.argv[0], site.docroot, schedule.task]
    Task.reads_schedules = False
    try:
        enter(site.docroot)
        execute(read_task_file(site.docroot)[0], site.state)
        task = Task.of_this_process = find_task(schedule.task, site.docroot)()
        # (The file may have changed since the Schedule was stored.)
        present = schedule.but(parameters=parameters_of(work_of(task)))
        summary = _run(task, json.loads(handed(present, words)))
        database.commit()
    except (TaskNotFound, ControlError):
        raise
    except Retry as wish:
        why = f": {visible_line(str(wish))}" if str(wish) else ""
        print(f"dracotask: {name} asks to be tried again{why}; nothing is committed.", file=sys.stderr)
        return EXIT_FAILED
    except BaseException as error:
        return _tell(error)
    finally:
        database.close()  # which rolls back what is not committed
    print(f"dracotask: {name} ok{': ' + visible_line(summary) if summary else ''}", file=sys.stderr)
    return EXIT_DONE


def _schedule(site: Site, name: str) -> Schedule:
    """Return the stored Schedule of that name, or one as a Task of that name would have it."""
    with site.open_store() as store:
        return store.schedule(name) or Schedule(name=name, task=name, arguments="{}")


def _run(task: Task, arguments: Mapping[str, Any]) -> str:
    """Run the task and return its summary; Skip and a polite exit are summaries too."""
    result: object = None
    try:
        with task.around():
            result = task.run(**arguments)
            if hasattr(type(result), "__await__"):
                import asyncio

                result = asyncio.run(result)  # type: ignore[arg-type]
    except Skip as reason:
        return f"skipped: {reason}" if str(reason) else "skipped"
    except SystemExit as leaving:
        if leaving.code:
            raise
        return ""
    return result if isinstance(result, str) else ""


def _tell(error: BaseException) -> int:
    """Print what went wrong and return the exit code."""
    import bdb
    import traceback

    if isinstance(error, bdb.BdbQuit):
        print("dracotask: left the debugger; nothing is committed.", file=sys.stderr)
        return EXIT_FAILED
    sys.stdout.flush()
    trace = error.__traceback__
    while trace is not None and trace.tb_next and "dracotask" in str(trace.tb_frame.f_globals.get("__package__")):
        trace = trace.tb_next  # our own frames tell a site owner nothing
    traceback.print_exception(type(error), error, trace)
    return EXIT_STOPPED if isinstance(error, KeyboardInterrupt | Interrupted) else EXIT_FAILED
