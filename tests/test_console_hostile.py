"""The console among enemies: hostile names, output, arguments and headers; strangers; and requests at random.

No request fails inside, no byte from elsewhere is taken for HTML, and nobody comes in who is not known. (A body that
comes in slowly, byte by byte, holds a thread of the server for as long as the server lets it: that is the server's
matter, and why sites stand behind one that takes in requests as a whole.)
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import socket
import time
import wsgiref.validate
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
from helpers import NOON, a_run, a_schedule, an_action, seconds, stored
from pages import ANNA, SENT_HERE, Filled, Html
from servers import KINDS, Server, SiteFolder
from werkzeug.test import Client, create_environ, run_wsgi_app

from dracotask import TaskMiddleware
from dracotask.clock import utc_now
from dracotask.console import access, app
from dracotask.console.app import ADDRESSES, HEADERS, LONGEST_FORM, Console
from dracotask.console.pages import watch
from dracotask.console.signin import new_link_token
from dracotask.model import id_from
from dracotask.run.supervisor import PROBLEM_NOTE
from dracotask.site import Site

HOUR = timedelta(hours=1)

#: What must never come out as it went in; and what no stranger may read.
MARKER, RAW, SECRET = "<zq'\"&>", ("<zq", "zq'\"", "'\"&>"), "zqsecret"

NAMES = (
    "Plain", f"a{MARKER}", "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onmouseover='alert(1)",
    "a/b", "..", "../../etc/passwd", "%2e%2e%2f", "a?b#c&d=e;f", "a b", "{{7*7}}{% raw %}", "javascript:alert(1)",
    "//evil.example/x", "\\\\evil", "x" * 200, "\N{PILE OF POO}" * 20, "\u05d0\u05d1\u202e\u05d2",
    "a\nb\r\nSet-Cookie: zq=1",
    "a\tb", "\x1b[31mred", "a\x00b", "&lt;zq&gt;", "]]>-->", "tasks.json", "static", "sign-in", "a\u2028\ufeff\ufffe",
    "Ĥéllo", "+", ".", "a%00b", "data:text/html,<zq>",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the docroot of a site in which every text from elsewhere is meant to do harm; to be copied."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        site = Filled(tmp_path_factory.mktemp("model") / "site", monkeypatch).prepare()
        with site.store() as store, store.transaction():
            for number, name in enumerate(NAMES):
                put_hostile(site, store, number, name)
            store.put_note(PROBLEM_NOTE, f"SyntaxError: {MARKER} {SECRET} (__tasks__.py, line 2)")
            store.put_note("warning", f"{MARKER}. {MARKER}")
        (site.docroot / "__tasks__.py").write_text(f"# {MARKER}\n{MARKER}\nx = '</pre><script>{SECRET}'\n")
    return site.docroot


def put_hostile(site: Filled, store: Any, number: int, name: str) -> None:
    evil = f"{MARKER} {NAMES[-number]} {SECRET}"
    stored(store, a_schedule(
        name, task=f"T{MARKER}" if number % 3 else name, description=evil, declared=bool(number % 2),
        source="__tasks__.py:2", held_at=NOON if number % 5 == 1 else None, held_by=evil, held_why=evil,
        trigger=[None, f"cron {MARKER}", "every 1h from 2000-01-01T00:00:00+00:00"][number % 3],
        next_fire_time=NOON + number * HOUR if number % 3 == 2 else None, skip_until=NOON + 9 * HOUR, skip_why=evil,
        parameters=json.dumps([[f"to{MARKER}", MARKER, True], ["n", "int", False], ["**", "any", False]]),
        arguments=json.dumps({f"k{MARKER}": evil, "lone": "\ud800", "n": [MARKER, 1e308]}), after=f",{MARKER},",
        own_policy=json.dumps({"retries": MARKER}),
    ))  # fmt: skip
    for state in ("succeeded", "failed", "queued", "missed")[: 1 + number % 4]:
        run = a_run(
            f"T{MARKER}", id=run_id(number, state), schedule=name, state=state, origin=evil[:20], requested_by=evil,
            queued_at=NOON, started_at=NOON if state in ("succeeded", "failed") else None,
            finished_at=NOON + seconds(1),
            fire_time=NOON - number * HOUR if state == "succeeded" else None, attempt=1, host=evil, pid=1, summary=evil,
            error=evil, late_cause=evil, code=f"{MARKER} {MARKER}", python=MARKER, stop_by=evil, stop_why=evil,
            arguments=json.dumps({f"k{MARKER}": evil, "lone": "\ud800"}), progress_note=evil, progress_done=1.0,
            attempts=json.dumps([{"attempt": 1, "state": MARKER, "error": evil, "started_at": "2026-11-21T11:00:00Z"}]),
            not_before=NOON + HOUR if state == "queued" else None,
        )  # fmt: skip
        store.add_run(run)
        trace = f'Traceback (most recent call last):\n  File "{MARKER}", line 1, in {MARKER}\n    {evil}\n{evil}\n'
        site.output(
            run, f"\x1b[31m{evil}\x1b]8;;javascript:alert(1)\x07{MARKER}\x1b[0m\r{MARKER}\n\xff\x00{trace}{MARKER}"
        )
    store.add_action(an_action(name, at=NOON, by=evil, why=evil, verb=MARKER if number % 2 else "hold"))


def run_id(number: int, state: str) -> str:
    return id_from(NOON) + f"{number:08d}{state[:4]}"


@pytest.fixture
def hostile(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """Return the site with all that is hostile in it."""
    shutil.copytree(model, tmp_path / "site")
    return Filled(tmp_path / "site", monkeypatch)


def assert_harmless(body: str) -> None:
    for each in RAW:
        assert each not in body, body[max(body.find(each) - 200, 0) : body.find(each) + 200]


# -- Hostile texts -----------------------------------------------------------------------------


def test_no_text_from_elsewhere_is_more_than_text_on_any_page(hostile):
    # Given every page that a link leads to, from a site full of hostile names
    seen, todo = set(), ["/", "/?q=" + quote(MARKER), "/runs?limit=500", "/activity?name=" + quote(NAMES[1]), "/setup"]
    while todo:
        address = todo.pop()
        if address in seen or "/static/" in address or "/raw" in address:
            continue
        seen.add(address)
        answer = hostile.client.get(address)
        assert answer.status_code == 200, (address, answer.text[-400:])

        # Then it is well-formed, and what is hostile is no element, no attribute and no address
        assert_harmless(answer.text)
        page = Html(answer.text)
        for element in page.root.elements():
            assert not {*element.attributes} & {"onerror", "onmouseover", "zq"}
            assert element.tag not in ("img", "zq") and (element.tag != "script" or not element.content)
        assert not {*"\x00\x07\x1b\u202e\u2028"} & {*answer.text}
        todo += [urljoin(f"http://x{address}", each["href"])[8:] for each in page.all("a") if each["href"][0] != "#"]
    # And each schedule and each run could be reached
    assert len([each for each in seen if each.startswith(("/task/", "/task?"))]) >= len(NAMES)
    assert {run_id(0, "succ"), run_id(3, "miss")} <= {urlsplit(each).path.rpartition("/")[2] for each in seen}


def test_hostile_names_are_read_in_full_where_they_are_told(hostile):
    for name in ("a/b", "<script>alert(1)</script>", "..", "x" * 200, "a?b#c&d=e;f"):
        page = hostile.page("/task", query_string={"name": name})
        assert page.the("h1").text.startswith(name[:200])
        assert hostile.json("/task.json", query_string={"name": name})["name"] == name
    shown = hostile.page("/task", query_string={"name": "\u05d0\u05d1\u202e\u05d2"}).the("h1").text
    assert "\\u202e" in shown


def test_json_is_ascii_and_has_nothing_in_it_that_a_browser_might_obey(hostile):
    addresses = [f"/runs/{run_id(1, 'failed')}.json", f"/runs/{run_id(1, 'failed')}/output", "/setup.json"]
    for address in ("/tasks.json", "/runs.json?limit=500", "/activity.json", *addresses):
        answer = hostile.get(address)
        assert answer.content_type == "application/json" and answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.data.isascii() and b"<" not in answer.data
        json.loads(answer.data)


def test_output_as_it_was_printed_comes_as_a_file(hostile):
    answer = hostile.get(f"/runs/{run_id(1, 'failed')}/raw")
    assert MARKER.encode() in answer.data
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")


FORMS = (
    {"do": "run", "args": "1"}, {"do": "hold"}, {"do": "hold", "until": MARKER}, {"do": "resume"}, {"do": "skip"},
    {"do": "demand"}, {"do": "reschedule", "rule": MARKER}, {"do": "reschedule", "rule": "every 0s"},
    {"do": "reschedule", "rule": "cron " + "9" * 5000}, {"do": "reschedule", "rule": "every 5m"}, {"do": "restore"},
    {"do": "remove"}, {"do": "stop"}, {"do": MARKER}, {}, {"do": "run", "args": "1", f"arg.to{MARKER}": MARKER},
    {"do": "run", "args": "1", "arg.n": "1" * 6000}, {"do": "run", "args": "1", "arg.x": "x" * 65000},
    {"do": "run", "args": "1", "arg.": "", "arg.self": "1"}, {"do": "hold", "until": "9" * 400 + "d"},
    {"do": "hold", "why": "\ud800\x00\u202e"}, {"do": "hold", "until": "9999-12-31 23:59"},
    {"do": "reschedule", "rule": "at 0001-01-01 00:00"}, {"do": "reschedule", "rule": "every 1e400s"},
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=lambda form: repr(form)[:60])
def test_whatever_a_form_says_is_done_or_refused_in_words(hostile, form):
    evil = {**form, "why": form.get("why", f"{MARKER}\n")}
    data = "&".join(f"{quote(k, errors='surrogatepass')}={quote(v, errors='surrogatepass')}" for k, v in evil.items())
    for name in ("Plain", f"a{MARKER}", "../../etc/passwd", "a\nb\r\nSet-Cookie: zq=1", "nobody"):
        answer = hostile.client.post(
            "/task", query_string={"name": name}, data=data, content_type="application/x-www-form-urlencoded",
            headers=SENT_HERE,
        )  # fmt: skip
        assert answer.status_code in (303, 400, 404, 409, 413)
        assert "\n" not in answer.headers.get("Location", "") and "zq=" not in answer.headers.get("Set-Cookie", "")
        assert_harmless(answer.text)
        if answer.status_code != 303:
            Html(answer.text)


# -- Nobody without the key --------------------------------------------------------------------

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")

#: What anybody may ask for, by address and method, and what they are told.
OPEN = {
    ("/static/console.css", "GET"): 200, ("/static/console.css", "HEAD"): 200, ("/static/console.js", "GET"): 200,
    ("/static/console.js", "HEAD"): 200,
    ("/sign-out", "POST"): 303, ("/metrics", "GET"): 401, ("/metrics", "HEAD"): 401, ("/health", "GET"): 503,
    ("/health", "HEAD"): 503,
}  # fmt: skip


def addresses() -> list[str]:
    """Return every address that the console has, and some that it has not."""
    filled = {
        rule.rule.replace("<name>", name).replace("<run_id>", run_id(1, "failed"))
        for rule in ADDRESSES.iter_rules()
        for name in ("Plain", "nobody", "console.css", "console.js", "none")
    }
    return [*sorted(filled), "/nothing", "/task/a/b", "/.dracotask/state.db", "/__tasks__.py", "/runs/x/y/z"]


@pytest.mark.parametrize("how", ["nothing", "garbage", "authorize"])
def test_nobody_comes_in_without_the_key_by_any_address_or_method(hostile, monkeypatch, how):
    # Given somebody who has no cookie, one that is made up, or whom the site does not know
    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("a stranger made us open the store")

    monkeypatch.setattr(Site, "open_store", fail)
    monkeypatch.setattr(watch, "_look", lambda asked: watch.Health(asked.now, [watch.Trouble(watch.BUSY, SECRET)]))
    authorize = (lambda environ: None) if how == "authorize" else None
    client = hostile.client_of(authorize)
    headers = {**SENT_HERE, **({"Cookie": "dracotask-0123456789ab=abc.def; a=b;;=; \xff"} if how == "garbage" else {})}

    for address in addresses():
        for method in METHODS:
            monkeypatch.setattr(watch, "_remembered", watch.Remembered())
            answer = client.open(
                address, method=method, headers=headers, data={"do": "run"} if method == "POST" else None
            )

            # Then the door is all that they see
            expected = OPEN.get((address, method), 403)
            if address == "/sign-in" and method in ("GET", "HEAD", "POST"):
                assert answer.status_code in (403, 404, 429)
            elif address.startswith("/static/") and method in ("GET", "HEAD") and expected == 403:
                assert answer.status_code == 404
            else:
                assert answer.status_code == expected, (method, address)
            assert SECRET not in answer.text and str(hostile.docroot) not in answer.text
            assert_harmless(answer.text)
            for name, value in HEADERS.items():
                if name != "Cache-Control":
                    assert answer.headers[name] == value


def test_what_is_wrong_with_the_site_is_not_told_to_strangers(hostile, monkeypatch):
    # Given a console whose docroot goes away
    strangers, ours = hostile.client_of(None), hostile.client
    os.rename(hostile.docroot, hostile.docroot.with_name("moved"))

    for address in ("/", "/setup.json", "/sign-in", "/health"):
        answer = strangers.get(address)
        assert answer.status_code in (403, 503) and str(hostile.docroot) not in answer.text, address
    assert ours.get("/").status_code == 503


def test_who_may_look_may_change_nothing(hostile):
    reader = hostile.client_of(lambda environ: ("read", "bob"))
    before = hostile.json("/activity.json?limit=1000"), hostile.json("/runs.json?limit=500")

    for address in addresses():
        answer = reader.post(address, data={"do": "hold", "run": "Plain", "site": "hold"}, headers=SENT_HERE)
        assert answer.status_code in (403, 303 if address == "/sign-out" else 403, 404, 405), address
    page = Html(reader.get("/task/Plain").text)

    assert [form for form in page.main.all("form") if form.attributes.get("method") == "post"] == []
    assert (hostile.json("/activity.json?limit=1000"), hostile.json("/runs.json?limit=500")) == before


@pytest.mark.parametrize(
    ("headers", "comes_from_here"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-origin, cross-site"}, False),
        ({"Sec-Fetch-Site": "SAME-ORIGIN"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "http://localhost:80"}, True),
        ({"Origin": "null"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"}, False),
        ({"Origin": "http://evil.example", "Forwarded": "host=evil.example"}, False),
        ({"Origin": "http://localhost", "Host": "evil.example"}, False),
        ({"Origin": ""}, False),
        ({}, False),
        ({"Referer": "http://localhost/"}, False),
        ({"X-Requested-With": "XMLHttpRequest", "X-HTTP-Method-Override": "GET"}, False),
    ],
)  # fmt: skip
def test_a_form_counts_only_when_a_page_of_the_console_has_sent_it(hostile, headers, comes_from_here):
    posts = (
        ("/", {"site": "hold"}), ("/", {"run": "Plain"}), ("/", {"resume": NAMES[1]}), ("/task/Plain", {"do": "hold"}),
        ("/task?name=Plain", {"do": "run"}), (f"/runs/{run_id(2, 'failed')}", {"do": "retry"}), ("/sign-out", {}),
        ("/sign-in", {"token": "x" * 43}),
    )  # fmt: skip
    for address, form in posts:
        before = len(hostile.json("/activity.json?limit=1000"))
        answer = hostile.client.post(address, data=form, headers=headers)
        done = len(hostile.json("/activity.json?limit=1000")) - before
        if comes_from_here:
            assert "so nothing was done" not in answer.text
        else:
            assert (answer.status_code, done) == (403, 0), address
            assert "so nothing was done" in answer.text


def test_a_link_lets_one_in_once_and_a_made_up_one_never(hostile):
    client = hostile.client_of(None)
    hostile.at(utc_now())  # a browser's own clock is not ours to set
    token = new_link_token(hostile.state, role="write", by="anna", now=utc_now())

    # Forged, cut, grown, of other letters, and much too long
    for wrong in ("", "x", "A" * 43, token[:-1], token + "A", token.swapcase(), "../" * 14 + "x", "A" * 60_000,
                  "\x00" * 43,
                  "é" * 43, token + "\n", " " + token):  # fmt: skip
        answer = client.post("/sign-in", data={"token": wrong}, headers=SENT_HERE)
        assert answer.status_code in (403, 429) and "Set-Cookie" not in answer.headers
        assert client.get("/").status_code == 403
    # To look does not use it up, nor does a form of another site
    assert "Sign in" in Html(client.get("/sign-in", query_string={"token": token}).text).main.text
    assert client.post("/sign-in", data={"token": token}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403

    # The good one, once
    answer = client.post("/sign-in", data={"token": token}, headers=SENT_HERE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "./")
    assert client.get("/").status_code == 200
    other = hostile.client_of(None)
    assert other.post("/sign-in", data={"token": token}, headers=SENT_HERE).status_code in (403, 429)
    assert other.get("/").status_code == 403
    # And out again
    client.post("/sign-out", headers=SENT_HERE)
    assert client.get("/").status_code == 403


# -- Addresses ---------------------------------------------------------------------------------


def test_no_run_id_or_attempt_leads_out_of_the_site(hostile, tmp_path, monkeypatch):
    # Given another site, with a run of its own, and a file beside the state folder
    other = Filled(tmp_path / "other", monkeypatch).prepare()
    strange = other.run("Plain", state="succeeded", attempt=1, started_at=NOON)
    other.output(strange, SECRET * 3)
    (Path(hostile.state.path) / "secret").write_text(SECRET * 3)
    (Path(hostile.state.path) / "runs" / "secret").write_text(SECRET * 3)

    ids = [
        strange.id, "../secret", "..%2fsecret", "%2e%2e%2fsecret", "..%5csecret", "secret", "%00", "x" * 500,
        f"../../../{other.docroot.name}/.dracotask/runs/{strange.id}", "%252e%252e%252fsecret", "..;/secret", ".", "..",
    ]  # fmt: skip
    for each in ids:
        for tail in ("", ".json", "/output", "/raw"):
            answer = hostile.client.get(f"/runs/{each}{tail}")
            assert answer.status_code == 404 or "secret" not in each, each
            assert SECRET * 3 not in answer.text
    mine = run_id(1, "failed")
    for attempt in ("-1", "0", "99", "../secret", "1e9", "10" * 9, "abc", "%00", "1/../../secret", "\u0661"):
        for tail in ("", "/output", "/raw"):
            answer = hostile.client.get(f"/runs/{mine}{tail}?attempt={attempt}&after={attempt}&style={attempt}")
            assert answer.status_code == 200 and SECRET * 3 not in answer.text


PRIVATE = [
    f"{before}{name}{after}"
    for name in ("__tasks__.py", "%5f%5ftasks%5f%5f.py", "__TASKS__.PY", "dracotask.toml", ".dracotask/state.db",
                 "%2edracotask/console.key", "__tasks__.py%00.html", "__tasks__.py;x=1", "__tasks__.py.",
                 "__tasks__.py%20",
                 "__pycache__/__tasks__.cpython-311.pyc", ".__tasks__.py.swp", "dracotask.toml~")
    for before in ("/", "/tasks/", "//", "/tasks//", "/tasks/../", "/tasks/%2e%2e/", "/tasks/..%2f", "/tasks/static/",
                   "/tasks/static/..%2f..%2f", "/tasks/runs/", "/./", "/tasks;/", "/TASKS/", "/%2f", "/tasks/..%5c",
                   "/tasks/static/%2e%2e/")
    for after in ("", "/", "?x=1")
]  # fmt: skip


def test_no_spelling_of_a_private_path_is_answered_with_the_file(hostile):
    # Given a site that would serve every file that there is, and the console below it
    (hostile.docroot / "dracotask.toml").write_text(f'host = "{SECRET}"\n')

    def files(environ: Any, start_response: Any) -> list[bytes]:
        path = os.path.normpath(str(hostile.docroot) + "/" + environ["PATH_INFO"].partition("\0")[0])
        found = path.startswith(str(hostile.docroot)) and os.path.isfile(path)
        start_response("200 OK" if found else "404 Not Found", [("Content-Type", "text/plain")])
        return [Path(path).read_bytes() if found else b"none"]

    client = Client(
        TaskMiddleware(files, hostile.docroot, console="/tasks", authorize=lambda environ: ANNA, idle_tick=False)
    )
    started = []
    client.application.start = lambda: started.append(1)
    client.application._look_at = float("inf")  # nobody looks for what is due here

    for path in PRIVATE:
        # (By hand: the client would tidy up the path.)
        said, _, query = path.partition("?")
        answer = client.open("/", query_string=query, environ_overrides={"PATH_INFO": unquoted(said)})
        assert answer.status_code in (404, 400, 405, 308) or SECRET not in answer.text, path
        assert SECRET.encode() not in answer.data and b"</pre><script>" not in answer.data, path


def unquoted(path: str) -> str:
    """Return a path as a server hands it over (PEP 3333)."""
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(path).decode("latin-1")


def test_what_proxies_and_browsers_may_say_changes_no_page(hostile):
    # Given an answer to a plain request
    plain = {address: hostile.get(address).data for address in ("/", "/runs", "/setup.json", "/task/Plain")}
    headers = [
        {"Host": "evil.example"}, {"Host": "a b<zq>"}, {"Host": ""}, {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Proto": "javascript"}, {"X-Forwarded-For": MARKER}, {"X-Forwarded-Prefix": "//evil.example"},
        {"X-Script-Name": "//evil.example"}, {"X-Original-URL": "/setup"}, {"X-Rewrite-URL": "/setup"},
        {"User-Agent": MARKER}, {"Referer": f"http://evil.example/{MARKER}"}, {"Accept": "application/json"},
        {"Accept-Language": "zq;q=x"}, {"Accept-Charset": "utf-7"}, {"Range": "bytes=0-1"},
        {"Cookie": "; ;=;a=;\xff=\xfe; dracotask-x=" + "x" * 9000}, {"Authorization": "Basic \xff\xfe"},
        {"X-HTTP-Method-Override": "DELETE"}, {"Content-Type": "text/html"}, {"Upgrade": "h2c"},
    ]  # fmt: skip

    # Then it is the same whatever else is said
    for each in headers:
        for address, expected in plain.items():
            answer = hostile.client.get(address, headers=each)
            assert (answer.status_code, answer.data) == (200, expected), (address, each)


@pytest.mark.parametrize(
    "mount", ["/tasks", "/a b", "/\xc3\xa9", "/<zq'\"&>", "/%2e%2e", "/;x", "/a//b", "//evil.example"]
)
def test_any_mount_gives_the_same_page(hostile, mount):
    plain = hostile.get("/").data
    answer = hostile.client.get("/", environ_overrides={"SCRIPT_NAME": mount})
    assert (answer.status_code, answer.data) == (200, plain)
    answer = hostile.client.post("/sign-out", headers=SENT_HERE, environ_overrides={"SCRIPT_NAME": mount})
    assert (answer.status_code, answer.headers["Location"]) == (303, "./")
    assert_harmless(answer.headers["Set-Cookie"])


# -- Bodies ------------------------------------------------------------------------------------


def post(site: Filled, body: bytes, **environ: str) -> tuple[int, float]:
    """Post a body as it is; return the status and how many of its bytes were read."""
    stream = io.BytesIO(body)
    facts = {"CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(body)), **environ}
    answer = Client(Console(str(site.docroot), authorize=lambda environ: ANNA)).post(
        "/task/Plain", headers=SENT_HERE, environ_overrides={"wsgi.input": stream, **facts}
    )
    return answer.status_code, stream.tell()


def multipart(parts: int, size: int = 10, *, name: str = "do", boundary: str = "zq") -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return (head + "x" * size + "\r\n").encode() * parts + f"--{boundary}--\r\n".encode()


MULTIPART = {"CONTENT_TYPE": "multipart/form-data; boundary=zq"}


@pytest.mark.parametrize(
    ("body", "environ", "statuses"),
    [
        (b"do=hold", {"CONTENT_LENGTH": "-1"}, (400,)),
        (b"do=hold", {"CONTENT_LENGTH": "7, 7"}, (400,)),
        (b"do=hold", {"CONTENT_LENGTH": "9" * 5000}, (400, 413)),
        (b"do=hold", {"CONTENT_LENGTH": "1e3"}, (400,)),
        (b"do=hold", {"CONTENT_LENGTH": ""}, (400,)),
        (b"do=hold", {"CONTENT_LENGTH": "70"}, (400, 303)),
        (b"do=hold", {"CONTENT_LENGTH": "2"}, (400,)),
        (b"x=" + b"x" * 10_000_000, {}, (413,)),
        (b"&" * 60_000, {}, (400,)),
        (b"&a=1" * 15_000, {}, (400, 413)),
        (b"%" * 60_000, {}, (400,)),
        (b"do=hold", {"CONTENT_TYPE": "application/json"}, (400,)),
        (b"do=hold", {"CONTENT_TYPE": "text/plain; charset=utf-7"}, (400,)),
        (b"do=hold", {"CONTENT_TYPE": "\xff/\xfe;;;=="}, (400,)),
        (b"do=hold", {"CONTENT_TYPE": ""}, (400,)),
        (multipart(1), MULTIPART, (400,)),
        (multipart(300), MULTIPART, (413,)),
        (multipart(100_000, 1), MULTIPART, (413,)),
        (multipart(1, 10_000_000), MULTIPART, (413,)),
        (multipart(1, name="x" * 60_000), MULTIPART, (400, 413)),
        (multipart(2)[:50], MULTIPART, (400,)),
        (b"--zq\r\n" * 9_000, MULTIPART, (400, 413)),
        (b"\r\n" * 30_000, MULTIPART, (400, 413)),
        (multipart(3), {"CONTENT_TYPE": "multipart/form-data"}, (400,)),
        (multipart(3), {"CONTENT_TYPE": "multipart/form-data; boundary=" + "z" * 60_000}, (400, 413)),
        (multipart(3), {"CONTENT_TYPE": 'multipart/form-data; boundary="\xff\n"'}, (400, 413)),
        (b'--zq\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nc\r\n--zq--\r\n', MULTIPART, (400,)),
        (b"do=\xff\xfe\x00%ff%00", {}, (400,)),
    ],
)  # fmt: skip
def test_no_body_is_more_than_refused(hostile, body, environ, statuses):
    status, read = post(hostile, body, **environ)
    assert status in statuses
    # And of a long one no more is read than a form could have
    assert read <= LONGEST_FORM + 65536


@pytest.mark.parametrize(
    "query",
    ["q=" + "x" * 10_000_000, "&a=1" * 2_500_000, "&" * 10_000_000, "%ff" * 3_000_000, "page=" + "9" * 1_000_000],
    ids=lambda query: query[:6],
)
def test_a_query_of_ten_megabytes_is_not_even_taken_apart(hostile, query):
    console = Console(str(hostile.docroot), authorize=lambda environ: ANNA)
    for address in ("/", "/runs", "", "/sign-in"):
        environ = {**create_environ(address), "PATH_INFO": address, "QUERY_STRING": query}
        began = time.process_time()
        assert run_wsgi_app(console, environ, buffered=True)[1].startswith("414 ")
        # (By the processor's own clock; to take one apart is seconds.)
        assert time.process_time() - began < 1


# -- At random ---------------------------------------------------------------------------------


class Dice:
    """Makes requests at random, each of what the console knows and something that is wrong with it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.words = [
            *NAMES, MARKER, SECRET, "Plain", *(run_id(number, "failed") for number in range(1, 7)),
            "1", "-1", "0", "1e9", "9" * 19, "2026-11-21", "2026-02-30", "failed", "any failure", "active", "hold",
            "run",
            "stop", "retry", "resume", "skip", "remove", "reschedule", "demand", "restore", "every 5m",
            "cron * * * * *",
            "14:00", "2h", "b-1-", "console.css", "json", "x" * 3000, "\ud800", "\udcff", "",
        ]  # fmt: skip
        self.rules = [rule.rule for rule in ADDRESSES.iter_rules()]

    def environ(self) -> dict[str, Any]:
        method = self.random.choices([*METHODS, "get", "ZQ"], [60, 5, 25, 2, 1, 1, 2, 1, 1, 1])[0]
        body = self.body() if method in ("POST", "PUT", "PATCH") else b""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method, "SCRIPT_NAME": self.random.choice(["", "", "/tasks", "/a/b", "/\xc3\xa9 <zq"]),
            "PATH_INFO": self.path(), "QUERY_STRING": self.query(), "SERVER_NAME": "localhost", "SERVER_PORT": "80",
            "SERVER_PROTOCOL": self.random.choice(["HTTP/1.1", "HTTP/1.0", "HTTP/0.9"]), "wsgi.version": (1, 0),
            "wsgi.url_scheme": self.random.choice(["http", "https"]), "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(), "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
            "REMOTE_ADDR": "127.0.0.1", "test.visitor": self.random.choice([None, "read", "read", *[ANNA] * 7]),
        }  # fmt: skip
        if body or self.random.random() < 0.1:
            environ["CONTENT_LENGTH"] = self.rarely(str(len(body)), "-1", "abc", "9" * 30, "")
            environ["CONTENT_TYPE"] = self.rarely(
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=zq",
                "application/json",
                self.bytes(),
                "",
            )
        for _ in range(self.random.randrange(5)):
            environ[f"HTTP_{self.random.choice(HEADER_NAMES)}"] = self.header()
        if method == "POST" and self.random.random() < 0.9:
            environ["HTTP_SEC_FETCH_SITE"] = "same-origin"
        return environ

    def rarely(self, usual: str, *others: str) -> str:
        return usual if self.random.random() < 0.85 else self.random.choice(others)

    def word(self) -> str:
        return self.random.choice(self.words) if self.random.random() < 0.95 else self.bytes()

    def bytes(self) -> str:
        """Return any bytes, as a server hands them over."""
        return self.random.randbytes(self.random.randrange(40)).decode("latin-1")

    def path(self) -> str:
        if self.random.random() < 0.05:
            return self.random.choice(["", "/", "//", "/..", "/" + self.bytes()])
        path = self.random.choice(self.rules)
        for place in ("<name>", "<run_id>"):
            path = path.replace(
                place, self.random.choice([self.word(), "Plain", run_id(2, "failed"), run_id(6, "failed")])
            )
        path = path.encode("utf-8", "surrogatepass").decode("latin-1")
        if self.random.random() < 0.15:
            place = self.random.randrange(len(path) + 1)
            path = path[:place] + self.random.choice([*PATH_NOISE, self.bytes()]) + path[place:]
        return path if path.startswith("/") else f"/{path}"

    def query(self) -> str:
        if self.random.random() < 0.3:
            return ""
        pairs = (
            f"{self.random.choice(QUERY_NAMES)}={self.quoted(self.word())}" for _ in range(self.random.randrange(4))
        )
        return self.rarely("&".join(pairs), self.bytes().replace("#", ""), "&=&;=%", "%", "=" * 99)

    def body(self) -> bytes:
        names = [
            "do",
            "do",
            "why",
            "until",
            "rule",
            "args",
            "run",
            "resume",
            "site",
            "token",
            "while_held",
            "arg.n",
            "arg.to",
        ]
        pairs = (f"{self.random.choice(names)}={self.quoted(self.word())}" for _ in range(self.random.randrange(6)))
        if self.random.random() < 0.1:
            return self.random.choice([self.random.randbytes(2000), multipart(3), multipart(300), b"x" * 100_000, b""])
        return "&".join(pairs).encode()

    def quoted(self, word: str) -> str:
        if self.random.random() < 0.1:
            return word.encode("utf-8", "surrogatepass").decode("latin-1").replace("&", "%26")
        return quote(word, safe="", errors="surrogatepass")

    def header(self) -> str:
        word = self.word().encode("utf-8", "surrogatepass").decode("latin-1")
        return self.random.choice(
            [word, word * 5, "dracotask-0=" + word, "Bearer " + word, 'W/"' + word, "bytes=0-5", "null"]
        )


