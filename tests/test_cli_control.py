"""The verbs that steer a site at work, by real processes: what each says, does and refuses."""

from __future__ import annotations

import json
import os
import re
import signal
from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from helpers import a_schedule, at
from sites import Site, until

from dracotask.clock import from_text, to_text, utc_now
from dracotask.errors import ControlError
from dracotask.report.upcoming import upcoming
from dracotask.said import at_said, until_said
from dracotask.triggers import parse_trigger

TASKS = """\
class Report(Task):
    \"\"\"Sends it.\"\"\"

    def __init__(self):
        self.schedule(hour=3)

    def run(self, to: str = "all", limit: int = 5, exact: bool = False, at: float | None = None):
        print("to", to)
        return f"{to!r} {limit!r} {exact!r} {at!r}"


class Waiting(Task):
    exclusive = "gate"

    def run(self):
        self.progress(420, 1000, "page 12")
        tell(self)
        wait_at_gate()


class Beside(Task):
    exclusive = "gate"

    def run(self):
        pass


class Needy(Task):
    def run(self, key):
        return f"{key}"
"""

ANNA = {"SUDO_USER": "", "LOGNAME": "anna", "DRACOTASK_TIMEZONE": "Europe/Riga", "LC_ALL": "C.UTF-8"}

#: A fire time of Report as it is told: "03:00", "tomorrow 03:00" or "Mon 03:00".
AT_THREE = r"(?:[A-Z]\w\w |tomorrow )?03:00"


@pytest.fixture
def shop(site: Site) -> Site:
    """A site whose tasks are loaded."""
    site.write(TASKS)
    assert site.run("load", env=ANNA).returncode == 0
    return site


def told(site: Site, *words: str) -> str:
    """Return what anna is told by a command that does what she wants."""
    ended = site.run(*words, env=ANNA)
    assert (ended.returncode, ended.stderr) == (0, ""), words
    return ended.stdout.replace(str(site.docroot), "DOCROOT")


def refused(site: Site, *words: str) -> str:
    """Return the one line with which a command is refused."""
    ended = site.run(*words, env=ANNA)
    assert (ended.returncode, ended.stdout) == (2, ""), words
    assert ended.stderr.isprintable() or ended.stderr[:-1].isprintable()
    assert len(ended.stderr) < 1000
    return ended.stderr.replace(str(site.docroot), "DOCROOT").removeprefix("dracotask: ").removesuffix("\n")


def command(*words: str) -> str:
    """Return a pattern for a command that is told to be copied."""
    return r"\S*dracotask\.py DOCROOT " + re.escape(" ".join(words))


def shown(site: Site, name: str) -> dict:
    return json.loads(site.run("show", name, "--json", env=ANNA).stdout)


def deeds(site: Site, name: str) -> list[str]:
    """Return the verbs on record, the first one first, and that anna gave them."""
    actions = shown(site, name)["actions"][::-1]
    assert {action["by"] for action in actions} <= {"anna (no terminal)"}
    return [action["verb"] for action in actions]


# -- Hold and resume -----------------------------------------------------------------------------


def test_a_task_that_is_held_does_not_run_until_it_is_resumed(shop):
    # Given a task that somebody holds
    said = told(shop, "hold", "Report", "--why", "database migration")
    way_out = command("resume", "Report")
    assert re.fullmatch(rf"Report is held by anna \(no terminal\): database migration\. Resume it: {way_out}\n", said)

    # When its fire time comes, and goes by
    shop.make_due("Report")
    shop.due()

    # Then nothing has run, the list and the task itself say why, and a run by hand is refused
    assert shop.runs() == []
    assert re.search(r"^‖ Report .* held by anna \(no terminal\) since \d\d:\d\d", told(shop, "list"), re.MULTILINE)
    assert re.search(r"Now +held by anna .* since \d\d:\d\d.* ago: database migration", told(shop, "show", "Report"))
    by_hand = shop.run("run", "Report")
    assert by_hand.returncode == 75
    assert by_hand.stderr == "dracotask: Report skipped: held by anna (no terminal): database migration\n"

    # And when it is resumed, what fell into the hold is on record, and nothing comes in a burst
    assert re.fullmatch(rf"Report is resumed; next {AT_THREE}\.\n", told(shop, "resume", "Report", "--why", "done"))
    shop.due()
    assert [run.state for run in shop.runs()] == ["skipped", "skipped"]
    assert [run.summary for run in shop.runs() if run.fire_time] == ["held by anna (no terminal): database migration"]
    assert deeds(shop, "Report") == ["hold", "resume"]


def test_a_run_by_hand_may_begin_although_its_task_is_held(shop):
    # Given a fire time that fell into a hold
    shop.make_due("Report")
    told(shop, "hold", "Report")

    # When the task is run nevertheless
    ended = shop.run("run", "Report", "--even-if-held")

    # Then it runs, as a demand: the fire time is another matter
    assert (ended.returncode, ended.stdout) == (0, "to all\n")
    assert [run.fire_time for run in shop.runs() if run.state == "succeeded" and run.origin == "command"] == [None]


