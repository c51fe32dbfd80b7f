"""A real browser for the tests of the console, Debian's Chromium, and the site that it is shown.

The browser can resolve no name and reach no host but ours. Whatever a page asks of another, whatever the Content
Security Policy keeps it from, and whatever a script stumbles over, is heard, and fails the test that opened the page.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from helpers import a_run, an_outcome, begun
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from servers import KINDS, SCRIPT, Server, SiteFolder, missing, server_environment, start_server, wait_until

from dracotask.clock import utc_now
from dracotask.console.signin import link_to, new_link_token
from dracotask.model import Action, Run, Schedule

CHROMIUM = "/usr/bin/chromium"

#: A host that the browser takes for one beyond this machine: plain http to it is told less by the browser.
INTRANET = "intranet.test"

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    f"--host-resolver-rules=MAP {INTRANET} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip

#: Ten times what the slowest of these things takes on a busy machine (milliseconds).
PATIENCE = 30_000

TASKS = '''\
import os, sys, time
from dracotask import Skip, Task

YEARLY = "0 3 1 1 *"

def gate(name):
    """Wait until the test lets us through."""
    with open(f"gates/{name}") as gate:
        gate.read()

class Import(Task):
    """Brings the products of all suppliers in, and says how far it is."""
    def run(self):
        for step in range(1, 4):
            for line in range(40):
                print(f"supplier {step}, product {line} of 40")
            self.progress(step, 4, f"supplier {step}")
            gate("import")
        return "120 products"

class Report(Task):
    """Writes the report of some days."""
    def run(self, days: int, title: str = "all <b>sales</b>", full: bool = False):
        print(f"{days!r} {title!r} {full!r}")
        return f"{days} days"

class Sweep(Task):
    """Sweeps the sessions."""
    def __init__(self):
        self.schedule(cron=YEARLY)
    def run(self):
        print("\\033[32mswept\\033[0m \\033[1;31mred\\033[0m \\033[34;43mblue on yellow\\033[0m")
        return "12 swept"

class Nightly(Task):
    """Closes the day."""
    def __init__(self):
        self.schedule(cron=YEARLY)
    def run(self):
        return "closed"

class Endless(Task):
    """Watches a folder, politely."""
    stop_grace = "60s"
    def run(self):
        print("watching")
        while self.proceed():
            time.sleep(0.02)
        print("asked to end")

class Flaky(Task):
    """Fetches the rates of a bank."""
    def run(self):
        with open("bank") as bank:
            return bank.read()

class Again(Task):
    """Fetches the news, and tries again in an hour."""
    retries, retry_delay = 3, "1h"
    def run(self):
        with open("news") as news:
            return news.read()

class Pages(Task):
    """Writes a page."""
    def run(self, file: str = "index.html"):
        return f"{file} written"
'''

#: The site with its console at three places, for which nobody need start three servers; and behind a proxy that tells.
WSGI = """\
import os
from werkzeug.middleware.proxy_fix import ProxyFix
from dracotask import TaskMiddleware
from dracotask.web.mounted import Mounted

HERE = os.path.dirname(os.path.abspath(__file__))

def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Worker", str(os.getpid()))])
    return [b"the shop"]

def authorize(environ):
    role = environ.get("HTTP_X_ROLE")
    return role and (role, "hedda")

