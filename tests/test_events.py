"""Events as values, and the outbox that both stores keep them in."""

from __future__ import annotations

import copy
import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import NOON, a_run, a_schedule, an_action, an_outcome, begun, seconds, stored, taken

import dracotask
from dracotask.errors import BadListener
from dracotask.events import KINDS, Event, Listener, RunEvent, ScheduleEvent, event_from_json, leaves, on
from dracotask.model import Claim, Gap, new_run
from dracotask.stores import outbox
from dracotask.stores.base import LISTENERS_NOTE, Store
from dracotask.stores.memory import MemoryStore
from dracotask.stores.sqlite import SQLiteStore

LATER = NOON + seconds(60)

#: What is known of each kind, by the name of the fact.
FACTS: dict[str, Any] = {
    "at": NOON, "fire_time": NOON, "fire_from": NOON, "started_at": NOON, "finished_at": LATER, "next_at": LATER,
    "details": {"until": None, "trigger": "every 1h"}, "done": 3.5, "attempt": 2, "fire_count": 7,
}  # fmt: skip


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    unopened = MemoryStore() if request.param == "memory" else SQLiteStore(str(tmp_path / "state.db"))
    with unopened.open() as opened:
        yield opened


def listen(store: Store, *kinds: str) -> None:
    store.put_note(LISTENERS_NOTE, "\n".join(kinds))


def listen_to_all(store: Store) -> None:
    listen(store, *KINDS)


def told(store: Store) -> list[Event]:
    return [event_from_json(row.text) for row in store.events(1000)]


def kinds(store: Store) -> list[str]:
    return [event.kind for event in told(store)]


# -- Values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_event_has_a_text_that_reads_back_and_does_not_change(kind):
    event = kind(**{name: FACTS.get(name, f"the {name}\0é") for name in kind.names()})

    assert event_from_json(event.to_json()) == event == copy.copy(event) == pickle.loads(pickle.dumps(event))
    with pytest.raises(AttributeError, match="what has happened does not change"):
        event.at = LATER
    with pytest.raises(AttributeError, match="what has happened does not change"):
        del event.at


def test_every_event_can_be_imported_from_the_package():
    assert {name for name in KINDS if getattr(dracotask, name) is not KINDS[name]} == set()
    assert dracotask.RunEvent is RunEvent and dracotask.on is on


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "TaskAdded"}', "null"])
def test_what_is_no_event_is_refused(text):
    with pytest.raises(ValueError):
        event_from_json(text)


def test_what_a_later_version_knows_besides_is_passed_over():
    assert event_from_json('{"kind": "RunFailed", "error": "no", "mood": "bad"}').error == "no"


def test_to_listen_to_a_family_is_to_listen_to_all_of_it():
    hears = Listener(print, [ScheduleEvent]).kinds
    assert "ScheduleAdded" in hears and "ScheduleHeld" in hears  # which is a ScheduleChanged
    assert "ScheduleChanged" not in hears  # a family is never told itself
    assert [*KINDS] == [kind.__name__ for kind in leaves(Event)]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: on(print)(print), r"is no kind of event: write @on\(RunFailed\)"),
        (lambda: on(ValueError)(print), "is no kind of event"),
        (lambda: on()(print), "name one kind of event at least"),
        (lambda: on(RunEvent, task=[])(print), "names no task"),
        (lambda: on(RunEvent, task=[3])(print), "names no task"),
        (lambda: on(RunEvent, task=3)(print), "names no task"),
        (lambda: on(RunEvent, task=len)(print), "names no task"),
        (lambda: on(RunEvent)(3), "cannot be told anything"),
    ],
)
def test_a_listener_that_makes_no_sense_is_refused_with_what_would(wrong, why):
    with pytest.raises(BadListener, match=why):
        wrong()


# -- The outbox --------------------------------------------------------------------------------


def test_nothing_is_written_when_nobody_listens(store):
    store.finish(begun(store, a_run()), an_outcome())
    store.add_action(an_action())
    assert store.events(10) == []


