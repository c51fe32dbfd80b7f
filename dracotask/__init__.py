"""dracotask: scheduled tasks for any WSGI site, with no cron, no broker and no daemon.

Importing it costs nothing: each name is fetched when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .errors import ControlError, DracotaskError, ScheduleNotFound, Skip, Stopped, TimedOut
    from .scheduler import Scheduler
    from .task import Task
    from .web.middleware import TaskMiddleware
    from .work import config, database, logger

__all__ = [
    # For __tasks__.py
    "Task",
    "Skip",
    "logger",
    "config",
    "database",
    # For wsgi.py
    "TaskMiddleware",
    # For any program
    "Scheduler",
    # Errors
    "DracotaskError",
    "ScheduleNotFound",
    "ControlError",
    "Stopped",
    "TimedOut",
]  # fmt: skip

_HOMES = {
    "Task": "task",
    "Skip": "errors",
    "logger": "work",
    "config": "work",
    "database": "work",
    "TaskMiddleware": "web.middleware",
    "Scheduler": "scheduler",
    "DracotaskError": "errors",
    "ScheduleNotFound": "errors",
    "ControlError": "errors",
    "Stopped": "errors",
    "TimedOut": "errors",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("dracotask")
    if name not in _HOMES:
        raise AttributeError(f"module 'dracotask' has no attribute {name!r}")
    home = __import__(f"{__name__}.{_HOMES[name]}", fromlist=[name])
    # (No module of the package is named like one of these: its import would take the name.)
    value = globals()[name] = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, "__version__"])