HEADER_NAMES = (
    "HOST", "COOKIE", "ORIGIN", "SEC_FETCH_SITE", "AUTHORIZATION", "ACCEPT", "ACCEPT_ENCODING", "IF_NONE_MATCH",
    "RANGE",
    "IF_MODIFIED_SINCE", "X_FORWARDED_HOST", "X_FORWARDED_PROTO", "X_FORWARDED_PREFIX", "REFERER", "USER_AGENT",
    "TRANSFER_ENCODING", "EXPECT", "CONNECTION", "X_HTTP_METHOD_OVERRIDE", "CONTENT_ENCODING", "IF_MATCH", "IF_RANGE",
)  # fmt: skip
QUERY_NAMES = (
    "q", "state", "page", "name", "schedule", "origin", "since", "until", "before", "after", "limit", "attempt",
    "style",
    "ask", "token", "v", "task", "format", "zq",
)  # fmt: skip
PATH_NOISE = (
    "/",
    "//",
    "/../",
    "/./",
    ";",
    "%00",
    "\x00",
    "%2e",
    "..",
    "\\",
    "~",
    ".json",
    "\r\n",
    "\xff",
    "?",
    "#",
    " ",
)

#: What a console whose store is well has to say; 503 only of the health of its tasks.
ANSWERS = {200, 303, 304, 308, 400, 401, 403, 404, 405, 409, 412, 413, 414, 415, 416, 429}


