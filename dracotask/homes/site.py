"""The home of a site's schedules: its store, where every worker, host, console and shell finds them."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager

from ..clock import utc_now
from ..control import Control
from ..errors import ControlError, StoreMissing
from ..run.supervisor import ring
from ..site import Site
from ..web.spawn import entry_point, run_environment
from ..zones import site_zone
from .base import Enrolled, Home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import Any

    from ..events import Listener
    from ..model import Run
    from ..rules import Rule
    from ..stores.base import Store
    from .listening import Listening

#: Seconds that the first load of a site may take.
LOAD_PATIENCE = 60


class SiteHome(Home):
    """Opens the store for each verb, and leaves the work to the site's ticks.

    :param docroot: the folder with ``__tasks__.py``.
    :param by: who uses the verbs, in words.
    :param patience: seconds that a verb waits for a store that is locked; None for as long as stores do.
    :raises DocrootNotFound: it is not a folder.
    """

    def __init__(self, docroot: str | os.PathLike[str], by: str, *, patience: float | None = None) -> None:
        self.docroot, self.by, self.patience = Site(os.fspath(docroot)).docroot, by, patience

    def now(self) -> datetime:
        return utc_now()

    def zone(self) -> str:
        return site_zone(self._site().config.timezone)[0]

    def _site(self) -> Site:
        """Return the site as it is configured by now."""
        return Site(self.docroot)

    @contextmanager
    def control(self) -> Iterator[Control]:
        site = self._site()
        with self._open(site) as store:
            yield Control(store, by=self.by, log=site.state.log)
        site.state.look_now()

    @contextmanager
    def reading(self) -> Iterator[Store]:
        with self._open(self._site()) as store:
            yield store

    def _open(self, site: Site) -> Store:
        """Open the store; when nobody has looked at the site yet, have its task file loaded first.

        :raises WrongUser: the site is another user's.
        :raises StoreMissing: it cannot be loaded.
        """
        site.state.check_user()
        try:
            return site.open_store(create=False, patience=self.patience)
        except StoreMissing:
            _load(site)
            return site.open_store(create=False, patience=self.patience)

    def prepare(self, task: Any, name: str | None) -> Enrolled:
        word = task.__name__ if isinstance(task, type) else task
        if not isinstance(word, str):
            raise ControlError(f"{task!r:.80} is no name of a task: a site's tasks stand in its __tasks__.py.")
        if name is None:
            raise ControlError(f"A schedule that is added to {word} needs a name of its own: name=…")
        return Enrolled(word, name)

    def enrol(self, prepared: Enrolled, name: str | None) -> Enrolled:
        return prepared

    def kept(self, rule: Rule) -> Rule:
        return rule.lasting()

    def stop_runs(self, runs: list[Run]) -> None:
        state = self._site().state
        for run in runs:
            ring(state, run.id)

    def listen(self, listener: Listener) -> Listening:
        raise ControlError(
            f"who listens to {self.docroot} is told by its own processes: write @on(RunFailed) above a function in"
            " its __tasks__.py."
        )

    # -- Its engine is the site's ----------------------------------------------------------

    def is_running(self) -> bool:
        return True

    def refuse_to_start(self) -> None:
        raise self._unneeded("started")

    def start(self) -> None:
        self.refuse_to_start()

    def stop(self, wait: float) -> list[str]:
        raise self._unneeded("stopped")

    def _unneeded(self, deed: str) -> ControlError:
        return ControlError(
            f"The scheduler of {self.docroot} is not {deed} from here: its web processes and cron start its ticks."
            " Hold its schedules instead, or give the name of one."
        )


def _load(site: Site) -> None:
    """Have the task file loaded in a process of its own: to load forks, and this one may have threads."""
    command = [*entry_point(site.docroot), site.docroot, "load"]
    try:
        ended = subprocess.run(
            command, env=run_environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=LOAD_PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise StoreMissing(f"{site.state.task_file} was not loaded within {LOAD_PATIENCE} seconds.") from None
    if ended.returncode:
        words = ended.stderr.decode("utf-8", "replace").strip()
        raise StoreMissing(f"{site.state.task_file} was never loaded, and could not be now: {words}")
