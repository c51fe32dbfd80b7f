"""What a simulation is of: the schedules of a site, of Task classes, or just named rules."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from datetime import timedelta

from ..adoption import as_declared
from ..errors import LoadError
from ..model import DEFAULT_POLICY, Declaration, Policy, Schedule
from ..previews import trigger_said
from ..rules import rule_of
from ..site import Site
from ..state import State
from ..stores.holds import SiteHold
from ..stores.sqlite import SQLiteStore
from ..tasks import Task, declaration
from ..triggers import Trigger
from ..web.spawn import entry_point, run_environment
from ..zones import site_zone
from .moments import moment_said

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from ..stores.base import Store

#: Seconds that the load of a task file may take, beside its own limit.
LOAD_PATIENCE = 60

#: How many Runs are at work at once where no dracotask.toml says it.
MAX_RUNNING = 4

_INSTANT = timedelta(microseconds=1)


class Source:
    """The schedules that a simulation begins with.

    :ivar title: what they are of, in words.
    :ivar schedules: as they are stored; their fire times are none of the simulation's yet.
    :ivar site_hold: the hold of the whole site, or None.
    """

    def __init__(
        self, title: str, schedules: list[Schedule], *, zone: str, max_running: int, site_hold: SiteHold | None = None
    ) -> None:
        self.title, self.schedules, self.zone, self.max_running = title, schedules, zone, max_running
        self.site_hold = site_hold


def source_of(
    subject: Any, *, start: str | datetime, timezone: str | None = None, as_it_is: bool = False
) -> Source:
    """Return what is to be simulated.

    :param subject: a docroot; a Task class or several; or a dictionary of rules as text, or Triggers, by name.
    :param start: from when on a trigger of somebody's own class is asked; of a docroot its load asks, from now on.
    :param timezone: of rules that name none; None for the docroot's, or the server's.
    :param as_it_is: of a docroot, what its store has now: also what was added, rescheduled and held.
    :raises LoadError: the task file is broken; TypeError: it is nothing of these.
    """
    if isinstance(subject, str | os.PathLike):
        return _of_site(Site(os.fspath(subject)), timezone, as_it_is)
    zone = timezone or site_zone(None)[0]
    since = moment_said(start, zone) - _INSTANT
    if isinstance(subject, Mapping):
        schedules = [_of_rule(name, rule, zone, since) for name, rule in subject.items()]
    else:
        kinds = subject if isinstance(subject, Iterable) else (subject,)
        schedules = [as_declared(_declared(kind, zone, since), since) for kind in kinds]
    return Source(", ".join(each.name for each in schedules), schedules, zone=zone, max_running=MAX_RUNNING)


def _of_site(site: Site, timezone: str | None, as_it_is: bool) -> Source:
    zone = timezone or site_zone(site.config.timezone)[0]
    if as_it_is:
        site.state.check_user()
        with site.open_store(create=False) as store:
            schedules, hold = _those_of(store), SiteHold.of(store)
    else:
        schedules, hold = _freshly_loaded(site, zone), None
    return Source(site.docroot, schedules, zone=zone, max_running=site.config.max_running, site_hold=hold)


def _those_of(store: Store) -> list[Schedule]:
    return [each for each in store.schedules() if not each.vanished_at]


def _freshly_loaded(site: Site, zone: str) -> list[Schedule]:
    """Have the task file loaded by the program itself, in processes of its own and with a state folder of its own.

    So nothing of the file is executed here, and the site hears nothing of it.
    """
    with tempfile.TemporaryDirectory(prefix="dracotask-") as folder:
        environment = {**run_environment(), "DRACOTASK_STATE": folder, "DRACOTASK_TIMEZONE": zone}
        ended = subprocess.run(
            [*entry_point(site.docroot), site.docroot, "load"], env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=site.config.load_limit + LOAD_PATIENCE,
        )  # fmt: skip
        if ended.returncode:
            words = ended.stderr.decode("utf-8", "replace").strip().removeprefix("dracotask: ")
            raise LoadError(words or f"{site.state.task_file} could not be loaded.")
        with SQLiteStore(State(site.docroot, folder).store_file).open(create=False) as store:
            return _those_of(store)


def _declared(kind: object, zone: str, since: datetime) -> Declaration:
    if isinstance(kind, Declaration):
        return kind
    if isinstance(kind, type) and issubclass(kind, Task):
        return declaration(kind(), line=0, zone=zone, policy={}, now=since)
    raise TypeError(f"{kind!r:.80} cannot be simulated: give a docroot, Task classes, or rules by name.")


def _of_rule(name: str, rule: str | Trigger, zone: str, since: datetime) -> Schedule:
    made = rule_of(trigger=rule)(zone, name, since) if isinstance(rule, Trigger) else trigger_said(rule, zone, name)
    text = str(made)
    declared = Declaration(
        name=name, trigger=text, parameters="[]", policy=Policy(**DEFAULT_POLICY).to_text(), description="", source=""
    )
    return as_declared(declared, since)
