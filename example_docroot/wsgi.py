"""The example site: one page, on which the work of the tasks can be seen.

Plain WSGI. All that dracotask needs is the last line of this file.
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

from dracotask import TaskMiddleware

HERE = Path(__file__).resolve().parent
PAGES = HERE / "pages"
DATABASE = HERE / "site.db"  # also the url in dracotask.toml

COOKIE = "example_session"

#: The only static files there are: nothing that could lead out of the folder is asked for at all.
STATIC = re.compile(r"/pages/([a-z]+\.html)")


def app(environ, start_response) -> Iterable[bytes]:
    """Answer one request."""
    path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
    if path == "/visitors" and method == "POST":
        for _ in range(10):
            visit(None)
        start_response("303 See Other", [("Location", home(environ)), ("Content-Length", "0")])
        return [b""]
    if method not in ("GET", "HEAD"):
        return answer(environ, start_response, "405 Method Not Allowed", "Not allowed.")
    if path in ("", "/"):
        session = visit(cookie_of(environ))
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
      <p class="value">{sessions}</p><p>{noun} younger than a minute.</p></section>
    <section><h2>Report <small>every 2 minutes</small></h2>
      <p class="value">{escape(at or line)}</p><p>{escape(line) if at else "the first one is to come."}</p></section>
    <section><h2>Flaky <small>every 30 seconds</small></h2>
      <p class="value">2 in 6</p><p>of its runs fail on purpose. The history tells which.</p></section>
    """


def page(environ) -> str:
    program = "dracotask" if shutil.which("dracotask") else as_typed(Path(sys.prefix, "bin", "dracotask"))
    facts = {"home": home(environ), "program": program, "docroot": as_typed(HERE)}
    return Template(PAGE).substitute({name: escape(fact) for name, fact in facts.items()}, now=now())


def as_typed(path: Path) -> str:
    """Return a path as one would type it where the server was started."""
    near = os.path.relpath(path, os.environ.get("PWD") or os.getcwd())
    return str(path) if near.startswith("..") else near


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Example site of dracotask</title>
<base href="$home">
<link rel="icon" href="data:,">
<style>
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
           color: inherit; font: inherit; cursor: pointer; }
  pre { overflow-x: auto; padding: .9rem 1.25rem; border: 1px solid var(--line); border-radius: .6rem;
        background: var(--card); font-size: .9rem; }
</style>
<h1>The tasks are at work</h1>
<p>Nothing but this web server was started. Leave the page open and watch.</p>
<div id="now" aria-live="off">$now</div>
<form method="post" action="visitors"><button>Pretend ten visitors</button></form>
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


application = TaskMiddleware(app, HERE)
