"""The pages of the console tell the truth, in few bytes, and say so when there is none to tell; without a browser."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from helpers import NOON, a_policy, a_run, a_schedule, at, begun, runs_in_order, seconds, stored
from pages import SENT_HERE, Element, Filled, Html

from dracotask.clock import rfc3339
from dracotask.console.pages import runs as runs_page
from dracotask.console.pages import watch
from dracotask.model import Run, id_from
from dracotask.run.supervisor import FILES_NOTE, PROBLEM_NOTE
from dracotask.state import lock, unlock
from dracotask.stores.sqlite import SQLiteStore

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
STATIC = Path(runs_page.__file__).parent.parent / "static"

#: Every page that has an address of its own, beside those of a task and a run.
LISTS = ("/", "/runs", "/activity", "/setup")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """Return a site in Berlin that was looked at, and has nothing in it."""
    return Filled(tmp_path / "site", monkeypatch).configure('timezone = "Europe/Berlin"').prepare()


@contextmanager
def at_work(site: Filled, run: Run) -> Iterator[None]:
    """Hold the lock of a Run, as its supervisor does."""
    held = lock(site.state.run_lock(run.id))
    assert held is not None
    try:
        yield
    finally:
        unlock(held)


def names(page: Html) -> list[str]:
    return [row.the("th").the("a").text for row in page.main.the("table").the("tbody").all("tr")]


def links(page: Html | Element, rel: str) -> list[str]:
    return [each["href"] for each in page.all("a", rel=rel)]


# -- Tasks -------------------------------------------------------------------------------------


def a_mixed_site(site: Filled) -> Run:
    """Fill a site with one schedule of each kind, and return the Run that is at work."""
    site.schedule("Gone", vanished_at=NOON)
    site.schedule("OnDemand", trigger=None)
    site.schedule("Held", held_at=NOON - HOUR, held_by="bob", next_fire_time=NOON + HOUR)
    site.schedule("Later", next_fire_time=NOON + 2 * HOUR, description="Counts what was sold.")
    site.schedule("Sooner", next_fire_time=NOON + HOUR)
    site.schedule("Busy", next_fire_time=NOON + HOUR)
    site.schedule("Tardy", next_fire_time=NOON - HOUR)
    site.schedule("Broken", next_fire_time=NOON + HOUR)
    site.ended("Later", finished_at=NOON + seconds(90), summary="412 sold")
    site.ended("Broken", state="failed", exit_code=1, error="ValueError: no such host")
    with site.store() as store:
        return begun(store, a_run("Busy", progress_done=3.0, progress_total=4.0))


def test_trouble_comes_first_then_what_is_next_then_what_never_comes_by_itself(site):
    with at_work(site, a_mixed_site(site)):
        page = site.page()

    assert names(page) == ["Broken", "Tardy", "Busy", "Sooner", "Later", "Held", "OnDemand", "Gone"]
    # (What is gone from the file is no task any more.)
    assert page.the("small", id="counts").text == "7 tasks · 1 running · 1 failed · 1 late · 1 held"
    assert page.title == "✕ 1 failed · dracotask"


def test_a_row_tells_rule_next_and_last_result(site):
    with at_work(site, a_mixed_site(site)):
        rows = {row[0]: row[1:] for row in site.page().rows("tasks")}

    assert rows["Broken"][:3] == ["every hour", "14:00, in 60m", "failed ValueError: no such host"]
    assert rows["Tardy"][1] == "late 60m"
    assert rows["Busy"][2] == "running 75 %"
    assert rows["Later Counts what was sold."][2:4] == ["ok 412 sold", "0s ago 1m 30s"]
    assert rows["Held"][1] == "held by bob since 12:00"
    assert rows["OnDemand"][:3] == ["on demand", "-", "never ran"]
    assert rows["Gone"][1] == "gone from the file"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=failed", ["Broken"]),
        ("state=late", ["Tardy"]),
        ("state=running", ["Busy"]),
        ("state=held", ["Held"]),
        ("state=on+demand", ["OnDemand"]),
        ("state=gone", ["Gone"]),
        ("q=SOLD", ["Later"]),
        ("q=a", ["Tardy", "Later", "OnDemand"]),
        ("q=a&state=failed", []),
        ("q=nothing", []),
    ],
)
def test_the_address_says_which_tasks_are_shown(site, query, expected):
    with at_work(site, a_mixed_site(site)):
        page = site.page(f"/?{query}")

    # The counts are of all of them, and the form says what was asked
    assert page.the("small", id="counts").text.startswith("7 tasks")
    if expected:
        assert names(page) == expected
    else:
        assert page.main.all("table") == [] and "None of 8 tasks is such a one." in page.main.text
    asked = parse_qs(query)
    assert page.the("input", name="q")["value"] == asked.get("q", [""])[0]
    assert [each.text for each in page.all("option", selected="")] == asked.get("state", [])


def test_a_run_whose_supervisor_died_is_counted_as_the_failure_that_it_is(site):
    # Given a run that nobody's process is at any more
    a_mixed_site(site)

    page = site.page()

    assert page.the("small", id="counts").text == "7 tasks · 2 failed · 1 late · 1 held"
    assert [*page.rows("tasks")[0], *page.rows("tasks")[1]][3::7] == [
        "lost its supervisor died; the next look puts that on record", "failed ValueError: no such host",
    ]  # fmt: skip


def test_a_long_list_has_pages_which_keep_what_was_asked(site):
    with site.store() as store, store.transaction():
        for number in range(120):
            stored(store, a_schedule(f"T{number:03d}", next_fire_time=NOON + (number + 1) * HOUR))

    first, last = site.page("/?q=T"), site.page("/?q=T&page=3")

    assert (names(first)[0], names(first)[-1], names(last)[-1]) == ("T000", "T049", "T119")
    assert (links(first, "prev"), links(first, "next")) == ([], ["./?q=T&page=2"])
    assert (links(last, "prev"), links(last, "next")) == (["./?q=T&page=2"], [])
    assert "3 of 3 · 120 tasks" in last.main.text
    # And there is none beyond the first and the last
    for page in ("-1", "0", "abc", "1e9", "", "\u0663"):
        assert names(site.page(f"/?q=T&page={page}")) == names(first)
    assert names(site.page("/?q=T&page=99999999999999999")) == names(last)


def test_the_list_as_json_has_every_task(site):
    with at_work(site, a_mixed_site(site)):
        listed = {each["name"]: each for each in site.json("/tasks.json")}

    assert len(listed) == 8
    assert (listed["Broken"]["last_run"]["state"], listed["Broken"]["last_run"]["exit_code"]) == ("failed", 1)
    assert listed["Busy"]["last_run"]["state"] == "running"
    assert (listed["Held"]["held"], listed["Later"]["next_fire_time"]) == (True, "2026-11-21T14:00:00Z")


def test_a_hold_of_the_whole_site_is_told_with_who_when_and_why(site):
    a_mixed_site(site)
    site.post("/", site="hold", why="the move")

    page = site.page()

    (banner,) = [each for each in page.all("section") if "held" in each.text]
    assert "The whole site is held by anna since 13:00, 0s ago: the move." in banner.text
    assert {row[2] for row in page.rows("tasks") if row[0] in ("Sooner", "Tardy")} == {"held with the site"}
    # And to run one now means to say on its own page that it is to run although it is held
    assert not page.all("button", name="run")
    assert "Run now, although it is held" in site.page("/task/Sooner").main.text
    assert "late" not in page.the("small", id="counts").text


# -- Banners -----------------------------------------------------------------------------------


def test_a_broken_task_file_is_shown_with_the_line_that_is_wrong(site):
    # Given a file of which the last load said so
    (site.docroot / "__tasks__.py").write_text(
        "import os\n\n\nclass Report(Task):\n    def run(self) -> <b>:\n        pass\n"
    )
    site.schedule()
    with site.store() as store:
        store.put_note(PROBLEM_NOTE, "SyntaxError: invalid syntax (__tasks__.py, line 5)")
        store.put_note(FILES_NOTE, "")

    (banner,) = [each for each in site.page().all("section", class_="red")]

    assert "__tasks__.py is broken: SyntaxError: invalid syntax (__tasks__.py, line 5)" in banner.text
    assert "Its last good version stays in force." in banner.text
    assert banner.the("span", class_="it").text == "5 def run(self) -> <b>:"
    assert [each.text for each in banner.all("i")] == ["2", "3", "4", "5", "6"]
    # And once it is mended the banner is gone
    with site.store() as store:
        store.put_note(PROBLEM_NOTE, None)
    assert site.page().all("section", class_="red") == []


def test_of_a_broken_file_that_was_never_whole_nothing_is_in_force_nor_is_anything_taught(site):
    with site.store() as store:
        store.put_note(PROBLEM_NOTE, "line 2: NameError: name 'Tusk' is not defined")

    page = site.page()

    assert "No version of it is in force yet." in page.the("section", class_="red").text
    assert "No tasks yet." not in page.main.text


def test_the_lines_shown_are_of_the_file_that_is_wrong(site):
    # Given a module of the site with a page break, a tab, and an error that the task file imports
    carts = site.docroot / "carts.py"
    carts.write_bytes(b"import os\n\x0c\ndef sum():\r\n\treturn (\n")
    (site.docroot / "__tasks__.py").write_text("import carts\n" * 9)
    site.schedule()
    with site.store() as store:
        store.put_note(PROBLEM_NOTE, f"{carts}, line 4: SyntaxError: '(' was never closed")

    (banner,) = [each for each in site.page().all("section", class_="red")]

    assert banner.the("span", class_="it").text == "4 return ("
    assert "carts" not in banner.the("pre").text


def test_a_broken_configuration_leaves_the_last_good_one_in_force_and_says_so(site):
    site.schedule()
    site.page()
    site.configure("timezone = ")

    page = site.page()

    (banner,) = page.all("section", class_="red")
    assert "dracotask.toml" in banner.text and "The last good configuration stays in force" in banner.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_state_folder_that_cannot_be_written_is_told(site):
    site.schedule()
    os.chmod(site.state.path, 0o500)
    try:
        assert "cannot be written" in site.page().the("section", class_="red").text
    finally:
        os.chmod(site.state.path, 0o700)


# -- Runs --------------------------------------------------------------------------------------


def a_history(site: Filled) -> list[Run]:
    """Fill a site with one run of each hour of three days, and return them, oldest first."""
    states = ["succeeded", "failed", "timed_out", "lost", "stopped", "skipped", "missed", "succeeded"]
    origins = ["tick", "request", "command", "console"]
    runs = []
    for number in range(72):
        began = NOON - (72 - number) * HOUR
        runs.append(
            a_run(
                ("Report", "Backup")[number % 2],
                id=id_from(began) + f"{number:012d}",
                state=states[number % 8],
                origin=origins[number % 4],
                requested_by=None,
                fire_time=began,
                queued_at=began,
                attempt=1,
                started_at=began + seconds(2),
                finished_at=began + seconds(32),
                summary=f"number {number}",
            )
        )  # fmt: skip
    with site.store() as store, store.transaction():
        for each in runs:
            store.add_run(each)
    return runs


def shown(page: Html) -> list[str]:
    """Return the ids of the Runs that a page lists."""
    rows = page.main.the("table").the("tbody").all("tr") if page.main.all("table") else []
    return [next(each["href"] for each in row.all("a") if "runs/" in each["href"]).rpartition("/")[2] for row in rows]


@pytest.mark.parametrize(
    ("query", "is_wanted"),
    [
        ({}, lambda run: True),
        ({"schedule": "Backup"}, lambda run: run.schedule == "Backup"),
        ({"state": "failed"}, lambda run: run.state == "failed"),
        ({"state": "any failure"}, lambda run: run.state in ("failed", "timed_out", "lost")),
        ({"state": "never started"}, lambda run: run.state in ("skipped", "missed")),
        ({"state": "active"}, lambda run: False),
        ({"origin": "console"}, lambda run: run.origin == "console"),
        ({"origin": "nobody"}, lambda run: False),
        ({"schedule": "Backup", "state": "failed", "origin": "request"},
         lambda run: (run.schedule, run.state, run.origin) == ("Backup", "failed", "request")),
        ({"since": "2026-11-20"}, lambda run: run.queued_at >= at("2026-11-20T00:00+01:00")),
        ({"until": "2026-11-19"}, lambda run: run.queued_at < at("2026-11-20T00:00+01:00")),
        ({"since": "2026-11-19", "until": "2026-11-19"},
         lambda run: at("2026-11-19T00:00+01:00") <= run.queued_at < at("2026-11-20T00:00+01:00")),
        ({"since": "2026-11-20", "until": "2026-11-19"}, lambda run: False),
    ],
)  # fmt: skip
def test_the_address_says_which_runs_are_shown(site, query, is_wanted):
    runs = a_history(site)
    expected = [run.id for run in runs[::-1] if is_wanted(run)]

    page = site.page("/runs", query_string=query)

    assert shown(page) == expected[:50]
    assert [each["id"] for each in site.json("/runs.json", query_string={**query, "limit": "500"})] == expected
    # The form says what was asked
    for name in ("schedule", "since", "until"):
        assert page.the("input", name=name)["value"] == query.get(name, "")


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_is_one_of_the_site_s_own_clock_however_long_it_is(site, day, hours):
    # Given a run at each half hour around the day on which the clocks of Berlin change
    midnight = at(f"{day}T00:00+00:00")
    with site.store() as store, store.transaction():
        for number in range(-8, 60):
            moment = midnight + number * HOUR / 2
            store.add_run(a_run(id=id_from(moment) + "0" * 12, queued_at=moment, state="succeeded"))

    assert len(site.json("/runs.json", query_string={"since": day, "until": day, "limit": "500"})) == 2 * hours


def test_pages_of_history_lead_on_by_the_last_run_that_was_seen(site):
    runs = [run.id for run in a_history(site)[::-1]]
    query = {"schedule": "", "limit": "20"}

    # When one turns over page by page, and a new run comes in between
    seen, address = [], "/runs?limit=20&state="
    while address:
        page = site.page(address)
        seen += shown(page)
        if len(seen) == 20:
            site.run(id=id_from(NOON) + "0" * 12)
        address = next((urljoin("/runs", each) for each in links(page, "next")), "")

    # Then each is seen once
    assert seen == runs
    assert [each.text for each in page.all("a") if each.text == "Newest"] == ["Newest"]
    assert query  # (what is empty asks for nothing)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("state=none", 400), ("since=yesterday", 400), ("until=2026-13-01", 400), ("since=0001-01-01", 400),
        ("until=9999-12-31", 400), ("since=2026-W01-1", 200), ("limit=-1", 200), ("limit=1e9", 200),
        ("limit=999999999999999999999", 200), ("before=zzz", 200), ("before=" + "0" * 27, 404),
        ("schedule=" + "x" * 201, 404), ("schedule=%00", 200), ("schedule=%ff%fe", 200), ("after=1&before=2", 200),
    ],
)  # fmt: skip
def test_what_makes_no_sense_in_an_address_is_one_sentence(site, query, status):
    a_history(site)
    site.page(f"/runs?{query}", status)
    answer = site.json(f"/runs.json?{query}", status)
    assert status == 200 or answer["error"].endswith((".", ":", "31."))


# -- A run -------------------------------------------------------------------------------------

TRACEBACK = """\
reading
Traceback (most recent call last):
  File "{docroot}/__tasks__.py", line 9, in run
    fetch("\x1b[31mhost")
