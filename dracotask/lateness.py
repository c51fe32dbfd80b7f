"""Why a run began late, in words for its record.

Two things may be the cause. What is due was found late: nobody looked, or whoever did could not do its work. And what
was found waited: for a slot, for an earlier run, for a hold to end. Hardly any run is late, and those that are in time
do not import this.
"""

from __future__ import annotations

import os
import time

from .clock import from_text, timedelta, to_text
from .model import ENDED, Policy
from .state import write_whole
from .stores.base import BROKEN_NOTE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from .model import Action, Run
    from .state import State
    from .stores.base import Store

    #: Stretches of time, in order, none of which touches another.
    Spans = list[tuple[datetime, datetime]]

#: A tick that failed is followed by another within so much time, if anybody looks at all.
NEXT_TRY = timedelta(seconds=90)

#: Who has not looked for so long is not expected any more.
FORGOTTEN = timedelta(days=30)

#: A tick that began no later than so after the fire time was called in time, and was slow itself.
IN_TIME = timedelta(seconds=1)

#: So many Runs that have ended last, and of the last actions, are looked at to see what another waited for.
MOST_RUNS, MOST_ACTIONS = 100, 50

#: What explains less than this share of a wait, or so many seconds, is not worth a word; and so many causes are enough.
LEAST_SHARE, LEAST_SECONDS, MOST_CAUSES = 0.1, 0.5, 3

#: A cause is at most so many letters.
LONGEST = 300


# -- How late ----------------------------------------------------------------------------------


def lateness(run: Run) -> timedelta | None:
    """Return how much later than its moment a Run began; None for one that has not begun.

    Its moment is its fire time; on demand, when it was queued; of a further attempt, when that was to be.
    """
    if run.started_at is None:
        return None
    moment = run.fire_time or run.queued_at
    if run.attempt > 1:
        retry_at = _retry_at(run)
        if retry_at is None:
            return None
        moment = retry_at
    return max(run.started_at - moment, timedelta())


def _retry_at(run: Run) -> datetime | None:
    import json

    attempts = json.loads(run.attempts or "[]")
    retry_at = attempts[-1].get("retry_at") if attempts else None
    return from_text(retry_at) if retry_at else None


# -- Ticks that could not do their work ---------------------------------------------------------


class Hindrance:
    """What has kept the last ticks from their work.

    :ivar since: when it was met first.
    :ivar last: when it was met last.
    :ivar words: what it is: "the site was switched off".
    """

    __slots__ = ("last", "since", "words")

    def __init__(self, since: datetime, last: datetime, words: str) -> None:
        self.since, self.last, self.words = since, last, words

    @classmethod
    def of(cls, state: State) -> Hindrance | None:
        """Return that of a site; None when its last tick did its work."""
        try:
            with open(state.hindrance_file, encoding="utf-8") as file:
                since, last, words = file.read().split("\n")[:3]
            return cls(from_text(since), from_text(last), words)
        except (OSError, ValueError):
            return None


def put_down_hindrance(state: State, words: str, now: datetime) -> None:
    """Put down that a tick could not do its work, where the next one that can finds it. Never raises."""
    said = " ".join(words.split())[:LONGEST].encode("utf-8", "backslashreplace").decode()
    known = Hindrance.of(state)
    since = known.since if known and known.words == said else now
    try:
        write_whole(state.hindrance_file, f"{to_text(since)}\n{to_text(now)}\n{said}\n".encode())
    except OSError:
        pass  # the disk is full, say, which may be what is to be told


# -- What was found late -----------------------------------------------------------------------


def why_found_late(
    state: State, fire_time: datetime, now: datetime, *, looker: str, loading_since: datetime | None
) -> str | None:
    """Return why a tick has found a fire time late; None when nobody knows.

    :param looker: who has brought the tick about, one of :data:`~.state.LOOKERS`.
    :param loading_since: when it began to load the task file; None when it did not.
    """
    return cause_of_finding(
        fire_time, now, hindrance=Hindrance.of(state), seen=state.last_seen(), looker=looker,
        loading_since=loading_since, began=process_began(now),
    )  # fmt: skip


