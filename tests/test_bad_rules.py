"""What a site owner may get wrong about time: each is refused when the file is loaded, with its line and a way out."""

from __future__ import annotations

import pytest
from sites import Site

#: The line on which ``schedule()`` is called.
LINE = 12

TASKS = """\
from datetime import date, datetime, timedelta, timezone
from itertools import count, repeat
from zoneinfo import ZoneInfo

from dracotask import Task, Trigger

{before}


class Report(Task):
    def __init__(self):
        self.schedule({said})

    def run(self):
        pass
"""

#: What is said in schedule(), and what the refusal has besides file and line: always what would be right.
REFUSED = {
    # Cron lines.
    'cron="60 * * * *"': "'60' is no minute. Minutes are 0-59.",
    'cron="*/0 * * * *"': "'*/0' is no minute. A step here is 1 to 60.",
    'cron="*/90 * * * *"': "For a longer distance write every='90m'.",
    'cron="5-1 * * * *"': "A range goes upwards: write 5-59,0-1.",
    'cron="1-234/5678 * * * *"': "A step here is 1 to 60.",
    'cron="-1 * * * *"': "Minutes are 0-59.",
    'cron="1,,2 * * * *"': "Minutes are 0-59.",
    f'cron="{10**30} * * * *"': "Minutes are 0-59.",
    'cron="0 24 * * *"': "Hours are 0-23.",
    'cron="0 0 32 * *"': "Days of the month are 1-31, L for the last",
    'cron="0 0 ? * *"': "Days of the month are 1-31",
    'cron="0 0 1 13 *"': "Months are 1-12 or jan-dec.",
    'cron="0 0 * * 8"': "(0 and 7 are Sunday)",
    'cron="0 0 * * mon#6"': "5#2 for the second.",
    'cron="0 0 31 2 *"': "never fires: no year has such a day.",
    'cron="* * * *"': "has 4 fields; five are needed: minute hour day-of-month month day-of-week.",
    'cron=""': "has 0 fields; five are needed",
    'cron="* " * 5000': "is not a text of 200 plain characters at most.",
    'cron="\N{ARABIC-INDIC DIGIT FIVE} * * * *"': "is not a text of 200 plain characters at most.",
    'cron="@every"': "write every='90s' for an interval.",
    'cron="@reboot"': "call the task where your program or server starts.",
    'cron="TZ=UTC 0 4 * * *"': "timezone = 'Europe/Riga'",
    'cron="0 4 * * *\\n0 5 * * *"': "has 10 fields; five are needed",
    'cron="H-5 * * * *"': "Write H, H/15, H(0-29) or H(0-29)/10.",
    "cron=None": 'Write cron="*/15 * * * *", or leave it out.',
    'cron=b"0 4 * * *"': 'Write cron="*/15 * * * *", or leave it out.',
    # Draco's arguments.
    "minute=60": "minutes are 0-59.",
    "minute=range(10**12)": "minute=60 is out of range: minutes are 0-59.",
    "minute=count()": "minute= has more than 10000 values.",
    "minute=repeat(5)": "minute= has more than 10000 values.",
    "hour=4.0": "hours are 0-23.",
    "hour=float('nan')": "hours are 0-23.",
    "hour=True": "hours are 0-23.",
    "hour='4'": "hours are 0-23.",
    "dow=7": "days of the week are 0 (Monday) to 6 (Sunday).",
    # Intervals.
    'every=""': "write '90s', '15m', '1h30m', '1d' or a number of seconds.",
    'every="5 minutes"': "write '90s', '15m', '1h30m', '1d' or a number of seconds.",
    'every="\N{ARABIC-INDIC DIGIT FIVE}m"': "write '90s', '15m'",
    "every=True": "write '90s', '15m'",
    "every=0": "every=0 is too short: one second is the least.",
    "every=-5": "every=-5 is negative: a length of time is not.",
    "every=float('nan')": "every=nan is not a length of time",
    "every=float('inf')": "every=inf is not a length of time",
    "every=10**400": "is not a length of time",
    'every="6000w"': "is too long: a hundred years is the most.",
    # Moments.
    'at="2040-12-01 08:00"': "could be many moments: give an offset, as in 2040-12-01T08:00:00+00:00 for UTC.",
    "at=datetime(2040, 1, 1)": "give an offset, as in 2040-01-01T00:00:00+00:00 for UTC.",
    "at=date(2040, 1, 1)": "give an ISO text or an aware datetime.",
    "at=2208988800.5": "give an ISO text or an aware datetime.",
    'at="0001-01-01T00:00:00+14:00"': "is outside the years 1 to 9999 in UTC.",
    'at="9999-12-31T23:59:59-14:00"': "is outside the years 1 to 9999 in UTC.",
    'every="5m", start="2040-01-01"': "start='2040-01-01' could be many moments: give an offset",
    'every="5m", start="2041-01-01T00:00Z", end="2040-01-01T00:00Z"': "never fires: its end is before its start.",
    # Zones.
    'hour=4, timezone="Mars/Phobos"': "give an IANA name such as Europe/Riga, or install tzdata.",
    'hour=4, timezone="TZ=UTC"': "give an IANA name such as Europe/Riga",
    'hour=4, timezone="../../etc/passwd"': "give an IANA name such as Europe/Riga",
    'hour=4, timezone=ZoneInfo("Europe/Riga")': "give an IANA name such as Europe/Riga",
    # Dates.
    'calendar="3 fortnights"': "write '3 months', '1 year', '2 weeks' or '10 days'.",
    'calendar="0 months"': "months are 1 to 1200.",
    'calendar="1 month", time="3:00"': "write '03:00' or '03:00:30'.",
    'calendar="1 month", start="2040-02-30"': "write '2026-01-31'.",
    # What goes around a rule.
    'hour=4, between="22-6"': "write 22:00-06:00, or several, 08:00-12:00,13:00-17:00.",
    'hour=4, between="22:00-22:00"': "which is the whole day or nothing",
    'hour=4, exclude="25.12.2040"': "write '2026-12-25', a range '2026-12-28..2027-01-02'",
    'hour=4, exclude="missing.txt"': "missing.txt' cannot be read: No such file or directory.",
    "hour=4, exclude=map(str, count())": "exclude= has more than 10000 values.",
    'hour=4, jitter="0s"': "from a millisecond to a day.",
    'hour=4, jitter="2d"': "from a millisecond to a day.",
    # What does not go together.
    'hour=4, every="5m"': "call it once for each.",
    'hour=4, time="03:00"': "time= goes with calendar=, as in calendar='3 months', time='03:00'.",
    'after="Import", jitter="5s"': "jitter= does not go with after=, which has no time of its own.",
    "after=None": 'write after="Import", or a list of names.',
    'trigger="every 5m"': "For a rule in words use cron=, every= or at=.",
    "second=5": "unexpected keyword argument 'second'",
}

