"""The example site: a page on which the work of the tasks can be seen, and one where visitors order pages.

Plain WSGI. All that dracotask needs is ``application`` at the end of this file.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from html import escape
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from string import Template
from urllib.parse import parse_qsl

from dracotask import DracotaskError, Scheduler, TaskMiddleware

HERE = Path(__file__).resolve().parent
PAGES = HERE / "pages"
DATABASE = HERE / "site.db"  # also the url in dracotask.toml

COOKIE = "example_session"

#: The only static files there are: nothing that could lead out of the folder is asked for at all.
STATIC = re.compile(r"/pages/([a-z]+\.html)")

#: What a visitor may have written: files of such names, so often (seconds), and so many of them.
FILE, LONGEST, MOST = re.compile(r"[a-z]{1,20}\.html"), 3600, 10

#: Who was here within a minute, in the memory of this worker: session and time.
HERE_NOW: dict[str, float] = {}


def app(environ, start_response) -> Iterable[bytes]:
    """Answer one request."""
    path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
    if path == "/visitors" and method == "POST":
        for _ in range(10):
            visit(None)
        start_response("303 See Other", [("Location", home(environ)), ("Content-Length", "0")])
        return [b""]
    if path == "/generators":
        return generators(environ, start_response)
    if method not in ("GET", "HEAD"):
        return answer(environ, start_response, "405 Method Not Allowed", "Not allowed.")
    if path in ("", "/"):
        session = visit(cookie_of(environ))
        HERE_NOW[session] = time.time()
        cookie = ("Set-Cookie", f"{COOKIE}={session}; Path=/; HttpOnly; SameSite=Lax")
        return answer(environ, start_response, "200 OK", page(environ), cookie)
    if path == "/now":
        # Asked every two seconds by the page: it is no visit, or no session would ever grow old.
        return answer(environ, start_response, "200 OK", now())
    if found := STATIC.fullmatch(path):
        try:
            return answer(environ, start_response, "200 OK", (PAGES / found[1]).read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
    return answer(environ, start_response, "404 Not Found", "There is no such page.")


def answer(environ, start_response, status: str, text: str, *more: tuple[str, str]) -> Iterable[bytes]:
    body = text.encode()
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start_response(status, [*headers, *more])
    return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def home(environ) -> str:
    """Return the path of the page, wherever the site is mounted."""
    return environ.get("SCRIPT_NAME", "") + "/"


# -- Sessions ----------------------------------------------------------------------------------


def connect() -> sqlite3.Connection:
    return sqlite3.connect(DATABASE, timeout=30)


def visit(session: str | None) -> str:
    """Note that a visitor was here, and return his session: the one he has, or a new one."""
    session = session or secrets.token_urlsafe(16)
    with closing(connect()) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, seen_at REAL)")
        database.execute("INSERT OR REPLACE INTO session VALUES (?, ?)", (session, time.time()))
    return session


def cookie_of(environ) -> str | None:
    try:
        found = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found and re.fullmatch(r"[\w-]{22}", found.value) else None


def ask(question: str) -> tuple | None:
    """Return the first row of an answer; None where there is none, or no such table yet."""
    try:
        with closing(connect()) as database:
            return database.execute(question).fetchone()
    except sqlite3.OperationalError:
        return None


def forget_who_left() -> str:
    """Sweep what only this process can: its own memory."""
    left = [session for session, seen in list(HERE_NOW.items()) if seen < time.time() - 60]
    for session in left:
        HERE_NOW.pop(session, None)
    return f"{len(left)} forgotten"


# -- Pages that visitors order -----------------------------------------------------------------


def generators(environ, start_response) -> Iterable[bytes]:
    """Show which pages are written regularly, and let a visitor add one or take one away."""
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return answer(environ, start_response, "200 OK", generators_page(environ))
    if environ["REQUEST_METHOD"] != "POST":
        return answer(environ, start_response, "405 Method Not Allowed", "Not allowed.")
    # Another site's page must not order anything in a visitor's name.
    if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") not in ("same-origin", "none"):
        return answer(environ, start_response, "403 Forbidden", "Not from there.")
    try:
        order(form_of(environ))
    except (ValueError, DracotaskError) as problem:
        return answer(environ, start_response, "400 Bad Request", generators_page(environ, str(problem)))
    start_response("303 See Other", [("Location", home(environ) + "generators"), ("Content-Length", "0")])
    return [b""]


def order(form: dict[str, str]) -> None:
    """Do what a form asks for.

    :raises ValueError: it asks for what nobody may have.
    """
    file = form.get("file", "")
    if not FILE.fullmatch(file):
        raise ValueError("A file is named with small letters and .html, such as tea.html.")
    # The schedules of this site, for all workers. Each verb is one short transaction.
    scheduler = Scheduler(HERE, by="a visitor")
    if "remove" in form:
        scheduler.remove(f"page {file}")
        return
    seconds = form.get("seconds", "")
    if not re.fullmatch("[0-9]{1,4}", seconds) or not 1 <= int(seconds) <= LONGEST:
        raise ValueError(f"Seconds are a whole number from 1 to {LONGEST}.")
    # (Of two visitors at once both may still find room; a limit of taste need not be exact.)
    if len([schedule for schedule in ordered(scheduler) if schedule.name != f"page {file}"]) >= MOST:
        raise ValueError(f"{MOST} are enough: remove one first.")
    scheduler.add("PageGenerator", every=int(seconds), name=f"page {file}", arguments={"file": file}, replace=True)


def ordered(scheduler: Scheduler) -> list:
    return [schedule for schedule in scheduler.schedules() if schedule.name.startswith("page ")]


def form_of(environ) -> dict[str, str]:
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or int(length) > 1000:
        raise ValueError("That is too much for a form of two fields.")
    sent = environ["wsgi.input"].read(int(length)).decode("utf-8", "replace")
    return dict(parse_qsl(sent, keep_blank_values=True))


def generators_page(environ, problem: str = "") -> str:
    rows = "".join(row(schedule) for schedule in ordered(Scheduler(HERE)))
    facts = {
        "home": escape(home(environ)),
        "style": STYLE,
        "problem": f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else "",
        "rows": rows or '<tr><td colspan="4">Nothing yet.',
    }
    return Template(GENERATORS).substitute(facts)


def row(schedule) -> str:
    """Return the line of the table for a page that is written regularly."""
    file = escape(schedule.name.removeprefix("page "))
    how_often = escape((schedule.in_force or "on demand").partition(" from ")[0])
    return (
        f'<tr><td><a href="pages/{file}">{file}</a><td>{how_often}<td>{escape(describe(schedule))}'
        f'<td><form method="post" action="generators"><input type="hidden" name="file" value="{file}">'
        f'<button name="remove" aria-label="Remove {file}">Remove</button></form>'
    )


def describe(schedule) -> str:
    """Return when a schedule is due next, in words."""
    if schedule.held_at:
        return f"held by {schedule.held_by}"
    if schedule.next_fire_time is None or schedule.vanished_at:
        return "no more"
    return f"{schedule.next_fire_time.astimezone():%H:%M:%S}"


# -- The page ----------------------------------------------------------------------------------


def now() -> str:
    """Return the part of the page that changes."""
    try:
        seconds = max(time.time() - os.stat(PAGES / "clock.html").st_mtime, 0)
        written = f"{seconds:.0f} s ago"
    except FileNotFoundError:
        written = "not yet"
    (sessions,) = ask("SELECT count(*) FROM session") or (0,)
    noun = "session is" if sessions == 1 else "sessions are"
    at, line = ask("SELECT at, line FROM report") or ("", "not yet")
    return f"""
    <section><h2>PageGenerator <small>every 5 seconds</small></h2>
      <p class="value">{written}</p><p>it wrote <a href="pages/clock.html">a static page</a>.</p></section>
    <section><h2>SessionSweeper <small>every 10 seconds</small></h2>
      <p class="value">{sessions}</p><p>{noun} younger than a minute; this worker saw {len(HERE_NOW)}.</p></section>
    <section><h2>Report <small>every 2 minutes</small></h2>
      <p class="value">{escape(at or line)}</p><p>{escape(line) if at else "the first one is to come."}</p></section>
    <section><h2>Flaky <small>every 30 seconds</small></h2>
      <p class="value">2 in 6</p><p>of its runs fail on purpose. The history tells which.</p></section>
    """


def page(environ) -> str:
    program = "dracotask" if shutil.which("dracotask") else as_typed(Path(sys.prefix, "bin", "dracotask"))
    facts = {"home": home(environ), "program": program, "docroot": as_typed(HERE)}
    return Template(PAGE).substitute({name: escape(fact) for name, fact in facts.items()}, now=now(), style=STYLE)


def as_typed(path: Path) -> str:
    """Return a path as one would type it where the server was started."""
    near = os.path.relpath(path, os.environ.get("PWD") or os.getcwd())
    return str(path) if near.startswith("..") else near


STYLE = """\
  :root { --page: #f6f5f1; --card: #fff; --text: #23262b; --soft: #5d646e; --line: #dedbd2; --link: #1a5fb4; }
  @media (prefers-color-scheme: dark) {
    :root { --page: #16181c; --card: #1f2228; --text: #e6e6e3; --soft: #a0a6af; --line: #343841; --link: #8ab8f5; }
  }
  * { box-sizing: border-box; }
  body { margin: 0 auto; padding: 2.5rem 1.25rem; max-width: 56rem; background: var(--page); color: var(--text);
         font: 1rem/1.5 system-ui, sans-serif; }
  h1 { margin: 0; font-size: 1.6rem; }
  a { color: var(--link); }
  #now { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr));
         gap: 1rem; margin: 1.5rem 0; }
  section { padding: 1rem 1.25rem; border: 1px solid var(--line); border-radius: .6rem; background: var(--card); }
  h2 { display: flex; justify-content: space-between; gap: .75rem; align-items: baseline; margin: 0; font-size: 1rem; }
  small { color: var(--soft); font-size: .8rem; font-weight: normal; }
  .value { margin: .5rem 0 0; font-size: 1.9rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
  section p:last-child { margin: .25rem 0 0; color: var(--soft); }
  button { padding: .5rem 1rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--card);
           color: inherit; font: inherit; white-space: nowrap; cursor: pointer; }
  pre { overflow-x: auto; padding: .9rem 1.25rem; border: 1px solid var(--line); border-radius: .6rem;
        background: var(--card); font-size: .9rem; }
  input { padding: .5rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--card);
          color: inherit; font: inherit; max-width: 100%; }
  label { display: inline-block; margin: 0 1rem .5rem 0; }
  table { width: 100%; margin: 1.5rem 0; border-collapse: collapse; }
  th, td { padding: .5rem .5rem .5rem 0; border-bottom: 1px solid var(--line); text-align: left; }
  td button { padding: .3rem .6rem; }
  td:first-child { min-width: 5rem; overflow-wrap: anywhere; }
  .problem { padding: .6rem 1rem; border: 1px solid currentColor; border-radius: .4rem; color: #b3261e; }
  @media (prefers-color-scheme: dark) { .problem { color: #f2b8b5; } }
"""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Example site of dracotask</title>
<base href="$home">
<link rel="icon" href="data:,">
<style>
$style</style>
<h1>The tasks are at work</h1>
<p>Nothing but this web server was started. Leave the page open and watch.</p>
<div id="now" aria-live="off">$now</div>
<form method="post" action="visitors"><button>Pretend ten visitors</button></form>
<p>Or <a href="generators">have a page of your own written</a>, every few seconds;
and see in <a href="tasks/">the console</a> how all of it runs.</p>
<p>From a terminal:</p>
<pre># every task: next, last, how it went
$program $docroot
# the history of one, and the output of its last run
$program $docroot runs Flaky
$program $docroot log Flaky
# one task, here and now
$program $docroot OnDemand</pre>
<p>The tasks are the classes in <code>$docroot/__tasks__.py</code>. Change one, save, and look again.</p>
<noscript><meta http-equiv="refresh" content="5"></noscript>
<script>
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch("now");
      if (answer.ok) document.getElementById("now").innerHTML = await answer.text();
    } catch { /* the server is restarting */ }
  }, 2000);
</script>
</html>
"""

GENERATORS = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Pages to order</title>
<base href="$home">
<link rel="icon" href="data:,">
<style>
$style</style>
<h1>Pages to order</h1>
<p>Each is a schedule of the task PageGenerator, added at run time with a name, arguments and a rule of its own.
It outlives a restart. <a href=".">Back</a></p>
$problem
<form method="post" action="generators">
  <label>File <input name="file" placeholder="tea.html" pattern="[a-z]{1,20}[.]html" required></label>
  <label>every <input name="seconds" type="number" min="1" max="3600" value="5" required> seconds</label>
  <button>Have it written</button>
</form>
<table>
  <tr><th>File<th>Written<th>Due<th><span hidden>Remove</span>
  $rows
</table>
</html>
"""


# The console is at /tasks; `dracotask example_docroot console` prints a link that signs you in.
application = TaskMiddleware(app, HERE, console="/tasks")
# Each worker has a scheduler of its own as well, for what must see its memory.
application.local.add(forget_who_left, every="10s")
