"""Dates on which a task is not due, from a file, and fire times that a class of the docroot names: on a real site."""

from __future__ import annotations

import sys
from datetime import date, timedelta

import pytest
from helpers import at
from programs import nothing

from dracotask import Trigger
from dracotask.clock import utc_now
from dracotask.errors import BadTrigger, ControlError
from dracotask.holidays import read_holidays
from dracotask.rules import rule_of
from dracotask.scheduler import Scheduler
from dracotask.triggers import parse_trigger
from dracotask.triggers.listed import MOST_MOMENTS

CHRISTMAS = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//
BEGIN:VEVENT
UID:1
DTSTART;VALUE=DATE:20201225
DTEND;VALUE=DATE:20201227
RRULE:FREQ=YEARLY
SUMMARY:Christmas
END:VEVENT
BEGIN:VEVENT
UID:2
DTSTART:20261124T100000Z
DTEND:20261124T110000Z
SUMMARY:A meeting is no holiday
END:VEVENT
END:VCALENDAR
"""

PAY = """
class Pay(Task):
    def __init__(self):
        self.schedule(hour=8, exclude="{file}", timezone="Europe/Riga")

    def run(self):
        pass
"""


# -- Files of holidays ---------------------------------------------------------------------------


def test_a_text_has_a_date_on_each_line_and_words_for_people(tmp_path):
    (tmp_path / "holidays.txt").write_text(
        "# Latvia\n\n2026-12-25..2026-12-26  Christmas\n2027-01-01\tNew Year\n2026-12-24 # half a day\n"
    )
    spans = read_holidays(tmp_path / "holidays.txt", date(2026, 11, 21))
    assert spans == [(date(2026, 12, 24), date(2026, 12, 26)), (date(2027, 1, 1), date(2027, 1, 1))]


def test_of_a_calendar_the_whole_days_count_year_by_year(tmp_path):
    pytest.importorskip("recurring_ical_events")
    (tmp_path / "holidays.ics").write_text(CHRISTMAS)

    spans = read_holidays(tmp_path / "holidays.ics", date(2026, 11, 21))

    assert spans == [(date(year, 12, 25), date(year, 12, 26)) for year in range(2025, 2037)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("holidays.txt", b"2026-12-25\n\nChristmas 2026-12-26\n", "holidays.txt, line 3: 'Christmas' is no date"),
        ("holidays.txt", b"2026-12-25\n2026-02-30\n", "holidays.txt, line 2: '2026-02-30' is no date"),
        ("holidays.txt", b"2026-12-25\n\xff\n", "holidays.txt, line 2: it is not UTF-8"),
        ("holidays.txt", b"# none\n", "holidays.txt: there is no date in it"),
        ("holidays.txt", b"2026-12-25\n" * 4001, "4001 dates are too many"),
        ("holidays.txt", b" " * (1 << 20) + b"2026", "longer than 1 MB"),
        ("holidays.ics", b"hello", "holidays.ics: it is no calendar that can be read"),
        ("holidays.ics", b"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nEND:VCALENDAR\n", "there is no date in it"),
        ("missing.txt", None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_no_list_of_dates_is_refused_with_its_line(tmp_path, name, content, message):
    pytest.importorskip("recurring_ical_events")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadTrigger) as caught:
        read_holidays(tmp_path / name, date(2026, 11, 21))
    assert message in str(caught.value) and str(tmp_path) in str(caught.value)


def test_without_its_extra_a_calendar_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "holidays.ics").write_text(CHRISTMAS)
    monkeypatch.setitem(sys.modules, "icalendar", None)
    with pytest.raises(BadTrigger, match=r"pip install dracotask\[ics\]"):
        read_holidays(tmp_path / "holidays.ics", date(2026, 11, 21))


def test_a_changed_file_of_holidays_is_a_changed_rule(site):
    # Given a task that is not due on the dates of a file
    site.put("holidays.txt", "2030-12-25\n")
    site.write(PAY.format(file="holidays.txt"))
    site.due()
    assert site.schedule("Pay").trigger == "except 2030-12-25 Europe/Riga (cron 0 8 * * * Europe/Riga)"

    # When the file changes, and somebody looks
    site.put("holidays.txt", "2030-12-25\n2031-01-01\n")
    site.due()

    # Then the rule is another
    assert site.schedule("Pay").trigger == "except 2030-12-25,2031-01-01 Europe/Riga (cron 0 8 * * * Europe/Riga)"


def test_a_file_that_is_wrong_or_missing_leaves_the_last_good_set_in_force(site):
    # Given a site with a file of holidays
    site.put("holidays.txt", "2030-12-25\n")
    site.write(PAY.format(file="holidays.txt"))
    site.due()
    trigger = site.schedule("Pay").trigger

    # When a line of it is none
    site.put("holidays.txt", "2030-12-25\n31.12.2030\n")
    site.due()

    # Then the load says which, with file and line, and the rule stays
    assert (
        "line 6: BadTrigger: " in site.problem() and "holidays.txt, line 2: '31.12.2030' is no date" in site.problem()
    )
    assert site.schedule("Pay").trigger == trigger

    # And when the file is gone, and comes back right
    (site.docroot / "holidays.txt").unlink()
    site.due()
    assert "No such file" in site.problem()
    site.put("holidays.txt", "2030-12-25\n")
    site.due()

    # Then it is loaded at once
    assert site.problem() is None


def test_a_site_reads_its_files_of_holidays_only_with_its_task_file(site):
    site.write("class Pay(Task):\n    def run(self):\n        pass\n")
    site.due()
    site.put("holidays.txt", "2030-12-25\n")

    ended = site.run("add", "nights", "Pay", "every", "5m", "--exclude", str(site.docroot / "holidays.txt"))
    assert ended.returncode == 2 and "Here give the dates themselves" in ended.stderr
    with pytest.raises(BadTrigger, match="Here give the dates themselves"):
        Scheduler(site.docroot).add("Pay", every="5m", name="nights", exclude=str(site.docroot / "holidays.txt"))
    assert site.run("add", "nights", "Pay", "every", "5m", "--exclude", "2030-12-25").returncode == 0


# -- A class of one's own ------------------------------------------------------------------------

BANK = """
from datetime import timedelta

