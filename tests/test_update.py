"""What can be done to schedules that are there: to change them, hold all of them, begin held, find some of them."""

from __future__ import annotations

import json
import re
import threading

import pytest
from helpers import at
from sites import Site, until

from dracotask import Scheduler, Task
from dracotask.errors import BadTrigger, ControlError, ScheduleNotFound
from dracotask.testing import FrozenClock

NOON = "2027-01-10 12:00"

TASKS = (
    "class Report(Task):", "    def __init__(self): self.schedule(hour=3)",
    "    def run(self, to: str = 'all', limit: int = 5): return to",
    "class Backup(Task):", '    """Copies it all."""', "    def run(self, place: str): pass",
)  # fmt: skip


@pytest.fixture
def shop(site: Site) -> Site:
    site.write(*TASKS)
    assert site.run("load").returncode == 0
    return site


def report(to: str = "all", limit: int = 5) -> None:
    pass


def backup(place: str) -> None:
    pass


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOON)


@pytest.fixture
def scheduler(clock) -> Scheduler:
    """A program's scheduler that is not started, with one schedule."""
    scheduler = Scheduler(clock=clock, timezone="UTC", by="anna")
    scheduler.add(report, every="10m", name="North", arguments={"to": "north"})
    return scheduler


# -- Update ----------------------------------------------------------------------------------------


def test_any_attribute_of_an_added_schedule_can_be_changed_but_its_name(scheduler):
    # When all of it is changed at once
    changed = scheduler.update(
        "North", task=backup, every="1h", arguments={"place": "/mnt"}, policy={"retries": 3, "grace": "5m"},
        description="the new disk", why="it has come",
    )  # fmt: skip

    # Then all is so, from the next fire time of the new rule on, and one row says it
    assert (changed.task, json.loads(changed.arguments), changed.description) == (
        "backup", {"place": "/mnt"}, "the new disk",
    )  # fmt: skip
    assert changed.next_fire_time == at("2027-01-10T13:00Z")
    assert "retries=3" in changed.policy and "grace=300" in changed.policy
    deed = scheduler.actions("North", limit=1)[0]
    assert (deed.verb, deed.by, deed.why) == ("update", "anna", "it has come")
    assert set(json.loads(deed.details)) == {"task", "trigger", "arguments", "policy", "description"}


def test_what_is_not_said_stays_and_a_new_rule_lets_the_old_one_pay_what_it_owes(scheduler, clock):
    clock.advance("10m")

    changed = scheduler.update("North", every="1h")

    assert [(run.state, run.fire_time) for run in scheduler.runs()] == [("queued", at("2027-01-10T12:10Z"))]
    assert json.loads(changed.arguments) == {"to": "north"}
    assert scheduler.update("North", trigger=None).next_fire_time is None


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        ({"arguments": {"too": 1}}, ControlError, "run\\(\\) takes no 'too'"),
        ({"every": "1h", "arguments": {"limit": "many"}}, ControlError, "whole number"),
        ({"task": backup}, ControlError, "'to'"),
        ({"policy": {"retris": 1}}, ControlError, "Did you mean retries"),
        ({"policy": {"retries": -1}}, ControlError, "retries = -1 cannot be"),
        ({"trigger": "sometimes"}, BadTrigger, "not a trigger"),
        ({"at": "2001-01-01T00:00Z"}, ControlError, "never fires again"),
        ({"description": 7}, ControlError, "no text"),
        ({"descripton": "x"}, ControlError, "Did you mean description"),
        ({"name": "South"}, ControlError, "keeps its name"),
        ({}, ControlError, "say what is to change"),
    ],
)
def test_of_changes_of_which_one_is_wrong_none_is_made(scheduler, changes, error, why):
    before = scheduler.schedule("North")

    with pytest.raises(error, match=why):
        scheduler.update("North", **changes)

    assert scheduler.schedule("North") == before
    assert [deed.verb for deed in scheduler.actions()] == ["add"]


def test_what_stands_in_the_file_is_changed_there(shop):
    scheduler = Scheduler(shop.docroot)

    with pytest.raises(ControlError, match="reschedule, or change the file"):
        scheduler.update("Report", every="5m")
    with pytest.raises(ScheduleNotFound, match="Did you mean Report"):
        scheduler.update("Repot", every="5m")


