"""Triggers in words for people."""

from __future__ import annotations

from datetime import datetime

import pytest

from dracotask.triggers import Trigger, parse_trigger
from dracotask.triggers.cron import CronTrigger
from dracotask.triggers.draco import from_draco
from dracotask.triggers.words import describe


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("0,30 * * * *", "every 30 minutes"),
        ("0 * * * *", "every hour"),
        ("30 * * * *", "hourly at :30"),
        ("0 3 * * *", "daily 03:00"),
        ("0 4,16 * * *", "daily 04:00 and 16:00"),
        ("0 0,4,8,12,16,20 * * *", "every 4 hours"),
        ("5 */6 * * *", "every 6 hours at :05"),
        ("15 16 * * mon-fri", "weekdays 16:15"),
        ("15 16 * * 1-5", "weekdays 16:15"),
        ("30 4 * * 0", "sundays 04:30"),
        ("30 4 * * 7", "sundays 04:30"),
        ("0 9 * * sat,sun", "weekends 09:00"),
        ("0 9 * * sat-sun", "weekends 09:00"),
        ("@daily", "daily 00:00"),
        ("* * * * * *", "every second"),
        ("*/10 * * * * *", "every 10s"),
        ("*/15 * * * * mon-fri", "every 15s on weekdays"),
        ("0 */5 * * * *", "every 5 minutes"),
        ("30 0 4 * * *", "daily 04:00:30"),
        ("30 15 4,16 * * sun", "sundays 04:15:30 and 16:15:30"),
        ("5,7 0 4 * * mon-fri", "at 04:00:05 and 04:00:07 on Monday through Friday"),
        ("0 9 * * sun,wed,mon", "mondays, wednesdays and sundays 09:00"),
        ("*/15 * * * mon-fri", "every 15 minutes on weekdays"),
        # Without a star one of the two days is enough, and all weekdays are all days.
        ("0 4 15 * 0-6", "daily 04:00"),
        ("0 4 1-31 * mon", "daily 04:00"),
        # No short name: cronsim explains.
        ("0 4 15 * 1", "at 04:00 on the 15th day of month and on Monday"),
        ("0 4 1 * *", "at 04:00 on the first day of every month"),
        ("0 0 L * *", "at 00:00 on the last day of every month"),
        ("0 0 * * 5L", "at 00:00 on the last Friday of the month"),
        ("0 0 1 1 *", "at 00:00 on January 1"),
        ("0 9-17 * * *", "at minute 0 past every hour from 9 through 17"),
        ("* 4 * * *", "every minute from 04:00 through 04:59"),
    ],
)
def test_a_cron_expression_is_said_in_a_few_words(expression, words):
    assert describe(CronTrigger(expression, "Europe/Riga")) == words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "every minute"),
        ({"minute": 30}, "hourly at :30"),
        ({"dow": 0}, "mondays 00:00"),
        ({"hour": (0, 4, 8, 12, 16, 20)}, "every 4 hours"),
        ({"hour": 4, "minute": 30, "dow": 6}, "sundays 04:30"),
    ],
)
def test_a_draco_schedule_is_said_in_a_few_words(arguments, words):
    assert describe(CronTrigger(from_draco(**arguments))) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("every 90s", "every 90s"),
        ("every 1s", "every second"),
        ("every 60s", "every minute"),
        ("every 15m", "every 15 minutes"),
        ("every 90m", "every 90 minutes"),
        ("every 1h", "every hour"),
        ("every 1d", "every day"),
        ("every 2w", "every 2 weeks"),
        ("every 1.5s", "every 1.5s"),
        ("every 1h until 2030-01-01T00:00Z", "every hour until 2030-01-01 00:00"),
        ("cron 0 4 * * * Europe/Riga until 2029-12-31T22:00Z", "daily 04:00 until 2030-01-01 00:00"),
        ("cron 0 4 * * * UTC from 2029-12-31T22:00Z", "daily 04:00 from 2029-12-31 22:00"),
        ("cron 0 4 * * * Europe/Riga until 9999-12-31T23:59:59Z", "daily 04:00 until 9999-12-31 23:59:59"),
        ("every 1500ms", "every 1.5s"),
        ("at 2027-01-01T00:00Z", "once, 2027-01-01 00:00"),
        ("at 2027-01-01T00:00:05Z", "once, 2027-01-01 00:00:05"),
        ("any (cron 0 3 * * * UTC | every 90s)", "daily 03:00 and every 90s"),
        ("all (cron 0 3 * * * UTC | every 2d)", "daily 03:00, if also every 2 days"),
        ("jitter 30s Report (every 1h)", "every hour, up to 30s later"),
        ("between 8:00-12:00,13:00-17:00 UTC (every 5m)", "every 5 minutes, within 08:00-12:00 and 13:00-17:00"),
        ("except 2026-12-25,2026-12-26,2027-01-01 UTC (every 1h)", 
         "every hour, but not on 2026-12-25 to 2026-12-26 and 2027-01-01"),
        ("except 2026-12-01..2026-12-26,2027-01-01,2027-02-01,2027-03-01,2027-04-01 UTC (every 1h)",
         "every hour, but not on 30 days"),
        ("by bank:BankDays 2027-01-01T00:00:00+00:00 +1d", "as bank:BankDays says"),
    ],
)
def test_other_triggers_are_said_in_a_few_words(text, words):
    assert describe(parse_trigger(text)) == words


def test_a_rule_of_ones_own_is_said_by_its_text():
    class FullMoon(Trigger):
        def next_after(self, moment: datetime) -> datetime | None:
            return None

        def __str__(self) -> str:
            return "full moon"

    assert describe(FullMoon()) == "full moon"