def answers_at_random(site: Filled, seed: int, number: int) -> Counter[int]:
    """Make requests at random, and judge each answer; return how many had which status."""
    console = Console(str(site.docroot), authorize=lambda environ: environ["test.visitor"])
    judged = wsgiref.validate.validator(console)
    dice, seen, parsed = Dice(seed), Counter[int](), set[str]()
    for count in range(number):
        environ = dice.environ()
        request = {name: value for name, value in environ.items() if not name.startswith("wsgi.")}
        try:
            seen[judge(judged, environ, parsed)] += 1
        except BaseException as error:
            raise AssertionError(f"Request {count} of seed {seed}: {request}") from error
    return seen


def judge(judged: Callable[..., Any], environ: dict[str, Any], parsed: set[str]) -> int:
    """Make one request, judge the answer, and return its status.

    :param parsed: the pages that were found to be well-formed so far.
    """
    began: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], error: object = None) -> Callable[[bytes], object]:
        began.append((status, headers))
        return lambda data: None

    path, visitor = environ["PATH_INFO"], environ["test.visitor"]
    answer = judged(environ, start_response)
    try:
        body = b"".join(answer).decode()
    finally:
        answer.close()
    ((line, listed),) = began
    status, headers = int(line[:3]), {name.lower(): value for name, value in listed}
    assert status in ANSWERS or (status == 503 and path.rstrip("/").endswith("/health")), f"{line}: {body[-2000:]}"
    for name, value in HEADERS.items():
        assert headers.get(name.lower()) == value or name == "Cache-Control"
    assert not any({*value} & {*"\r\n\0"} for value in headers.values())
    # (What was printed goes into a file; numbers for Prometheus are no HTML for anybody, as nosniff says.)
    if "attachment" not in headers.get("content-disposition", "") and "# HELP" not in body[:10]:
        assert_harmless(body)
    # (werkzeug writes the page of a redirect, which no browser shows.)
    if headers.get("content-type", "").startswith("text/html") and body and status != 303 and body not in parsed:
        Html(body)
        parsed.add(body)
    if headers.get("content-type") == "application/json" and body:
        json.loads(body)
    if visitor is None:
        assert SECRET not in body.replace(path, "")
        assert status in (308, 303, 400, 401, 403, 413, 414, 429) or any(
            each in path for each in ("/static/", "/health", "/sign-in")
        ), line
    return status


