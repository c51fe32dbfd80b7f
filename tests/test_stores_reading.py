"""What a console and metrics ask of a store: over every store, and of how much SQLite has to look at for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
from helpers import HOURLY, NOON, a_run, a_schedule, an_outcome, begun, ended, runs_in_order, seconds, stored, taken

from dracotask.clock import to_text
from dracotask.model import FAILURES, Claim, Gap, Run, id_from, new_run_id
from dracotask.stores import sqlreading, tallies
from dracotask.stores.base import CODE_NOTE, PYTHON, Store
from dracotask.stores.memory import MemoryStore
from dracotask.stores.reading import Ending, Glance, Recent
from dracotask.stores.sqlite import SQLiteStore
from dracotask.stores.tallies import Tally

HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    unopened = MemoryStore() if request.param == "memory" else SQLiteStore(str(tmp_path / "state.db"))
    with unopened.open() as opened:
        yield opened


def numbers(runs: list[Any]) -> list[int]:
    return [int(run.id) for run in runs]


def a_history(store: Store, number: int, **facts: Any) -> list[Run]:
    """Put Runs into the store that are over, and return them, oldest first."""
    runs = runs_in_order(number, state="succeeded", started_at=NOON, finished_at=NOON + seconds(2), **facts)
    with store.transaction():
        for run in runs:
            store.add_run(run)
    return runs


# -- Schedules at a glance ---------------------------------------------------------------------


def test_a_glance_has_what_a_list_needs_of_each_schedule_in_the_order_of_first_sight(store):
    # Given one that is declared, one that somebody added and holds, and one that is gone from the file
    stored(store, a_schedule("Zebra", description="Stripes.", next_fire_time=NOON + HOUR, failures=2, after=",Ant,"))
    held = {"trigger": "every 1h", "override": "every 2h", "held_at": NOON, "held_until": NOON + HOUR}
    stored(store, a_schedule("Ant", task="Work", declared=False, **held))
    stored(store, a_schedule("Mule", trigger=None, vanished_at=NOON))

    # When the first has failed, and one of the second waits after one that runs
    failed = ended(store, a_run("Zebra", id="1" * 26), state="failed")
    at_work = begun(store, a_run("Work", id="2" * 26, schedule="Ant", despite_hold=True))
    store.add_run(a_run("Work", id="3" * 26, schedule="Ant"))

    # Then that is what one sees
    zebra, ant, mule = store.glances()
    assert zebra == Glance(
        "Zebra", "Zebra", True, "Stripes.", HOURLY, NOON + HOUR, None, None, None, 3, ",Ant,", failed.id, "failed", NOON
    )  # fmt: skip
    assert (ant.task, ant.declared, ant.in_force) == ("Work", False, "every 2h")
    assert (ant.held_at, ant.held_until, ant.last_id, ant.last_state) == (NOON, NOON + HOUR, at_work.id, "running")
    assert mule == Glance(
        "Mule", "Mule", True, "", None, None, None, None, NOON, 0, None, None, None, None
    )  # fmt: skip


def test_some_schedules_are_found_by_their_names(store):
    for name in ("Zebra", "Ant", "Mule"):
        stored(store, a_schedule(name))
    assert [schedule.name for schedule in store.schedules(["Mule", "Zebra", "Nobody"])] == ["Zebra", "Mule"]
    assert store.schedules(["Ant"]) == [store.schedule("Ant")]
    assert store.schedules([]) == []


def test_more_names_than_fit_into_one_statement_are_asked_for_all_the_same(store, monkeypatch):
    monkeypatch.setattr(sqlreading, "MOST_NAMES", 2)
    names = ["Zebra", "Ant", "Mule"]
    for name, run in zip(names, runs_in_order(3), strict=True):
        stored(store, a_schedule(name))
        ended(store, run.but(schedule=name))

    assert store.schedules({*names, "Nobody"}) == store.schedules()
    assert store.last_runs([*names, "Ant"]) == store.last_runs()
    assert [len(store.recent(names, 5)[name]) for name in names] == [1, 1, 1]


# -- The newest of each ------------------------------------------------------------------------


def test_last_runs_are_asked_for_by_name_also_of_a_schedule_that_is_gone(store):
    # Given three with a history, of which none is a schedule any more, and one that was never started
    for run, name in zip(runs_in_order(4), ("Riga", "Oslo", "Riga", "Bern"), strict=True):
        ended(store, run.but(schedule=name))
    store.add_run(a_run("Fresh"))

    assert numbers([*store.last_runs(["Riga", "Fresh", "Nobody"]).values()]) == [3]
    assert store.last_runs(["Oslo"]) == {"Oslo": store.run(f"{2:026d}")}
    assert {name: int(run.id) for name, run in store.last_runs().items()} == {"Riga": 3, "Oslo": 2, "Bern": 4}
    assert store.last_runs([]) == {}


def test_recent_are_the_newest_that_were_started_the_oldest_first(store):
    # Given runs of two, every third of which was skipped
    runs = runs_in_order(12)
    for number, run in enumerate(runs):
        one = run.but(schedule="Riga" if number % 2 else "Oslo", fire_time=NOON + seconds(number), late_cause="busy")
        store.add_run(one)
        if number % 3:
            taken(store, one, limit=99)
        else:
            store.skip(one, "no use", NOON)
    store.finish(store.run(runs[-1].id), an_outcome(state="failed"))

    # When some of them are asked for
    recent = store.recent(["Oslo", "Riga", "Nobody"], 3)

    # Then each has its own
    assert {name: numbers(found) for name, found in recent.items()} == {
        "Oslo": [5, 9, 11], "Riga": [6, 8, 12], "Nobody": [],
    }  # fmt: skip
    assert recent["Riga"][-1] == Recent(
        runs[-1].id, "failed", NOON + seconds(11), NOON, NOON, NOON + seconds(5), "busy"
    )
    assert store.recent(["Riga"], 0) == {"Riga": []}
    assert store.recent([], 5) == {}


def test_the_neighbours_of_a_run_are_of_its_schedule(store):
    first, _, third, fourth = (
        run.but(schedule=name) for run, name in zip(runs_in_order(4), ("Riga", "Oslo", "Riga", "Riga"), strict=True)
    )
    for run in (first, third, fourth, a_run(id=f"{2:026d}", schedule="Oslo")):
        store.add_run(run)
    assert store.neighbours(first) == (None, third.id)
    assert store.neighbours(third) == (first.id, fourth.id)
    assert store.neighbours(fourth) == (third.id, None)
    # Also of one that was cleared away meanwhile
    assert store.neighbours(third.but(id=f"{2:026d}")) == (first.id, third.id)


# -- History, page by page ---------------------------------------------------------------------


def test_a_history_is_turned_over_page_by_page_forth_and_back(store):
    runs = a_history(store, 10)
    first = store.runs(limit=3)
    second = store.runs(before=first[-1].id, limit=3)
    assert (numbers(first), numbers(second)) == ([10, 9, 8], [7, 6, 5])
    # What is newer than a page is the page before it, and not the first one
    third = store.runs(before=second[-1].id, limit=3)
    assert numbers(store.runs(after=third[0].id, limit=3)) == numbers(second)
    assert numbers(store.runs(after=runs[6].id, limit=9)) == [10, 9, 8]
    # And an id need not be there
    assert numbers(store.runs(before=f"{4:026d}5")) == [4, 3, 2, 1]
    assert numbers(store.runs(after=runs[3].id, before=runs[6].id)) == [6, 5]


def test_what_is_asked_together_has_to_hold_together(store):
    # Given runs of every kind that differ in all that can be asked
    kinds = [*product(("Report", "Backup"), ("Riga", "Oslo"), ("console", "tick"), ("queued", "failed", "succeeded"))]
    runs = [
        run.but(task=task, schedule=schedule, origin=origin, state=state)
        for run, (task, schedule, origin, state) in zip(runs_in_order(48), kinds * 2, strict=True)
    ]
    for run in runs:
        store.add_run(run)

    # When they are asked for by any of it, some of it, and all of it
    choices = {
        "task": (None, "Report"), "schedule": (None, "Oslo"), "origin": (None, "console", "tick"),
        "states": (None, ("failed",), ("queued",), ("queued", "failed"), ("succeeded", "failed"), ("lost",), ()),
        "before": (None, runs[40].id), "after": (None, runs[9].id), "limit": (2, None),
    }  # fmt: skip
    for asked in product(*choices.values()):
        question: dict[str, Any] = dict(zip(choices, asked, strict=True))

        # Then the answer is what going through all of them would find
        assert store.runs(**question) == found_in(runs, **question), question


def found_in(
    runs: list[Run], *, states: Any, before: str | None, after: str | None, limit: int | None, **facts: Any
) -> list[Run]:
    found = [
        run for run in runs
        if all(value in (None, getattr(run, name)) for name, value in facts.items())
        and (states is None or run.state in states)
        and (before is None or run.id < before)
        and (after is None or run.id > after)
    ]  # fmt: skip
    wanted = found[:limit] if after else found[::-1][:limit]
    return wanted[::-1] if after else wanted


def test_a_history_is_asked_for_between_two_moments(store):
    # Given a run of each hour, as their ids tell
    moments = [NOON + hour * HOUR for hour in range(6)]
    ids = [id_from(moment) + "0" * 12 for moment in moments]
    for run_id in ids:
        store.add_run(a_run(id=run_id))

    def between(**question: Any) -> list[int]:
        return [ids.index(run.id) for run in store.runs(**question)]

    # Then one of a moment itself came about since then, and not before
    assert between(since=moments[3]) == [5, 4, 3]
    assert between(until=moments[3]) == [2, 1, 0]
    assert between(since=moments[1], until=moments[4]) == [3, 2, 1]
    assert between(since=moments[1] + seconds(0.000001), until=moments[4] + seconds(0.000001)) == [4, 3, 2]
    # And it goes together with the pages
    assert between(since=moments[1], before=ids[4], limit=2) == [3, 2]
    assert between(until=moments[4], after=ids[1]) == [3, 2]
    assert between(since=moments[4], until=moments[2]) == []


def test_an_id_tells_the_moment_at_which_it_was_made(monkeypatch):
    moment = NOON + seconds(0.123456)
    monkeypatch.setattr("time.time_ns", lambda: round(moment.timestamp() * 1_000_000) * 1000)
    assert id_from(moment) < new_run_id() < id_from(moment + seconds(0.000001))
    assert id_from(NOON - 100 * 365 * 24 * HOUR) == "0" * 14


# -- What is over ------------------------------------------------------------------------------


@pytest.fixture
def few_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tallies be put together every three rows."""
    monkeypatch.setattr(tallies, "MOST_ANEW", 3)