application = TaskMiddleware(site, HERE, console="/tasks")
application = Mounted(application, HERE, "/a/b/c", None)
application = Mounted(application, HERE, "/known", authorize)
application = ProxyFix(application, x_for=0, x_proto=0, x_prefix=1)
"""


class Shop(SiteFolder):
    """The site: its tasks, what they wait for, and who has done what to them."""

    def __init__(self, folder: Path, tasks: str = TASKS) -> None:
        super().__init__(folder, tasks)
        self.path.joinpath("wsgi.py").write_text(WSGI)
        (self.path / "gates").mkdir()
        os.mkfifo(self.path / "gates" / "import")

    def put(self, name: str, text: str) -> None:
        """Save a file as careful editors do: aside, then in its place."""
        aside = self.path / f"{name}.aside"
        aside.write_text(text)
        aside.rename(self.path / name)

    def let_through(self, name: str) -> None:
        """Let the task through that comes to a gate."""
        wait_until(lambda: self._push(name), f"a task comes to the gate {name}", PATIENCE / 1000)

    def _push(self, name: str) -> bool:
        try:
            os.close(os.open(self.path / "gates" / name, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False  # nobody is there
        return True

    def link(self, console: str, *, role: str = "write", by: str = "anna") -> str:
        """Return a sign-in link, as the command line prints it."""
        return link_to(console, new_link_token(self.site.state, role=role, by=by, now=utc_now()))

    def command(self, *words: str) -> str:
        """Run ``dracotask.py DOCROOT WORDS`` to its end, which must be a good one, and return what it says."""
        command = [sys.executable, str(SCRIPT), str(self.path), *words]
        ended = subprocess.run(command, env=server_environment(self, {}), capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def schedule(self, name: str) -> Schedule:
        with self.site.open_store() as store:
            found = store.schedule(name)
        assert found is not None
        return found

    def actions(self, name: str | None) -> list[Action]:
        """Return what was done, newest first: to a schedule, or to all of them."""
        with self.site.open_store() as store:
            return store.actions(schedule=name, limit=100)

    def last_run(self, task: str) -> Run:
        return self.runs(task)[0]

    def wait_for_run(self, task: str, *states: str) -> Run:
        """Wait until the last Run of a task is in one of the states."""
        def found() -> Run | None:
            runs = self.runs(task)
            return runs[0] if runs and runs[0].state in states else None

        run = wait_until(found, f"{task} is {' or '.join(states)}", PATIENCE / 1000)
        assert isinstance(run, Run)
        return run


@contextmanager
def serving(folder: Shop) -> Iterator[Server]:
    """Serve a site by gunicorn with two workers."""
    server = start_server(KINDS[0], folder)
    try:
        yield server
    finally:
        server.stop()
        folder.end_everything()


# -- A site with something of everything -------------------------------------------------------

#: How Nightly fared, hour by hour.
HISTORY: list[dict[str, Any]] = [
    *({"summary": "closed", "seconds": 60 + 7 * (number % 9), "late": 2} for number in range(10)),
    {"state": "failed", "error": "ConnectionError: bank.example does not answer", "seconds": 31, "late": 4},
    {"state": "timed_out", "error": "it had 5 minutes", "seconds": 300, "late": 0},
    {"summary": "closed", "seconds": 75, "late": 3700, "late_cause": "no request came for 1h 1m"},
]  # fmt: skip


class Gallery:
    """A site in which there is something of everything, and nothing changes; its console is served alone.

    :ivar link: signs somebody in.
    """

    def __init__(self, folder: Path) -> None:
        self.shop = Shop(folder)
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Gallery:
        self.shop.load()
        try:
            self._fill()
            self._serve()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def address_of(self, path: str) -> str:
        """Return the address of a page; "runs/TASK" is the last run of a task."""
        kind, _, rest = path.partition("/")
        task, _, query = rest.partition("?")
        path = f"runs/{self.shop.last_run(task).id}?{query}".rstrip("?") if kind == "runs" and task else path
        return f"{self.address}/{path}"

    def _fill(self) -> None:
        shop = self.shop
        self._remember(HISTORY)
        for name in ("Sweep", "Again", "Flaky"):
            self._start(name).communicate(timeout=60)
        shop.command("hold", "Pages", "--why", "stock taking", "--until", "2036-01-31 14:00")
        shop.command("add", "a-name-that-is-long-and-has-no-place-where-it-could-be-broken-into-lines", "Pages")
        self._start("Import")
        shop.let_through("import")
        wait_until(lambda: shop.last_run("Import").progress_done == 2, "it is half done", PATIENCE / 1000)
        self._start("Endless")
        shop.wait_for_run("Endless", "running")
        shop.put("__tasks__.py", TASKS + "\nclass Broken(Task)\n    pass\n")
        self._start("load").communicate(timeout=60)

    def _remember(self, history: list[dict[str, Any]]) -> None:
        begin = utc_now() - timedelta(hours=len(history) + 1)
        with self.shop.site.open_store() as store:
            for number, facts in enumerate(history):
                due = begin + timedelta(hours=number)
                started = due + timedelta(seconds=facts["late"])
                run = a_run("Nightly", fire_time=due, queued_at=due, origin="request")
                outcome = {name: value for name, value in facts.items() if name not in ("late", "seconds")}
                begun(store, run, now=started)
                done = an_outcome(finished_at=started + timedelta(seconds=facts["seconds"]), **outcome)
                assert store.finish(run.but(token="mine"), done) is not None

    def _serve(self) -> None:
        console = self._start("console", "--port", "0")
        assert console.stdout is not None
        self.link = next(line.strip() for line in console.stdout if "token=" in line)
        self.address = self.link.partition("/sign-in")[0]
        self.host = self.address.removeprefix("http://")

    def _start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(SCRIPT), str(self.shop.path), *words]
        process = subprocess.Popen(
            command, env=server_environment(self.shop, {}), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def _end(self) -> None:
        self.shop.end_everything()
        for process in self._started:
            process.communicate(timeout=60)


# -- The browser -------------------------------------------------------------------------------


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser. Playwright has an event loop running in this thread for as long as it is open."""
    if not os.path.exists(CHROMIUM):
        missing("Chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


#: Runs before any script of a page. (It comes in by the debugger's door, where no policy stands.)
_LISTEN = """
addEventListener("securitypolicyviolation", (event) => heard(`${event.violatedDirective}: ${event.blockedURI}`));
"""


class Visit:
    """Somebody with a browser, who has never been here.

    :param hosts: what may be asked for something.
    :param options: of the browser: ``java_script_enabled``, ``color_scheme``, ``viewport``, ``extra_http_headers``.
    :ivar violations: what the Content Security Policy has kept pages from; ``errors`` is what scripts stumbled over.
    :ivar strangers: addresses of other hosts that were asked for something.
    """

    def __init__(self, browser: Browser, *hosts: str, **options: Any) -> None:
        self.hosts = hosts
        self.violations: list[str] = []
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.context: BrowserContext = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE)
        self.context.expose_binding("heard", lambda _, words: self.violations.append(words))
        self.context.add_init_script(_LISTEN)
        self.context.on("console", lambda said: self._listen(said.text))
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))
        self.context.on("request", lambda request: self._look_at(request.url))
        self.page: Page = self.context.new_page()

    def _listen(self, text: str) -> None:
        if "Content Security Policy" in text:
            self.violations.append(text)

    def _look_at(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc not in self.hosts:
            self.strangers.append(address)

    def sign_in(self, link: str) -> Page:
        """Come in by a link."""
        self.page.goto(link)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("heading", name="Tasks").wait_for()
        return self.page

    def another_tab(self) -> Page:
        return self.context.new_page()

    def assert_undisturbed(self) -> None:
        assert (self.violations, self.errors, self.strangers) == ([], [], [])

    def close(self) -> None:
        self.context.close()


# -- A proxy that adds a prefix ----------------------------------------------------------------


class Proxy:
    """A front server that shows a site under ``/front``, and takes that away from what it passes on.

    :param tells: whether it says so, by X-Forwarded-Prefix.
    """

    def __init__(self, port: int, *, tells: bool) -> None:
        handler = type("Handler", (_Passing,), {"upstream": port, "tells": tells})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


class _Passing(BaseHTTPRequestHandler):
    upstream: int
    tells: bool

    def do_GET(self) -> None:
        if not self.path.startswith("/front/"):
            return self.send_error(404)
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        if self.tells:
            headers["X-Forwarded-Prefix"] = "/front"
        try:
            connection.request(self.command, self.path.removeprefix("/front"), body, headers)
            self._pass_back(connection.getresponse())
        finally:
            connection.close()

    do_POST = do_GET

    def _pass_back(self, answer: http.client.HTTPResponse) -> None:
        body = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
