"""Is all well with a site? The answer is one word for an uptime monitor, and for whoever may look what is behind it."""

from __future__ import annotations

from ..clock import in_words, rfc3339
from ..lateness import Hindrance
from ..model import FAILURES
from ..retries import PAUSER
from .banners import is_writable, next_look, nobody_looks
from .reading import Notes
from .words import is_late

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime
    from typing import Any

    from ..model import Run
    from ..stores.base import Store
    from ..stores.reading import Glance
    from .desk import Desk

#: The word for a site with which all is well.
OK = "ok"

#: What may be wrong, the most serious first: the store cannot be read, or is locked by somebody who does not let go;
#: nothing can be put on record; the task file or dracotask.toml is not in force as it is; nobody looks for what is due;
#: something is due and has not begun; the last run of something has failed.
WORDS = ("unusable", "busy", "readonly", "broken", "nobody", "late", "failing")
UNUSABLE, BUSY, READONLY, BROKEN, NOBODY, LATE, FAILING = WORDS

#: Of so many that fail it is told why.
MOST_TOLD = 20


class Trouble:
    """One thing that is wrong.

    :ivar word: one of :data:`WORDS`.
    :ivar schedule: the name of the Schedule; None where it is the whole site.
    :ivar since: None where nobody knows.
    :ivar why: in words.
    """

    __slots__ = ("schedule", "since", "why", "word")

    def __init__(self, word: str, why: str, *, schedule: str | None = None, since: datetime | None = None) -> None:
        self.word, self.why, self.schedule, self.since = word, why, schedule, since

    def as_json(self) -> dict[str, Any]:
        since = rfc3339(self.since) if self.since else None
        return {"word": self.word, "schedule": self.schedule, "since": since, "why": self.why}


class Health:
    """What is wrong with a site at one moment; nothing, if all is well.

    :ivar at: the moment.
    :ivar troubles: the most serious first.
    :ivar names: of the Schedules that there are; None where nobody could look.
    """

    __slots__ = ("at", "names", "troubles")

    def __init__(
        self, at: datetime, troubles: Iterable[Trouble] = (), names: Collection[str] | None = None
    ) -> None:
        self.at, self.names = at, names
        self.troubles = sorted(troubles, key=lambda trouble: WORDS.index(trouble.word))

    @property
    def word(self) -> str:
        return self.troubles[0].word if self.troubles else OK

    @property
    def is_well(self) -> bool:
        return not self.troubles

    def of(self, name: str) -> Health:
        """Return that of one Schedule: what is wrong with it, or with all."""
        return Health(self.at, [each for each in self.troubles if each.schedule in (None, name)], self.names)

    def as_json(self) -> dict[str, Any]:
        troubles = [trouble.as_json() for trouble in self.troubles]
        return {"health": self.word, "at": rfc3339(self.at.replace(microsecond=0)), "troubles": troubles}


class Circumstances:
    """What is to be known of a whole site to judge its health.

    :param late_after: seconds that something may be late.
    :param is_writable: whether anything can be put on record.
    :param broken: why the files are not in force as they are, in words; "" when they are.
    :param is_at_rest: whether nothing is to begin: somebody holds the site, or has switched it off.
    :param nobody: why nobody looks, in words; "" when somebody does.
    :param unseen_since: when somebody should have looked; None when nobody ever did, or somebody does.
    """

    __slots__ = ("broken", "is_at_rest", "is_writable", "late_after", "nobody", "unseen_since")

    def __init__(
        self,
        *,
        late_after: float,
        is_writable: bool = True,
        broken: str = "",
        is_at_rest: bool = False,
        nobody: str = "",
        unseen_since: datetime | None = None,
    ) -> None:
        self.late_after, self.is_writable, self.broken = late_after, is_writable, broken
        self.is_at_rest, self.nobody, self.unseen_since = is_at_rest, nobody, unseen_since


def judge(
    glances: Iterable[Glance],
    site: Circumstances,
    now: datetime,
    *,
    failed: Mapping[str, Run] | None = None,
    given_up: Collection[str] = (),
) -> Health:
    """Return the health of a site.

    What somebody holds, or what is gone from the file, is no trouble; and nothing is late or fails in a site at rest.

    :param glances: of all Schedules.
    :param failed: the last Run that failed of those whose last one did, as far as that is known.
    :param given_up: the names of those that nobody holds but dracotask itself, for their failures.
    """
    present = [glance for glance in glances if not glance.vanished_at]
    free = [] if site.is_at_rest else [glance for glance in present if not glance.held_at]
    sick = [] if site.is_at_rest else [each for each in present if not each.held_at or each.name in given_up]
    troubles = [
        *_of_site(site, any(glance.in_force for glance in free)),
        *(_late(each) for each in free if is_late(each, now, site.late_after)),
        *(_failing(each, (failed or {}).get(each.name)) for each in sick if each.failures),
    ]
    return Health(now, troubles, {glance.name for glance in present})


def _of_site(site: Circumstances, has_rules: bool) -> Iterator[Trouble]:
    if not site.is_writable:
        yield Trouble(READONLY, "the state folder cannot be written: no task runs, and nothing is recorded")
    if site.broken:
        yield Trouble(BROKEN, site.broken)
    if site.nobody and has_rules:
        yield Trouble(NOBODY, site.nobody, since=site.unseen_since)


def _late(glance: Glance) -> Trouble:
    return Trouble(LATE, "it is due and has not begun", schedule=glance.name, since=glance.next_fire_time)


def _failing(glance: Glance, run: Run | None) -> Trouble:
    times = f"{glance.failures} failures in a row" if glance.failures > 1 else "its last run failed"
    if run is None:
        return Trouble(FAILING, times, schedule=glance.name)
    why = f"{times}, run {run.id}: {run.error or run.state.replace('_', ' ')}"
    return Trouble(FAILING, why, schedule=glance.name, since=run.finished_at)


# -- As it is ----------------------------------------------------------------------------------


def examine(desk: Desk, store: Store, now: datetime) -> Health:
    """Return the health of a site as its store and its state folder tell it."""
    glances = store.glances()
    failing = [each for each in glances if each.failures and not each.vanished_at]
    held = [each.name for each in failing if each.held_at]
    # A task that is let alone after so many failures is not well again; who holds it has taken notice.
    given_up = {each.name for each in store.schedules(held) if each.held_by == PAUSER} if held else set()
    sick = [each.name for each in failing if not each.held_at or each.name in given_up]
    failed = {name: run for name in sick[:MOST_TOLD] for run in store.runs(schedule=name, states=FAILURES, limit=1)}
    return judge(glances, circumstances(desk, Notes(store), now), now, failed=failed, given_up=given_up)


def circumstances(desk: Desk, notes: Notes, now: datetime) -> Circumstances:
    config, state = desk.config, desk.state
    broken = config.problem or ""
    if notes.problem:
        broken = f"{state.task_file}: {notes.problem}"
    nobody, unseen_since = "", None
    if nobody_looks(state, now):
        unseen_since = next_look(state)
        hindrance = Hindrance.of(state)
        past = f"for {in_words((now - unseen_since).total_seconds())}" if unseen_since else "yet"
        nobody = f"nobody has looked for what is due {past}" + (f": {hindrance.words}" if hindrance else "")
    return Circumstances(
        late_after=config.late_after, is_writable=is_writable(state), broken=broken,
        is_at_rest=notes.site_hold is not None or not config.enabled, nobody=nobody, unseen_since=unseen_since,
    )  # fmt: skip