@pytest.fixture
def unrefereed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the referee judge only what comes out; what goes in is meant to break the rules."""
    monkeypatch.setattr(wsgiref.validate, "check_environ", lambda environ: None)
    # (Setup has the runs' interpreter started, to see whether it can be.)
    monkeypatch.setattr("dracotask.report.checks.entry_point", lambda docroot: ["true"])
    monkeypatch.setattr(app, "logger", Silent())
    monkeypatch.setattr(access, "logger", Silent())


class Silent:
    """A logger that fails on what nobody expected."""

    def error(self, words: str, *values: object, exc_info: BaseException | None = None) -> None:
        if exc_info is not None:
            raise exc_info

    exception = error


@pytest.mark.usefixtures("unrefereed")
def test_two_thousand_requests_at_random_break_nothing(hostile):
    seen = answers_at_random(hostile, 5, 2000)
    # (All kinds of answers were among them.)
    assert {200, 303, 400, 403, 404, 405, 409} <= seen.keys() and seen[200] > 300, seen


@pytest.mark.long
@pytest.mark.usefixtures("unrefereed")
@pytest.mark.parametrize("seed", range(10, 20))
def test_fifty_thousand_requests_at_random_break_nothing(hostile, seed):
    assert answers_at_random(hostile, seed, 5000)[200] > 700


# -- Real servers ------------------------------------------------------------------------------

WSGI = """\
import os
from dracotask import TaskMiddleware

