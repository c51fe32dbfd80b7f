"""``preview``: when a task, or a rule that is nobody's yet, comes next."""

from __future__ import annotations

import json

import pytest
from helpers import at
from sites import Site

from dracotask import Scheduler
from dracotask.errors import BadTrigger
from dracotask.testing import FrozenClock

RIGA = {"DRACOTASK_TIMEZONE": "Europe/Riga", "LC_ALL": "C.UTF-8"}


def told(site: Site, *words: str) -> list[str]:
    """Return the lines of a preview."""
    ended = site.run("preview", *words, env=RIGA)
    assert (ended.returncode, ended.stderr) == (0, ""), words
    return ended.stdout.splitlines()


def refused(site: Site, *words: str) -> str:
    ended = site.run("preview", *words, env=RIGA)
    assert (ended.returncode, ended.stdout) == (2, ""), words
    return ended.stderr


def test_a_rule_can_be_looked_at_where_there_is_no_site_yet(site):
    # When one asks for a line of cron in the night in which the clock is put forward
    lines = told(site, "30 3 * * *", "-n", "2", "--from", "2027-03-27 12:00")

    # Then there are local time and UTC, and what the clock does; and no site was made of it
    assert lines == [
        "daily 03:30",
        "  cron 30 3 * * * Europe/Riga",
        "  Europe/Riga                   UTC",
        "  Sun 2027-03-28 04:00:00 EEST  2027-03-28T01:00:00Z  instead of 03:30: the clock goes from 03:00 to 04:00",
        "  Mon 2027-03-29 03:30:00 EEST  2027-03-29T00:30:00Z",
    ]
    assert not (site.docroot / ".dracotask").exists()


def test_an_hour_that_comes_twice_is_marked(site):
    lines = told(site, "*/30", "3", "*", "*", "*", "-n", "5", "--from", "2027-10-31 00:00")

    assert [line.split("  ")[3:] for line in lines[3:]] == [
        ["03:00 comes twice that day: the first time"], ["03:30 comes twice that day: the first time"],
        ["03:00 comes twice that day: the second time"], ["03:30 comes twice that day: the second time"], [],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "note"),
    [
        ("2027-03-27 12:00", "instead of 03:30: the clock goes from 03:00 to 04:00"),
        ("2027-10-30 12:00", "03:30 comes twice that day: only the first time counts"),
        ("2027-01-01 12:00", None),
    ],
)
def test_what_jitter_puts_off_has_the_marks_of_the_rule_within(site, start, note):
    rule = "any (jitter 5m Report (except 2027-12-24 Europe/Riga (cron 30 3 * * * Europe/Riga)) | every 2w)"
    said = told(site, rule, "-n", "1", "--from", start)[-1]

    assert said.endswith(f"Z  {note}" if note else "Z")


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["every", "90s"], "2027-01-01T00:00:00Z"),
        (["every 90s"], "2027-01-01T00:00:00Z"),
        (["cron 0 4 * * mon-fri"], "2027-01-01T02:00:00Z"),
        (["cron 0 4 * * mon-fri UTC"], "2027-01-01T04:00:00Z"),
        (["0 4 * * *", "--timezone", "Asia/Tokyo"], "2027-01-01T19:00:00Z"),
        (["@daily"], "2027-01-01T22:00:00Z"),
        (["30 0 4 * * *"], "2027-01-01T02:00:30Z"),
        (["cron 30 0 4 * * *"], "2027-01-01T02:00:30Z"),
        (["any (every 1h | at 2027-01-01T00:00:00+00:00)"], "2027-01-01T00:00:00Z"),
    ],
)
def test_whatever_a_trigger_can_be_can_be_previewed(site, words, first):
    said = json.loads("\n".join(told(site, *words, "--from", "2027-01-01T00:00+00:00", "-n", "1", "--json")))

    assert [each["fire_time"] for each in said["fire_times"]] == [first]
    assert said["name"] is None and said["schedule"]