def test_a_command_updates_what_another_has_added(shop):
    shop.run("add", "North", "Report", "every 10m", "to=north")

    said = shop.run("update", "North", "every 1h", "limit=7", "--policy", "retries=3", "--why", "less")
    assert said.stdout.startswith("North now runs Report with limit = 7 every hour; next"), said

    shown = shop.run("show", "North").stdout
    assert re.search(r"updated its arguments, policy, rule, now every hour: less\n", shown), shown
    cleared = shop.run("update", "North", "--on-demand", "--no-arguments", "--policy", "none", "--task", "Report")
    assert (cleared.returncode, cleared.stdout) == (0, "North now runs Report on demand.\n")
    refused = shop.run("update", "North", "--task", "Backup")
    assert (refused.returncode, refused.stderr) == (2, "dracotask: Backup: run() needs place.\n")
    assert "not both" in shop.run("update", "North", "every 1h", "--on-demand").stderr


# -- All of it held ----------------------------------------------------------------------------------


def test_while_all_is_held_nothing_is_claimed_and_each_schedule_tells_it_in_one_row(scheduler, clock):
    # Given a program whose scheduler is held for maintenance
    scheduler.hold(why="maintenance")
    assert scheduler.is_held

    # When fire times come and go, and it is resumed
    scheduler.add(report, every="5m", name="South")
    clock.advance("1h")
    scheduler.resume()

    # Then nothing comes in a burst, and each has one row for all that fell into it
    assert not scheduler.is_held
    rows = {run.schedule: run for run in scheduler.runs()}
    assert {name: (run.state, run.fire_count) for name, run in rows.items()} == {
        "North": ("skipped", 6), "South": ("skipped", 12),
    }  # fmt: skip
    assert "anna, with the site: maintenance" in rows["North"].summary


def test_a_program_can_start_with_all_of_it_held():
    # Given a scheduler that is started held
    ran = threading.Event()
    scheduler = Scheduler()
    scheduler.add(ran.set, name="at once")
    try:
        scheduler.start(held=True)
        assert scheduler.is_held and scheduler.is_running

        # When something is wanted all the same, it is refused; once resumed it runs
        with pytest.raises(ControlError, match="held"):
            scheduler.run_now("at once")
        scheduler.resume()
        scheduler.run_now("at once")
        assert ran.wait(60)
    finally:
        scheduler.stop(wait=0)


def test_a_whole_site_can_be_held_from_a_program(shop):
    scheduler = Scheduler(shop.docroot)

    scheduler.hold(why="the disk is changed")

    assert scheduler.is_held
    assert shop.run("Report").returncode == 75
    scheduler.resume()
    assert shop.run("Report").returncode == 0
    with pytest.raises(TypeError, match="until= is for one schedule"):
        scheduler.hold(until="2h")
    with pytest.raises(ControlError, match="not started from here"):
        scheduler.start(held=True)
    assert not scheduler.is_held


# -- Begun held --------------------------------------------------------------------------------------


def test_what_is_added_held_waits_until_it_is_resumed(scheduler, clock):
    added = scheduler.add(report, every="5m", name="South", held=True, why="until the disk is there")

    assert (added.held_by, added.held_why) == ("anna", "until the disk is there")
    clock.advance("1h")
    scheduler.resume("South")
    assert [run.state for run in scheduler.runs("South")] == ["skipped"]


def test_a_task_may_start_held_and_only_its_first_sight_holds_it(site):
    # Given a task of the file that starts held
    lines = ["class Report(Task):", "    start_held = True", "    def __init__(self): self.schedule(hour=3)",
             "    def run(self): pass"]  # fmt: skip
    site.write(*lines)
    site.run("load")
    assert (site.schedule("Report").held_by, site.schedule("Report").held_why) == ("the task file", "start_held")

    # When somebody has resumed it, and the file is loaded anew
    site.run("resume", "Report")
    site.write(*lines[:2], "    def __init__(self): self.schedule(hour=4)", lines[3])
    site.run("load")

    # Then it stays resumed
    assert site.schedule("Report").held_at is None

    # And what is neither true nor false is refused at load, with its line
    site.write("class Report(Task):", "    start_held = 'yes'", "    def run(self): pass")
    assert "line 3: class Report: start_held = 'yes' cannot be" in site.run("load").stderr