ValueError: no such host
"""


def a_failed_run(site: Filled, attempt: int = 1) -> Run:
    run = a_run(
        "Report", id=id_from(NOON) + "0" * 12, state="failed", origin="request", requested_by="GET /shop",
        fire_time=NOON - seconds(252), queued_at=NOON, started_at=NOON, finished_at=NOON + seconds(65), attempt=attempt,
        host="web1", pid=4242, exit_code=1, error="ValueError: no such host", cpu_seconds=31.2,
        peak_memory=84 << 20, late_cause="no request came", code="3f2a9c81b0de 9fceb02d0ae5", python="3.11.7",
        arguments='{"to": "anna"}', policy=a_policy(retries=3), attempts=json.dumps(
            [{"attempt": 1, "state": "timed_out", "error": "took longer than 60s", "started_at": rfc3339(NOON - HOUR)}]
        ),
    )  # fmt: skip
    site.schedule(policy=a_policy(retries=3))
    with site.store() as store:
        store.add_run(run)
    site.output(run, "the first attempt\n")
    site.output(run, TRACEBACK.format(docroot=site.docroot), attempt)
    return run


def test_a_run_tells_what_brought_it_about_how_late_and_how_it_ended(site):
    run = a_failed_run(site)

    page = site.page(f"/runs/{run.id}")

    assert page.the("div", id="state").text == "failed, 1m 5s ValueError: no such host"
    assert page.facts() == {
        "Due": "12:55:48",
        "Started": "13:00 4m 12s after it was due: no request came",
        "Ended": "13:01:05",
        "Trigger": "a request GET /shop",
        "Process": "4242 on web1 CPU 31s, 84 MiB peak",
        "Exit": "exit code 1",
        "Attempt": "1 of 4",
        "Handed": 'to = "anna"',
        "Code": "3f2a9c81b0de commit 9fceb02d0ae5, Python 3.11.7",
    }
    assert page.rows() == [["1", "timed out took longer than 60s", "12:00", "Output"]]
    assert page.title == "✕ Report · dracotask"
    told = site.json(f"/runs/{run.id}.json")
    wanted = ("late_cause", "code", "python", "requested_by", "exit_code", "arguments")
    assert {name: told[name] for name in wanted} == {
        "late_cause": "no request came", "code": "3f2a9c81b0de 9fceb02d0ae5", "python": "3.11.7",
        "requested_by": "GET /shop", "exit_code": 1, "arguments": {"to": "anna"},
    }  # fmt: skip


def test_the_traceback_comes_first_and_the_output_of_each_attempt_is_there(site):
    run = a_failed_run(site, attempt=2)

    page, first = site.page(f"/runs/{run.id}"), site.page(f"/runs/{run.id}?attempt=1")

    assert page.the("pre", class_="trace").text.endswith("ValueError: no such host")
    assert f'File "{site.docroot}/__tasks__.py", line 9' in page.the("pre", class_="trace").the("mark").text
    assert page.the("pre", id="output").text.startswith("reading Traceback")
    assert first.the("pre", id="output").text == "the first attempt"
    assert "the last attempt" in first.the("h2", id="said").text
    # And as it was printed, for a file
    raw = site.get(f"/runs/{run.id}/raw?attempt=2")
    assert raw.data == TRACEBACK.format(docroot=site.docroot).encode()
    assert raw.headers["Content-Disposition"] == f"attachment; filename={run.id}.2.log"
    assert raw.content_type == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"state": "failed", "exit_code": -9}, "killed by SIGKILL"),
        ({"state": "failed", "exit_code": -11}, "killed by SIGSEGV"),
        ({"state": "succeeded", "exit_code": 0}, "exit code 0"),
        ({"state": "lost"}, "its supervisor died before it could tell"),
        (
            {"state": "timed_out", "exit_code": -15, "policy": a_policy(time_limit=60.0)},
            "over its time limit of 1m, killed by SIGTERM",
        ),
    ],
)
def test_the_exit_of_a_run_is_told_in_words(site, facts, words):
    run = site.run(started_at=NOON, finished_at=NOON + seconds(5), attempt=1, **facts)
    assert words in site.page(f"/runs/{run.id}").facts()["Exit"]


def test_a_run_at_work_has_a_bar_and_what_is_left_and_its_output_from_any_byte(site):
    # Given one that is half done, of which the others took a minute
    for run in runs_in_order(3):
        site.ended(run={"id": run.id}, finished_at=NOON + seconds(60))
    with site.store() as store:
        run = begun(store, a_run(progress_done=50.0, progress_total=100.0, progress_note="page 5"))
    site.output(run, "one\ntwo\nthr")
    site.at(NOON + seconds(30))

    with at_work(site, run):
        page = site.page(f"/runs/{run.id}")
        news = site.json(f"/runs/{run.id}/output?after=4")

    bar = page.the("progress")
    assert (bar["value"], bar["max"], bar["aria-label"]) == ("50", "100", "done")
    assert "50 %, page 5" in page.the("div", id="state").text and "usually 1m" in page.the("div", id="state").text
    assert page.title.startswith("50% ")
    output = page.the("pre", id="output")
    assert (output["data-after"], "data-goes-on" in output.attributes, output.text) == ("8", True, "one two thr")
    assert (news["html"], news["open"], news["after"], news["goes_on"]) == ("two\n", "thr", 8, True)


def test_a_run_that_waits_for_its_retry_shows_the_traceback_of_the_attempt_that_failed(site):
    site.schedule()
    failed = json.dumps([{"attempt": 1, "state": "failed", "error": "ValueError: no such host"}])
    run = site.run(attempt=1, not_before=NOON + seconds(60), policy=a_policy(retries=3), attempts=failed)
    site.output(run, TRACEBACK.format(docroot=site.docroot))

    page = site.page(f"/runs/{run.id}")

    assert page.the("pre", class_="trace").text.endswith("ValueError: no such host")


def test_a_run_that_waits_for_its_retry_says_until_when_and_what_went_wrong(site):
    site.schedule()
    run = site.run(attempt=1, not_before=NOON + seconds(60), error="OSError: no", policy=a_policy(retries=3))

    page = site.page(f"/runs/{run.id}")

    assert page.facts()["Waits"] == "retry 1 of 3 at 13:01, after: OSError: no"
    assert "live" not in page.the("h2", id="said").text
    assert [each.text for each in page.all("button") if each.attributes.get("type") != "button"] == [
        "Stop it",
        "Retry now",
    ]


def test_a_row_that_stands_for_many_fire_times_says_how_many(site):
    run = site.run(
        state="missed", fire_from=NOON - 5 * HOUR, fire_time=NOON - HOUR, fire_count=5, finished_at=NOON,
        summary="too late", origin="tick",
    )  # fmt: skip

    page = site.page(f"/runs/{run.id}")

    assert page.the("div", id="state").text == "missed 5 fire times: too late"
    assert page.facts() == {
        "Due": "12:00 one row for 5 fire times", "On record": "13:00", "Trigger": "the idle worker",
    }  # fmt: skip
    assert page.all("pre") == []


def test_a_run_knows_those_before_and_after_it(site):
    for run in runs_in_order(9):
        site.ended(run={"id": run.id})

    page = site.page(f"/runs/{5:026d}")

    assert (links(page, "prev"), links(page, "next")) == ([f"../runs/{4:026d}"], [f"../runs/{6:026d}"])
    assert [int(each) for each in shown(page)] == [4, 3, 2, 1]


# -- A task ------------------------------------------------------------------------------------

SOURCE = '''\
from dracotask import Task


class Report(Task):
    """Counts what was sold."""

    def run(self, to: str, limit: int = 5):
        return "<b>"


class Other(Task):
    pass
'''


def test_a_task_tells_its_rule_its_next_times_and_what_was_done_to_it(site):
    # Given one with a reason to be skipped
    site.schedule(
        trigger="cron 0 3 * * * Europe/Berlin", next_fire_time=at("2026-11-22T02:00+00:00"),
        skip_until=at("2026-11-22T02:00+00:00"), skip_why="bob: the move", description="Counts what was sold.",
    )  # fmt: skip
    site.action(verb="hold", by="anna", why="the move", at=NOON - HOUR)

    page = site.page("/task/Report")

    assert page.the("p", class_="lead").text == "Counts what was sold."
    assert page.facts()["Schedule"].startswith("daily 03:00")
    upcoming = [each.text for each in page.the("ol", class_="next").all("li")]
    assert upcoming[0] == "2026-11-22 03:00:00 CET in 14h; bob: the move"
    assert upcoming[1] == "2026-11-23 03:00:00 CET in 38h".replace("38h", "2 days")
    assert page.the("ul", class_="plain").text == "12:00 anna held it: the move"
    told = site.json("/task/Report.json")
    assert told["next_fire_times"][1] == "2026-11-23T02:00:00Z"
    assert told["actions"][0]["why"] == "the move"


def test_a_task_is_drawn_and_listed_with_how_late_it_was(site):
    site.schedule()
    for number, run in enumerate(runs_in_order(4)):
        state = "failed" if number == 2 else "succeeded"
        facts = {"id": run.id, "fire_time": NOON - seconds(300 - number), "late_cause": "no request came"}
        site.ended(run=facts, state=state, finished_at=NOON + seconds(10 * (number + 1)))

    page = site.page("/task/Report")

    assert page.the("figcaption").text.startswith("3 ok, 1 failed · median 20s")
    assert page.rows("runs")[0] == ["13:00", "ok", "a demand", "40s", "4m 57s no request came"]
    assert [int(each["href"].rpartition("/")[2]) for each in page.the("svg").all("a")] == [1, 2, 3, 4]
    # And what has failed is listed once more, however long ago it was
    (failure,) = page.the("div", id="failures").all("li")
    assert failure.text == "13:00 failed"


def test_the_name_of_a_schedule_that_was_removed_leads_to_what_is_left_of_it(site):
    site.schedule("tea", task="Report", declared=False)
    site.ended("tea")

    assert site.post("/task/tea", do="remove").status_code == 303

    answer = site.get("/task/tea", 302)
    assert answer.location == "../runs?schedule=tea"
    assert len(site.page("/runs?schedule=tea").rows("runs")) == 1


def test_the_form_of_a_task_asks_for_what_run_takes(site):
    # Given one that takes four things, and is handed two of them by its schedule
    site.schedule(
        parameters='[["to","str",true],["limit","int",false],["deep","bool?",true],["more","json",false]]',
        arguments='{"limit": 5, "more": {"a": "\\u00e9"}}',
    )  # fmt: skip

    page = site.page("/task/Report")

    fields = {each["name"]: each for each in page.all("input") if each.attributes.get("name", "").startswith("arg.")}
    assert {name: field["value"] for name, field in fields.items()} == {
        "arg.to": "", "arg.limit": "5", "arg.deep": "", "arg.more": '{"a": "\u00e9"}',
    }  # fmt: skip
    assert [name for name, field in fields.items() if "required" in field.attributes] == ["arg.to", "arg.deep"]
    assert "limit a whole number" in [each.text for each in page.all("label")]
    # And what is typed there is handed over
    answer = site.post("/task/Report", do="run", args="1", **{"arg.to": "anna", "arg.deep": "yes", "arg.limit": "7"})
    assert answer.status_code == 303
    handed = site.json(f"/runs/{answer.location.rpartition('/')[2]}.json")
    assert (handed["arguments"], handed["origin"]) == ({"to": "anna", "deep": True, "limit": 7}, "console")
    assert handed["requested_by"] == "anna"


def test_the_source_of_a_task_is_shown_as_it_stands_in_the_file(site):
    (site.docroot / "__tasks__.py").write_text(SOURCE)
    site.schedule(source="__tasks__.py:4")

    code = site.page("/task/Report").the("details", class_="source").the("pre")

    assert [each.text for each in code.all("i")] == ["4", "5", "6", "7", "8"]
    assert code.text.endswith('8 return "<b>"')


@pytest.mark.parametrize("source", ["../outside.py:1", "/etc/passwd:1", "link.py:1", "__tasks__.py:99", "x", ""])
def test_nothing_but_the_docroot_s_own_source_is_shown(site, source):
    (site.docroot.parent / "outside.py").write_text("SECRET = 1\n")
    site.schedule(source=source)
    page = site.page("/task/Report")
    assert "SECRET" not in page.text and "root:" not in page.text


# -- Setup and activity ------------------------------------------------------------------------


def test_setup_tells_who_looked_when_and_the_line_for_cron(site, monkeypatch):
    site.state.put_down_look("cron")
    os.utime(os.path.join(site.state.seen_folder, "cron"), (NOON.timestamp() - 30,) * 2)

    page, told = site.page("/setup"), site.json("/setup.json")

    seen = [each.text for each in page.all("table")[0].the("tbody").all("td")]
    assert seen == ["never", "never", "12:59:30, 30s ago", "never"]
    line = page.the("code", id="cron").text
    assert line.startswith("* * * * * ") and line.endswith(f" {site.docroot} due") and told["cron_line"] == line
    assert told["last_seen"] == {"cron": "2026-11-21T11:59:30Z"}
    assert (told["timezone"], told["docroot"]) == ("Europe/Berlin", str(site.docroot))
    assert "Server time 2026-11-21 13:00:00 CET, Europe/Berlin." in page.main.text
    assert "location ~ /(__tasks__" in page.main.text and "\\n" not in page.main.text


def test_setup_shows_the_configuration_and_where_it_comes_from_but_no_secret(site, monkeypatch):
    monkeypatch.setenv("DRACOTASK_MAX_RUNNING", "9")
    site.configure(
        'timezone = "Europe/Berlin"', 'metrics_token = "sesame-sesame-sesame"',
        'ping = "https://hc.example/secret-uuid"', 'alert_url = "https://user:pass@hooks.example/T0/secret-uuid"',
        "[env]", 'PASSWORD = "secret-uuid"',
    )  # fmt: skip

    page, told = site.page("/setup"), site.json("/setup.json")

    assert (told["config"]["max_running"], told["config"]["timezone"]["origin"]) == (
        {"value": 9, "origin": "DRACOTASK_MAX_RUNNING"}, "dracotask.toml",
    )  # fmt: skip
    for secret in ("sesame", "secret-uuid", "pass@"):
        assert secret not in page.text and secret not in json.dumps(told)


def test_setup_forecasts_from_the_site_s_own_traffic(site, monkeypatch):
    # Given a shop whose first visitor comes at seven, and its last at ten in the evening
    hours = [NOON - 3 * DAY + number * HOUR for number in range(73)]
    visited = [int(hour.timestamp() // 60) for hour in hours if 6 <= hour.hour <= 21]

    class Visits:
        since, minutes = visited[0] - 600, visited

        @classmethod
        def read(cls, state: object, now: object = None) -> Visits:
            return cls()

    monkeypatch.setattr("dracotask.console.pages.setup.Traffic", Visits)
    site.schedule(trigger="cron 0 3 * * * Europe/Berlin", next_fire_time=at("2026-11-22T02:00+00:00"))
    site.schedule("Often", trigger="cron */5 * * * * Europe/Berlin", next_fire_time=at("2026-11-22T02:00+00:00"))

    told = site.json("/setup.json")["forecast"]

    assert told["a task at 03:00"] == told["Report"]
    assert "Often" not in told
    assert told["Report"].startswith("4h late in the median, at worst ")
    assert "The longest time without a visitor in the last week: " in site.page("/setup").main.text


def test_activity_tells_who_did_what_newest_first_and_of_one_task_if_wanted(site):
    site.schedule()
    for number in range(60):
        site.action(
            "Report" if number % 2 else "Backup",
            id=f"{number:026d}",
            at=NOON - seconds(60 - number),
            why=f"no {number}",
        )
    site.action("", id="9" * 26, verb="hold", by="bob", why="all of it")

    page = site.page("/activity")

    rows = page.rows("activity")
    assert rows[0] == ["13:00", "the whole site", "bob held it: all of it"]
    assert (len(rows), rows[1][2]) == (50, "anna held it: no 59")
    assert len(site.page("/activity?limit=100").rows("activity")) == 61
    assert {each["schedule"] for each in site.json("/activity.json?name=Backup")} == {"Backup"}


def test_what_is_done_here_is_on_record_with_who_and_why(site):
    site.schedule(next_fire_time=NOON + HOUR)

    for form in ({"do": "hold", "why": "the move", "until": "14:00"}, {"do": "resume"}, {"do": "skip"}):
        assert site.post("/task/Report", **form).status_code == 303

    assert [each["verb"] for each in site.json("/activity.json")] == ["skip_next", "resume", "hold"]
    assert {each["by"] for each in site.json("/activity.json")} == {"anna"}
    assert site.page("/activity").rows("activity")[2][2] == "anna held it until 14:00: the move"


# -- When there is nothing to show, or it cannot be had -----------------------------------------


def test_an_empty_site_says_how_a_task_is_written(site):
    page = site.page()
    assert "No tasks yet." in page.main.text
    assert "".join(page.the("pre").strings()).splitlines()[2:4] == ["class Hello(Task):", "    def __init__(self):"]
    for address in LISTS[1:]:
        site.page(address)
    assert (site.json("/tasks.json"), site.json("/runs.json"), site.json("/activity.json")) == ([], [], [])


def test_a_site_that_nobody_looked_at_says_what_to_do_and_nothing_is_made(tmp_path, monkeypatch):
    site = Filled(tmp_path / "site", monkeypatch)

    for address in (*LISTS, "/task/Report", f"/runs/{1:026d}"):
        assert f"Nobody has looked at {site.docroot}/__tasks__.py yet." in site.page(address).main.text
    assert "not" in site.json("/tasks.json", 503)["error"]

    assert list(site.docroot.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away, as only root can")
def test_the_site_of_another_user_is_not_read(site):
    site.schedule()
    os.chown(site.state.path, 12345, 12345)
    try:
        for address in LISTS:
            assert "belongs to #12345" in site.page(address, 503).main.text
        assert "belongs to" in site.json("/tasks.json", 503)["error"]
    finally:
        os.chown(site.state.path, 0, 0)


def test_a_store_that_is_locked_is_one_sentence_soon_and_asks_to_come_again(site, monkeypatch):
    # Given somebody who keeps the whole store to himself
    site.schedule(next_fire_time=NOON + HOUR)
    monkeypatch.setattr("dracotask.console.asked.PATIENCE", 0.05)
    owner = sqlite3.connect(site.state.store_file, isolation_level=None)
    owner.execute("PRAGMA locking_mode = EXCLUSIVE")
    owner.execute("BEGIN EXCLUSIVE")
    try:
        answers = [site.client.get(address) for address in (*LISTS, "/tasks.json", "/task/Report")]
        answers += [site.post("/task/Report", do="hold"), site.post("/", run="Report")]
    finally:
        owner.close()

    for answer in answers:
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "The store is busy: try again in a few seconds." in answer.text
    # And when he lets go, all is as before
    assert names(site.page()) == ["Report"]
    assert site.json("/activity.json") == []


def test_a_store_in_which_somebody_writes_is_read_nevertheless_and_not_written_for_long(site, monkeypatch):
    site.schedule(next_fire_time=NOON + HOUR)
    monkeypatch.setattr("dracotask.console.asked.PATIENCE", 0.05)
    writer = sqlite3.connect(site.state.store_file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        assert names(site.page()) == ["Report"]
        assert site.post("/task/Report", do="hold").status_code == 503
    finally:
        writer.close()


def test_a_store_that_is_damaged_or_of_another_version_says_so_and_stays_as_it_is(site):
    site.schedule()
    path = Path(site.state.store_file)
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    for address in LISTS:
        assert "is of schema version 99" in site.page(address, 503).main.text

    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    path.write_bytes(b"no database at all, but long enough for one" * 100)
    for address in LISTS:
        assert "is damaged" in site.page(address, 503).main.text
    assert path.read_bytes().startswith(b"no database at all")


def test_rows_of_another_version_do_not_break_a_page(site):
    # Given what no version of this writes: an unknown state, an unknown origin, numbers out of bounds
    site.schedule("Odd", trigger="every blue moon", next_fire_time=at("9999-12-31T23:00+00:00"))
    site.schedule("Old", trigger="cron 0 3 * * * Atlantis/Nowhere", next_fire_time=at("0001-01-02T00:00+00:00"))
    run = site.run(
        "Odd", state="dreaming", origin="spirits", started_at=NOON + DAY, finished_at=NOON, attempt=-3,
        progress_done=1e308, progress_total=1e-308, cpu_seconds=-1.0, peak_memory=-5, exit_code=99999,
        fire_time=at("0001-01-01T00:00+00:00"), attempts="[{}, {\"state\": 5}]",
    )  # fmt: skip

    for address in ("/", "/runs", "/task/Odd", "/task/Old", f"/runs/{run.id}", "/setup"):
        site.page(address)
    for address in ("/tasks.json", "/runs.json", "/task/Odd.json", f"/runs/{run.id}.json", f"/runs/{run.id}/output"):
        site.json(address)


def test_what_is_not_there_is_said_not_to_be_there(site):
    site.schedule("Report")
    assert "no task 'Repor'" in site.page("/task/Repor", 404).main.text
    assert "Did you mean Report?" in site.page("/task/Repor", 404).main.text
    assert "There is no such run" in site.page("/runs/01abc", 404).main.text
    assert "names no task" in site.page("/task", 404).main.text
    assert site.json("/task/Repor.json", 404)["error"].startswith("no task")
    for address in ("/nothing", "/task/a/b", "/static/none.css", "/runs//raw", "/Runs"):
        assert site.client.get(address).status_code == 404, address


# -- HTTP --------------------------------------------------------------------------------------


def test_a_page_that_is_as_it_was_is_not_sent_again(site):
    site.schedule(next_fire_time=NOON + HOUR)

    for address in (*LISTS, "/task/Report", "/tasks.json", "/runs.json", "/setup.json", "/activity.json"):
        first = site.get(address)
        again = site.get(address, 304, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.data, again.headers["ETag"]) == (b"", first.headers["ETag"])
        assert again.headers["Cache-Control"] == "private, no-cache"

    # And what has changed is
    site.post("/task/Report", do="hold")
    for address in ("/", "/activity", "/task/Report", "/tasks.json"):
        site.get(address, headers={"If-None-Match": first.headers["ETag"]})


def test_a_page_in_which_nothing_has_changed_is_the_same_for_a_minute(site):
    # Given two looks a quarter of a minute apart, as the live page makes them
    site.schedule(next_fire_time=NOON + 9 * HOUR)
    site.state.put_down_look("cron")
    first = [site.get(address).headers["ETag"] for address in ("/", "/runs", "/activity")]

    site.at(NOON + seconds(15))

    assert [site.get(address).headers["ETag"] for address in ("/", "/runs", "/activity")] == first


def test_head_is_get_without_the_body(site):
    site.schedule()
    for address in (*LISTS, "/tasks.json", "/static/console.css", "/nothing"):
        got, head = site.client.get(address), site.client.head(address)
        assert head.data == b""
        for answer in (got, head):
            answer.headers.pop("Date", None)  # a second may have gone by
        assert (head.status_code, dict(head.headers)) == (got.status_code, dict(got.headers)), address


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("/", "GET, HEAD, POST"), ("/task/Report", "GET, HEAD, POST"), ("/runs", "GET, HEAD"),
     ("/setup.json", "GET, HEAD"),
     ("/sign-in", "GET, HEAD, POST"), ("/sign-out", "POST"), ("/static/console.css", "GET, HEAD")],
)  # fmt: skip
def test_another_method_is_refused_with_those_there_are(site, address, allowed):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        answer = site.client.open(address, method=method, headers=SENT_HERE)
        assert answer.status_code == 405
        assert sorted(answer.headers["Allow"].split(", ")) == sorted(allowed.split(", "))


@pytest.mark.parametrize("base", ["", "/tasks", "/a/b"])
def test_every_link_and_redirect_is_relative_and_leads_to_a_page_under_any_mount(site, base):
    with at_work(site, a_mixed_site(site)):
        # Given all pages that can be reached by a link
        seen, todo = set(), [f"{base}/"]
        while todo:
            address = todo.pop()
            path = urlsplit(address).path
            if address in seen or "/static/" in path or path.endswith("/raw"):
                continue
            seen.add(address)
            below = path.removeprefix(base)
            answer = site.client.get(
                below, query_string=urlsplit(address).query, base_url=f"http://localhost{base}",
                environ_overrides={"SCRIPT_NAME": base},
            )  # fmt: skip
            assert answer.status_code == 200, address
            page = Html(answer.text)
            for each in page.root.elements():
                for name in ("href", "action", "src"):
                    said = each.attributes.get(name, "")
                    if not said or said.startswith("data:"):
                        continue
                    assert not said.startswith("/"), said
                    target = urljoin(address, said)
                    # Then none leaves the mount
                    assert target.startswith(f"{base}/"), (address, said)
                    if each.tag == "a" and not said.startswith("#"):
                        todo.append(target)
        assert len(seen) > 20

        # And what a form leads to is relative as well
        for address, form in (
            ("/", {"resume": "Held"}),
            ("/task/Later", {"do": "run"}),
            ("/task/Later", {"do": "hold"}),
        ):
            location = site.post(address, **form).location
            assert not location.startswith(("/", "http")), location


def test_the_mount_without_its_slash_leads_to_it_with_its_query(site):
    for script_name, query, expected in (
        ("/tasks", "", "tasks/"),
        ("/a/b c", "", "b%20c/"),
        ("/tasks", "q=a%20b&state=failed", "tasks/?q=a%20b&state=failed"),
        ("", "", "/"),
        ("//evil.example", "", "evil.example/"),
    ):
        answer = site.client.get(
            "/", query_string=query, environ_overrides={"SCRIPT_NAME": script_name, "PATH_INFO": ""}
        )
        assert (answer.status_code, answer.headers["Location"]) == (308, expected)


# -- Bytes -------------------------------------------------------------------------------------

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def a_realistic_site(site: Filled, number: int = 50, each: int = 30) -> list[str]:
    """Fill a site with tasks as people have them, and return their names."""
    random_ = random.Random(5)
    rules = [
        "cron 0 3 * * * Europe/Berlin",
        "every 5m from 2000-01-01T00:00:00+00:00",
        "cron */15 8-18 * * mon-fri Europe/Berlin",
        None,
    ]
    words = [
        "sends",
        "the",
        "invoices",
        "of",
        "yesterday",
        "to",
        "whoever",
        "asked",
        "for",
        "them",
        "and",
        "deletes",
        "sessions",
        "old",
        "carts",
    ]
    names = ["".join(random_.choices(LETTERS, k=random_.randint(12, 20))).capitalize() for _ in range(number)]
    with site.store() as store, store.transaction():
        for place, name in enumerate(names):
            description = " ".join(random_.choices(words, k=8)).capitalize() + "."
            stored(store, a_schedule(
                name, trigger=rules[place % 4], description=description,
                next_fire_time=NOON + random_.randint(1, 1440) * seconds(60) if place % 4 < 3 else None,
            ))  # fmt: skip
            usual = random_.lognormvariate(3, 1.5)
            for count in range(each):
                began = NOON - (each - count) * HOUR - random_.random() * HOUR
                state = random_.choices(["succeeded", "failed", "timed_out"], [96, 3, 1])[0]
                told = " ".join(random_.choices(words, k=5))
                store.add_run(a_run(
                    name, id=id_from(began) + f"{place:06d}{count:06d}", state=state, origin="tick", queued_at=began,
                    requested_by="GET /shop/cart", fire_time=began - seconds(random_.random() * 60), started_at=began,
                    finished_at=began + seconds(usual * random_.lognormvariate(0, 0.5)), attempt=1, exit_code=0,
                    host="web1",
                    summary=f"{random_.randint(1, 9999)} rows: {told}", error=f"ValueError: {told}", pid=4242,
                    late_cause="no request came", code="3f2a9c81b0de 9fceb02d0ae5", python="3.11.7",
                ))  # fmt: skip
    return names


def test_pages_of_fifty_realistic_tasks_are_below_25_kb(site):
    # Given a site that is looked at, with a task file that is there
    (site.docroot / "__tasks__.py").write_text(SOURCE)
    site.state.write_next(NOON, "")
    os.utime(site.state.next_file, (NOON.timestamp(),) * 2)
    names = a_realistic_site(site)
    run_id = site.json("/runs.json")[0]["id"]

    sizes = {address: len(site.get(address).data) for address in (*LISTS, f"/task/{names[0]}", f"/runs/{run_id}")}

    assert len(site.page().rows("tasks")) == 50
    assert max(sizes.values()) < 25_000, sizes


def test_the_script_and_the_style_sheet_are_below_10_kb_together_as_they_are_sent():
    sizes = {file.name: len(gzip.compress(file.read_bytes(), 6)) for file in STATIC.iterdir()}
    assert sizes.keys() == {"console.css", "console.js"}
    assert sum(sizes.values()) < 10_000, sizes


def test_no_file_of_ours_names_an_address_elsewhere():
    for file in [*STATIC.iterdir(), *(STATIC.parent / "templates").iterdir()]:
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        text = re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)  # comments of the script
        assert re.findall(r"https?:|wss?:|//[a-z]|@import|\burl\(|\beval\b|new Function", text) == [], file.name


def test_the_files_of_the_console_may_be_kept_for_ever_under_the_address_that_pages_have(site):
    page = site.page()
    for said in (page.the("link", rel="stylesheet")["href"], page.the("script")["src"]):
        kept, old = site.get("/" + said), site.get("/" + said.partition("?")[0])
        assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert old.headers["Cache-Control"] == "no-cache" and old.data == kept.data


# -- Questions to the store --------------------------------------------------------------------


class Watched:
    """What is asked of SQLite, and how it goes about it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.plans: list[str] = []
        execute = SQLiteStore._execute

        def watched(store: SQLiteStore, statement: str, values: Any = ()) -> Any:
            self.asked.append(statement)
            if statement.lstrip().startswith(("SELECT", "WITH")):
                self.plans += [row[3] for row in execute(store, f"EXPLAIN QUERY PLAN {statement}", values)]
            return execute(store, statement, values)

        monkeypatch.setattr(SQLiteStore, "_execute", watched)

    def forget(self) -> None:
        self.asked.clear()
        self.plans.clear()


