"""What the list of tasks and the history say, with the time handed in."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from helpers import NOON, a_run, a_schedule, at, seconds

from dracotask.cli.output import Paper, cells
from dracotask.cli.tables import run_table, task_lines, task_table, tasks_counted
from dracotask.report.words import about, moment_in_words, next_in_words, result_in_words
from dracotask.visible import visible, visible_line

PARIS = ZoneInfo("Europe/Paris")

DAILY = "cron 0 3 * * * Europe/Paris"
HOURLY = "every 1h from 2000-01-01T00:00:00+00:00"


def ended(task, state, *, began, took, **facts):
    return a_run(task, state=state, started_at=began, finished_at=began + seconds(took), **facts)


#: A site at 14:00 in Paris, one task of each kind.
SCHEDULES = [
    a_schedule("Gone", trigger=HOURLY, next_fire_time=at("2026-11-21T13:00+00:00"), vanished_at=NOON),
    a_schedule("Manual", trigger=None),
    a_schedule("PruneUploads", trigger=DAILY, held_at=NOON, held_by="anna"),
    a_schedule("CleanSessions", trigger=HOURLY, next_fire_time=at("2026-11-21T13:23+00:00")),
    a_schedule("FetchRates", trigger=HOURLY, next_fire_time=at("2026-11-21T10:50+00:00")),
    a_schedule("RebuildSearch", trigger=HOURLY, next_fire_time=at("2026-11-21T14:00+00:00")),
    a_schedule("NightlyReport", trigger=DAILY, next_fire_time=at("2026-11-22T02:00+00:00")),
]

NOW = at("2026-11-21T13:00:00+00:00")

LAST_RUNS = {
    "NightlyReport": ended(
        "NightlyReport", "failed", began=at("2026-11-21T02:00+00:00"), took=108, error="SMTPServerLost"
    ),
    "RebuildSearch": a_run("RebuildSearch", state="running", started_at=at("2026-11-21T12:59:18+00:00")),
    "CleanSessions": ended(
        "CleanSessions", "succeeded", began=at("2026-11-21T12:23+00:00"), took=0.8, summary="412 sessions deleted"
    ),
    "FetchRates": ended("FetchRates", "succeeded", began=at("2026-11-20T15:15+00:00"), took=2.4),
    "PruneUploads": ended("PruneUploads", "succeeded", began=at("2026-11-13T03:30+00:00"), took=12),
}


def the_lines(schedules=SCHEDULES, last_runs=LAST_RUNS, queued=None):
    return task_lines(schedules, last_runs, queued or {}, now=NOW, zone=PARIS, late_after=300)


def test_the_list_puts_trouble_first_and_says_each_thing_in_words():
    # Given a site with a task in each state
    # When it is listed into a pipe
    lines = task_table(the_lines(), Paper())

    # Then the order is failed, late, running, what is next, held, on demand, gone; and nothing is cut off
    assert lines == [
        "  TASK           SCHEDULE     NEXT                      LAST             RESULT",
        "✕ NightlyReport  daily 03:00  tomorrow 03:00, in 13h    03:00, 11h ago   failed, 1m 48s: SMTPServerLost",
        "! FetchRates     every hour   late by 2h 10m            yesterday 16:15  ok, 2.4s",
        "▶ RebuildSearch  every hour   15:00, in 60m             now, 42s         running",
        "✓ CleanSessions  every hour   14:23, in 23m             13:23, 37m ago   ok, 0.8s: 412 sessions deleted",
        "‖ PruneUploads   daily 03:00  held by anna since 13:00  8 days ago       ok, 12s",
        "  Manual         on demand    -                         -",
        "  Gone           every hour   gone from the file        -",
    ]


def test_the_line_below_counts_what_matters():
    assert tasks_counted(the_lines(), "Europe/Paris") == (
        "6 tasks, 1 failed, 1 running, 1 late, 1 held. Times in Europe/Paris."
    )


def test_nothing_is_counted_that_is_not_there():
    assert tasks_counted(the_lines([a_schedule("Manual", trigger=None)], {}), "UTC") == "1 task. Times in UTC."


def test_what_somebody_did_to_a_schedule_is_seen_in_its_line():
    # Given schedules that were held for a while, told to skip, rescheduled and added
    four = at("2026-11-21T15:00+00:00")
    schedules = [
        a_schedule("Held", trigger=HOURLY, held_at=NOON, held_by="anna", held_until=four, next_fire_time=four),
        a_schedule("Once", trigger=HOURLY, skip_until=four, next_fire_time=four),
        a_schedule("Twice", trigger=HOURLY, skip_until=four + timedelta(hours=1), next_fire_time=four),
        a_schedule("Other", trigger=DAILY, override="every 2m", next_fire_time=four),
        a_schedule("Digest", task="Report", declared=False, trigger=None),
    ]

    # When they are listed
    lines = task_table(the_lines(schedules, {}), Paper())

    # Then each line says so
    assert lines[1:] == [
        "  Once             every hour                     skips 16:00               -",
        "  Twice            every hour                     skips up to 17:00         -",
        "  Other            every 2 minutes (rescheduled)  16:00, in 2h              -",
        "‖ Held             every hour                     held by anna until 16:00  -",
        "  Digest (Report)  on demand                      -                         -",
    ]
    assert tasks_counted(the_lines(schedules, {}), "UTC") == "4 tasks, 1 added schedule, 1 held. Times in UTC."


def test_in_a_site_that_is_held_nothing_comes_next_and_nothing_is_late():
    lines = task_lines(SCHEDULES, LAST_RUNS, {}, now=NOW, zone=PARIS, late_after=300, site_held=True)

    assert {line.schedule.name: line.next[0] for line in lines} == {
        **{schedule.name: "held with the site" for schedule in SCHEDULES},
        "PruneUploads": "held by anna since 13:00",
        "Gone": "gone from the file",
    }
    assert {line.mark for line in lines} == {"failed", "held", "running", ""}
    assert tasks_counted(lines, "UTC") == "6 tasks, 1 failed, 1 running, 4 held. Times in UTC."


def test_a_task_that_waits_for_a_slot_says_so():
    queued = {"CleanSessions": a_run("CleanSessions", queued_at=NOW - seconds(40))}

    (line,) = the_lines([SCHEDULES[3]], {}, queued)

    assert line.next[0] == "queued, 40s"


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_no_line_is_wider_than_the_terminal(width):
    wordy = {**LAST_RUNS, "CleanSessions": LAST_RUNS["CleanSessions"].but(summary="word " * 100)}

    lines = task_table(the_lines(last_runs=wordy), Paper(width=width))

    assert max(map(cells, lines)) <= width


def test_a_narrow_terminal_keeps_the_names_and_says_times_in_short():
    lines = task_table(the_lines(), Paper(width=80))

    assert lines[1] == "✕ NightlyReport  daily 03:00  in 13h        11h ago     failed, 1m 48s: SMTPSer…"


def test_wide_letters_keep_the_columns_straight():
    # Given a result in Chinese, whose letters take two columns each
    schedules = [a_schedule("任务", trigger=HOURLY), a_schedule("Task", trigger=HOURLY)]

    # When it is listed
    header, chinese, latin = task_table(the_lines(schedules, {}), Paper())

    # Then what follows stands in one line
    assert cells(chinese[: chinese.index("every")]) == latin.index("every") == header.index("SCHEDULE")


def test_an_ascii_terminal_gets_ascii_marks_and_dots():
    lines = task_table(the_lines(), Paper(unicode=False, width=70))

    assert [line[0] for line in lines[1:]] == ["x", "!", ">", "+", "=", " ", " "]
    assert all(line.isascii() for line in lines)


def test_colours_come_only_where_they_are_shown():
    assert "\033[31m✕\033[0m" in task_table(the_lines(), Paper(colour=True))[1]
    assert not any("\033" in line for line in task_table(the_lines(), Paper()))


def test_what_a_task_says_cannot_steer_the_terminal():
    evil = ended("CleanSessions", "succeeded", began=NOON, took=1, summary="\033[2J\x9b2J\u202eevil\nnext\ttab")

    lines = task_table(the_lines([SCHEDULES[3]], {"CleanSessions": evil}), Paper())

    assert lines[1].endswith(r"\x1b[2J\x9b2J\u202eevil\nnext\ttab")


def test_lines_and_tabs_of_a_text_stay_and_escapes_do_not():
    assert visible("a\tb\r\nc\rd\x00\x7f") == "a\tb\nc\\rd\\x00\\x7f"
    assert visible_line("a\nb") == "a\\nb"
    assert visible("grüß dich, 任务 ✓") == "grüß dich, 任务 ✓"


@pytest.mark.parametrize(
    "moment, words",
    [
        ("2026-11-21T22:30:00+00:00", "23:30"),
        ("2026-11-21T13:00:30+00:00", "14:00:30"),
        ("2026-11-21T23:30:00+00:00", "tomorrow 00:30"),
        ("2026-11-20T23:30:00+00:00", "00:30"),
        ("2026-11-20T22:30:00+00:00", "yesterday 23:30"),
        ("2026-11-23T03:00:00+00:00", "Mon 04:00"),
        ("2026-12-12T03:00:00+00:00", "12 Dec 04:00"),
        ("2027-01-01T03:00:00+00:00", "2027-01-01 04:00"),
    ],
)
def test_moments_are_told_by_the_clock_of_the_site(moment, words):
    assert moment_in_words(at(moment), NOW, PARIS) == words


@pytest.mark.parametrize(
    "number, words", [(0, "0s"), (89, "89s"), (23 * 60, "23m"), (12 * 3600, "12h"), (6 * 86400, "6 days")]
)
def test_lengths_of_time_have_one_unit(number, words):
    assert about(number) == words


def test_a_fire_time_is_late_only_after_the_grace():
    schedule = a_schedule(trigger=HOURLY, next_fire_time=NOW - timedelta(minutes=5))

    assert next_in_words(schedule, NOW, PARIS, 300)[0] == "due now"
    assert next_in_words(schedule, NOW + seconds(1), PARIS, 300)[0] == "late by 5m 1s"


@pytest.mark.parametrize(
    "run, words",
    [
        (ended("T", "timed_out", began=NOON, took=1, error="over its time limit of 1s"),
         "timed out, 1s: over its time limit of 1s"),
        (ended("T", "stopped", began=NOON, took=3, error="stopped by anna: why not"), "stopped, 3s: by anna: why not"),
        (ended("T", "lost", began=NOON, took=90, error="its supervisor died"), "lost, 1m 30s: its supervisor died"),
        (a_run("T", state="skipped", summary="still running"), "skipped: still running"),
        (a_run("T", state="missed", fire_from=NOON, fire_time=NOON, fire_count=40, summary="nobody looked"),
         "missed: 40 fire times: nobody looked"),
        (a_run("T", state="running", started_at=NOON, stop_at=NOON), "stopping"),
        (a_run("T", state="running", progress_done=420.0, progress_total=1000.0, progress_note="page 12"),
         "running, 42 %, page 12"),
        (a_run("T", state="running", progress_done=1200.0), "running, 1200 done"),
        (a_run("T", state="running", progress_done=0.0, progress_total=0.0), "running, 0 done"),
        (a_run("T", state="succeeded", progress_done=1000.0, progress_total=1000.0), "ok"),
    ],
)  # fmt: skip
def test_results_are_told_in_words(run, words):
    assert result_in_words(run) == words


def test_history_says_who_brought_a_run_about():
    run = LAST_RUNS["CleanSessions"].but(id="1" * 26, origin="request")
    run.queued_at = run.started_at

    lines = run_table([run], Paper(), now=NOW, zone=PARIS)

    assert lines == [
        "  RUN                         TASK           WHEN   BY       RESULT",
        "✓ 11111111111111111111111111  CleanSessions  13:23  request  ok, 0.8s: 412 sessions deleted",
    ]


def test_history_says_how_late_a_run_was_and_why():
    # Given a run that was found two hours late, and one that was in time
    run = LAST_RUNS["CleanSessions"].but(id="1" * 26, origin="tick")
    run.queued_at = run.started_at
    late = run.but(id="2" * 26, fire_time=run.started_at - timedelta(hours=2), late_cause="no request came")

    # Then there is a column for it
    lines = run_table([late, run], Paper(), now=NOW, zone=PARIS)
    assert lines == [
        "  RUN                         TASK           WHEN   BY    LATE                 RESULT",
        "✓ 22222222222222222222222222  CleanSessions  13:23  tick  2h: no request came  ok, 0.8s: 412 sessions deleted",
        "✓ 11111111111111111111111111  CleanSessions  13:23  tick                       ok, 0.8s: 412 sessions deleted",
    ]