def counts(store: Store) -> dict[tuple[str, str], int]:
    return {kind: tally.runs for kind, tally in store.tallies().items()}


@pytest.mark.usefixtures("few_anew")
def test_tallies_are_of_what_is_over_and_stay_when_it_is_cleared_away(store):
    assert store.tallies() == {}

    # Given runs that are over, by task and state, and some that are not
    for run in runs_in_order(5):
        ended(store, run, finished_at=NOON + seconds(3))
    ended(store, a_run("Backup"), state="failed", finished_at=NOON - seconds(9))
    store.add_run(a_run())
    begun(store, a_run("Backup"))
    expected = {("Report", "succeeded"): Tally(5, 15.0), ("Backup", "failed"): Tally(1, 0.0)}
    assert store.tallies() == expected

    # When most of the history is cleared away, and again
    for keep in (2, 0):
        store.prune("Report", keep=keep, since=NOON)
        # Then the numbers are as they were
        assert store.tallies() == expected

    # And they go on from there
    ended(store, a_run(), finished_at=NOON + seconds(1))
    assert store.tallies()["Report", "succeeded"] == Tally(6, 16.0)


@pytest.mark.usefixtures("few_anew")
def test_tallies_are_told_although_nothing_can_be_written(tmp_path):
    # Given more runs than are to be counted anew, and a disk that takes nothing
    with SQLiteStore(str(tmp_path / "state.db")).open() as store:
        for run in runs_in_order(5):
            ended(store, run)
        store._execute("PRAGMA query_only = ON")

        # Then they are counted
        assert counts(store) == {("Report", "succeeded"): 5}


