"""What a Scheduler asks of its home."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime
    from typing import Any

    from ..control import Control
    from ..events import Listener
    from ..model import Run, Schedule
    from ..rules import Rule
    from ..stores.base import Store
    from .listening import Listening


class Home:
    """Where schedules live. Every method may be called from any thread, and after a fork."""

    def now(self) -> datetime:
        """Return the present moment, as this home's clock has it."""
        raise NotImplementedError

    def zone(self) -> str:
        """Return the name of the time zone that cron rules are read in."""
        raise NotImplementedError

    def control(self) -> AbstractContextManager[Control]:
        """Yield the verbs over the open store; when it is left without an error, what is due is looked at."""
        raise NotImplementedError

    def reading(self) -> AbstractContextManager[Store]:
        """Yield the open store, to be read only."""
        raise NotImplementedError

    def prepare(self, task: Any, name: str | None) -> Any:
        """Return what :meth:`enrol` takes; called before :meth:`control`, for a Task may take long to be made.

        :param name: what the Schedule is to be called; None for a name by default.
        :raises ControlError: it is nothing that could run here, or has no name.
        """
        raise NotImplementedError

    def enrol(self, prepared: Any, name: str | None) -> Enrolled:
        """Make a Task known to which a Schedule is to be added; called within :meth:`control`."""
        raise NotImplementedError

    def kept(self, rule: Rule) -> Rule:
        """Return a rule that can be kept here.

        :raises BadTrigger: it cannot.
        """
        raise NotImplementedError

    def remember(self, schedule: Schedule, rule: Rule | None) -> None:
        """Remember the rule that a Schedule was given, if it is to be asked again; called within :meth:`control`."""

    def stop_runs(self, runs: list[Run]) -> None:
        """Let those know that are at work on these Runs that the store says they are to stop."""
        raise NotImplementedError

    def listen(self, listener: Listener) -> Listening:
        """Let somebody listen to what happens from now on.

        :raises ControlError: who listens here is said elsewhere.
        """
        raise NotImplementedError

    # -- Its own engine, where it has one --------------------------------------------------

    def is_running(self) -> bool:
        """Tell whether somebody looks and starts what is due."""
        raise NotImplementedError

    def refuse_to_start(self) -> None:
        """Refuse what only a program's own schedules can: to be started from here.

        :raises ControlError: others start them.
        """

    def start(self) -> None:
        """Start looking; once more does no harm."""
        raise NotImplementedError

    def stop(self, wait: float) -> list[str]:
        """Stop looking, ask what is at work to stop, and wait for it.

        :param wait: at most so many seconds.
        :return: the names of the Schedules that are still at work.
        """
        raise NotImplementedError


class Enrolled:
    """What is known of a Task to which a Schedule is added.

    :param task: its name, as Schedules and Runs have it.
    :param name: what the Schedule is called.
    :param trigger: the text of its own rule, which counts when none is given; None without one.
    """

    __slots__ = ("name", "task", "trigger")

    def __init__(self, task: str, name: str, trigger: str | None = None) -> None:
        self.task, self.name, self.trigger = task, name, trigger