def test_the_life_of_a_run_is_told_in_order(store):
    listen_to_all(store)
    stored(store, a_schedule())
    run = begun(store, a_run())
    store.report_progress(run, 1, 2, "half", now=NOON)
    store.finish(run, an_outcome(state="failed", error="no"))

    assert kinds(store) == ["RunQueued", "RunStarted", "RunProgressed", "RunFailed"]
    failed = told(store)[-1]
    assert (failed.run_id, failed.schedule, failed.attempt, failed.error) == (run.id, "Report", 1, "no")
    assert failed.at == failed.finished_at == NOON + seconds(5)
    assert told(store)[2].note == "half"


@pytest.mark.parametrize(
    ("state", "kind"),
    [("succeeded", "RunSucceeded"), ("timed_out", "RunTimedOut"), ("stopped", "RunStopped"), ("lost", "RunLost")],
)
def test_each_end_is_an_event_of_its_own(store, state, kind):
    listen(store, kind)
    store.finish(begun(store, a_run()), an_outcome(state=state))
    assert kinds(store) == [kind]


def test_an_attempt_that_is_followed_by_another_is_told_as_such(store):
    listen_to_all(store)
    stored(store, a_schedule())
    run = begun(store, a_run())
    store.finish(run, an_outcome(state="failed", error="no"), retry_at=LATER)

    retried = told(store)[-1]
    assert (retried.kind, retried.next_at, retried.error, retried.state) == ("RunRetried", LATER, "no", "failed")


def test_what_never_ran_is_told_with_its_range_and_reason(store):
    listen(store, "RunSkipped", "RunMissed", "RunStopped")
    schedule = stored(store, a_schedule(watermark=NOON))
    gap = Gap(state="missed", first=NOON, last=LATER, count=2, reason="too late")
    assert store.claim(schedule, Claim(gaps=[gap], watermark=LATER), [], LATER)
    waiting, stopped = a_run(), a_run()
    for run in (waiting, stopped):
        store.add_run(run)
    store.skip(waiting, "no room", LATER)
    store.request_stop(stopped.id, by="anna", why=None, now=LATER)

    assert kinds(store) == ["RunMissed", "RunSkipped", "RunStopped"]
    missed, skipped, _ = told(store)
    assert (missed.fire_from, missed.fire_time, missed.fire_count, missed.summary) == (NOON, LATER, 2, "too late")
    assert (skipped.run_id, skipped.summary) == (waiting.id, "no room")


def test_a_row_that_grows_tells_only_what_it_has_grown_by(store):
    # Given a row of fire times that did not run
    listen(store, "RunSkipped")
    schedule = stored(store, a_schedule())
    first, second = (
        Gap(state="skipped", first=NOON + seconds(n), last=NOON + seconds(n), count=1, reason="busy") for n in (1, 2)
    )
    store.claim(schedule, Claim(gaps=[first], watermark=first.last), [], NOON)

    # When the next one follows it
    store.claim(store.schedule("Report"), Claim(gaps=[second], watermark=second.last), [], NOON)

    # Then there is one row, and each is told
    assert len(store.runs()) == 1
    assert [(event.fire_from, event.fire_time) for event in told(store)] == [(None, first.last), (None, second.last)]
    assert len({event.run_id for event in told(store)}) == 1


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("add", "ScheduleAdded"), ("remove", "ScheduleRemoved"), ("hold", "ScheduleHeld"),
        ("resume", "ScheduleResumed"), ("reschedule", "ScheduleRescheduled"), ("skip_next", "ScheduleUpdated"),
    ],
)  # fmt: skip
def test_each_verb_is_told_with_who_and_why(store, verb, kind):
    listen_to_all(store)
    stored(store, a_schedule("Digest", task="Report", declared=False))
    store.add_action(an_action("Digest", verb=verb, why="holidays", details='{"until": "tomorrow"}'))

    (event,) = told(store)
    assert (event.kind, event.schedule, event.task, event.by, event.why) == (
        kind, "Digest", "Report", "anna", "holidays",
    )  # fmt: skip
    assert event.details == {"until": "tomorrow"}