def test_a_task_is_previewed_with_what_stands_in_its_way(site):
    # Given a task that is to be skipped once, and held
    site.write("class Report(Task):", "    def __init__(self): self.schedule(hour=3)", "    def run(self): pass")
    site.run("load", env=RIGA)
    site.run("skip-next", "Report", "--why", "holiday", env=RIGA)

    # Then its preview says so
    lines = told(site, "Report", "-n", "2")
    assert lines[0] == "Report: daily 03:00"
    assert "skipped by" in lines[3] and lines[3].endswith(": holiday")
    assert "skipped" not in lines[4]


def test_a_rule_that_ends_says_so(site):
    lines = told(site, "at 2027-01-01T00:00:00+00:00", "--from", "2026-12-01 00:00")

    assert lines[-2:] == ["  Fri 2027-01-01 02:00:00 EET  2027-01-01T00:00:00Z", "Then it is over."]


def test_what_is_neither_task_nor_rule_is_refused(site):
    site.write("class Report(Task):", "    def run(self): pass")
    site.run("load", env=RIGA)

    assert "Did you mean Report?" in refused(site, "Repot")
    assert refused(site, "61 4 * * *").startswith("dracotask: ")
    assert "no zone" in refused(site, "every 5m", "--timezone", "Mars/Base")
    assert "--from" in refused(site, "every 5m", "--from", "soon")
    assert told(site, "Report")[-1] == "It comes at no time by itself."


def test_a_program_asks_for_the_next_times_of_its_schedules_and_of_any_rule(program):
    scheduler = Scheduler(clock=FrozenClock("2027-01-01 12:00"), timezone="Europe/Riga")
    scheduler.add(print, every="1h", name="hourly")
    scheduler.add(print, name="by hand")

    assert scheduler.preview("hourly", 2) == [at("2027-01-01T13:00Z"), at("2027-01-01T14:00Z")]
    assert scheduler.preview("0 4 * * *", n=1) == [at("2027-01-02T02:00Z")]
    assert scheduler.preview("by hand") == []
    with pytest.raises(BadTrigger, match="Did you mean hourly"):
        scheduler.preview("hourl")
    with pytest.raises(TypeError, match="whole number"):
        scheduler.preview("hourly", "3")


def test_simulate_tells_of_each_task_and_of_the_first_rows(site):
    # Given a site with a task of the file and one that was added
    site.write("class Report(Task):", "    def __init__(self): self.schedule(hour=3)", "    def run(self): pass")
    site.run("load", env=RIGA)
    site.run("add", "often", "Report", "every 6h", env=RIGA)
    words = ("simulate", "--days", "2", "--from", "2027-03-27 00:00", "--traffic", "every 45m")

    # When it is simulated over the night in which the clock is put forward, for people and for machines
    text = site.run(*words, env=RIGA).stdout
    said = json.loads(site.run(*words, "--duration", "Report=10m", "--json", env=RIGA).stdout)

    # Then both tell the same, and nothing has run
    assert text.splitlines()[0] == (
        "Sat 2027-03-27 00:00 to Mon 2027-03-29 01:00 (Europe/Riga), traffic: every 45m"
    )
    assert [(task["name"], task["runs"]) for task in said["tasks"]] == [("Report", 2), ("often", 8)]
    assert "Report  2     0" in text and "often   8     0" in text
    assert {row["state"] for row in said["rows"]} == {"succeeded"}
    assert site.runs() == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--traffic", "sometimes"], "traffic="), (["--days", "many"], "--days"), (["--downtime", "now"], "FROM/TO"),
        (["--duration", "Repot=5m"], "no schedule 'Repot'"), (["--task", "Repot"], "no schedule 'Repot'"),
    ],
)  # fmt: skip
def test_a_simulation_that_makes_no_sense_is_refused(site, words, why):
    site.write("class Report(Task):", "    def run(self): pass")

    ended = site.run("simulate", *words)

    assert ended.returncode == 2
    assert why in ended.stderr and ended.stderr.count("\n") == 1