def test_a_hold_with_an_end_needs_nobody_to_resume(shop):
    # Given a hold that was to end a moment ago
    said = told(shop, "hold", "Report", "--until", "2h")
    assert re.match(r"Report is held by anna \(no terminal\) until .*\d\d:\d\d \(Europe/Riga\)\. Resume it: ", said)
    assert re.search(r"held by anna \(no terminal\) until ", told(shop, "list"))
    with shop.store() as store:
        assert store.put_schedule(store.schedule("Report").but(held_until=utc_now()))
    assert "its hold ended " in told(shop, "list")
    assert "which is past: the next look resumes it" in told(shop, "show", "Report")

    # When it is run by hand, and no tick has come by
    ended = shop.run("run", "Report")

    # Then the hold is over
    assert ended.returncode == 0, ended.stderr
    assert shop.schedule("Report").held_at is None


def test_a_hold_belongs_to_the_name_and_outlives_the_task(shop):
    # Given a task that is held, and a file that knows it no more
    told(shop, "hold", "Report", "--why", "wait")
    shop.write("class Other(Task):", "    def run(self): pass")
    told(shop, "load")
    with shop.store() as store:
        store.put_note("gone_since", to_text(utc_now() - timedelta(seconds=3)))
    told(shop, "load")
    assert "gone from the file since" in told(shop, "show", "Report")

    # When the task comes back, with another rule
    shop.write(TASKS.replace("hour=3", "hour=4"))
    shop.due()

    # Then it is held as before
    assert shown(shop, "Report")["held_why"] == "wait"
    assert "held by anna" in told(shop, "show", "Report")


def test_what_is_at_work_goes_on_when_it_is_held(shop):
    process = shop.start("Waiting")
    shop.wait_for("start")

    assert "Its run that is at work goes on." in told(shop, "hold", "Waiting")

    shop.open_gate()
    assert process.wait(60) == 0
    process.communicate()


def test_the_whole_site_is_held_and_resumed(shop):
    # Given a site that is held as a whole, and what is added to it meanwhile
    assert told(shop, "hold", "--all", "--why", "moving house").startswith(
        "The whole site is held by anna (no terminal): moving house. Resume it: "
    )
    said = told(shop, "add", "Digest", "Report", "every", "1h")
    assert said == "Digest is added: it runs Report every hour; but the whole site is held.\n"

    # When something is due
    shop.make_due("Report", "Digest")
    shop.due()

    # Then nothing runs, and everybody is told why
    assert shop.runs() == []
    listed = told(shop, "list")
    assert listed.startswith("! The whole site is held by anna (no terminal) since ")
    assert len(re.findall("held with the site", listed)) == 5
    assert "late" not in listed
    assert "the whole site is held by anna (no terminal) since" in told(shop, "show", "Beside")
    assert shop.run("Report").stderr == (
        "dracotask: Report skipped: the whole site is held by anna (no terminal): moving house\n"
    )
    assert shown(shop, "Report")["site_held"]["why"] == "moving house"

    # And after the resume what fell into the hold is on record
    assert told(shop, "resume", "--all") == "The whole site is resumed.\n"
    assert told(shop, "resume", "--all") == "The whole site is not held.\n"
    missed = [run for run in shop.runs() if run.fire_time]
    assert {run.schedule for run in missed} == {"Report", "Digest"}
    assert {run.state for run in missed} == {"skipped"}


def test_who_resumes_a_task_of_a_site_that_is_held_is_told_so(shop):
    told(shop, "hold", "--all")
    told(shop, "hold", "Report")

    assert told(shop, "resume", "Report").startswith("Report is resumed, but the whole site is held. Resume that: ")
    assert told(shop, "resume", "Report").startswith("Report is not held by itself, but the whole site is held.")


def test_a_resume_of_what_is_not_held_changes_nothing(shop):
    assert re.fullmatch(rf"Report is not held; next {AT_THREE}\.\n", told(shop, "resume", "Report"))
    assert deeds(shop, "Report") == []


# -- Rules of time -------------------------------------------------------------------------------


def test_the_next_fire_time_is_skipped_and_then_the_one_after(shop):
    # When it is skipped twice
    first = told(shop, "skip-next", "Report", "--why", "holiday")
    second = told(shop, "skip-next", "Report", "--why", "the day after")

    # Then each says which, and the list and the next times show it
    assert re.fullmatch(rf"The next run of Report, {AT_THREE}, is skipped; then {AT_THREE}\.\n", first)
    assert re.fullmatch(rf"Runs of Report up to {AT_THREE} are skipped; then {AT_THREE}\.\n", second)
    assert re.search(rf"Report .*skips up to {AT_THREE}", told(shop, "list"))
    both = "skipped by anna (no terminal): holiday; skipped by anna (no terminal): the day after"
    assert told(shop, "show", "Report").count(both) == 2
    assert len(shown(shop, "Report")["notes"]) == 2

    # And when its time comes it is on record as skipped, for both reasons; no reason adds nothing to them
    told(shop, "skip-next", "Report")
    shop.make_due("Report")
    shop.due()
    (run,) = shop.runs()
    assert (run.state, run.summary) == ("skipped", both)


