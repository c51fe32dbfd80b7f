"""The example site works as it teaches: each of its tasks, its page, and its commented settings."""

from __future__ import annotations

import http.client
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import tomllib
from contextlib import closing
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from sites import Site, until
from werkzeug.test import Client

from dracotask.configfile import TABLES, read_file
from dracotask.keys import ALERT_KEYS, ALERT_KEYS_OF_ONE, ALL_KEYS, KEYS, POLICY_KEYS

CHECKOUT = Path(__file__).parent.parent
EXAMPLE = CHECKOUT / "example_docroot"
SETTINGS = EXAMPLE / "dracotask.toml"

#: What stands in dracotask.toml where the default is no value that could be written down.
SAMPLES = {"timezone", "state", "host", "python", "console_url"}


@pytest.fixture
def example(site: Site) -> Site:
    """Return the example site, copied as a clone would have it."""
    shutil.copytree(EXAMPLE, site.docroot, dirs_exist_ok=True, ignore=_not_in_a_clone)
    return site


def _not_in_a_clone(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in (".dracotask", "pages", "__pycache__") or name.startswith("site.db")]


@pytest.fixture
def wsgi(example: Site) -> ModuleType:
    """Return the site's wsgi.py as a module."""
    spec = spec_from_file_location("example_wsgi", example.docroot / "wsgi.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def summary(site: Site, task: str) -> str | None:
    """Run a task and return its summary; it must succeed."""
    ended = site.run(task)
    assert ended.returncode == 0, ended.stderr
    return site.last_run(task).summary


# -- The tasks ---------------------------------------------------------------------------------


def test_the_page_generator_writes_a_whole_page_and_leaves_nothing_beside_it(example):
    told = summary(example, "PageGenerator")

    page = (example.docroot / "pages" / "clock.html").read_text()
    assert told is not None and told.removeprefix("written at ") in page
    assert [path.name for path in (example.docroot / "pages").iterdir()] == ["clock.html"]


def test_the_sweeper_skips_until_somebody_has_visited(example):
    assert summary(example, "SessionSweeper") == "skipped: nobody has visited yet"


def test_the_sweeper_deletes_what_is_older_than_a_minute(example, wsgi):
    # Given ten visitors, three of whom came long ago
    for _ in range(10):
        wsgi.visit(None)
    with closing(wsgi.connect()) as database, database:
        database.execute("UPDATE session SET seen_at = ? WHERE rowid <= 3", (time.time() - 120,))

    # When the sweeper runs
    told = summary(example, "SessionSweeper")

    # Then it has swept these
    assert told == "3 of 10 sessions swept"
    assert wsgi.ask("SELECT count(*) FROM session") == (7,)


def test_the_report_logs_several_lines_and_leaves_its_last_for_the_page(example, wsgi):
    ended = example.run("Report")

    line = "The example site: 0 visitors within the last minute"
    assert ended.returncode == 0
    assert re.search(rf"INFO The report of .*\n    {line}\n", ended.stdout)
    assert wsgi.ask("SELECT line FROM report") == (line,)


def test_flaky_succeeds_and_skips_and_fails(example):
    # Given the three ways in which it ends
    wanted = {"well", "nothing to do", "ZeroDivisionError"}

    # When it has run often enough (each comes every third time)
    for _ in range(80):
        ended = example.run("Flaky")
        run = example.last_run("Flaky")
        told = run.summary or run.error or ""
        assert (ended.returncode == 1) == ("Zero" in told)
        assert ended.returncode == 0 or "in divide" in ended.stdout
        wanted = {word for word in wanted if word not in told}
        if not wanted:
            break

    # Then each was seen
    assert wanted == set()


def test_the_announcement_follows_each_report(example):
    # When there is a report, and somebody looks
    summary(example, "Report")
    example.due()

    # Then it was told, for that report
    run = example.last_run("announce")
    assert run.summary == "1 told"
    assert example.last_run("Report").id in run.requested_by


def test_who_listens_is_told_that_flaky_has_failed(example):
    while example.run("Flaky").returncode != 1:
        pass

    until(lambda: "Alas, Flaky: ZeroDivisionError" in Path(example.state.path, "listeners.log").read_text())


def test_on_demand_is_never_due_and_knows_its_run(example):
    told = summary(example, "OnDemand")

    run = example.last_run("OnDemand")
    assert told == f"run {run.id}, asked for by command"
    assert example.schedule("OnDemand").trigger is None


def test_the_slower_one_lengthens_its_own_period(example):
    # When it runs twice
    assert summary(example, "Slower") == "every 2 s from now on"
    assert summary(example, "Slower") == "every 3 s from now on"

    # Then its schedule says so, over what the file says
    slower = example.schedule("Slower")
    assert (slower.override.split(" from")[0], slower.trigger.split(" from")[0]) == ("every 3s", "every 2s")


def test_the_thumbnails_tell_how_far_they_are(example):
    ended = example.run("run", "Thumbnails", "pictures=2")
    assert ended.returncode == 0, ended.stderr
    run = example.last_run("Thumbnails")
    assert (run.summary, run.progress_done, run.progress_total) == ("2 of 2 pictures", 2, 2)


def test_check_finds_no_problem(example):
    ended = example.run("check")

    assert ended.returncode == 0, ended.stdout
    assert "PageGenerator (every 5s)" in ended.stdout


# -- The page ----------------------------------------------------------------------------------


def test_the_page_shows_what_the_tasks_have_done(wsgi):
    client = Client(wsgi.app)

    page = client.get("/")

    assert page.status_code == 200
    assert "not yet" in page.text and "session is younger" in page.text
    assert "$" not in page.text


def test_a_visitor_is_known_by_his_cookie(wsgi):
    client = Client(wsgi.app)

    for _ in range(3):
        client.get("/")

    assert wsgi.ask("SELECT count(*) FROM session") == (1,)


@pytest.mark.parametrize("cookie", ["example_session=x", "example_session=' OR 1=1 --aaaaaaaaaa", "\x01;=;", ""])
def test_a_cookie_that_is_not_ours_begins_a_new_session(wsgi, cookie):
    assert wsgi.cookie_of({"HTTP_COOKIE": cookie}) is None


def test_to_look_again_is_no_visit(wsgi):
    answer = Client(wsgi.app).get("/now")

    assert "0</p>" in answer.text
    assert not wsgi.ask("SELECT count(*) FROM session")


# -- Pages that visitors order -----------------------------------------------------------------


def ordered(site: Site) -> dict[str, str]:
    """Return what is added: name and arguments."""
    with site.store() as store:
        return {schedule.name: schedule.arguments for schedule in store.schedules() if not schedule.declared}


def test_a_visitor_orders_a_page_which_is_written_and_takes_it_away_again(example, wsgi):
    # Given a site whose tasks are known
    example.due()
    client = Client(wsgi.app)

    # When a visitor orders a page
    assert client.post("/generators", data={"file": "tea.html", "seconds": "2"}).status_code == 303

    # Then it stands in the table, and is written
    assert ordered(example) == {"page tea.html": '{"file": "tea.html"}'}
    assert "<td>every 2s<td>" in client.get("/generators").text
    example.make_due("page tea.html")
    example.due()
    assert "Written at" in client.get("/pages/tea.html").text

    # And it goes when he says so
    assert client.post("/generators", data={"file": "tea.html", "remove": ""}).status_code == 303
    assert ordered(example) == {}
    assert "Nothing yet." in client.get("/generators").text


@pytest.mark.parametrize(
    ("file", "seconds", "problem"),
    [
        ("../wsgi.py", "5", "A file is named"), ("tea.html\n", "5", "A file is named"), ("", "5", "A file is named"),
        ("<b>.html", "5", "A file is named"), ("tea.html", "0", "Seconds are"), ("tea.html", "-1", "Seconds are"),
        ("tea.html", "1.5", "Seconds are"), ("tea.html", "9" * 400, "Seconds are"),
        ("tea.html", "000000005999999", "Seconds are"),
        ("tea.html", "²", "Seconds are"),
        ("tea.html", "", "Seconds are"), ("x" * 2000, "5", "too much for a form"),
    ],
)  # fmt: skip
def test_what_nobody_may_order_is_refused_in_words(example, wsgi, file, seconds, problem):
    example.due()
    refused = Client(wsgi.app).post("/generators", data={"file": file, "seconds": seconds})
    assert (refused.status_code, problem in refused.text) == (400, True)
    assert ordered(example) == {}


def test_ten_pages_are_enough_and_another_site_orders_none(example, wsgi):
    example.due()
    client = Client(wsgi.app)
    for letter in "abcdefghij":
        assert client.post("/generators", data={"file": f"{letter}.html", "seconds": "60"}).status_code == 303
    assert client.post("/generators", data={"file": "a.html", "seconds": "30"}).status_code == 303
    assert "10 are enough" in client.post("/generators", data={"file": "k.html", "seconds": "60"}).text
    from_elsewhere = {"headers": {"Sec-Fetch-Site": "cross-site"}, "data": {"file": "a.html", "remove": ""}}
    assert client.post("/generators", **from_elsewhere).status_code == 403
    assert len(ordered(example)) == 10


def test_what_is_not_there_is_said_to_be_missing(example, wsgi):
    example.due()
    refused = Client(wsgi.app).post("/generators", data={"file": "tea.html", "remove": ""})
    assert (refused.status_code, "no schedule" in refused.text) == (400, True)


def test_a_worker_forgets_who_left(wsgi):
    wsgi.HERE_NOW.update({"gone": time.time() - 120, "here": time.time()})
    assert wsgi.forget_who_left() == "1 forgotten"
    assert list(wsgi.HERE_NOW) == ["here"]


@pytest.mark.parametrize("path", ["/wsgi.py", "/pages/../wsgi.py", "/pages//etc/passwd", "/site.db", "/pages/", "/x"])
def test_nothing_else_is_served(example, wsgi, path):
    (example.docroot / "pages").mkdir()

    assert Client(wsgi.app).get(path).status_code == 404


@pytest.mark.server
def test_served_the_tasks_start_by_themselves_and_the_page_shows_it(example):
    # Given the site on the development server, as bin/demo starts it
    server = example.start("serve", "--port", "0", stderr=subprocess.DEVNULL)
    port = int(re.search(r":(\d+)/ with 8 tasks", server.stdout.readline())[1])

    def fetch(path: str, method: str = "GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    # When ten visitors come
    assert fetch("/visitors", "POST")[0] == 303

    # Then the tasks have been at work before long, which the page shows; and nothing private is served
    until(lambda: "Written at" in fetch("/pages/clock.html")[1], "PageGenerator runs")
    assert "10</p>" in fetch("/now")[1]
    assert [fetch(f"/{name}")[0] for name in ("__tasks__.py", "dracotask.toml", ".dracotask/state.db")] == [404] * 3
    server.terminate()
    server.wait()


# -- The settings ------------------------------------------------------------------------------


def commented_keys() -> dict[str, object]:
    """Return what the file would say of the site's own keys, were all its comments none."""
    lines = re.findall(r"^# (\w+ = .*)$", SETTINGS.read_text(), re.M)
    return tomllib.loads("\n".join(line for line in lines if line.split()[0] in ALL_KEYS and "1m" not in line))


def test_every_key_stands_in_the_file_once_with_a_comment_above_it():
    text = SETTINGS.read_text()

    for key in ALL_KEYS:
        (place,) = [match.start() for match in re.finditer(rf"^# {key} = (?!\"1m\")", text, re.M)]
        above = text[:place].splitlines()[-1]
        assert above.startswith("# "), key
        assert text.count(f"\n# {key} = ") == (2 if key == "time_limit" else 1)


def test_what_is_commented_out_is_the_default():
    said = commented_keys()

    assert said.keys() == ALL_KEYS.keys()
    for key, (read, default) in ALL_KEYS.items():
        if key in SAMPLES:
            assert default is None
            read(said[key])
        else:
            assert said[key] == default, key
            assert read(said[key]) == read(default)


def test_the_file_as_it_is_sets_no_key_and_uncommented_it_is_read(tmp_path):
    # Given the file with its comments taken off
    whole = re.sub(r"^# (?=(\[|\w+ = ))", "", SETTINGS.read_text(), flags=re.M)
    (tmp_path / "dracotask.toml").write_text(whole)

    # When both are read
    of_site, of_task = {**KEYS, **ALERT_KEYS}, {**POLICY_KEYS, **ALERT_KEYS_OF_ONE}
    as_it_is = read_file(str(SETTINGS), of_site, of_task)
    uncommented = read_file(str(tmp_path / "dracotask.toml"), of_site, of_task)

    # Then the one says nothing of dracotask's own, and the other of everything
    assert as_it_is.values == {}
    assert uncommented.values.keys() >= ALL_KEYS.keys() | {"env.LANG", "task.Report.time_limit"}
    assert {name for name in TABLES if f"[{name}" in whole} == set(TABLES)


# -- The folder --------------------------------------------------------------------------------


@pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="no checkout of git")
def test_git_ignores_what_the_site_makes():
    made = [f"example_docroot/{name}" for name in ("pages/clock.html", "site.db", "site.db-journal", ".dracotask/log")]

    ignored = subprocess.run(["git", "check-ignore", *made], cwd=CHECKOUT, capture_output=True, text=True)

    assert ignored.stdout.split() == made


def test_the_site_needs_nothing_but_dracotask_and_the_standard_library():
    text = (EXAMPLE / "wsgi.py").read_text() + (EXAMPLE / "__tasks__.py").read_text()

    imported = set(re.findall(r"^(?:from|import) (\w+)", text, re.M))

    assert imported <= {*sys.stdlib_module_names, "dracotask"}
    assert sqlite3.threadsafety >= 1  # the site connects anew for each request