def cause_of_finding(
    fire_time: datetime,
    now: datetime,
    *,
    hindrance: Hindrance | None,
    seen: Mapping[str, datetime],
    looker: str,
    loading_since: datetime | None,
    began: datetime | None,
) -> str | None:
    """Decide the same from the facts.

    :param seen: when each of those who look had done so last before this tick.
    :param began: when the process of the tick was started, if that is known.
    """
    if hindrance and fire_time - NEXT_TRY <= hindrance.last <= now:
        return hindrance.words
    if loading_since and loading_since - IN_TIME <= fire_time:
        return "the task file was being loaded"
    known = {kind: moment for kind, moment in seen.items() if moment > now - FORGOTTEN}
    if max(known.values(), default=fire_time) > fire_time:
        return None  # somebody did look: it was rescheduled, say, or the clock was set
    if began and fire_time - NEXT_TRY < began <= fire_time + IN_TIME:
        return "the server was busy"
    return _nobody_looked({*known, looker})


def _nobody_looked(lookers: set[str]) -> str:
    """Say who should have looked, of those who do on this site."""
    is_served = bool(lookers & {"request", "tick"})
    if "cron" in lookers:
        return "no request came, and no cron looked" if is_served else "no cron looked"
    return "no request came" if is_served else "nobody looked"