@pytest.mark.usefixtures("few_anew")
def test_a_run_is_counted_once_whenever_it_ends(store):
    # Given what is to come yet, each in its own way, older than much that is over and counted
    running, retried, waiting, unwanted = (a_run(id=f"{'0' * 25}/{number}", schedule="Work") for number in range(4))
    begun(store, running)
    begun(store, retried)
    store.add_run(waiting)
    store.add_run(unwanted)
    a_history(store, 10)
    assert counts(store) == {("Report", "succeeded"): 10}

    # When they come to their ends, and what a clock that was set back has made comes behind
    stored(store, a_schedule("Work"))
    store.finish(running.but(token="mine"), an_outcome(state="lost"))
    store.finish(retried.but(token="mine"), an_outcome(state="failed"), retry_at=NOON)
    store.skip(waiting, "no use", NOON)
    store.request_stop(unwanted.id, by="anna", why=None, now=NOON)
    store.add_run(a_run(id="0" * 25 + "/9", state="missed", finished_at=NOON))

    # Then each is counted, but not one that is to be tried again
    expected = {
        ("Report", "succeeded"): 10, ("Report", "lost"): 1, ("Report", "skipped"): 1, ("Report", "stopped"): 1,
        ("Report", "missed"): 1,
    }  # fmt: skip
    assert counts(store) == expected
    taken(store, store.run(retried.id), limit=9)
    store.finish(store.run(retried.id), an_outcome(state="failed"))
    assert counts(store) == {**expected, ("Report", "failed"): 1}
    # And once, also when all of them are cleared away
    store.prune("Report", keep=0, since=NOON)
    assert counts(store) == {**expected, ("Report", "failed"): 1}