def test_another_rule_counts_until_the_file_has_a_new_one(shop):
    # Given a task with another rule than the file's
    said = told(shop, "reschedule", "Report", "every 2m", "--why", "hurry")
    assert re.fullmatch(r"Report now runs every 2 minutes \(until the file says otherwise\); next in \d+[sm]\.\n", said)
    assert re.search(r"Report +every 2 minutes \(rescheduled\)", told(shop, "list"))
    assert "until the file says otherwise; there it is daily 03:00" in told(shop, "show", "Report")
    facts = shown(shop, "Report")
    assert facts["trigger"].startswith("cron 0 3 * * * ")
    assert facts["override"].startswith("every 2m ")
    assert facts["schedule"] == "every 2 minutes"

    # When the file is loaded as it was
    shop.write(TASKS, "# touched")
    told(shop, "load")

    # Then the rule is still there, and gone as soon as the file has another
    assert shown(shop, "Report")["override"].startswith("every 2m ")
    shop.write(TASKS.replace("hour=3", "hour=4"))
    told(shop, "load")
    assert shown(shop, "Report")["override"] is None


@pytest.mark.parametrize(
    "words, rule",
    [
        (["every 90s"], "every 90s from 2000-01-01T00:00:00+00:00"),
        (["every", "90s"], "every 90s from 2000-01-01T00:00:00+00:00"),
        (["--every", "1h30m"], "every 90m from 2000-01-01T00:00:00+00:00"),
        (["cron 0 4 * * *"], "cron 0 4 * * * Europe/Riga"),
        (["cron 0 4 * * * UTC"], "cron 0 4 * * * UTC"),
        (["--cron", "0 4 * * mon-fri"], "cron 0 4 * * mon-fri Europe/Riga"),
        (["at 2099-06-01T14:00"], "at 2099-06-01T11:00:00+00:00"),
        (["--at", "2099-01-01 14:00+00:00"], "at 2099-01-01T14:00:00+00:00"),
        (["any (every 90s | cron 0 4 * * * UTC)"],
         "any (every 90s from 2000-01-01T00:00:00+00:00 | cron 0 4 * * * UTC)"),
        (["cron 0 4 * * *", "--timezone", "UTC", "--jitter", "5m"], "jitter 5m Report (cron 0 4 * * * UTC)"),
        (["--every", "5m", "--between", "22:00-06:00", "--exclude", "2099-12-25"],
         "between 22:00-06:00 Europe/Riga (except 2099-12-25 Europe/Riga (every 5m from 2000-01-01T00:00:00+00:00))"),
        (["--calendar", "3 months", "--time", "03:00", "--start", "2026-01-31"],
         "calendar 3 months 03:00 Europe/Riga from 2026-01-31"),
        (["--every", "1d", "--start", "2099-01-01 03:00", "--timezone", "America/New_York"],
         "every 1d from 2099-01-01T08:00:00+00:00"),
        (["--cron", "0 4 * * *", "--end", "2099-01-01 03:00"],
         "cron 0 4 * * * Europe/Riga until 2099-01-01T01:00:00+00:00"),
    ],
)  # fmt: skip
def test_a_rule_is_said_in_words_or_by_an_option(shop, words, rule):
    told(shop, "reschedule", "Report", *words)

    assert shop.schedule("Report").override == rule


def test_the_rule_of_the_file_is_one_word_away(shop):
    told(shop, "reschedule", "Report", "--every", "5m")
    told(shop, "reschedule", "Beside", "--every", "5m")

    said = told(shop, "reschedule", "Report", "--file")

    assert re.fullmatch(rf"Report runs daily 03:00 again, as the file says; next {AT_THREE}\.\n", said)
    assert told(shop, "reschedule", "Beside", "--file") == "Beside runs on demand again, as the file says.\n"
    assert deeds(shop, "Report") == ["reschedule", "reschedule"]


def test_a_rule_whose_one_moment_is_past_says_that_it_never_fires_again(shop):
    told(shop, "reschedule", "Report", "--at", "2099-01-01T00:00Z")
    with shop.store() as store:
        assert store.put_schedule(store.schedule("Report").but(next_fire_time=None))

    assert "never fires again: its last moment is past" in told(shop, "show", "Report")


# -- Schedules that are added --------------------------------------------------------------------


def test_a_schedule_that_is_added_lives_under_its_own_name(shop):
    # When one is added
    said = told(shop, "add", "For Anna", "Report", "every 1h", "to=anna", "limit=3", "--why", "she asked")

    # Then it says what it does, and stands in the list with its task
    assert re.fullmatch(r'For Anna is added: it runs Report with limit = 3, to = "anna" every hour; next \S+.*\n', said)
    listed = told(shop, "list")
    assert re.search(r"For Anna \(Report\)  every hour", listed)
    assert "4 tasks, 1 added schedule" in listed

    # And its name is as good as a task's
    by_name, by_verb = shop.run("For Anna"), shop.run("run", "For Anna", "limit=7")
    assert [ended.stdout for ended in (by_name, by_verb)] == ["to anna\n", "to all\n"]
    assert [run.summary for run in shop.runs()] == ["'anna' 3 False None", "'all' 7 False None"]
    assert [run.schedule for run in shop.runs()] == ["For Anna"] * 2
    assert told(shop, "log", "For Anna") == "to all\n"
    assert len(json.loads(told(shop, "runs", "For Anna", "--json"))) == 2
    assert told(shop, "runs", "Report") == "No runs of Report.\n"
    facts = shown(shop, "For Anna")
    assert (facts["task"], facts["declared"], facts["arguments"]) == ("Report", False, {"to": "anna", "limit": 3})
    assert 'Handed    limit = 3, to = "anna"\n' in told(shop, "show", "For Anna")

    # And when it is due a tick runs it, also after the file was loaded again
    shop.write(TASKS, "# touched")
    shop.make_due("For Anna")
    shop.due()
    assert shop.last_run().summary == "'anna' 3 False None"
    assert shop.last_run().fire_time