def process_began(now: datetime) -> datetime | None:
    """Return when this process was started; None where the kernel does not tell."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])  # "starttime", of proc(5)
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return now - timedelta(seconds=age)


# -- What waited -------------------------------------------------------------------------------


def why_it_waited(store: Store, run: Run, slots: int) -> str | None:
    """Return why a Run began later than it was queued; None when nobody knows.

    :param run: as it was taken, just now.
    :param slots: how many Runs may be at work at once.
    :raises StoreError: the store cannot be asked.
    """
    ended = store.runs(states=ENDED, limit=MOST_RUNS)
    others = [other for other in [*store.running(), *ended] if other.id != run.id and other.started_at]
    since = min((other.started_at for other in ended if other.started_at), default=None)
    return cause_of_wait(
        run,
        others,
        known_since=since if len(ended) == MOST_RUNS else None,
        holds=[store.actions(schedule=name, limit=MOST_ACTIONS) for name in (run.schedule, "")],
        broken=store.note(BROKEN_NOTE),
        slots=slots,
    )


def cause_of_wait(
    run: Run,
    others: Sequence[Run],
    *,
    holds: Iterable[Sequence[Action]] = (),
    broken: str | None = None,
    slots: int = 1,
    known_since: datetime | None = None,
) -> str | None:
    """Decide the same from the facts: what explains a part of the wait, and nothing before it does, is a cause.

    :param others: the Runs that have been at work, as far back as ``known_since``; None for all.
    :param holds: what was done to its Schedule, and to the site, newest first.
    :param broken: the text of the note.
    """
    if run.started_at is None:
        return None
    wait = max(run.queued_at, known_since or run.queued_at), run.started_at
    open_yet = whole = _within([wait], wait)
    found = []
    for words, spans in [
        *(held for actions in holds for held in _holds(actions, wait)),
        *_broken(broken, wait),
        *_overlap(run, others, wait),
        *_rivals(run, others, wait),
        *_cap(run, others, wait, slots),
    ]:
        explained = _both(open_yet, spans)
        if _seconds(explained) >= max(LEAST_SECONDS, LEAST_SHARE * _seconds(whole)):
            found.append((explained[0][0], words))
            open_yet = _without(open_yet, spans)
    in_order = list(dict.fromkeys(words for _, words in sorted(found)))
    return "; then ".join(in_order[:MOST_CAUSES])[:LONGEST] or None


def joined(first: str | None, second: str | None) -> str | None:
    """Return two causes as one, in the order in which they came."""
    return "; then ".join(cause for cause in (first, second) if cause) or None


def _holds(actions: Sequence[Action], wait: tuple[datetime, datetime]) -> Iterable[tuple[str, Spans]]:
    """Yield each hold with the time for which it lasted."""
    ended = wait[1]
    for action in actions:  # from the newest back, so that the end of each is known
        if action.verb == "hold":
            until = _hold_end(action, ended)
            spans = _within([(action.at, until)], wait)
            if spans:
                yield f"held by {' '.join(action.by.split())} until {until:%H:%M} UTC", spans
        if action.verb in ("hold", "resume"):
            ended = action.at


def _hold_end(action: Action, ended: datetime) -> datetime:
    import json

    until = json.loads(action.details).get("until")
    return min(ended, from_text(until)) if until else ended


def _broken(note: str | None, wait: tuple[datetime, datetime]) -> Iterable[tuple[str, Spans]]:
    if note:
        since, _, until = note.partition("\t")
        span = from_text(since), from_text(until) if until else wait[1]
        yield "the task file was broken", _within([span], wait)


def _overlap(run: Run, others: Sequence[Run], wait: tuple[datetime, datetime]) -> Iterable[tuple[str, Spans]]:
    most = Policy.from_text(run.policy).most_at_work
    words = "an earlier run was at work" if most == 1 else f"{most} earlier runs were at work"
    yield words, _crowded([other for other in others if other.schedule == run.schedule], wait, most)


def _rivals(run: Run, others: Sequence[Run], wait: tuple[datetime, datetime]) -> Iterable[tuple[str, Spans]]:
    if run.exclusive:
        rivals = [other for other in others if other.exclusive == run.exclusive]
        for name in dict.fromkeys(other.schedule for other in rivals):
            words = f"{name} was at work (exclusive: {run.exclusive})"
            yield words, _crowded([other for other in rivals if other.schedule == name], wait, 1)


def _cap(
    run: Run, others: Sequence[Run], wait: tuple[datetime, datetime], slots: int
) -> Iterable[tuple[str, Spans]]:
    # (What was run by hand takes no slot.)
    in_slots = [other for other in others if other.fire_time or other.origin != "command"]
    spans = _crowded(in_slots, wait, slots)
    words = "the only slot was busy" if slots == 1 else f"all {slots} slots were busy"
    overtook = any(
        other.priority > run.priority and other.queued_at > run.queued_at and _both(spans, [_at_work(other, wait[1])])
        for other in in_slots
    )
    yield f"{words}, with runs of a higher priority" if overtook else words, spans


# -- Stretches of time -------------------------------------------------------------------------


def _at_work(run: Run, end: datetime) -> tuple[datetime, datetime]:
    return run.started_at or end, run.finished_at or end


def _crowded(runs: Iterable[Run], wait: tuple[datetime, datetime], most: int) -> Spans:
    """Return when as many Runs were at work as there may be."""
    begins, ends = [], []
    for run in runs:
        for begin, end in _within([_at_work(run, wait[1])], wait):
            begins.append((begin, 1))
            ends.append((end, -1))
    count, since, found = 0, wait[0], []
    # (Of one moment the ends come last: who took the slot of another left no gap.)
    for moment, change in sorted([*begins, *ends], key=lambda step: (step[0], -step[1])):
        if count < most <= count + change:
            since = moment
        elif count + change < most <= count:
            found.append((since, moment))
        count += change
    return _within(found, wait)


def _within(spans: Iterable[tuple[datetime, datetime]], wait: tuple[datetime, datetime]) -> Spans:
    """Return the parts of spans that lie in the wait."""
    cut = ((max(begin, wait[0]), min(end, wait[1])) for begin, end in spans)
    return sorted((begin, end) for begin, end in cut if begin < end)


def _both(spans: Spans, others: Spans) -> Spans:
    return sorted(part for span in spans for part in _within(others, span))


def _without(spans: Spans, others: Spans) -> Spans:
    for gone_from, gone_to in others:
        parts = [part for begin, end in spans for part in ((begin, min(end, gone_from)), (max(begin, gone_to), end))]
        spans = [(begin, end) for begin, end in parts if begin < end]
    return spans


def _seconds(spans: Spans) -> float:
    return sum((end - begin).total_seconds() for begin, end in spans)