def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Worker", str(os.getpid()))])
    return [b"the site"]

application = TaskMiddleware(
    site, os.path.dirname(os.path.abspath(__file__)), console="/tasks",
    authorize=lambda environ: "write" if environ.get("HTTP_X_KEY") == "sesame" else None,
)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a gunicorn with threads that serves a site with a console."""
    folder = SiteFolder(tmp_path_factory.mktemp("hostile"))
    (folder.path / "wsgi.py").write_text(WSGI)
    folder.load()
    (kind,) = [kind for kind in KINDS if kind.name == "gunicorn-gthread"]
    server = Server(kind, folder)
    try:
        yield server
    finally:
        server.stop()
        folder.end_everything()


def spoken(server: Server, request: bytes) -> bytes:
    """Send bytes as they are, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        try:
            while part := connection.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass  # as servers do with what they will not read to its end
    return b"".join(parts)


KEY = b"X-Key: sesame\r\nConnection: close\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n"


@pytest.mark.server
@pytest.mark.parametrize(
    ("request_bytes", "starts"),
    [
        (b"GET /tasks/ HTTP/1.0\r\n" + KEY + b"\r\n", [b"HTTP/1.0 200", b"HTTP/1.1 200"]),
        (b"GET /tasks/ HTTP/1.0\r\n\r\n", [b"HTTP/1.0 403", b"HTTP/1.1 403"]),
        (b"HEAD /tasks/ HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n", [b"HTTP/1.1 200"]),
        (b"GET http://evil.example/tasks/ HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n", [b"HTTP/1.1 200", b"HTTP/1.1 400"]),
        (b"GET /tasks HTTP/1.1\r\nHost: evil.example\r\n" + KEY + b"\r\n", [b"HTTP/1.1 308"]),
        (b"GET //tasks/ HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n", [b"HTTP/1.1 200"]),
        (b"GET /tasks/%2e%2e/__tasks__.py HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n", [b"HTTP/1.1 404"]),
        (b"GET /tasks/../__tasks__.py HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n", [b"HTTP/1.1 404"]),
        (b"GET /tasks/%00 HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n", [b"HTTP/1.1 404", b"HTTP/1.1 400"]),
        (b"GET /tasks/\xff\xfe HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n", [b"HTTP/1.1 404", b"HTTP/1.1 400"]),
        (b"GET /tasks/?q=" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n", [b"HTTP/1.1 4"]),
        (b"GET /tasks/ HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n" + KEY + b"\r\n", [b"HTTP/1.1 4"]),
        (b"GET /tasks/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + KEY + b"\r\n", [b"HTTP/1.1 200", b"HTTP/1.1 400"]),
        (b"TRACE /tasks/ HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n", [b"HTTP/1.1 405", b"HTTP/1.1 403"]),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n", [b"HTTP/1.1 200", b"HTTP/1.1 4"]),
        (b"POST /tasks/task/Short HTTP/1.1\r\nHost: x\r\n" + KEY + FORM + b"Transfer-Encoding: chunked\r\n\r\n"
         b"7\r\ndo=hold\r\n0\r\n\r\n", [b"HTTP/1.1 303", b"HTTP/1.1 400"]),
        (b"POST /tasks/task/Short HTTP/1.1\r\nHost: x\r\n" + KEY + FORM + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
         [b"HTTP/1.1 400"]),
        (b"POST /tasks/task/Short HTTP/1.1\r\nHost: x\r\n" + KEY + FORM + b"Transfer-Encoding: chunked\r\n\r\n"
         + b"ffff\r\n" + b"x" * 65535 + b"\r\n" + b"ffff\r\n" + b"x" * 65535 + b"\r\n0\r\n\r\n",
         [b"HTTP/1.1 400", b"HTTP/1.1 413"]),
        (b"POST /tasks/task/Short HTTP/1.1\r\nHost: x\r\n" + KEY + FORM
         + b"Content-Length: 7\r\nContent-Length: 9\r\n\r\ndo=hold", [b"HTTP/1.1 400"]),
        (b"POST /tasks/task/Short HTTP/1.1\r\nHost: x\r\n" + KEY + FORM + b"Content-Length: -7\r\n\r\ndo=hold",
         [b"HTTP/1.1 400"]),
        (b"POST /tasks/task/Short HTTP/1.1\r\nHost: x\r\n" + KEY + FORM + b"Content-Length: 99999999999\r\n\r\ndo=hold",
         [b"HTTP/1.1 413", b"HTTP/1.1 400"]),
        (b"POST /tasks/task/Short HTTP/1.1\r\nHost: x\r\n" + KEY + FORM + b"Content-Length: 100\r\n\r\ndo=hold",
         [b"HTTP/1.1 400", b"HTTP/1.1 303"]),
        (b"POST /tasks/task/Short HTTP/1.1\r\nHost: x\r\n" + KEY
         + b"Origin: null\r\nContent-Length: 7\r\n\r\ndo=hold", [b"HTTP/1.1 403"]),
        (b"POST /tasks/task/Short HTTP/1.1\r\nHost: x\r\n" + KEY
         + b"Content-Type: application/x-www-form-urlencoded\r\nOrigin: http://x\r\nContent-Length: 9\r\n\r\ndo=resume",
         [b"HTTP/1.1 303", b"HTTP/1.1 400"]),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else "",
)  # fmt: skip
def test_bytes_that_a_client_should_not_send_are_refused_by_the_server_or_by_us(server, request_bytes, starts):
    answer = spoken(server, request_bytes)
    assert answer.startswith(tuple(starts)), answer[:300]
    assert b"class Short" not in answer and b"Traceback" not in answer
    if answer.startswith(b"HTTP/1.1 308"):
        assert b"Location: tasks/\r\n" in answer
    # And the next one is answered
    assert server.get("/").body == b"the site"


@pytest.mark.server
def test_five_hundred_clients_at_once_are_all_answered(server):
    ask = [f"/tasks{path}" for path in ("/", "/runs", "/task/Short", "/tasks.json", "/static/console.css")] * 100

    def asked(path: str) -> tuple[bytes, bool]:
        answer = spoken(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode() + KEY + b"\r\n")
        return answer[:12], answer.rstrip().endswith((b"</html>", b"]", b"}"))

    with ThreadPoolExecutor(500) as clients:
        answers = Counter(clients.map(asked, ask))

    assert answers == {(b"HTTP/1.1 200", True): 500}
    assert "Traceback" not in server.words()