def test_a_schedule_without_a_rule_waits_to_be_demanded(shop):
    said = told(shop, "add", "Extra", "Report")

    assert re.fullmatch(rf"Extra is added: it runs Report on demand\. Run it: {command('run', 'Extra')}\n", said)


def test_what_was_added_can_be_replaced_and_removed(shop):
    # Given a schedule that was added
    told(shop, "add", "Digest", "Report", "--every", "1h")
    assert refused(shop, "add", "Digest", "Report") == (
        "Digest is there already, of task Report: remove it, or replace it."
    )

    # When it is replaced, demanded and removed
    said = told(shop, "add", "Digest", "Report", "--every", "2h", "to=bert", "--replace")
    assert said.startswith('Digest is as said: it runs Report with to = "bert" every 2 hours; next ')
    told(shop, "demand", "Digest")
    assert told(shop, "remove", "Digest") == "Digest is removed: Report runs under that name no more.\n"

    # Then what was queued is skipped, with the reason, and the name is nobody's
    (run,) = shop.runs()
    assert (run.state, run.summary) == ("skipped", "Digest was removed by anna (no terminal)")
    assert refused(shop, "show", "Digest").startswith("no task 'Digest' in DOCROOT/__tasks__.py.")


# -- Runs ----------------------------------------------------------------------------------------


def test_several_demands_during_a_run_are_one_more_run(shop):
    # Given a task at work
    first = shop.start("Waiting")
    shop.wait_for("start")

    # When it is demanded, and demanded
    for _ in range(2):
        said = told(shop, "demand", "Waiting")
        assert said == "Waiting runs once more when its run that is at work has ended.\n"
    assert "once more after that, as anna (no terminal) demanded" in told(shop, "show", "Waiting")

    # Then it runs once more
    shop.open_gate()
    first.communicate(timeout=60)
    tick = shop.start("due")
    shop.wait_for("start", 2)
    shop.open_gate()
    tick.communicate(timeout=60)
    shop.due()
    assert [run.state for run in shop.runs("Waiting")] == ["succeeded", "succeeded"]


def test_a_demand_is_begun_by_whoever_looks_next(shop):
    # Given a site that somebody looks after
    shop.due()

    # When a task is demanded, and demanded again
    assert told(shop, "demand", "Report") == "Report is queued: the next look starts it.\n"
    assert told(shop, "demand", "Report") == "Report is queued: the next look starts it.\n"

    # Then the next look is due at once, and runs it
    assert os.stat(shop.state.next_file).st_mtime <= utc_now().timestamp()
    shop.due()
    assert shop.runs("Report")[0].requested_by == "anna (no terminal)"


def test_a_demand_that_nobody_will_begin_says_why(shop):
    told(shop, "hold", "Report")

    said = told(shop, "demand", "Report")

    assert re.match(r"Report is queued, but held by anna .*; nobody has looked yet: no request came and no cron", said)


def test_a_run_is_stopped_within_the_grace_of_whoever_asks(shop):
    # Given a task that does not heed a polite request
    shop.write(
        "class Stubborn(Task):",
        "    stop_grace = '10m'",
        "    def run(self):",
        "        tell(self)",
        "        while True:",
        "            try:",
        "                wait_at_gate()",
        "            except BaseException: pass",
    )
    told(shop, "load")
    told(shop, "add", "Twin", "Stubborn")
    process = shop.start("Twin")
    shop.wait_for("start")

    # When it is stopped by its name, with little patience
    said = told(shop, "stop", "Twin", "--grace", "1s", "--why", "enough")

    # Then it is killed soon
    assert re.fullmatch(r"Twin was stopped within .*, killed: it did not heed the polite request\.\n", said)
    assert process.wait(60) == 130
    assert shop.last_run().stop_why == "enough"
    process.communicate()


def test_arguments_are_typed_by_what_run_takes(shop):
    ended = shop.run("run", "Report", "to=5", "limit=7", "exact=yes", "at=none")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert shop.last_run().summary == "'5' 7 True None"
    assert json.loads(told(shop, "runs", "--json"))[0]["arguments"] == {
        "to": "5", "limit": 7, "exact": True, "at": None,
    }  # fmt: skip


def test_arguments_of_a_run_under_the_debugger_are_typed_too(shop):
    told(shop, "add", "Digest", "Report", "to=anna")

    given = shop.run("run", "Report", "--debug", "limit=7")
    own = shop.run("run", "Digest", "--debug")

    assert given.stderr == "dracotask: Report ok: 'all' 7 False None\n"
    assert own.stderr == "dracotask: Digest ok: 'anna' 5 False None\n"
    assert refused(shop, "run", "Report", "--debug", "limt=7").startswith("Report: run() takes no 'limt'.")


def test_arguments_of_a_command_leave_a_due_fire_time_alone(shop):
    # Given a fire time that is due
    shop.make_due("Report")

    # When the task is run with arguments that its schedule does not have
    shop.run("run", "Report", "limit=7")

    # Then the fire time is still owed as it was planned
    shop.due()
    assert [(run.summary, bool(run.fire_time)) for run in shop.runs()] == [
        ("'all' 7 False None", False),
        ("'all' 5 False None", True),
    ]