@pytest.mark.usefixtures("few_anew")
@pytest.mark.parametrize("is_put_together", [True, False])
def test_the_number_of_fire_times_that_did_not_run_never_falls(store, is_put_together):
    # Given a row that stands for several fire times, counted for good or as it is
    schedule = stored(store, a_schedule())
    number = [0]

    def passed(many: int | None) -> int:
        first = NOON + number[0] * HOUR
        last = first + ((many or 1) - 1) * HOUR
        number[0] += many or 1
        gap = Gap(state="missed", first=first, last=last, count=many, reason="too late")
        claim = Claim(gaps=[gap], watermark=last, next_fire_time=last + HOUR)
        assert store.claim(store.schedule(schedule.name), claim, [], NOON)
        return counts(store)["Report", "missed"]

    assert passed(3) == 3
    if is_put_together:
        a_history(store, 8, task="Other", schedule="Other")
        store.add_run(a_run("Other", state="succeeded"))

    # When it grows, be it over nobody knows how many
    assert [passed(many) for many in (2, 1, None, None, 4)] == [5, 6, 7, 8, 12]

    # Then there is still one row, and its number stays when that goes
    assert len(store.runs(states=("missed",))) == 1
    store.prune("Report", keep=0, since=NOON)
    assert counts(store)["Report", "missed"] == 12
    assert passed(1) == 13


@pytest.mark.usefixtures("few_anew")
def test_a_transaction_that_breaks_off_counts_nothing(store):
    runs = a_history(store, 7)
    before = store.tallies()
    with pytest.raises(RuntimeError), store.transaction():
        store.prune("Report", keep=0, since=NOON)
        ended(store, a_run())
        assert counts(store)["Report", "succeeded"] == 8
        raise RuntimeError
    assert store.tallies() == before
    assert len(store.runs()) == len(runs)


# -- What a run remembers ----------------------------------------------------------------------


def test_a_run_remembers_what_it_was_begun_with(store):
    # Given code that is in force
    store.put_note(CODE_NOTE, "abc123 4f5e6d")
    queued = a_run()
    assert (queued.code, queued.python) == (None, None)

    # When one is taken, and another begun
    both = [begun(store, queued), store.begin(a_run(), token="mine", host="here", pid=1, now=NOON, limit=9)]

    # Then it stands in each, whatever comes into force after that
    store.put_note(CODE_NOTE, None)
    for run in both:
        assert (store.run(run.id).code, store.run(run.id).python) == ("abc123 4f5e6d", PYTHON)
    assert begun(store, a_run()).code is None