def test_a_command_adds_a_schedule_held(shop):
    assert "but it is held by" in shop.run("add", "North", "Report", "every 10m", "--held").stdout
    assert shop.schedule("North").held_at is not None


# -- Found among others ------------------------------------------------------------------------------


def test_schedules_are_found_by_what_is_the_matter_with_them(scheduler, clock):
    class Sweep(Task):
        """Sweeps the sessions."""

        def run(self):
            pass

    scheduler.add(Sweep, name="by hand")
    scheduler.add(Sweep, every="1d", name="later")
    scheduler.add(Sweep, every="1d", name="never", held=True)
    clock.advance("15m")

    def names(**wanted: str) -> list[str]:
        return [schedule.name for schedule in scheduler.schedules(**wanted)]

    assert names(state="due") == ["North"]
    assert names(state="waiting") == ["later"]
    assert names(state="held") == ["never"]
    assert names(state="on-demand") == ["by hand"]
    assert names(task="Sweep", text="LATER") == ["later"]
    assert names(text="sessions") == ["by hand", "later", "never"]
    assert names(state="running") == names(state="failing") == names(state="gone") == []
    assert len(names()) == 4


def test_a_schedule_whose_last_run_failed_is_failing():
    scheduler = Scheduler()
    scheduler.add(lambda: 1 / 0, name="broken")
    with scheduler:
        scheduler.run_now("broken")
        until(lambda: scheduler.runs(states=["failed"]))

        assert [schedule.name for schedule in scheduler.schedules(state="failing")] == ["broken"]


@pytest.mark.parametrize(
    ("ask", "error", "why"),
    [
        (lambda s: s.runs(states="running"), TypeError, r"write states=\['running'\]"),
        (lambda s: s.runs(states=["runing"]), ValueError, "Did you mean running"),
        (lambda s: s.runs(limit="20"), TypeError, "limit='20' is no whole number"),
        (lambda s: s.runs(limit=-1), ValueError, "negative"),
        (lambda s: s.schedules(state="holding"), ValueError, "no state of a schedule"),
        (lambda s: s.schedules(state="heldd"), ValueError, "Did you mean held"),
        (lambda s: s.schedules(task=Task), TypeError, "no text"),
        (lambda s: s.preview(7), TypeError, "neither a name nor a rule"),
        (lambda s: s.add(report, name="odd", policy="grace=5m"), ControlError, r"write policy=\{'grace': '5m'\}"),
        (lambda s: s.update("North", policy=0), ControlError, "policy=0 is none"),
        (lambda s: s.hold(report), TypeError, "no name of a schedule"),
        (lambda s: s.hold("North", why=7), TypeError, "why=7 is a int, and no text"),
    ],
)
def test_odd_arguments_are_refused_at_the_door(scheduler, ask, error, why):
    with pytest.raises(error, match=why):
        ask(scheduler)


def test_a_list_shows_what_is_asked_for_in_the_order_that_is_wanted(shop):
    for name, rule in (("b-late", "every 2h"), ("a-soon", "every 10m")):
        shop.run("add", name, "Report", rule)
    shop.run("hold", "b-late")

    def names(*words: str) -> list[str]:
        return [each["name"] for each in json.loads(shop.run("list", "--json", *words).stdout)]

    assert names() == ["Report", "Backup", "b-late", "a-soon"]
    assert names("--sort", "name") == ["a-soon", "b-late", "Backup", "Report"]
    assert names("--sort", "name", "--reverse") == ["Report", "Backup", "b-late", "a-soon"]
    assert names("--sort", "next")[0] == "a-soon"
    assert names("--state", "held") == ["b-late"]
    assert names("--task", "Report", "--query", "soon") == ["a-soon"]
    said = shop.run("list", "--state", "held").stdout
    assert "b-late" in said and "a-soon" not in said
    assert shop.run("list", "--state", "running").stdout.endswith("None of 4 schedules is such a one.\n")
    assert "Did you mean held" in shop.run("list", "--state", "heldd").stderr
    assert "--sort" in shop.run("list", "--sort", "size").stderr