# -- Drain ---------------------------------------------------------------------------------------


def draining(site: Site, *options: str):
    """Start a drain while a task is at work; return both processes once it waits."""
    run = site.start("Waiting")
    site.wait_for("start")
    process = site.start("drain", *options, env=ANNA)
    said = process.stdout.readline()
    assert re.match(r"The whole site is held\. Waiting for Waiting, running since .* as process \d+ on ", said)
    return process, run


def test_a_drain_waits_until_nothing_is_at_work(shop):
    # Given a drain, and a task at work that was demanded once more
    told(shop, "hold", "--all")
    told(shop, "resume", "--all")
    process, run = draining(shop, "--why", "deployment")
    told(shop, "demand", "Waiting")

    # When the task ends
    shop.open_gate()
    run.communicate(timeout=60)

    # Then so does the drain, and nothing more begins
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert re.match(r"Nothing is at work, 1 queued\. The site stays held until: ", out)
    shop.due()
    assert [run.state for run in shop.runs("Waiting")] == ["succeeded", "queued"]


def test_a_drain_gives_up_at_its_timeout_and_the_hold_stays(shop):
    process, run = draining(shop, "--timeout", "0.5s")

    out, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert re.match(r"Still at work: Waiting, running since .*\. The site stays held until: .* resume --all\n", out)
    assert "The whole site is held" in told(shop, "list")
    shop.open_gate()
    run.communicate(timeout=60)


def test_a_drain_that_is_interrupted_leaves_the_hold_and_says_so(shop):
    process, run = draining(shop)

    process.send_signal(signal.SIGINT)

    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert re.match(r"Waiting was given up; the hold was not\. The site stays held until: ", out)
    assert shown(shop, "Report")["site_held"]
    shop.open_gate()
    run.communicate(timeout=60)


def test_a_drain_does_not_wait_for_the_dead(shop):
    # Given a run whose supervisor was killed
    run = shop.start("Waiting")
    shop.wait_for("start")
    run.kill()
    run.communicate()
    shop.wait_for_silence()

    # When the site is drained
    said = told(shop, "drain")

    # Then it is over at once, and the run on record as lost
    assert "Nothing is at work. The site stays held until: " in said
    assert shop.last_run().state == "lost"


def test_a_site_that_nobody_has_looked_at_can_be_held_and_drained(site):
    site.write(TASKS)

    assert told(site, "drain").startswith("Nothing is at work. The site stays held until: ")

    site.due()
    assert "The whole site is held" in told(site, "list")


# -- Why it does not run -------------------------------------------------------------------------


def test_show_tells_how_far_a_run_is_and_who_waits_for_it(shop):
    # Given a task at work that tells its progress, and another one that must not run beside it
    process = shop.start("Waiting")
    shop.wait_for("start")
    until(lambda: shop.last_run("Waiting").progress_done, "the progress is written")

    # When one asks for both
    waiting, beside = told(shop, "show", "Waiting"), told(shop, "show", "Beside")

    # Then the one says how far it is, and the other what it waits for
    assert re.search(r"Now +running since .* as process \d+ on \S+, 42 %, page 12", waiting)
    assert re.search(r"▶ Waiting .* running, 42 %, page 12", told(shop, "list"))
    assert shown(shop, "Waiting")["progress"][0]["done"] == 420
    assert re.search(r"Now +waits for Waiting, running since .* \(exclusive: gate\)", beside)
    by_hand = shop.run("Beside")
    assert (by_hand.returncode, by_hand.stderr) == (
        75, "dracotask: Beside skipped: Waiting is at work (exclusive: gate)\n",
    )  # fmt: skip
    shop.open_gate()
    process.communicate(timeout=60)


def test_a_due_fire_time_that_must_not_run_beside_another_waits_when_it_is_run_by_hand(shop):
    # Given a schedule that is due, and its rival at work
    shop.run("add", "Often", "Beside", "--every", "1h")
    shop.make_due("Often")
    process = shop.start("Waiting")
    shop.wait_for("start")

    # When it is run by hand
    by_hand = shop.run("Often")

    # Then it is queued, and runs when the rival has ended
    assert (by_hand.returncode, by_hand.stderr) == (
        75, "dracotask: Often queued: Waiting is at work (exclusive: gate)\n",
    )  # fmt: skip
    shop.open_gate()
    process.communicate(timeout=60)
    shop.due()
    assert [run.state for run in shop.runs("Beside")] == ["succeeded"]


def test_show_says_that_nobody_has_looked(shop):
    # Given a site where a tick came by an hour ago, and none since
    shop.due()
    then = os.stat(shop.state.next_file).st_mtime - 3600
    os.utime(shop.state.next_file, (then, then))

    # When somebody wants something of it
    told(shop, "demand", "Report")

    # Then since when nobody has come is still told
    pattern = r"queued since .* ago; nobody has looked since .*, 59m ago: no request came and no cron runs `due`"
    assert re.search(pattern.replace("59", r"\d\d"), told(shop, "show", "Report"))