def test_an_outcome_that_knows_no_cause_of_lateness_leaves_the_one_there_is(store):
    known, new, both = (a_run(late_cause=cause) for cause in ("nobody came", None, "nobody came"))
    assert ended(store, known).late_cause == "nobody came"
    assert ended(store, new, late_cause="the cap").late_cause == "the cap"
    assert ended(store, both, late_cause="nobody came, the cap").late_cause == "nobody came, the cap"


# -- How much is looked at ---------------------------------------------------------------------

#: So many Schedules share a hundred thousand Runs.
SCHEDULES, RUNS = 1000, 100_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLiteStore]:
    """Return a store with a long history: half of it of one task, one in a hundred failed, few by hand."""
    path = tmp_path_factory.mktemp("large") / "state.db"
    with SQLiteStore(str(path)).open() as store:
        store._execute("PRAGMA synchronous = OFF")
        with store.transaction():
            for number in range(SCHEDULES):
                store.put_schedule(
                    a_schedule(f"S{number}", task="Shared" if number % 2 else f"T{number % 20}", declared=False)
                )
            names = ", ".join(row_of(0))
            statement = f"INSERT INTO runs ({names}) VALUES ({', '.join('?' * len(row_of(0)))})"
            store._connection.executemany(statement, ((*row_of(number).values(),) for number in range(RUNS)))
        yield store