#: What is found out only with the zone and the name; it has the line of the class.
REFUSED_LATER = {
    'hour=12, between="22:00-06:00"': "never fires: in none of its windows does the rule within fire",
    'hour=4, exclude="0001-01-01..9999-12-31"': "never fires: on no other date does the rule within fire",
    'after="Report"': "they would run after each other for ever.",
}

#: What next_after() of a class of the site's own does, and why it is refused.
OWN_CLASSES = {
    "return moment": "which is not later.",
    "return moment - timedelta(days=1)": "which is not later.",
    "return moment.replace(tzinfo=None) + timedelta(days=1)": "which is no moment: give it a zone.",
    "return '04:00'": "it must be an aware datetime, or None.",
    "return moment + timedelta(hours=1)": "Count from a fixed moment, not from the one given.",
    "return moment + timedelta(milliseconds=1)": "a second apart is the least.",
    "return datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))": "which is no moment",
    "1 / 0": "failed: ZeroDivisionError: division by zero (",
}


def refusal(site: Site, said: str, before: str = "") -> str:
    """Return what loading a task file says that it must refuse."""
    path = site.put("__tasks__.py", TASKS.format(said=said, before=before))
    ended = site.run("load")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    return ended.stderr.removeprefix(f"dracotask: {path} is broken: ").strip()


@pytest.mark.parametrize("said", REFUSED, ids=lambda said: ascii(said)[1:60])
def test_a_wrong_rule_is_refused_with_its_line_and_what_would_be_right(site, said):
    words = refusal(site, said)
    assert words.startswith((f"line {LINE}: BadTrigger: ", f"line {LINE}: TypeError: "))
    assert REFUSED[said] in words and len(words) < 500


@pytest.mark.parametrize("said", REFUSED_LATER)
def test_a_rule_that_can_never_come_about_is_refused_with_the_line_of_its_task(site, said):
    words = refusal(site, said)
    assert words.startswith(f"line {LINE - 2}: ") and REFUSED_LATER[said] in words


@pytest.mark.parametrize("body", OWN_CLASSES)
def test_a_class_of_ones_own_that_breaks_its_promise_is_refused_by_name(site, body):
    before = f"class Mine(Trigger):\n    def next_after(self, moment):\n        {body}"
    words = refusal(site, "trigger=Mine()", before)
    assert words.startswith("line ") and "__tasks__:Mine" in words and OWN_CLASSES[body] in words


def test_what_is_handed_over_piece_by_piece_is_taken_as_a_list(site):
    # Given arguments that can be gone through but once
    site.put("holidays.txt", "2040-12-25\n")
    said = "minute=map(int, '5 35'.split()), exclude=(name for name in ['holidays.txt', '2041-01-01'])"
    site.put("__tasks__.py", TASKS.format(said=said, before=""))

    # When they are loaded
    ended = site.run("load")

    # Then the rule has them all
    assert ended.returncode == 0, ended.stderr
    rule = site.schedule("Report").trigger
    assert rule.startswith("except 2040-12-25,2041-01-01 ") and "(cron 5,35 * * * * " in rule


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_an_end_that_means_never_hinders_nobody_in_any_zone(site, zone):
    # Given rules up to the last moment that there is, and from the first
    rule = 'hour=4, start="0001-01-01T00:00:00Z", end="9999-12-31T23:59:59Z"'
    site.put("dracotask.toml", f'timezone = "{zone}"')
    site.put("__tasks__.py", TASKS.format(said=rule, before=""))

    # When they are loaded and looked at
    said = [site.run(*command) for command in (["load"], ["list"], ["show", "Report"], ["preview", "Report"])]

    # Then all is said
    assert [(ended.returncode, ended.stderr) for ended in said] == [(0, "")] * 4
    assert all("daily 04:00" in ended.stdout for ended in said)