def test_a_thousand_schedules_take_a_dozen_questions_and_no_page_goes_through_the_history(site, monkeypatch):
    # Given a thousand schedules with a few runs each
    names = a_realistic_site(site, 1000, 3)
    run_id = site.json("/runs.json")[0]["id"]
    watched = Watched(monkeypatch)

    # When the list is asked for, as it is and in part
    for address in ("/", "/?page=7", "/?q=cart", "/?state=failed", "/?q=nothing"):
        watched.forget()
        site.page(address)
        assert len(watched.asked) <= 12, watched.asked

    # Then no question goes through the history; nor does any of the other pages
    monkeypatch.setattr(watch, "_remembered", watch.Remembered())
    queries = ("", "?state=failed", "?state=any+failure", f"?schedule={names[0]}", "?origin=console",
               "?since=2026-11-20",
               f"?before={run_id}", "?state=active")  # fmt: skip
    for address in ("/tasks.json", *(f"/runs{query}" for query in queries), f"/task/{names[0]}",
                    f"/task/{names[0]}.json",
                    f"/runs/{run_id}", f"/runs/{run_id}.json", f"/runs/{run_id}/output", "/setup", "/activity",
                    "/health"):  # fmt: skip
        watched.plans += ["--", address]
        assert site.client.get(address).status_code in (200, 503)
    scans = [plan for plan in watched.plans if plan.startswith("SCAN runs")]
    # (The newest of all, and of the few that are not as usual, are read off the end of an index, a page of them.)
    assert {*scans} <= {"SCAN runs USING INDEX sqlite_autoindex_runs_1", "SCAN runs USING INDEX runs_rare"}
