"""dracotask: scheduled tasks for any WSGI site, with no cron, no broker and no daemon.

Importing it costs nothing: each name is fetched when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .errors import BadListener, ControlError, DracotaskError, Retry, ScheduleNotFound, Skip, Stopped, TimedOut
    from .events import (
        AllSchedulesRemoved,
        Event,
        LauncherStarted,
        LauncherStopped,
        RunEvent,
        RunFailed,
        RunLost,
        RunMissed,
        RunProgressed,
        RunQueued,
        RunRetried,
        RunSkipped,
        RunStarted,
        RunStopped,
        RunSucceeded,
        RunTimedOut,
        ScheduleAdded,
        ScheduleChanged,
        ScheduleEvent,
        ScheduleHeld,
        ScheduleRemoved,
        ScheduleRescheduled,
        ScheduleResumed,
        SchedulerEvent,
        SchedulerHeld,
        SchedulerResumed,
        SchedulerStarted,
        SchedulerStopped,
        ScheduleUpdated,
        StoreClosed,
        StoreOpened,
        on,
    )
    from .functions import current_task, task
    from .scheduler import Scheduler
    from .tasks import Task
    from .triggers import Trigger
    from .web.middleware import TaskMiddleware
    from .work import config, database, logger

__all__ = [
    # For __tasks__.py
    "Task",
    "task",
    "current_task",
    "Skip",
    "Retry",
    "logger",
    "config",
    "database",
    "Trigger",
    # For wsgi.py
    "TaskMiddleware",
    # For any program
    "Scheduler",
    # Events
    "on",
    "Event",
    "SchedulerEvent",
    "SchedulerStarted",
    "SchedulerStopped",
    "SchedulerHeld",
    "SchedulerResumed",
    "StoreOpened",
    "StoreClosed",
    "LauncherStarted",
    "LauncherStopped",
    "AllSchedulesRemoved",
    "ScheduleEvent",
    "ScheduleAdded",
    "ScheduleRemoved",
    "ScheduleChanged",
    "ScheduleHeld",
    "ScheduleResumed",
    "ScheduleRescheduled",
    "ScheduleUpdated",
    "RunEvent",
    "RunQueued",
    "RunStarted",
    "RunProgressed",
    "RunSucceeded",
    "RunFailed",
    "RunTimedOut",
    "RunStopped",
    "RunLost",
    "RunRetried",
    "RunSkipped",
    "RunMissed",
    # Errors
    "DracotaskError",
    "ScheduleNotFound",
    "ControlError",
    "BadListener",
    "Stopped",
    "TimedOut",
]  # fmt: skip

_HOMES = {
    "Trigger": "triggers.base",
    "Task": "tasks",
    "task": "functions",
    "current_task": "functions",
    "Skip": "errors",
    "Retry": "errors",
    "logger": "work",
    "config": "work",
    "database": "work",
    "TaskMiddleware": "web.middleware",
    "Scheduler": "scheduler",
    "on": "events",
    "Event": "events",
    "SchedulerEvent": "events",
    "SchedulerStarted": "events",
    "SchedulerStopped": "events",
    "SchedulerHeld": "events",
    "SchedulerResumed": "events",
    "StoreOpened": "events",
    "StoreClosed": "events",
    "LauncherStarted": "events",
    "LauncherStopped": "events",
    "AllSchedulesRemoved": "events",
    "ScheduleEvent": "events",
    "ScheduleAdded": "events",
    "ScheduleRemoved": "events",
    "ScheduleChanged": "events",
    "ScheduleHeld": "events",
    "ScheduleResumed": "events",
    "ScheduleRescheduled": "events",
    "ScheduleUpdated": "events",
    "RunEvent": "events",
    "RunQueued": "events",
    "RunStarted": "events",
    "RunProgressed": "events",
    "RunSucceeded": "events",
    "RunFailed": "events",
    "RunTimedOut": "events",
    "RunStopped": "events",
    "RunLost": "events",
    "RunRetried": "events",
    "RunSkipped": "events",
    "RunMissed": "events",
    "DracotaskError": "errors",
    "ScheduleNotFound": "errors",
    "ControlError": "errors",
    "BadListener": "errors",
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
    # (No module of the package is named like one of these: its import would take the name. So Task lives in
    # tasks.py, and task in functions.py.)
    value = globals()[name] = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, "__version__"])
