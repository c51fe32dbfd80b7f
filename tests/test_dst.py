"""Clocks that are put forward and back: the table of the explanation, and Debian's cron as the judge."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from cron_oracle import fire_times
from rst import Document

from dracotask.triggers import Trigger, parse_trigger
from dracotask.triggers.clocks import changes
from dracotask.triggers.cron import CronTrigger

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
at = datetime.fromisoformat


def between(trigger: Trigger, start: datetime, end: datetime) -> list[datetime]:
    """Return the fire times from ``start`` to just before ``end``."""
    found = []
    fire_time = trigger.next_after(start - SECOND)
    while fire_time is not None and fire_time < end:
        found.append(fire_time)
        fire_time = trigger.next_after(fire_time)
    return found


# -- The table of the explanation ----------------------------------------------------------------

CLOCK = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d) to ((?:\d{4}-\d\d-\d\d )?\d\d:\d\d)")


class Night:
    """One row of the table: a rule in a zone, at a change of its clock."""

    def __init__(self, rule: str, zone: str, clock: str, fires: str) -> None:
        self.rule, self.clock, self.zone, self.fires = rule, clock, ZoneInfo(zone), fires
        day, before, after = CLOCK.fullmatch(clock).groups()
        self.before = at(f"{day} {before}")
        self.after = at(after if len(after) > 5 else f"{day} {after}")
        # A second before it, the clock was still the old one.
        self.change = (self.before - SECOND).replace(tzinfo=self.zone).astimezone(UTC) + SECOND

    def trigger(self) -> Trigger:
        head, is_from, start = self.rule.partition(" from ")
        return parse_trigger(self.rule if head.startswith("every") else f"{head} {self.zone}{is_from}{start}")

    def shown(self, fire_time: datetime) -> str:
        """Return a fire time as the table has it: the day of the month, the time, and the offset's hours."""
        local = fire_time.astimezone(self.zone)
        return f"{local:%d %H:%M}{local:%z}".removesuffix("00")


(TABLE,) = (table for table in Document("docs/explanation.rst").tables() if table[0][-1] == "Fires")
NIGHTS = [Night(*row) for row in TABLE[1:]]


@pytest.mark.parametrize("night", NIGHTS, ids=lambda night: f"{night.rule} {night.zone} {night.clock}")
def test_the_table_of_the_explanation_is_so(night):
    # Given the row's change, and that the clock changes as it says
    assert night.change.astimezone(night.zone).replace(tzinfo=None) == night.after

    # When the hours around it pass
    fires = between(night.trigger(), night.change - HOUR, night.change + 3 * HOUR + SECOND)

    # Then it fires as the row says, once each, in order
    assert ", ".join(map(night.shown, fires)) == (night.fires if night.fires != "nothing" else "")
    assert sorted(set(fires)) == fires


@pytest.mark.parametrize(
    "night",
    [night for night in NIGHTS if night.rule.startswith("cron")],
    ids=lambda night: f"{night.rule} {night.zone} {night.clock}",
)
def test_the_table_of_the_explanation_is_as_debians_cron_has_it(night):
    # Given a row, and what cron does from a day before it until a few hours after it
    start, end = night.change - 26 * HOUR, night.change + 3 * HOUR + SECOND
    if len(night.rule.split()) == 7:
        start = night.change - 2 * HOUR  # seconds take sixty times as long
    expected = fire_times(night.rule.removeprefix("cron "), str(night.zone), start, end)

    # Then our trigger does the same
    assert between(night.trigger(), start, end) == expected


def test_the_table_has_every_zone_that_was_promised_in_both_directions():
    forward = {str(night.zone) for night in NIGHTS if night.after > night.before}
    back = {str(night.zone) for night in NIGHTS if night.after < night.before}

    promised = {"America/New_York", "Europe/Riga", "Australia/Lord_Howe", "Asia/Amman", "America/Santiago"}
    assert promised | {"Pacific/Apia"} == forward
    assert promised == back


# -- Debian's cron, in many zones ----------------------------------------------------------------

#: Rules that have a time in every change, wherever it falls: fixed ones, and some that follow the clock.
EVERYWHERE = ["15 0-23 * * *", "0,30 * * * *", "7-59/20 */2 * * *", "0 0 * * *", "50 1,3,23 * * 0"]

#: Zones with clocks of all kinds: north and south, half hours, midnights, whole days, politics, Ramadan.
ZONES = [
    "Africa/Cairo", "Africa/Casablanca", "Africa/Juba", "America/Asuncion", "America/Caracas",
    "America/Godthab", "America/Havana", "America/New_York", "America/Santiago", "America/Sao_Paulo",
    "America/St_Johns", "Antarctica/Troll", "Asia/Amman", "Asia/Gaza", "Asia/Kathmandu", "Asia/Pyongyang",
    "Asia/Tehran", "Atlantic/Azores", "Australia/Adelaide", "Australia/Lord_Howe", "Europe/Chisinau",
    "Europe/Dublin", "Europe/Istanbul", "Europe/London", "Europe/Moscow", "Europe/Riga", "Europe/Volgograd",
    "Pacific/Apia", "Pacific/Auckland", "Pacific/Chatham", "Pacific/Easter", "Pacific/Fakaofo",
    "Pacific/Norfolk",
]  # fmt: skip


