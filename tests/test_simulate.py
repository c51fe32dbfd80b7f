"""The time machine: which runs would have happened, when and why, told by the same brain as a real site's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from helpers import at
from sites import Site

from dracotask import Retry, Scheduler, Skip, Task, Trigger
from dracotask.errors import LoadError, ScheduleNotFound
from dracotask.testing import FrozenClock, Simulation, assert_not_ran, assert_ran, assert_skipped, simulate

DAY = "2027-01-10"


class Report(Task):
    retries = 2
    retry_delay = "1m"
    retry_on = "ConnectionError"

    def __init__(self):
        self.schedule(every="1h")

    def run(self):
        raise AssertionError("a simulation runs nothing")


def fire_times(found: Simulation) -> list[str]:
    return [f"{run.fire_time:%d %H:%M}" for run in found.runs]


def begun_at(found: Simulation) -> list[str]:
    return [f"{run.started_at:%d %H:%M:%S}" for run in found.runs]


# -- Who looks -------------------------------------------------------------------------------------


def test_by_the_thread_of_a_web_process_all_comes_on_time():
    found = simulate({"Report": "every 6h"}, "idle", DAY, days=1)

    assert fire_times(found) == ["10 00:00", "10 06:00", "10 12:00", "10 18:00"]
    assert str(found.lateness) == "on time"
    assert {run.origin for run in found} == {"tick"}


def test_seldom_visitors_bring_each_schedule_once_however_much_was_due():
    # Given a task of every ten minutes, and a visitor each forty-five
    found = simulate({"Report": "every 10m"}, "every 45m", DAY, days=0.1)

    # Then what came due between two visits has become one run, and the rest is on record
    assert fire_times(found) == ["10 00:00", "10 00:40", "10 01:30", "10 02:10"]
    assert begun_at(found) == ["10 00:00:00", "10 00:45:00", "10 01:30:00", "10 02:15:00"]
    assert [run.fire_count for run in found.skipped] == [3, 4, 3]
    assert found.lateness.worst == timedelta(minutes=5)


def test_by_night_nobody_comes_and_the_first_visitor_of_the_morning_makes_up_for_it():
    found = simulate({"Report": "cron 0 3 * * *"}, "08:00-22:00 every 30s", DAY, days=2, timezone="Europe/Riga")

    assert begun_at(found) == ["10 06:00:00", "11 06:00:00"]  # eight o'clock in Riga
    assert_ran(found, "Report", at="2027-01-11 03:00", times=1)


def test_moments_can_be_given_as_a_list_or_drawn_from_a_generator():
    visits = [at(f"2027-01-10T{hour:02}:07+00:00") for hour in (3, 9)]

    def drawn() -> Iterator[datetime]:
        moment = visits[0]
        while True:  # it need never end
            yield moment
            moment += timedelta(hours=6)

    listed = simulate({"Report": "every 1h"}, visits, DAY, days=0.5)
    generated = simulate({"Report": "every 1h"}, drawn(), DAY, days=0.5)

    assert begun_at(listed) == begun_at(generated) == ["10 03:07:00", "10 09:07:00"]


def test_a_generator_that_goes_back_in_time_is_refused():
    with pytest.raises(ValueError, match="goes back in time"):
        simulate({"Report": "every 1h"}, iter([at("2027-01-10T05:00Z"), at("2027-01-10T04:00Z")]), DAY, days=1)


def test_where_nobody_looks_nothing_runs():
    assert len(simulate({"Report": "every 1m"}, "none", DAY, days=365)) == 0


@pytest.mark.parametrize("traffic", ["sometimes", "every", 3, "08:00-99:00 every 5m"])
def test_traffic_that_is_none_is_refused_with_what_would_be(traffic):
    with pytest.raises(ValueError, match="08:00-22:00 every 30s"):
        simulate({"Report": "every 1h"}, traffic, DAY)


# -- What the Runs do ------------------------------------------------------------------------------


def test_a_run_that_takes_longer_than_its_interval_lets_fire_times_be_skipped():
    # Given a task of every ten minutes whose runs take twenty-five
    found = simulate({"Report": "every 10m"}, "idle", DAY, days=0.05, durations={"Report": "25m"})

    # Then it begins again when it is through, and each fire time in between has its reason
    assert fire_times(found) == ["10 00:00", "10 00:30", "10 01:00"]
    (row,) = assert_skipped(found, "Report", at="2027-01-10 00:20", reason="still running since 00:00:00")
    assert (row.fire_from, row.fire_count) == (at("2027-01-10T00:10Z"), 2)


@pytest.mark.parametrize("overlap", ["skip", "queue"])
@pytest.mark.parametrize("minutes", [3, 7, 10, 11, 25])
@pytest.mark.parametrize("every", [2, 5])
def test_runs_longer_than_their_interval_begin_when_a_model_of_ten_lines_says_so(every, minutes, overlap):
    # Given a model that goes through three hours minute by minute
    began, skipped, over, waiting = [], 0, 0, None
    for minute in range(180):
        if waiting is not None and minute >= over:
            began, over, waiting = [*began, (waiting, minute)], minute + minutes, None
        if minute % every:
            continue
        if minute >= over:
            began, over = [*began, (minute, minute)], minute + minutes
        elif overlap == "queue" and waiting is None:
            waiting = minute
        else:
            skipped += 1

    # When the same is simulated
    kind = type("Report", (Report,), {"overlap": overlap, "__init__": lambda self: self.schedule(every=f"{every}m")})
    found = simulate(kind, "idle", DAY, days=0.125, durations={"Report": f"{minutes}m"}, timezone="UTC")

    # Then both say the same
    def minute_of(moment: datetime) -> float:
        return (moment - found.start) / timedelta(minutes=1)

    assert [(minute_of(run.fire_time), minute_of(run.started_at)) for run in found.runs] == began
    assert sum(run.fire_count or 1 for run in found.skipped) == skipped


def test_slots_are_as_many_as_the_site_has():
    rules = {name: "cron 0 0 * * *" for name in ("A", "B", "C")}

    found = simulate(rules, "cron", DAY, days=1, durations=dict.fromkeys(rules, "10m"), max_running=2)

    assert begun_at(found) == ["10 00:00:00", "10 00:00:00", "10 00:10:00"]


def test_failures_are_retried_as_the_policy_says():
    # Given a task that is tried again, later and later, when the network is down
    failing = {"Report": lambda run: run.attempt < 3 and ConnectionError("no route")}
    found = simulate(Report, "idle", DAY, days=0.04, failures=failing)

    # Then its third attempt succeeds, a minute and two minutes after the others
    (run,) = found.runs
    assert (run.state, run.attempt, begun_at(found)) == ("succeeded", 3, ["10 00:03:00"])


def test_what_the_policy_does_not_name_is_no_reason_for_a_retry():
    found = simulate(Report, "idle", DAY, days=0.04, failures={"Report": ValueError("so be it")})

    (run,) = found.runs
    assert (run.state, run.attempt, run.error) == ("failed", 1, "ValueError: so be it")


def test_a_task_may_ask_for_its_retry_or_say_that_there_was_nothing_to_do():
    answers = {"Report": lambda run: Retry("not there yet", after="7m") if run.attempt == 1 else Skip("nothing new")}
    found = simulate(Report, "idle", DAY, days=0.04, failures=answers)

    (run,) = found.runs
    assert (run.state, run.summary, begun_at(found)) == ("succeeded", "skipped: nothing new", ["10 00:07:00"])


def test_each_third_run_fails_or_those_of_some_fire_times_do():
    third = simulate({"Report": "every 1h"}, "idle", DAY, days=0.25, failures={"Report": 3})
    named = simulate({"Report": "every 1h"}, "idle", DAY, days=0.25, failures={"Report": {"2027-01-10 04:00"}})

    assert [run.state[0] for run in third.runs] == ["s", "s", "f"] * 2
    assert [run.fire_time for run in named.runs if run.state == "failed"] == [at("2027-01-10T04:00Z")]


def test_a_task_that_takes_too_long_is_timed_out():
    class Slow(Report):
        time_limit = "10m"

    found = simulate(Slow, "idle", DAY, days=0.01, durations={"Slow": "1h"})

    (run,) = found.runs
    assert (run.state, run.finished_at) == ("timed_out", at("2027-01-10T00:10Z"))


def test_a_schedule_that_fails_and_fails_is_held_and_runs_no_more():
    class Broken(Report):
        retries = 0
        pause_after = 3

    found = simulate(Broken, "idle", DAY, days=1, failures={"Broken": True})

    assert fire_times(found) == ["10 00:00", "10 01:00", "10 02:00"]


def test_in_a_downtime_nothing_runs_and_what_was_at_work_is_lost():
    # Given a task at work when the host goes down for three hours
    down = [("2027-01-10 00:15", "2027-01-10 03:20")]
    found = simulate({"Report": "every 1h"}, "cron", DAY, days=0.2, downtime=down, durations={"Report": "30m"})

    # Then that run is lost, one makes up for what was missed, and the rest goes on as ever
    assert begun_at(found) == ["10 00:00:00", "10 03:20:00", "10 04:00:00"]
    assert [run.state for run in found.runs] == ["lost", "succeeded", "succeeded"]
    assert_skipped(found, "Report", at="2027-01-10 02:00", reason="came late")


def test_what_begins_just_as_a_downtime_does_is_lost_as_well():
    # Given a run that ends at the very moment at which all goes down, while another waits for that
    class Queued(Task):
        overlap = "queue"

        def __init__(self):
            self.schedule(every="10m")

        def run(self):
            pass

    down = [(f"{DAY} 00:30", f"{DAY} 02:00")]

    found = simulate(Queued, "idle", DAY, days=0.125, durations={"Queued": "30m"}, downtime=down, timezone="UTC")

    assert [(run.state, run.finished_at) for run in found.runs[:2]] == [
        ("succeeded", at("2027-01-10T00:30Z")), ("lost", at("2027-01-10T02:00Z")),
    ]  # fmt: skip


class Noons(Trigger):
    """Noon, each day."""

    def next_after(self, moment):
        noon = moment.replace(hour=12, minute=0, second=0, microsecond=0)
        return noon if noon > moment else noon + timedelta(days=1)


class Lunch(Task):
    def __init__(self):
        self.schedule(trigger=Noons())

    def run(self):
        pass


@pytest.mark.parametrize("subject", [Lunch, {"Lunch": Noons()}])
def test_a_rule_of_somebody_s_own_is_asked_from_the_start_on_and_where_that_ends_is_said(subject):
    # Given a start in a time that is far from ours
    month, long = (simulate(subject, "idle", "2055-03-01", days=days, timezone="UTC") for days in (31, 800))

    assert (len(month.runs), month.notes) == (31, [])
    assert len(long.runs) == 400
    (note,) = long.notes
    assert "Lunch: " in note and ":Noons has named its fire times up to 2056-04-0" in note
    assert note in str(long)


def test_a_task_that_comes_after_another_follows_its_success_and_no_failure():
    class Export(Report):
        def __init__(self):
            self.schedule(after="Report")

    found = simulate(
        [Report, Export], "idle", DAY, days=0.1, durations={"Report": "5m"},
        failures={"Report": {"2027-01-10 01:00"}},
    )  # fmt: skip

    assert [f"{run.started_at:%H:%M}" for run in found.of("Export").runs] == ["00:05", "02:05"]


# -- The clock -------------------------------------------------------------------------------------


def test_when_the_clock_is_put_forward_a_nightly_task_runs_once_and_when_it_is_put_back_too():
    rule = {"Report": "cron 30 3 * * *"}
    spring = simulate(rule, "cron", "2027-03-27", days=3, timezone="Europe/Riga")
    autumn = simulate(rule, "cron", "2027-10-30", days=3, timezone="Europe/Riga")

    assert_ran(spring, "Report", at="2027-03-28 04:00", times=1)
    assert_ran(autumn, "Report", at="2027-10-31 03:30", times=1)
    assert (len(spring.runs), len(autumn.runs)) == (3, 3)


def test_the_same_arguments_give_the_same_answer():
    def found() -> Simulation:
        return simulate(
            Report, "every 7m", DAY, days=3, durations={"Report": "50m"}, failures={"Report": ConnectionError}
        )

    assert found().rows == found().rows


def test_a_year_is_kept_in_columns_and_each_row_is_a_run_when_it_is_looked_at():
    # Given more rows than the store of a simulation keeps at once
    found = simulate({"Report": "every 5m"}, "idle", DAY, days=14)

    # Then they are all there, in their order, equal to themselves and numbered from one
    assert len(found.rows) == 14 * 24 * 12
    assert [run.fire_time for run in found] == [at("2027-01-10T00:00Z") + timedelta(minutes=5 * n) for n in range(4032)]
    assert found.rows[-1] == found.rows[4031] and found.rows[2:4] == [found.rows[2], found.rows[3]]
    assert [run.id for run in found.rows[:2]] == [f"{1:026}", f"{2:026}"]


# -- Of a site -------------------------------------------------------------------------------------


def test_a_site_is_simulated_without_being_touched(site: Site):
    # Given a docroot whose file leaves a trace wherever it is loaded, and its policy in dracotask.toml
    site.write("import os", "print(os.getpid(), file=open('loaded', 'a'))", "class Backup(Task):",
               "    def __init__(self): self.schedule(hour=4)", "    def run(self): tell(self)")  # fmt: skip
    site.put("dracotask.toml", 'timezone = "Europe/Riga"\n[task.Backup]\ngrace = "1h"\n')

    # When it is simulated
    found = simulate(site.docroot, "08:00-22:00 every 30s", DAY, days=2)

    # Then the zone and the policy are its own, nothing has run, nobody has executed the file here, and no state is made
    assert found.zone == "Europe/Riga"
    assert_not_ran(found, "Backup")
    (row,) = assert_skipped(found, "Backup", reason="its grace is 1h")
    assert (row.state, row.fire_from) == ("missed", at("2027-01-10T02:00Z"))
    assert str(os.getpid()) not in (site.docroot / "loaded").read_text().split()
    assert site.told() == [] and not (site.docroot / ".dracotask").exists()


def test_a_site_can_be_simulated_as_it_is_with_what_was_added_and_held(site: Site):
    site.write("class Backup(Task):", "    def __init__(self): self.schedule(hour=4)", "    def run(self): pass")
    scheduler = Scheduler(site.docroot)
    scheduler.add("Backup", every="6h", name="often")
    scheduler.hold("Backup")

    found = simulate(site.docroot, "idle", DAY, days=1, as_it_is=True)

    assert_not_ran(found, "Backup", at="2027-01-10 04:00")
    assert len(assert_ran(found, "often")) == 4


def test_a_broken_file_is_told_as_a_load_tells_it(site: Site):
    site.write("class Backup(Task):", "    def run(self)")

    with pytest.raises(LoadError, match="line 4"):
        simulate(site.docroot)


def test_a_task_that_starts_held_runs_no_more_in_a_simulation_than_in_life():
    class Held(Report):
        start_held = True

    assert len(simulate(Held, "idle", DAY)) == 0


# -- What a test asserts -----------------------------------------------------------------------------


@pytest.fixture
def found() -> Simulation:
    return simulate({"Report": "every 6h"}, "every 7h", DAY, days=1)


def test_an_assertion_that_fails_says_what_ran_instead(found):
    with pytest.raises(AssertionError) as error:
        assert_ran(found, "Report", at="2027-01-10 03:00")
    moment = f"Sun 2027-01-10 03:00 ({found.zone})"
    assert str(error.value).startswith(
        f"Report did not run at {moment}, and not at least once. What did come about:\n  Sun "
    )

    with pytest.raises(AssertionError, match="Report ran 3 times, and not twice"):
        assert_ran(found, "Report", times=2)
    with pytest.raises(AssertionError, match=r"Report ran 3 times:\n  Sun 2027-01-10 00:00  Report  succeeded"):
        assert_not_ran(found, "Report")
    with pytest.raises(AssertionError, match="was not skipped at Sun 2027-01-10 06:00"):
        assert_skipped(found, "Report", at="2027-01-10 06:00")


def test_a_reason_that_is_another_is_told():
    busy = simulate({"Report": "every 10m"}, "idle", DAY, days=0.02, durations={"Report": "15m"})

    with pytest.raises(AssertionError, match=r"but not for 'held':\n.*still running since"):
        assert_skipped(busy, "Report", reason="held")


def test_the_history_of_a_site_can_be_asserted_too(site: Site):
    site.write("class Backup(Task):", "    def run(self): return 'done'")
    assert site.run("Backup").returncode == 0

    assert [run.summary for run in assert_ran(site.docroot, "Backup", times=1)] == ["done"]
    with pytest.raises(AssertionError, match="Backup ran once:"):
        assert_not_ran(site.docroot, "Backup")


@pytest.mark.parametrize("ask", [
    lambda found: found.of("Repot"), lambda found: assert_ran(found, "Repot"),
    lambda found: simulate({"Report": "every 1h"}, durations={"Repot": "5m"}),
])  # fmt: skip
def test_a_name_that_is_none_gets_the_likeliest(found, ask):
    with pytest.raises(ScheduleNotFound, match="Did you mean Report"):
        ask(found)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"days": 0}, "greater than zero"), ({"days": True}, "greater than zero"), ({"start": "soon"}, "no moment"),
        ({"max_running": 0}, "at least 1"), ({"downtime": [(DAY, DAY)]}, "ends before it begins"),
        ({"durations": {"Report": "long"}}, "durations of Report: 'long' is not a length of time"),
        ({"durations": "5m"}, "no dictionary"), ({"downtime": (DAY, DAY)}, "list of pairs"),
        ({"days": timedelta(-1)}, "greater than zero"), ({"start": "9999-12-31"}, "beyond the years"),
        ({"timezone": "Mars/Phobos"}, "Mars/Phobos"),
        ({"failures": {"Report": "yes"}}, "no number, set"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(said, why):
    with pytest.raises((ValueError, TypeError), match=why):
        simulate({"Report": "every 1h"}, **said)


def test_the_report_can_be_read(found):
    assert str(found).splitlines() == [
        f"Report, Sun 2027-01-10 00:00 to Mon 2027-01-11 00:00 ({found.zone}), traffic: every 7h",
        "  Report: 3 runs, 1 skipped; 3h late on average, 5h at worst",
        "",
        *(f"  {found.in_words(run)}" for run in found),
    ]


# -- The clock that stands still ---------------------------------------------------------------------


def test_a_frozen_clock_tells_one_moment_until_it_is_told_another():
    clock = FrozenClock("2027-01-10 12:00")
    scheduler = Scheduler(clock=clock)
    scheduler.add(lambda: None, every="1h", name="hourly")

    assert clock() == at("2027-01-10T12:00Z")
    assert clock.advance("90m") == at("2027-01-10T13:30Z")
    assert scheduler.preview("hourly", 1) == [at("2027-01-10T14:00Z")]
    assert clock.set("2027-01-01T00:00+02:00") == at("2026-12-31T22:00Z")