from dracotask import Trigger


class BankDays(Trigger):
    \"\"\"Every day of the week at a time, but not on a Sunday.\"\"\"

    def __init__(self, hour):
        self.hour = hour

    def next_after(self, moment):
        following = moment.replace(hour=self.hour, minute=0, second=0, microsecond=0)
        while following <= moment or following.weekday() == 6:
            following += timedelta(days=1)
        return following
"""

NONSENSE = """\
from dracotask import Trigger


class BankDays(Trigger):
    def next_after(self, moment):
        {body}
"""

PAYS = """
from bank import BankDays


class Pay(Task):
    def __init__(self):
        self.schedule(trigger=BankDays(8))

    def run(self):
        tell(self)
"""


def bank_days(hour, since, until):
    moment, found = since.replace(hour=hour, minute=0, second=0, microsecond=0), []
    while moment <= until:
        if moment > since and moment.weekday() != 6:
            found.append(moment)
        moment += timedelta(days=1)
    return found


def test_a_class_in_a_module_of_the_docroot_names_the_fire_times(site):
    # Given a task with a rule of the site's own
    site.put("bank.py", BANK)
    site.write(PAYS)

    # When it is loaded
    before = utc_now()
    site.due()

    # Then the year to come is listed, without the tick ever having imported the class
    trigger = parse_trigger(site.schedule("Pay").trigger)
    assert trigger.name == "bank:BankDays"
    assert list(trigger.moments) == bank_days(8, before, trigger.horizon)
    assert before.replace(microsecond=0) <= trigger.horizon - timedelta(days=400) <= utc_now()
    assert site.schedule("Pay").next_fire_time == trigger.moments[0]

    # And what is due of it runs
    due = trigger.moments[0] - timedelta(days=7)
    with site.store() as store, store.transaction():
        listed = str(trigger).replace(trigger.moments[0].isoformat(), f"{due.isoformat()} +7d", 1)
        store.put_schedule(store.schedule("Pay").but(trigger=listed, next_fire_time=due))
    site.due()
    assert [run.fire_time for run in site.runs("Pay", states=("succeeded",))] == [due]


def make_half_used_up(site):
    """Let the moment come at which the class is to be asked again."""
    with site.store() as store, store.transaction():
        assert at(store.note("retry_at")) > utc_now()
        store.put_note("retry_at", "2026-01-01T00:00:00.000000+00:00")


def test_a_list_is_made_anew_before_it_is_used_up_and_the_rule_stays_the_same(site):
    # Given a site whose rule of its own is held, was rescheduled by hand, and has a fire time due
    site.put("bank.py", BANK)
    site.write(PAYS)
    site.due()
    site.run("hold", "Pay")
    first = parse_trigger(site.schedule("Pay").trigger)
    due = first.moments[0] - timedelta(days=700)
    older = f"by bank:BankDays {due.isoformat()} +700d to {first.moments[0].isoformat()}"
    with site.store() as store, store.transaction():
        store.put_schedule(store.schedule("Pay").but(trigger=older, next_fire_time=due))
    log = len((site.docroot / ".dracotask" / "log").read_text())

    # When half of the list is used up, and somebody looks
    make_half_used_up(site)
    site.due()

    # Then there is a new list, which goes on where the old one was, and what was due still is
    schedule = site.schedule("Pay")
    second = parse_trigger(schedule.trigger)
    assert second.moments[0] == due and second.moments[1:] == first.moments
    assert schedule.next_fire_time == due and schedule.held_at
    # And nobody was told of a change
    assert "Pay" not in (site.docroot / ".dracotask" / "log").read_text()[log:]


def test_an_operators_rule_outlives_a_list_made_anew(site):
    site.put("bank.py", BANK)
    site.write(PAYS)
    site.due()
    site.run("reschedule", "Pay", "every", "5m")

    make_half_used_up(site)
    site.due()

    assert site.schedule("Pay").override.startswith("every 5m ")


def test_a_class_that_names_other_moments_is_a_changed_rule(site):
    # Given a site with a rule of its own
    site.put("bank.py", BANK)
    site.write(PAYS)
    site.due()
    before = site.schedule("Pay").next_fire_time

    # When its class thinks better of it
    site.put("bank.py", BANK.replace("self.hour = hour", "self.hour = hour + 1"))
    site.due()

    # Then the next fire time is another
    assert site.schedule("Pay").next_fire_time.hour == 9 and before.hour == 8


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return moment", "which is not later"),
        ("return moment.replace(tzinfo=None)", "which is no moment: give it a zone"),
        ("return undefined", "failed: NameError: name 'undefined' is not defined"),
    ],
)
def test_a_class_that_answers_nonsense_is_refused_with_its_name_and_line(site, body, message):
    site.put(
        "bank.py",
        NONSENSE.format(body=body),
    )
    site.write(PAYS.replace("BankDays(8)", "BankDays()"))

    site.due()

    assert site.problem().startswith("line 7: BadTrigger: next_after(") and message in site.problem()
    assert "bank:BankDays" in site.problem()
    if "undefined" in body:
        assert "bank.py, line 6" in site.problem()


def test_a_class_without_end_or_patience_is_stopped_by_the_limit_of_a_load(site):
    site.put(
        "bank.py",
        NONSENSE.format(body="while True: pass"),
    )
    (site.docroot / "dracotask.toml").write_text("load_limit = 1\n")
    site.write(PAYS.replace("BankDays(8)", "BankDays()"))

    site.due()

    assert "was not loaded after 1 s" in site.problem()


def test_a_list_that_somebody_writes_by_hand_is_refused(site):
    site.write("class Pay(Task):\n    def run(self):\n        pass\n")
    site.due()
    text = "by bank:BankDays 2030-01-01T00:00:00+00:00 +1d"

    ended = site.run("add", "pays", "Pay", text)

    assert ended.returncode == 2 and "is made by the class itself" in ended.stderr
    with pytest.raises(ControlError, match="is made by the class itself"):
        Scheduler(site.docroot).add("Pay", name="pays", trigger=f"jitter 5m x ({text})")


# -- In a program ----------------------------------------------------------------------------------


class Minutes(Trigger):
    """Every minute, for as long as it may."""

    def next_after(self, moment):
        return moment.replace(second=0, microsecond=0) + timedelta(minutes=1)


def test_a_program_asks_its_own_class_again_before_the_list_ends(program):
    # Given a program with a rule of its own, which names more than is listed at once
    program.scheduler.add(nothing, trigger=Minutes(), name="tell", jitter="5s")
    horizon = program.now + timedelta(minutes=MOST_MOMENTS)

    # When time goes by, far beyond the first list
    while program.now < horizon + timedelta(hours=1):
        program.advance(minutes=30)
        program.home._tidy_up()

    # Then there still is a fire time to come, the next one
    upcoming = program.scheduler.schedule("tell").next_fire_time
    assert timedelta() < upcoming - program.now < timedelta(minutes=1, seconds=5)
    # And each half hour has had its run, none of them twice
    assert len({run.fire_time for run in program.runs("tell") if run.started_at}) == 19


# -- What is said in schedule() --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "trigger"),
    [
        ({"cron": "0 4 * * *", "timezone": "America/New_York"}, "cron 0 4 * * * America/New_York"),
        (
            {"hour": 4, "start": "2027-01-01T00:00Z", "end": "2027-02-01T00:00Z"},
            "cron 0 4 * * * Europe/Riga from 2027-01-01T00:00:00+00:00 until 2027-02-01T00:00:00+00:00",
        ),
        (
            {"every": "90m", "start": "2027-01-01T06:00", "timezone": "Europe/Riga"},
            "every 90m from 2027-01-01T04:00:00+00:00",
        ),
        ({"at": "2027-07-01T06:00", "timezone": "Europe/Riga"}, "at 2027-07-01T03:00:00+00:00"),
        (
            {"calendar": "3 months", "time": "03:00", "start": "2027-01-31"},
            "calendar 3 months 03:00 Europe/Riga from 2027-01-31",
        ),
        ({"calendar": "1 day"}, "calendar 1 day 00:00 Europe/Riga from 2001-01-01"),
        (
            {"every": "5m", "between": "22:00-06:00", "timezone": "UTC"},
            "between 22:00-06:00 UTC (every 5m from 2000-01-01T00:00:00+00:00)",
        ),
        ({"minute": 0, "exclude": {date(2026, 12, 25)}}, "except 2026-12-25 Europe/Riga (cron 0 * * * * Europe/Riga)"),
        (
            {"minute": 0, "jitter": 90, "between": "8:00-9:00", "exclude": ["2026-12-25", "2026-12-27"]},
            "jitter 90s sales_report (between 08:00-09:00 Europe/Riga (except 2026-12-25,2026-12-27 Europe/Riga "
            "(cron 0 * * * * Europe/Riga)))",
        ),
        (
            {"trigger": parse_trigger("every 1h"), "jitter": "5m"},
            "jitter 5m sales_report (every 1h from 2000-01-01T00:00:00+00:00)",
        ),
    ],
)
def test_a_rule_in_keywords_is_a_trigger(said, trigger):
    made = rule_of(**said)("Europe/Riga", "sales report")
    assert str(made) == trigger and parse_trigger(trigger) == made


def test_h_is_a_number_of_the_schedules_own():
    rule = rule_of(cron="H H * * *")
    assert len({str(rule("UTC", name)) for name in ("Report", "Import", "Sweep")}) == 3
    assert rule("UTC", "Report") == rule("UTC", "Report")


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"every": "5m", "time": "03:00"}, TypeError, "time= goes with calendar="),
        ({"every": "5m", "timezone": "UTC"}, TypeError, "timezone= says nothing beside every="),
        ({"at": "2027-01-01T00:00Z", "start": "2027-01-01T00:00Z"}, TypeError, "start= does not go with at="),
        (
            {"trigger": parse_trigger("every 1h"), "end": "2027-01-01T00:00Z"},
            TypeError,
            "end= does not go with trigger=",
        ),
        ({"cron": "0 4 * * *", "calendar": "1 day"}, TypeError, "or one of cron=, every=, at=, calendar="),
        ({"evry": "5m"}, TypeError, "has no evry="),
        ({"at": "2027-01-01T00:00"}, BadTrigger, "could be many moments"),
        ({"every": "5m", "start": "2027-01-01T00:00"}, BadTrigger, "could be many moments"),
        ({"hour": 4, "timezone": "Mars/Sea"}, BadTrigger, "zone 'Mars/Sea' is not known here"),
        ({"hour": 4, "exclude": []}, BadTrigger, "leaves nothing out"),
        ({"hour": 4, "exclude": 5}, BadTrigger, "is no date"),
        ({"hour": 4, "exclude": at("2026-12-25T00:00Z")}, BadTrigger, "is no date"),
        ({"hour": 4, "jitter": "2d"}, BadTrigger, "from a millisecond to a day"),
        ({"hour": 4, "between": 5}, BadTrigger, "between=5 is no window"),
        ({"calendar": "3 moons"}, BadTrigger, "calendar='3 moons'"),
        ({"trigger": "every 5m"}, BadTrigger, "is not a Trigger"),
    ],
)
def test_what_does_not_go_together_or_makes_no_sense_is_refused_at_once(said, error, message):
    with pytest.raises(error) as caught:
        rule_of(**said)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"hour": 4, "between": "05:00-06:00"},
            "never fires: in none of its windows does the rule within fire before 20",
        ),
        (
            {"at": "2026-12-25T12:00Z", "exclude": "2026-12-25"},
            "never fires: on no other date does the rule within fire",
        ),
        (
            {"trigger": parse_trigger("all (cron 0 4 * * * UTC | cron 0 5 * * * UTC)")},
            "never fires: its rules never agree before 20",
        ),
        (
            {"trigger": parse_trigger("any (every 1h | all (every 2s | every 2s from 2000-01-01T00:00:01Z))")},
            "its rules never agree",
        ),
    ],
)
def test_a_rule_that_can_never_come_about_is_refused_where_it_is_made(said, message):
    rule = rule_of(**said)
    with pytest.raises(BadTrigger) as caught:
        rule("UTC", "Report")
    assert message in str(caught.value)