def test_verbs_of_the_whole_site_are_events_of_the_scheduler(store):
    listen_to_all(store)
    for verb in ("hold", "resume", "remove_all"):
        store.add_action(an_action("", verb=verb))
    assert kinds(store) == ["SchedulerHeld", "SchedulerResumed", "AllSchedulesRemoved"]


def test_a_demand_is_told_by_its_run_and_not_twice(store):
    listen_to_all(store)
    store.add_action(an_action(verb="demand"))
    assert kinds(store) == []


def test_only_what_somebody_listens_to_is_written(store):
    listen(store, "RunSucceeded/Import", "RunQueued")
    for task in ("Import", "Export"):
        store.finish(begun(store, a_run(task)), an_outcome())
    assert [(event.kind, event.task) for event in told(store)] == [
        ("RunQueued", "Import"), ("RunSucceeded", "Import"), ("RunQueued", "Export"),
    ]  # fmt: skip


def test_an_event_is_there_exactly_if_what_it_tells_is(store):
    listen_to_all(store)
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.add_run(a_run())
        1 / 0  # noqa: B018
    assert store.runs() == [] and store.events(10) == []


def test_a_run_whose_body_never_began_is_told_as_queued_again(store):
    listen_to_all(store)
    run = begun(store, a_run())
    assert store.give_back(run)
    assert not store.give_back(run)  # it is nobody's any more
    assert kinds(store) == ["RunQueued", "RunStarted", "RunQueued"]
    assert (told(store)[-1].attempt, told(store)[-1].started_at) == (0, None)


def test_a_race_that_was_lost_is_no_event(store):
    listen(store, "RunStarted", "RunSucceeded", "RunSkipped")
    run = begun(store, a_run())
    assert taken(store, run.but(state="queued"), token="another") is None
    assert store.finish(run.but(token="another"), an_outcome()) is None
    assert not store.skip(run, "no", NOON)
    assert kinds(store) == ["RunStarted"]


def test_events_are_forgotten_one_by_one_and_the_order_stays(store):
    listen(store, "RunQueued")
    runs = [a_run() for _ in range(4)]
    for run in runs[:3]:
        store.add_run(run)
    first, second, _ = store.events(10)
    store.forget_events([first.number])
    store.add_run(runs[3])

    assert store.events(1) == [second]
    assert [event.run_id for event in told(store)] == [run.id for run in runs[1:]]


def test_a_full_outbox_drops_progress_first_and_counts_what_it_dropped(store, monkeypatch):
    # Given room for three events
    monkeypatch.setattr(outbox, "MOST_EVENTS", 3)
    listen(store, "RunQueued", "RunProgressed")
    run = begun(store, a_run())
    store.report_progress(run, 1, 2, None, now=NOON)

    # When more happens than that
    for _ in range(3):
        store.add_run(a_run())

    # Then the progress went first, and then the oldest
    assert kinds(store) == ["RunQueued"] * 3
    assert run.id not in [event.run_id for event in told(store)]
    assert store.note(outbox.DROPPED_NOTE) == "2"


def test_a_run_costs_no_statement_more_when_nobody_listens_and_nothing_follows(tmp_path):
    # Given a store that counts
    with SQLiteStore(str(tmp_path / "state.db")).open() as store:
        stored(store, a_schedule())
        said: list[str] = []
        connection: sqlite3.Connection = store._connection
        connection.set_trace_callback(said.append)

        # When a command does what it does with it: notes, the schedule, begin, finish
        store.note("files")
        schedule = store.schedule("Report")
        run = store.begin(new_run(schedule, NOON, "command"), token="t", host="h", pid=1, now=NOON, limit=1)
        store.finish(run, an_outcome())

        # Then there is the same as ever: two reads, what is asked and written at the begin, and at the end
        words = [statement.split()[0] for statement in said]
        assert words == [
            "SELECT", "SELECT", "BEGIN", "SELECT", "INSERT", "COMMIT", "BEGIN", "UPDATE", "SELECT", "COMMIT",
        ]  # fmt: skip