def test_show_says_what_run_takes(shop):
    said = told(shop, "show", "Report")

    assert (
        "  Takes     to (a text, if wanted), limit (a whole number, if wanted), exact (true or false, if wanted), "
        "at (a number, if wanted)\n"
    ) in said
    assert "  Takes     key\n" in told(shop, "show", "Needy")


def test_show_says_who_did_what_when_and_why(shop):
    told(shop, "hold", "Report", "--until", "2099-01-01", "--why", "database migration")
    told(shop, "resume", "Report")
    told(shop, "reschedule", "Report", "--every", "1h")

    said = told(shop, "show", "Report").partition("What was done to it\n")[2].splitlines()

    assert re.fullmatch(r"    \d\d:\d\d(:\d\d)?  anna \(no terminal\) rescheduled it, every hour", said[0])
    assert said[1].endswith("anna (no terminal) resumed it")
    assert said[2].endswith("anna (no terminal) held it until 2099-01-01 00:00: database migration")


def test_a_schedule_can_be_added_with_a_policy_of_its_own(shop):
    # Given a schedule that is added with a policy
    told(shop, "add", "Digest", "Report", "every 10m", "--policy", "grace=5m", "--policy", "time_limit=none")
    assert 'Its own   grace = 300.0, time_limit = "none"' in told(shop, "show", "Digest")

    # When that is taken back, and then its rule
    told(shop, "update", "Digest", "--policy", "none")
    told(shop, "update", "Digest", "--on-demand")

    # Then nothing of it is left, and what was done says which was changed
    said = told(shop, "show", "Digest")
    assert "Its own" not in said
    assert "updated its policy\n" in said and "updated its rule, now on demand\n" in said


def test_the_history_of_a_name_outlives_its_schedule(shop):
    # Given a schedule that ran and was removed
    told(shop, "add", "Digest", "Report", "to=anna")
    told(shop, "run", "Digest")
    told(shop, "remove", "Digest")

    # Then its runs and their output can still be read by that name, and a name that never was is none
    assert [run["schedule"] for run in json.loads(told(shop, "runs", "Digest", "--json"))] == ["Digest"]
    assert told(shop, "runs", "Digest", "--failed") == "No failed runs of Digest.\n"
    assert "to anna" in told(shop, "log", "Digest")
    assert "no task 'Digets'" in refused(shop, "runs", "Digets")


# -- What is refused -----------------------------------------------------------------------------

LONG = "x" * 10_000

RULE_WANTED = (
    "say the new rule, as in \"every 90s\", --every 90s, --cron '0 4 * * *' or --at 14:00; or --file alone, for the "
    "one in the task file."
)