def changes_of(zone: ZoneInfo, first_year: int, last_year: int) -> list[datetime]:
    """Return the moments at which the clock of a zone is put forward or back; found without our own code."""
    found, early = [], datetime(first_year, 1, 1, tzinfo=UTC)
    while early.year <= last_year:
        late = early + 12 * HOUR
        if early.astimezone(zone).utcoffset() != late.astimezone(zone).utcoffset():
            minutes = (early + timedelta(minutes=count) for count in range(1, 721))
            was = early.astimezone(zone).utcoffset()
            found.append(next(minute for minute in minutes if minute.astimezone(zone).utcoffset() != was))
        early = late
    return found


def at_the_change(change: datetime, zone: ZoneInfo) -> list[str]:
    """Return rules with a time in the middle of what the clock leaves out or shows twice; see the table's for more."""
    before = (change - SECOND).astimezone(zone).replace(tzinfo=None) + SECOND
    after = change.astimezone(zone).replace(tzinfo=None)
    middle = min(before, after) + min(abs(after - before), timedelta(hours=3)) / 2
    minute, hour = middle.minute, middle.hour
    return [
        f"{minute} {hour} * * *",
        f"*/10 {hour} * * *",
        f"{minute},59 {hour},{before.hour},{after.hour} {middle.day} * *",
    ]


@cache
def judged(expression: str, zone: str, change: datetime) -> list[datetime]:
    return fire_times(expression, zone, change - 3 * HOUR, change + 4 * HOUR)


def differences(zone: str, change: datetime, like: dict[object, str]) -> list[str]:
    """Return what our triggers do otherwise than cron in the hours around a change.

    :param like: a zone for each change known so far. Where two clocks are moved alike, cron is asked once.
    """
    clock = ZoneInfo(zone)
    walls = tuple((change + step).astimezone(clock).replace(tzinfo=None) for step in (-SECOND, SECOND))
    same = like.setdefault((change, walls), zone)
    return [
        f"{expression} {zone} {change}"
        for expression in [*EVERYWHERE, *at_the_change(change, clock)]
        if between(CronTrigger(expression, zone), change - 3 * HOUR, change + 4 * HOUR)
        != judged(expression, same, change)
    ]


@pytest.mark.parametrize("zone", ZONES)
def test_it_fires_when_debians_cron_would(zone):
    # Given each change of a zone's clock in some years of this century
    moments = changes_of(ZoneInfo(zone), 2009, 2012) + changes_of(ZoneInfo(zone), 2022, 2027)

    # When the hours around it are lived through minute by minute
    found = [line for change in moments for line in differences(zone, change, {})]

    # Then our triggers fire when cron would
    assert not found


@pytest.mark.long
def test_it_fires_when_debians_cron_would_in_every_zone_there_is():
    # Given each change of each clock from 2000 to 2037
    like: dict[object, str] = {}
    count, found = 0, []
    for zone in sorted(available_timezones() - {"localtime"}):
        moments = changes_of(ZoneInfo(zone), 2000, 2037)
        assert [change.moment for change in changes(zone, at("2000-01-01T00:00Z"), at("2038-01-01T00:00Z"))] == moments
        for change in moments:
            # When the hours around it are lived through minute by minute
            found += differences(zone, change, like)
            count += 1

    # Then our triggers fire when cron would
    assert not found
    assert count > 10_000


def test_seconds_follow_the_same_rule():
    # Given half an hour that is left out, and one that is shown twice
    for change in (at("2026-10-03T15:30Z"), at("2026-04-04T15:00Z")):
        start, end = change - HOUR, change + HOUR
        for expression in ("*/20 15 1-2 * * *", "7 */15 * * * *", "0,59 45,59 1 * * *", "30 0 2 * * *"):
            # When each second of it is lived through
            expected = fire_times(expression, "Australia/Lord_Howe", start, end)

            # Then the trigger names the same ones
            assert between(CronTrigger(expression, "Australia/Lord_Howe"), start, end) == expected


@pytest.mark.parametrize("zone", ["America/New_York", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia"])
@pytest.mark.parametrize(
    "rule", ["cron 15 0-23 * * *", "cron */15 * * * *", "cron */10 2 * * *", "calendar 1 day 02:15"]
)
def test_it_does_not_matter_where_near_a_change_one_asks(zone, rule):
    trigger = parse_trigger(f"{rule} {zone}")
    for change in changes_of(ZoneInfo(zone), 2011, 2012):
        # Given the fire times as seen from well before the change
        known = between(trigger, change - timedelta(days=2), change + timedelta(days=3))

        # When asked every few minutes, and between seconds, all through the changing hours
        for moment in (change + timedelta(minutes=count, microseconds=count % 3) for count in range(-155, 200, 5)):
            # Then the answer is the next one of them
            assert trigger.next_after(moment) == next(fire_time for fire_time in known if fire_time > moment)


def test_a_time_that_is_left_out_every_year_is_given_up(monkeypatch):
    # Given minutes after two of the nights in which New York's clock goes from two to three
    trigger = CronTrigger("*/5 2 8-14 3 *", "America/New_York")
    left_out = CronTrigger("*/5 2 * 3 sun#2", "America/New_York")

    # When the looks at the clock are counted
    looks = []
    monkeypatch.setattr("dracotask.triggers.cron.changes", lambda *span: looks.append(span) or changes(*span))

    # Then other nights count, and a rule of only such nights has no fire time, and an end to its search
    assert trigger.next_after(at("2027-03-01T00:00Z")) == at("2027-03-08T07:00Z")
    assert left_out.next_after(at("2027-03-01T00:00Z")) is None
    assert len(looks) < 200
