"""Run B after A: in the stores, in a site's task file and in a program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import NOON, a_run, a_schedule, an_outcome, begun, seconds, stored

from dracotask import Scheduler
from dracotask.errors import BadTrigger, ControlError
from dracotask.model import Run
from dracotask.stores.base import HOLD_NOTE, Store
from dracotask.stores.memory import MemoryStore
from dracotask.stores.sqlite import SQLiteStore
from dracotask.triggers import parse_trigger
from dracotask.triggers.after import AfterTrigger, column
from dracotask.triggers.words import describe


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    unopened = MemoryStore() if request.param == "memory" else SQLiteStore(str(tmp_path / "state.db"))
    with unopened.open() as opened:
        yield opened


def a_follower(name: str, after: str = ",Import,", **facts):
    return a_schedule(name, trigger=f"after {after.strip(',')}", after=after, **facts)


def succeed(store: Store, run: Run, **facts) -> list[Run] | None:
    return store.finish(begun(store, run), an_outcome(**facts))


# -- The trigger -------------------------------------------------------------------------------


def test_it_has_a_text_that_reads_back_and_no_time_of_its_own():
    trigger = AfterTrigger(["Import", "Nightly export"])
    assert str(trigger) == "after Import,Nightly export"
    assert parse_trigger(str(trigger)) == trigger
    assert trigger.next_after(NOON) is None
    assert describe(trigger) == "after Import or Nightly export"


@pytest.mark.parametrize(
    "names", ["", " ", "a|b", "a(b)", 3, [], ["a", ""], ["a\nb"], None, [str(number) for number in range(101)]]
)
def test_what_is_no_name_is_refused(names):
    with pytest.raises(BadTrigger, match="after="):
        AfterTrigger(names)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, None),
        ("every 1h", None),
        ("after Import", ",Import,"),
        ("any (every 1h | after Import,Export | after Import)", ",Import,Export,"),
    ],
)
def test_a_schedule_keeps_the_names_that_it_follows(text, names):
    assert column(text) == names


@pytest.mark.parametrize("text", ["all (every 1h | after Import)", "jitter 30s name (after Import)"])
def test_it_stands_by_itself_or_in_an_any_of(text):
    with pytest.raises(BadTrigger, match="by itself, or in an any-of"):
        column(text)


# -- The stores --------------------------------------------------------------------------------


def test_a_success_brings_a_run_of_each_that_follows_in_the_same_step(store):
    stored(store, a_schedule("Import"))
    for name, after in (("Report", ",Import,"), ("Mail", ",Other,Import,"), ("No", ",I,")):
        stored(store, a_follower(name, after))
    run = a_run("Import")

    begun_now = succeed(store, run)

    assert begun_now is not None and [each.schedule for each in begun_now] == ["Report", "Mail"]
    assert store.active("Report")[0].origin == "after"
    assert store.active("Report")[0].requested_by == f"Import, run {run.id}"
    assert store.active("No") == []


@pytest.mark.parametrize("state", ["failed", "timed_out", "stopped", "lost"])
def test_nothing_follows_what_has_not_succeeded(store, state):
    stored(store, a_schedule("Import"))
    stored(store, a_follower("Report"))
    assert succeed(store, a_run("Import"), state=state) == []


def test_names_are_whole_and_taken_by_the_letter(store):
    for name, after in (("A", ",100%,"), ("B", ",100x,"), ("C", ",IMPORT,"), ("D", ",my_task,"), ("E", ",my-task,")):
        stored(store, a_follower(name, after))
    for name, follower in (("100%", "A"), ("my_task", "D"), ("Import", None)):
        found = succeed(store, a_run(name)) or []
        assert [run.schedule for run in found] == ([follower] if follower else [])


def test_while_one_is_at_work_several_become_one_more(store):
    # Given a follower at work
    stored(store, a_schedule("Import"))
    stored(store, a_follower("Report"))
    at_work = begun(store, a_run("Report"))

    # When what it follows succeeds twice
    assert succeed(store, a_run("Import")) == []
    assert succeed(store, a_run("Import")) == []

    # Then it runs once more when it has ended
    (following,) = store.finish(at_work, an_outcome()) or []
    assert following.schedule == "Report"
    assert (following.requested_by or "").startswith("Import, run ")
    assert succeed(store, following.but(id="0" * 26)) == []


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"held_at": NOON, "held_by": "anna", "held_why": "holidays"}, "held by anna: holidays"),
        ({"vanished_at": NOON}, "the task was gone from the file"),
    ],
)
def test_of_one_that_is_held_or_gone_it_is_a_row_that_says_so(store, facts, reason):
    stored(store, a_schedule("Import"))
    stored(store, a_follower("Report", **facts))
    assert succeed(store, a_run("Import")) == []
    (row,) = store.runs(schedule="Report")
    assert (row.state, row.summary, row.origin) == ("skipped", reason, "after")


def test_a_hold_of_the_site_counts_as_well(store):
    stored(store, a_schedule("Import"))
    stored(store, a_follower("Report"))
    run = begun(store, a_run("Import"))
    store.put_note(HOLD_NOTE, "2026-11-21T12:00:00.000000+00:00\tanna\tmoving")
    store.finish(run, an_outcome())
    assert store.runs(schedule="Report")[0].summary == "held by anna, with the site: moving"


def test_a_hold_whose_end_has_come_stands_in_nobodys_way(store):
    stored(store, a_schedule("Import"))
    stored(store, a_follower("Report", held_at=NOON, held_by="anna", held_until=NOON + seconds(1)))
    assert len(succeed(store, a_run("Import")) or []) == 1


def test_to_look_for_followers_is_to_look_at_those_alone(tmp_path):
    with SQLiteStore(str(tmp_path / "state.db")).open() as store:
        plans: list[str] = []
        execute = store._execute

        def explained(statement, values=()):
            if "position" in statement and statement.startswith("SELECT"):
                plans.extend(row[3] for row in execute(f"EXPLAIN QUERY PLAN {statement}", values))
            return execute(statement, values)

        store._execute = explained  # type: ignore[method-assign]
        succeed(store, a_run("Import"))
    assert any("schedules_after" in plan for plan in plans)
    assert not any(plan.startswith("SCAN schedules") for plan in plans if "schedules_after" not in plan)


# -- A site ------------------------------------------------------------------------------------

CHAIN = (
    "class Import(Task):",
    "    def run(self):",
    "        tell(self)",
    "class Report(Task):",
    "    def __init__(self):",
    "        self.schedule(after='Import')",
    "    def run(self):",
    "        tell(self)",
    "class Mail(Task):",
    "    def __init__(self):",
    "        self.schedule(after=['Report'])",
    "        self.schedule(cron='0 0 1 1 *')",
    "    def run(self):",
    "        tell(self)",
)


def test_a_chain_runs_link_by_link(site):
    # Given three tasks, each after the one before
    site.write(*CHAIN)

    # When the first is run by hand, and a tick comes
    assert site.run("Import").returncode == 0
    site.due()
    site.wait_for_silence()
    site.due()

    # Then all have run, in order
    assert [(run.task, run.state, run.origin) for run in site.runs()] == [
        ("Import", "succeeded", "command"), ("Report", "succeeded", "after"), ("Mail", "succeeded", "after"),
    ]  # fmt: skip
    assert site.schedule("Report").next_fire_time is None
    assert site.schedule("Mail").next_fire_time is not None


def test_the_list_says_what_it_comes_after(site):
    site.write(*CHAIN)
    site.run("load")
    listed = site.run("list").stdout
    assert "after Import" in listed and "no more" not in listed
    assert "runs after Import" in site.run("show", "Report").stdout
    added = site.run("add", "Again", "Import", "--after", "Mail,Report")
    assert added.stdout == "Again is added: it runs Import after Mail or Report.\n"
    assert site.run("preview", "Report").returncode == 0


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("class A(Task):", "    def __init__(self): self.schedule(after='A')", "    def run(self): pass"),
         "line 3: A after A: they would run after each other for ever."),
        (("class A(Task):", "    def __init__(self): self.schedule(after='B')", "    def run(self): pass",
          "class B(Task):", "    def __init__(self): self.schedule(after='A')", "    def run(self): pass"),
         "line 3: A after B after A: they would run after each other for ever."),
        (("class Import(Task):", "    def run(self): pass", "class B(Task):",
          "    def __init__(self): self.schedule(after='Imprt')", "    def run(self): pass"),
         "line 5: B comes after Imprt, and there is no such task. Did you mean Import?"),
        (("class A(Task):", "    def __init__(self): self.schedule(after='B', every='1h')", "    def run(self): pass"),
         "call it once for each"),
        (("class A(Task):", "    def __init__(self): self.schedule(after='B', jitter='1m')", "    def run(self): pass"),
         "jitter= does not go with after=, which has no time of its own."),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_at_load(site, lines, why):
    site.write(*lines)
    site.run("load")
    assert why in site.problem()


def test_a_schedule_that_is_not_there_yet_may_be_followed(site):
    # Given a task after a schedule that is to be added at run time
    site.write(
        "class Import(Task):",
        "    def run(self): tell(self)",
        "class Report(Task):",
        "    def __init__(self): self.schedule(after='Riga')",
        "    def run(self): tell(self)",
    )
    site.run("load")
    warning = "Report comes after Riga, and there is no task or schedule of that name yet."
    assert warning in Path(site.state.log_file).read_text()

    # When that is added and runs
    assert site.run("add", "Riga", "Import").returncode == 0
    assert site.run("Riga").returncode == 0
    site.due()

    # Then the other follows
    assert site.last_run("Report").state == "succeeded"


def test_an_operators_rule_counts_before_the_files(site):
    site.write(*CHAIN)
    site.run("load")
    assert site.run("reschedule", "Report", "--every", "1h").returncode == 0
    assert site.schedule("Report").after is None
    assert site.run("reschedule", "Report", "--file").returncode == 0
    assert site.schedule("Report").after == ",Import,"


# -- A program ---------------------------------------------------------------------------------


def test_a_program_runs_one_after_the_other(program):
    order: list[str] = []
    program.scheduler.add(lambda: order.append("first"), every="1h", name="first")
    program.scheduler.add(lambda: order.append("second"), after="first", name="second")

    program.advance(3600)
    program.advance(3600)

    assert order == ["first", "second"] * 2
    assert program.runs("second")[0].origin == "after"


def test_a_program_may_name_what_is_still_to_be_added_but_no_nonsense(program):
    with pytest.raises((BadTrigger, ControlError), match="no name of a task"):
        program.scheduler.add(print, after="a|b", name="x")
    added = program.scheduler.add(print, after="later", name="x")
    assert (added.next_fire_time, added.after) == (None, ",later,")


def test_what_would_follow_itself_round_and_round_is_refused_at_run_time_too(program, site):
    # Given one after the other, in a program and in a site
    program.scheduler.add(print, after="b", name="a")
    with pytest.raises(ControlError, match="b after a after b: they would run after each other for ever"):
        program.scheduler.add(print, after="a", name="b")
    with pytest.raises(ControlError, match="c after c"):
        program.scheduler.add(print, after="c", name="c")
    program.scheduler.add(print, every="1h", name="b")
    with pytest.raises(ControlError, match="b after a after b"):
        program.scheduler.reschedule("b", after="a")
    with pytest.raises(ControlError, match="b after a after b"):
        program.scheduler.update("b", after=["other", "a"])

    # A task of the file, by its own name and another
    site.write(*CHAIN)
    site.run("load")
    with pytest.raises(ControlError, match="Import after Mail after Report after Import"):
        Scheduler(site.docroot).reschedule("Import", after="Mail")
    assert Scheduler(site.docroot).add("Import", after="Mail", name="extra").after == ",Mail,"

    # And when it is the file that closes the circle, that is told
    site.write(*(line.replace("'Import'", "['Import', 'extra']") for line in CHAIN))
    site.run("load")
    assert "Report after extra after Mail after Report: they run after each other for ever." in (
        Path(site.state.log_file).read_text()
    )
