"""What can go wrong, each with one sentence that says so.

Every error of ours has one root, and joins the builtin that fits it, so that a caller may catch
either.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta


class DracotaskError(Exception):
    """Raised when dracotask cannot do what it was asked; the root of all its errors."""

    def __init__(self, *args: object) -> None:
        # The first sentence of the docstring speaks where nothing better is known. Under -OO there is none.
        super().__init__(*(args or ((type(self).__doc__ or type(self).__name__).partition("\n")[0],)))


class BadTrigger(DracotaskError, ValueError):
    """Raised when a rule of time cannot be read, is out of bounds or can never fire."""


class BadListener(DracotaskError, ValueError):
    """Raised when what is to be told of events, or the kinds of events it is to be told of, make no sense."""


class DocrootNotFound(DracotaskError, LookupError):
    """Raised when DOCROOT is not a folder."""


class TaskNotFound(DracotaskError, LookupError):
    """Raised when a site has no Task of that name; knows the names it has."""

    def __init__(self, name: str, task_file: str, known: list[str]) -> None:
        self.name, self.task_file, self.known = name, task_file, known
        super().__init__(f"no task {name!r:.100} in {task_file}.{suggestion(name[:100], known)}")


class ScheduleNotFound(DracotaskError, LookupError):
    """Raised when there is no Schedule of that name; knows the names there are."""

    def __init__(self, name: str, known: list[str], *, kind: str = "schedule") -> None:
        self.name, self.known = name, known
        super().__init__(f"no {kind} {name!r:.100}.{suggestion(name[:100], known)}")


class ControlError(DracotaskError, ValueError):
    """Raised when a schedule cannot be steered as it was asked; the message says why, and what can be done."""


class RunNotFound(DracotaskError, LookupError):
    """Raised when there is no Run of that id."""


class ConfigError(DracotaskError, ValueError):
    """Raised when dracotask.toml or a DRACOTASK_ variable says what cannot be understood."""


class LoadError(DracotaskError):
    """Raised when the task file cannot be loaded; the last good set of schedules stays in force."""


class StateError(DracotaskError, OSError):
    """Raised when the state folder cannot be made, read or written."""


class WrongUser(StateError):
    """Raised when somebody else than the site's one user would run its tasks."""

    def __init__(self, path: str, owner: int) -> None:
        # OSError would take two arguments for an errno and a text.
        super().__init__(_wrong_user(path, owner))


class StoreError(DracotaskError):
    """Raised when the store does not do what is asked of it."""


class StoreMissing(StoreError):
    """Raised when a reading verb finds no store: no task was ever looked at."""


class StoreBusy(StoreError):
    """Raised when another process keeps the store locked for too long."""


class StoreUnusable(StoreError):
    """Raised when the store is damaged, full, of another version, or may not be written."""


# -- What steers a Run is no failure ---------------------------------------------------------


class Skip(Exception):
    """Raise this in ``run()`` when there was nothing to do: the Run succeeds, with the reason in grey."""


class Retry(Exception):
    """Raise this in ``run()`` to be tried again: what the task needs is not there yet.

    :param why: a few words for the record.
    :param after: how long from now: "10m", a number of seconds or a timedelta; None for as the policy says.
    :raises ValueError: ``after`` is no length of time.
    """

    def __init__(self, why: str = "", *, after: str | float | timedelta | None = None) -> None:
        from .clock import parse_duration

        super().__init__(*[why] if why else [])
        self.after = None if after is None else parse_duration(after).total_seconds()


class Interrupted(BaseException):
    """The root of what ends a body from outside; no ``except Exception`` of a task swallows it."""


class Stopped(Interrupted):
    """Raised in the main thread of a body when somebody stops its Run: the moment to tidy up."""


class TimedOut(Interrupted):
    """Raised in the main thread of a body when its time limit is over: the moment to tidy up."""


def lineage(error: BaseException) -> list[str]:
    """Return the names by which ``retry_on`` may know an exception: those of its class and of all above it, each
    alone and with its module.
    """
    kinds = [kind for kind in type(error).__mro__ if issubclass(kind, BaseException)]
    return [name for kind in kinds for name in (kind.__name__, f"{kind.__module__}.{kind.__qualname__}")]


def suggestion(name: str, known: list[str]) -> str:
    """Return " Did you mean X?" for the likeliest of ``known``, or the whole of a short list."""
    from difflib import get_close_matches

    lower = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(name.lower(), lower, n=1)
    if close:
        return f" Did you mean {lower[close[0]]}?"
    return f" There is: {', '.join(known)}." if 0 < len(known) <= 12 else ""


def _wrong_user(path: str, owner: int) -> str:
    import pwd
    import shlex
    import sys

    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    command = shlex.join(["sudo", "-u", name, *(sys.orig_argv if sys.argv and sys.argv[0] else ())])
    return f"{path} belongs to {name}, and one site has one user. As {name}: {command}"