def row_of(number: int) -> dict[str, Any]:
    return {
        "id": large_id(number), "schedule": f"S{number % SCHEDULES}",
        "task": "Shared" if number % 2 else f"T{number % 20}",
        "state": FAILURES[number // 100 % 3] if number % 100 == 7 else "succeeded",
        "origin": "console" if number % 1000 == 1 else ("tick", "request")[number // SCHEDULES % 2],
        "queued_at": to_text(NOON), "started_at": to_text(NOON), "finished_at": to_text(NOON),
        "attempt": 1, "policy": "", "arguments": "{}", "despite_hold": 0, "priority": 0, "rev": 3,
    }  # fmt: skip


def large_id(number: int) -> str:
    return id_from(NOON + number * seconds(60)) + "0" * 12


def steps_of(store: SQLiteStore, ask: Callable[[], Any]) -> int:
    """Return how many steps SQLite's machine takes to answer, in hundreds."""
    steps = count()
    store._connection.set_progress_handler(lambda: next(steps) and 0, 100)
    try:
        ask()
    finally:
        store._connection.set_progress_handler(None, 1)
    return next(steps)


def plans_of(store: SQLiteStore, ask: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return how SQLite goes about what it is asked."""
    plans: list[str] = []
    execute = store._execute

    def explained(statement: str, values: Any = ()) -> Any:
        if statement.startswith(("SELECT", "WITH", "\n")):
            plans.extend(row[3] for row in execute(f"EXPLAIN QUERY PLAN {statement}", values))
        return execute(statement, values)

    with monkeypatch.context() as patch:
        patch.setattr(store, "_execute", explained)
        ask()
    return plans


NAMES = [f"S{number}" for number in range(0, 1000, 20)]

#: What the pages of a console ask, each with the steps, in hundreds, that it may take.
QUESTIONS: dict[str, tuple[Callable[[Store], Any], int]] = {
    "all at a glance": (lambda store: store.glances(), 100 * SCHEDULES // 100),
    "some schedules": (lambda store: store.schedules(NAMES), 50),
    "some last runs": (lambda store: store.last_runs(NAMES), 100),
    "all last runs": (lambda store: store.last_runs(), 200 * SCHEDULES // 100),
    "bars of fifty": (lambda store: store.recent(NAMES, 30), 1000),
    "all endings": (lambda store: store.endings(), 200 * SCHEDULES // 100),
    "neighbours": (lambda store: store.neighbours(a_run("S7", id=large_id(50_007))), 2),
    "queued": (lambda store: store.runs(states=("queued",), limit=None), 2),
    "running": (lambda store: store.running(), 2),
    "active": (lambda store: store.active("S7"), 2),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_question_of_a_console_goes_through_the_history(large, name, monkeypatch):
    ask, most = QUESTIONS[name]
    plans = plans_of(large, lambda: ask(large), monkeypatch)
    assert plans
    assert [plan for plan in plans if plan.startswith("SCAN runs")] == []
    assert steps_of(large, lambda: ask(large)) <= most


def test_no_page_of_history_goes_through_all_of_it(large, monkeypatch):
    # Given all that can be asked of a page, in any combination
    choices = {
        "task": (None, "Shared", "T4"), "schedule": (None, "S7"), "origin": (None, "console"),
        "states": (None, ("failed",), FAILURES, ("lost", "stopped"), ("succeeded",), ("queued",), ("queued", "failed")),
        "before": (None, large_id(50_000)), "after": (None, large_id(30_000)),
        "since": (None, NOON + 500 * HOUR), "until": (None, NOON + 900 * HOUR),
    }  # fmt: skip
    for asked in product(*choices.values()):
        question: dict[str, Any] = dict(zip(choices, asked, strict=True))

        # Then an index leads to the page: of the schedule, the task, the origin, the few that are not as usual, or the
        # newest of all, of which no more than a page is looked at
        plans = plans_of(large, lambda question=question: large.runs(**question), monkeypatch)
        scans = {plan for plan in plans if plan.startswith("SCAN")}
        assert scans <= {"SCAN runs USING INDEX runs_rare", "SCAN runs USING INDEX sqlite_autoindex_runs_1"}, question
        assert steps_of(large, lambda question=question: large.runs(**question)) <= 150, question


def test_an_ending_tells_of_the_newest_that_was_at_work_and_of_the_newest_that_succeeded(store):
    # Given a schedule with a success, a failure, one that was stopped before it began, and one at work; and another
    stored(store, a_schedule("Ant"))
    stored(store, a_schedule("Zebra"))
    ended(store, a_run("Ant", id="1" * 26), finished_at=NOON + seconds(3))
    ended(store, a_run("Ant", id="2" * 26), state="failed", finished_at=NOON + seconds(8))
    store.add_run(a_run("Ant", id="3" * 26))
    store.request_stop("3" * 26, by="anna", why=None, now=NOON)
    begun(store, a_run("Ant", id="4" * 26))

    # Then both are told, also when the success is cleared away
    assert store.endings() == {"Ant": Ending(8.0, NOON + seconds(3)), "Zebra": Ending(None, None)}
    assert "1" * 26 in store.prune("Ant", keep=2, since=NOON - HOUR)
    assert store.endings()["Ant"] == Ending(8.0, NOON + seconds(3))

    # And of two successes that are cleared away the later one counts, in whatever order that happens
    ended(store, a_run("Ant", id="6" * 26), finished_at=NOON + seconds(60))
    ended(store, a_run("Ant", id="5" * 26), finished_at=NOON + seconds(30))
    for _ in range(5):
        store.prune("Ant", keep=0, since=NOON - HOUR, limit=1)
    assert store.endings()["Ant"] == Ending(None, NOON + seconds(60))


def test_what_never_came_in_one_way_is_told_without_a_look_at_what_came_in_others(large):
    assert steps_of(large, lambda: large.runs(origin="command")) <= 2
    assert steps_of(large, lambda: large.runs(origin="command", schedule="S7")) <= 20
    # (Of a task this is found in the index alone, where the rows themselves would be four times as much.)
    assert steps_of(large, lambda: large.runs(origin="command", task="T4")) <= RUNS // 20 * 8 // 100


def test_tallies_are_counted_once_for_all_questions(large):
    # Given a first question, which counts all there is
    first = large.tallies()
    assert sum(tally.runs for tally in first.values()) == RUNS

    # Then the next one goes through what is new
    assert large.tallies() == first
    assert steps_of(large, large.tallies) <= 10 * tallies.MOST_ANEW // 100


def test_a_good_run_has_nothing_to_write_into_the_index_of_the_others(large):
    entries = "SELECT COUNT(*) FROM runs WHERE state <> 'queued' AND state <> 'running' AND state <> 'succeeded'"
    assert large._execute(entries).fetchone() == (RUNS // 100,)
    (plan,) = large._execute(f"EXPLAIN QUERY PLAN {entries}").fetchall()
    assert "COVERING INDEX runs_rare" in plan[3]
