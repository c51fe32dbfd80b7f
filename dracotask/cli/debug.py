"""``run --debug``: a task in this very process and on this terminal, so that a debugger works."""

from __future__ import annotations

import os
import sys

from ..errors import Interrupted, Skip, TaskNotFound
from ..run.loader import enter, execute, find_task, read_task_file
from ..site import run_environment
from ..task import Task
from .output import visible_line
from .running import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..site import Site


def debug(site: Site, name: str) -> int:
    """Run a task with no supervisor, no record and no limit; return the exit code.

    :raises TaskNotFound: there is none of that name.
    """
    from ..work import database

    site.state.create()  # its default database lies there
    os.environ.update(run_environment(site.config.environment()))
    sys.argv = [sys.argv[0], site.docroot, name]
    Task.reads_schedules = False
    try:
        enter(site.docroot)
        execute(read_task_file(site.docroot)[0], site.state)
        summary = _run(find_task(name, site.docroot))
        database.commit()
    except TaskNotFound:
        raise
    except BaseException as error:
        return _tell(error)
    finally:
        database.close()  # which rolls back what is not committed
    print(f"dracotask: {name} ok{': ' + visible_line(summary) if summary else ''}", file=sys.stderr)
    return EXIT_DONE


def _run(kind: type[Task]) -> str:
    """Run the task and return its summary; Skip and a polite exit are summaries too."""
    try:
        result = kind().run()
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