@pytest.mark.parametrize(
    "words, line",
    [
        (["hold", "Reprot"], "no schedule 'Reprot'. Did you mean Report?"),
        (["resume", "Reprot"], "no schedule 'Reprot'. Did you mean Report?"),
        (["skip-next", "Reprot"], "no schedule 'Reprot'. Did you mean Report?"),
        (["demand", "Reprot"], "no schedule 'Reprot'. Did you mean Report?"),
        (["stop", "Reprot"], "no schedule 'Reprot'. Did you mean Report?"),
        (["reschedule", "Reprot", "--every", "1m"], "no schedule 'Reprot'. Did you mean Report?"),
        (["add", "Digest", "Reprot"], "no task 'Reprot'. Did you mean Report?"),
        (["run", "Reprot"], "no task 'Reprot' in DOCROOT/__tasks__.py. Did you mean Report?"),
        (["hold"], "say which: the name of a task, or --all for the whole site. See: dracotask.py DOCROOT hold --help"),
        (["resume", "Report", "--all"],
         "say which: the name of a task, or --all for the whole site. See: dracotask.py DOCROOT resume --help"),
        (["hold", "Report", "--until", "2020-01-01T00:00Z"],
         "until 2020-01-01T00:00:00Z is past: a hold ends later than now, or when somebody resumes."),
        (["hold", "Report", "--until", "soon"],
         "--until: 'soon' is not a length of time: write '90s', '15m', '1h30m', '1d' or a number of seconds. For a "
         "moment write 14:00, '2027-01-31 14:00' or 2027-01-31T14:00+01:00."),
        (["hold", "Report", "--until", "20401231"],
         "--until: '20401231' has no unit: write 90s, 2h or 3d. For a moment write 14:00, '2027-01-31 14:00' or "
         "2027-01-31T14:00+01:00."),
        (["add", "Digest", "Report", "--policy", "grace"], "'grace' is no policy: write grace=5m."),
        (["add", "Digest", "Report", "--policy", "graec=5m"], "'graec' is no policy. Did you mean grace?"),
        (["hold", "Report", "--until", "25:00"],
         "--until: '25:00' is no moment: write 14:00, '2027-01-31 14:00' or 2027-01-31T14:00+01:00."),
        (["skip-next", "Beside"], "Beside has no fire time to come that could be skipped."),
        (["reschedule", "Report", "--every", "0s"], "every='0s' is too short: one second is the least."),
        (["reschedule", "Report", "--every", "-5"],
         "every='-5' is not a length of time: write '90s', '15m', '1h30m', '1d' or a number of seconds."),
        (["reschedule", "Report", "--cron", "0 4 * *"],
         "cron expression '0 4 * *' has 4 fields; five are needed: minute hour day-of-month month day-of-week. A sixth "
         "before them is of seconds."),
        (["reschedule", "Report", "--cron", "0 4 31 2 *"],
         "cron expression '0 4 31 2 *' never fires: no year has such a day."),
        (["reschedule", "Report", "cron", "0", "4", "bin", "docs"],
         "'cron 0 4 bin docs' is no rule: quote the line, 'cron 0 4 * * *', for its stars are the shell's too."),
        (["reschedule", "Report", "--at", "2020-01-01T00:00Z"],
         "'at 2020-01-01T00:00:00+00:00' never fires again: its last moment is past."),
        (["reschedule", "Report", "every 1m until 2020-01-01T00:00Z"],
         "'every 1m from 2000-01-01T00:00:00+00:00 until 2020-01-01T00:00:00+00:00' never fires again: its last moment "
         "is past."),
        (["reschedule", "Report", "every 1m", "--at", "14:00"],
         "one rule at a time: say it in words, or with --cron, --every, --at, --calendar or --after."),
        (["reschedule", "Report"],
         RULE_WANTED),
        (["reschedule", "Report", "--jitter", "5m"],
         "--jitter goes with a rule: say it in words, or with --cron, --every, --at, --calendar or --after."),
        (["reschedule", "Report", "--every", "5m", "--time", "03:00"],
         "time= goes with calendar=, as in calendar='3 months', time='03:00'."),
        (["reschedule", "Report", "all (every 2s | every 2s from 2000-01-01T00:00:01Z)"],
         "'all (every 2s from 2000-01-01T00:00:00+00:00 | every 2s from 2000-01-01T00:00:01+00:00)' never fires: its "
         "rules never agree."),
        (["add", "Report", "Report"], "Report is the name of a task: a schedule that is added needs one of its own."),
        (["add", "list", "Report"], "'list' cannot be a name: on a command line it would mean something else."),
        (["add", "a\nb", "Report"],
         "'a\\nb' cannot be a name: write letters, on one line, with no space at either end."),
        (["add", LONG, "Report"], "a name of 10000 letters is too long: 200 are the most."),
        (["add", "Digest", "Report", "limit=many"], "Report: limit = 'many' is not a whole number."),
        (["add", "Digest", "Report", "limt=5"], "Report: run() takes no 'limt'. It takes to, limit, exact, at."),
        (["add", "Digest", "Needy"], "Needy: run() needs key."),
        (["remove", "Report"], "Report stands in the task file: hold it, or take it out of the file."),
        (["reschedule", "Report", "--file", "--every", "1m"],
         RULE_WANTED),
        (["run", "Report", "limit=many"], "Report: limit = 'many' is not a whole number."),
        (["run", "Report", "limit"], "'limit' is no argument for run(): write KEY=VALUE."),
        (["run", "Report", "limit=1", "limit=2"], "'limit' is said twice."),
        (["Report", "limt=5"], "Report: run() takes no 'limt'. It takes to, limit, exact, at."),
        (["Needy"], "Needy: run() needs key."),
        (["stop", "Report", "--grace", "-1s"],
         "--grace: '-1s' is not a length of time: write '90s', '15m', '1h30m', '1d' or a number of seconds."),
        (["drain", "--timeout", "x"],
         "--timeout: 'x' is not a length of time: write '90s', '15m', '1h30m', '1d' or a number of seconds."),
        (["hold", "Report", "--why", LONG], "a reason of 10000 letters is too long: 500 are the most."),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_sentence(shop, words, line):
    assert refused(shop, *words) == line
    assert shop.runs() == []
    assert shown(shop, "Report")["actions"] == []
    assert shown(shop, "Report")["site_held"] is None


def test_a_number_that_is_none_cannot_be_handed_over(shop):
    assert refused(shop, "run", "Report", "at=nan").startswith("Report: at = 'nan' is not a number.")


@pytest.mark.parametrize("name", [LONG, "\x1b[2J\x1b]0;owned\x07", "a\nb", b"\xff\xfe", "'; DROP TABLE runs"])
def test_no_name_is_too_odd_to_be_refused(shop, name):
    for verb in ("hold", "resume", "skip-next", "demand", "stop", "remove", "show", "run", "log", "runs"):
        assert refused(shop, verb, name).startswith(("no schedule ", "no task "))


@pytest.mark.parametrize("name", [LONG, "\x1b[2J", b"\xff"])
def test_an_odd_name_on_the_lean_path_is_refused_too(shop, name):
    assert refused(shop, name).startswith("no task ")


def test_a_reason_cannot_steer_a_terminal(shop):
    said = told(shop, "hold", "Report", "--why", "\x1b[2J\u202eevil\n")

    assert said.startswith("Report is held by anna (no terminal): [2J evil. Resume it: ")
    assert "\x1b" not in told(shop, "show", "Report") + told(shop, "list")


def test_who_names_a_task_that_was_not_loaded_yet_is_told_to_load(shop):
    shop.write(TASKS, "class Newest(Task):", "    def run(self): pass")

    said = refused(shop, "hold", "Newest")

    assert re.search(rf"DOCROOT/__tasks__\.py has changed since it was loaded: {command('load')}$", said)


# -- Times -----------------------------------------------------------------------------------------

RIGA = ZoneInfo("Europe/Riga")
NOON = at("2026-11-21T12:00:00+00:00")


@pytest.mark.parametrize(
    "text, moment",
    [
        ("2h", "2026-11-21T14:00+00:00"),
        ("90s", "2026-11-21T12:01:30+00:00"),
        ("18:30", "2026-11-21T16:30+00:00"),
        ("9:30", "2026-11-22T07:30+00:00"),
        ("2026-12-01", "2026-11-30T22:00+00:00"),
        ("2027-07-01 18:30", "2027-07-01T15:30+00:00"),
        ("2027-07-01T18:30Z", "2027-07-01T18:30+00:00"),
    ],
)
def test_an_end_is_a_moment_on_the_site_s_clock_or_a_length_of_time(text, moment):
    assert until_said(text, NOON, RIGA) == from_text(moment)


@pytest.mark.parametrize("text", ["2h", "", "24:00", "9999-12-31T23:59-12:00", "2026-13-01", "\x1b[2J", LONG])
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(ControlError, match="is no moment: write 14:00") as refusal:
        at_said(text, NOON, RIGA)
    assert str(refusal.value).isprintable()


def noted(rule: str, since: str, number: int = 3, **facts: object) -> list[str]:
    """Return the next fire times in Paris, each with its notes."""
    now = datetime.fromisoformat(since)
    schedule = a_schedule(trigger=rule, next_fire_time=parse_trigger(rule).next_after(now), **facts)
    paris = ZoneInfo("Europe/Paris")
    return [
        " ".join([f"{each.fire_time.astimezone(paris):%d %H:%M %Z}", *each.notes])
        for each in islice(upcoming(schedule, now), number)
    ]


# In Paris the clock goes from 02:00 to 03:00 on 28 March 2027, and from 03:00 back to 02:00 on 31 October 2027.


def test_a_fixed_time_that_the_clock_skips_comes_as_soon_as_it_can():
    assert noted("cron 30 2 * * * Europe/Paris", "2027-03-27T00:00+00:00") == [
        "27 02:30 CET",
        "28 03:00 CEST instead of 02:30: the clock goes from 02:00 to 03:00",
        "29 02:30 CEST",
    ]
    assert noted("cron 0 2,3 * * * Europe/Paris", "2027-03-27T12:00+00:00", 2) == [
        "28 03:00 CEST also for 02:00: the clock goes from 02:00 to 03:00",
        "29 02:00 CEST",
    ]


def test_a_fixed_time_that_the_clock_shows_twice_counts_once():
    assert noted("cron 30 2 * * * Europe/Paris", "2027-10-30T12:00+00:00", 2) == [
        "31 02:30 CEST 02:30 comes twice that day: only the first time counts",
        "01 02:30 CET",
    ]


def test_a_rule_with_a_star_follows_the_clock():
    assert noted("cron 30 * * * * Europe/Paris", "2027-03-28T00:00+00:00") == [
        "28 01:30 CET",
        "28 03:30 CEST Sun 02:30 is skipped: the clock goes from 02:00 to 03:00",
        "28 04:30 CEST",
    ]
    assert noted("cron 30 * * * * Europe/Paris", "2027-10-30T23:40+00:00") == [
        "31 02:30 CEST 02:30 comes twice that day: the first time",
        "31 02:30 CET 02:30 comes twice that day: the second time",
        "31 03:30 CET",
    ]


def test_a_calendar_rule_and_one_with_seconds_are_told_the_same_way():
    assert noted("calendar 1 day 02:30 Europe/Paris", "2027-03-27T12:00+00:00", 1) == [
        "28 03:00 CEST instead of 02:30: the clock goes from 02:00 to 03:00",
    ]
    assert noted("calendar 2 weeks 02:30 Europe/Paris from 2027-10-31", "2027-10-30T12:00+00:00", 1) == [
        "31 02:30 CEST 02:30 comes twice that day: only the first time counts",
    ]
    assert noted("cron 59 59 2 * * * Europe/Paris", "2027-03-27T12:00+00:00", 1) == [
        "28 03:00 CEST instead of 02:59: the clock goes from 02:00 to 03:00",
    ]


def test_what_the_clock_does_is_told_of_rules_within_rules():
    assert noted("any (every 7d | between 02:00-04:00 Europe/Paris (cron 30 2 * * * Europe/Paris))",
                 "2027-03-27T12:00+00:00", 1) == [
        "28 03:00 CEST instead of 02:30: the clock goes from 02:00 to 03:00",
    ]  # fmt: skip


def test_the_clock_is_no_matter_to_an_interval_or_to_a_time_that_it_leaves_alone():
    for rule in ("every 1h", "cron 0 4 * * * Europe/Paris", "cron 30 2 * * * UTC"):
        assert not [each for each in noted(rule, "2027-03-27T22:00+00:00", 8) if ":" in each.split("CE", 1)[1]]


def test_fire_times_within_a_hold_are_told_apart():
    ends = at("2027-01-02T00:00+00:00")

    assert noted("cron 0 12 * * * UTC", "2027-01-01T00:00+00:00", 2, held_at=NOON, held_until=ends) == [
        "01 13:00 CET held",
        "02 13:00 CET",
    ]
    assert noted("cron 0 12 * * * UTC", "2027-01-01T00:00+00:00", 1, held_at=NOON) == [
        "01 13:00 CET held, unless it is resumed before",
    ]
