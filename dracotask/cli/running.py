"""One task, run from a command line: what is said, and the exit code.

On the lean path: nothing is imported here that a run does not need.
"""

from __future__ import annotations

import os
import sys

from ..errors import TaskNotFound, suggestion
from ..model import FAILED, LOST, MISSED, QUEUED, SKIPPED, STOPPED, SUCCEEDED, TIMED_OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Run
    from ..run.supervisor import Draw
    from ..site import Site

#: The work is done, or nothing was due.
EXIT_DONE = 0
#: The task failed.
EXIT_FAILED = 1
#: The command line, the configuration or the task file is wrong.
EXIT_USAGE = 2
# Never 3 or 4: gunicorn as PID 1 of a container takes them for its own workers' and shuts down.
#: The task was not run, because it already runs or is held (EX_TEMPFAIL of sysexits.h).
EXIT_SKIPPED = 75
#: The time limit ended the run, as timeout(1) has it.
EXIT_TIMED_OUT = 124
#: Somebody stopped the run.
EXIT_STOPPED = 130

EXITS = {
    SUCCEEDED: EXIT_DONE,
    FAILED: EXIT_FAILED,
    LOST: EXIT_FAILED,
    SKIPPED: EXIT_SKIPPED,
    QUEUED: EXIT_SKIPPED,
    MISSED: EXIT_USAGE,
    TIMED_OUT: EXIT_TIMED_OUT,
    STOPPED: EXIT_STOPPED,
}

#: The commands there are, for "did you mean"; :mod:`.commands` has one function for each but ``due``.
COMMANDS = (
    "list", "run", "due", "show", "preview", "simulate", "runs", "log", "stop", "demand", "hold", "resume", "skip-next",
    "reschedule", "add", "update", "remove", "export", "import", "drain", "load", "check", "init", "serve",
    "console", "metrics",
)  # fmt: skip


#: Stands behind the name of whoever asks from no terminal: a script, most likely.
NO_TERMINAL = " (no terminal)"


def run_task(docroot: str, name: str) -> int:
    """``DOCROOT TASKNAME``: run the task here and now; its output is kept, and shown."""
    return run_and_say(docroot, name, lambda site, run: say_how_it_ended(run), tee=1, draw=drawing())


def run_and_say(
    docroot: str, name: str, say: Callable[[Site, Run], None], *, tee: int | None = None, draw: Draw | None = None
) -> int:
    """Run a task here and now, say how that went, and return the exit code.

    :param tee: as of :meth:`.Site.run`, and so is ``draw``.
    """
    from ..site import Site

    site = Site(docroot)
    try:
        run = site.run(name, by=caller(), tee=tee, draw=draw)
    except TaskNotFound as error:
        raise among_commands(error) from None
    say(site, run)
    site.tell_of_run(say_that_it_waits)
    return exit_code(run)


def drawing() -> Draw | None:
    """Return what draws how far a run is, on a terminal that can show it; None where there is none."""
    if not (os.isatty(1) and os.isatty(2)) or os.environ.get("TERM", "dumb") == "dumb":
        return None
    return _draw


def _draw(run: Run, progress: tuple[float, float | None, str | None]) -> bytes:
    from .bar import on_terminal  # most tasks never say how far they are

    return on_terminal(run, progress)


def exit_code(run: Run) -> int:
    """Return the exit code for a Run: one that waits for its retry has failed for now."""
    return EXIT_FAILED if run.state == QUEUED and run.attempt else EXITS[run.state]


def among_commands(error: TaskNotFound) -> TaskNotFound:
    """Return the error for a word that is neither task nor command, with the likeliest of both."""
    meant = suggestion(error.name[:100], [*error.known, *COMMANDS])
    if meant.startswith(" Did you mean"):
        error.args = (f"no task {error.name!r:.100} in {error.task_file}.{meant}",)
    return error


def caller() -> str:
    """Return who asks, in words: "cron" is told from a person by the missing terminal."""
    name = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME") or os.environ.get("USER")
    if not name:
        import pwd

        try:
            name = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            name = f"#{os.geteuid()}"  # a container's number without a name
    name = name.encode("utf-8", "replace").decode()  # an environment may hold any bytes, a store only text
    return name if sys.stdin and sys.stdin.isatty() else f"{name}{NO_TERMINAL}"


def say_that_it_waits(words: str) -> None:
    """Say on a terminal why the command does not end; a listener may take as long as ``listener_limit``."""
    if sys.stderr.isatty():
        from ..visible import visible_line

        print(f"dracotask: {visible_line(words)}; Ctrl-C leaves it to the next tick", file=sys.stderr)


def say_how_it_ended(run: Run) -> None:
    """Say on stderr what cron's mail and a terminal should know: a failure; on a terminal also a success."""
    if run.state == QUEUED and run.not_before:
        from ..clock import utc_now
        from ..report.words import about, failure_in_words, which_retry
        from ..visible import visible_line

        left = about(max((run.not_before - utc_now()).total_seconds(), 0))
        words = f"{visible_line(run.schedule)} {visible_line(failure_in_words(run))}"
        print(f"dracotask: {words}; {which_retry(run)} in {left}, by whoever looks then", file=sys.stderr)
    elif run.state != SUCCEEDED:
        from ..visible import visible_line

        state = run.state.replace("_", " ")
        words = visible_line(run.error or run.summary or "").removeprefix(f"{state} ")  # said once is enough
        print(f"dracotask: {visible_line(run.schedule)} {state}: {words}", file=sys.stderr)
    elif sys.stderr.isatty():
        from ..clock import in_words
        from ..visible import visible_line
        from .output import Paper

        paper = Paper.of(sys.stderr)
        seconds = (run.finished_at - run.started_at).total_seconds() if run.finished_at and run.started_at else 0
        words = f": {visible_line(run.summary)}" if run.summary else ""
        print(f"{paper.mark('ok')} {visible_line(run.schedule)} ok in {in_words(seconds)}{words}", file=sys.stderr)
