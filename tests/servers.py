"""Real WSGI servers on a free port, each in a session of its own, and the site that they serve."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from dracotask.clock import utc_now
from dracotask.model import Run
from dracotask.site import Site

CHECKOUT = Path(__file__).parent.parent
SCRIPT = CHECKOUT / "bin" / "dracotask.py"
REQUIRED = os.environ.get("DRACOTASK_REQUIRE_SERVICES") == "1"

#: Tasks that are due when :meth:`SiteFolder.make_due` says so, and tell what they are.
TASKS = """\
import json, os, time
from dracotask import Task

FAR = "2099-01-01T00:00:00+00:00"

def tell(task):
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
    facts = {
        "task": type(task).__name__, "run": task.current_run.id, "fire_time": str(task.current_run.fire_time),
        "origin": task.current_run.origin, "pid": os.getpid(), "supervisor": os.getppid(), "session": os.getsid(0),
        "blocked": int(status["SigBlk"], 16), "ignored": int(status["SigIgn"], 16), "cwd": os.getcwd(),
        "open": [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")],
    }
    witness = os.open("witness", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(witness, (json.dumps(facts) + "\\n").encode())
    os.close(witness)

class Short(Task):
    def __init__(self):
        self.schedule(at=FAR)
    def run(self):
        tell(self)

class Sleeping(Short):
    def run(self):
        tell(self)
        time.sleep(30)
"""

#: The site. It answers every path, so that a 404 is the middleware's; and it answers 500 when what comes out
#: of the middleware is not the very object that went in.
WSGI = """\
import io, os
from dracotask import TaskMiddleware

def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Worker", str(os.getpid()))])
    if environ["PATH_INFO"] == "/file":
        environ["probe"] = environ.get("wsgi.file_wrapper", list)(io.BytesIO(b"0123456789" * 1000))
    else:
        environ["probe"] = iter([b"be", b"", b"fore", b"\\0\\xff", b"after"])
    return environ["probe"]

class Probe:
    def __init__(self, app):
        self.app = app
    def __call__(self, environ, start_response):
        answer = self.app(environ, start_response)
        assert "probe" not in environ or answer is environ["probe"]
        return answer

application = Probe(TaskMiddleware(site, os.path.dirname(os.path.abspath(__file__))))
"""

#: Runs the site once, as a web server runs a CGI script.
CGI = "import wsgi, wsgiref.handlers; wsgiref.handlers.CGIHandler().run(wsgi.application)"


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 10.0) -> Any:
    """Return what ``condition`` does as soon as it is true; fail when it is not true in time."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > until:
            pytest.fail(f"After {seconds:g} s still not: {what}")
        time.sleep(0.02)
    return found


def stays(condition: Callable[[], Any], seconds: float) -> bool:
    """Tell whether ``condition`` is true now, and goes on being so for a while."""
    until = time.monotonic() + seconds
    while condition():
        if time.monotonic() > until:
            return True
        time.sleep(0.05)
    return False


def missing(what: str) -> None:
    """Skip a test that lacks something which this machine may lack; fail where everything must be there."""
    if REQUIRED:
        pytest.fail(f"{what} is missing, and DRACOTASK_REQUIRE_SERVICES=1")
    pytest.skip(f"NOT TESTED HERE: {what} is missing (.ci/run installs it)")


# -- Processes ---------------------------------------------------------------------------------


class Process:
    """A process as /proc tells of it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.command, _, rest = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")
        fields = rest.split()
        self.state, self.parent, self.session = fields[0], int(fields[1]), int(fields[3])

    def is_ours(self, mark: str) -> bool:
        try:
            return mark.encode() in Path(f"/proc/{self.pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False


def processes() -> list[Process]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.append(Process(int(name)))
            except OSError:
                pass  # gone meanwhile
    return found


def is_alive(pid: int) -> bool:
    try:
        return Process(pid).state not in ("Z", "X")
    except OSError:
        return False


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


# -- The site ----------------------------------------------------------------------------------


class SiteFolder:
    """A docroot with tasks and a wsgi.py."""

    def __init__(self, folder: Path, tasks: str = TASKS) -> None:
        self.path = folder / "site"
        self.path.mkdir()
        (self.path / "wsgi.py").write_text(WSGI)
        self.save(tasks)
        #: Every process that a server of this site has started has it in its environment.
        self.mark = f"DRACOTASK_TEST={self.path}"

    def save(self, tasks: str) -> None:
        (self.path / "__tasks__.py").write_text(tasks)

    def configure(self, toml: str) -> None:
        (self.path / "dracotask.toml").write_text(toml)

    @property
    def site(self) -> Site:
        return Site(str(self.path))

    def load(self) -> None:
        """See the schedules for the first time, so that something may be due."""
        site = self.site
        site.prepare()
        assert site.load().problem is None

    def make_due(self, name: str) -> None:
        """Make a task due at this moment."""
        site = self.site
        with site.open_store() as store, store.transaction():
            schedule = store.schedule(name)
            assert store.put_schedule(schedule.but(next_fire_time=utc_now()))
        site.state.look_now()

    def told(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return what the bodies have told, in the order of their starts."""
        try:
            lines = (self.path / "witness").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [facts for facts in map(json.loads, lines) if name in (None, facts["task"])]

    def forget(self) -> None:
        (self.path / "witness").unlink(missing_ok=True)

    def runs(self, task: str | None = None) -> list[Run]:
        with self.site.open_store() as store:
            return store.runs(task=task, limit=None)

    def run(self, run_id: str) -> Run | None:
        with self.site.open_store() as store:
            return store.run(run_id)

    def end_everything(self) -> None:
        """Kill what servers of this site and their ticks have left, each by its pid."""
        for _ in range(100):
            left = [process for process in processes() if process.is_ours(self.mark) and process.state != "Z"]
            if not left:
                return
            for process in left:
                send(process.pid, signal.SIGKILL)
            time.sleep(0.02)


# -- The servers -------------------------------------------------------------------------------


class Kind:
    """A server, in the way it is started.

    :param command: its arguments; PORT is filled in.
    :param threads: whether a thread of ours runs between two requests.
    :param workers: how many processes serve.
    :param master: whether there is one that starts workers anew.
    """

    def __init__(
        self, name: str, command: list[str], *, threads: bool = True, workers: int = 1, master: bool = False
    ) -> None:
        self.name, self.command = name, command
        self.threads, self.workers, self.master = threads, workers, master

    def __repr__(self) -> str:
        return self.name

    def arguments(self, port: int) -> list[str]:
        if self.name.startswith("uwsgi") and not os.path.exists(f"{_UWSGI_PLUGINS}/python3_plugin.so"):
            missing("uWSGI with its plugin for Python")
        return [word.replace("PORT", str(port)) for word in self.command]


_GUNICORN = [
    sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:PORT", "-w", "2", "--no-control-socket", "wsgi:application",
]  # fmt: skip
_UWSGI_PLUGINS = "/usr/lib/uwsgi/plugins"
_UWSGI = [
    "uwsgi-core", "--plugins-dir", _UWSGI_PLUGINS, "--plugin", "python3", "--http-socket", "127.0.0.1:PORT",
    "--master", "--processes", "2", "--wsgi-file", "wsgi.py", "--die-on-term",
]  # fmt: skip
_FORKING = (
    "import wsgi; from werkzeug.serving import run_simple;"
    " run_simple('127.0.0.1', PORT, wsgi.application, processes=2)"
)
_WSGIREF = (
    "import wsgi; from wsgiref.simple_server import make_server;"
    " make_server('127.0.0.1', PORT, wsgi.application).serve_forever()"
)

KINDS = [
    Kind("gunicorn", _GUNICORN, workers=2, master=True),
    Kind("gunicorn-gthread", [*_GUNICORN, "-k", "gthread", "--threads", "4"], workers=2, master=True),
    Kind("gunicorn-preload", [*_GUNICORN, "--preload"], workers=2, master=True),
    Kind("gunicorn-gevent", [*_GUNICORN, "-k", "gevent"], workers=2, master=True, threads=False),
    Kind("gunicorn-preload-gevent", [*_GUNICORN, "--preload", "-k", "gevent"], workers=2, master=True, threads=False),
    Kind("uwsgi", _UWSGI, workers=2, master=True, threads=False),
    Kind("uwsgi-enable-threads", [*_UWSGI, "--enable-threads"], workers=2, master=True),
    Kind("dracotask-serve", [sys.executable, str(SCRIPT), ".", "serve", "--port", "PORT"]),
    Kind("werkzeug-processes", [sys.executable, "-c", _FORKING], threads=False),
    Kind("wsgiref", [sys.executable, "-c", _WSGIREF]),
]
CGI_KIND = Kind("cgi", [], threads=False)


class Answer:
    def __init__(self, status: int, body: bytes, worker: int | None) -> None:
        self.status, self.body, self.worker = status, body, worker


class Server:
    """A server that is running, and serves a :class:`SiteFolder`.

    :param environment: what it has besides the environment of the tests.
    """

    def __init__(self, kind: Kind, folder: SiteFolder, **environment: str) -> None:
        self.kind, self.folder = kind, folder
        self.port = free_port()
        self.log = folder.path.parent / "server.log"
        self.environment = server_environment(folder, environment)
        self.process = self._start()
        self.pid = self.process.pid

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                self.kind.arguments(self.port), cwd=self.folder.path, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            wait_until(lambda: process.poll() is not None or _answers(self.port), f"{self.kind} listens", 30)
            assert process.poll() is None, self.words()
        except BaseException:
            process.kill()
            process.wait()
            raise
        return process

    def words(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def get(self, path: str = "/") -> Answer:
        """Return the answer to a GET on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            worker = response.getheader("X-Worker")
            return Answer(response.status, response.read(), int(worker) if worker else None)
        finally:
            connection.close()

    def get_many(self, number: int, clients: int = 3) -> list[Answer]:
        """Return the answers to requests that several clients make at the same time."""
        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(self.get, ["/"] * number))

    def wake_workers(self) -> None:
        """Make requests until every worker has answered one, or the server prefers one so much that it is no use."""
        seen: set[int | None] = set()
        for _ in range(20):
            seen |= {answer.worker for answer in self.get_many(6)}
            if len(seen) >= self.kind.workers:
                return

    def replace_workers(self, restart: Callable[[], None]) -> None:
        """Do ``restart`` and wait until the site is answered by other workers, each of them fully started.

        (gunicorn's gevent workers lose a signal that reaches them while they start.)
        """
        old = set(self.workers())
        restart()
        seen: set[int | None] = set()

        def are_new() -> bool:
            try:
                seen.update(answer.worker for answer in self.get_many(6))
            except (OSError, http.client.HTTPException):
                return False  # a worker has just died, or not one is there yet
            new = set(self.workers())
            return len(new) == self.kind.workers and not old & new and new <= seen

        wait_until(are_new, f"other workers serve\n{self.words()}", 20)

    # -- Its processes ---------------------------------------------------------------------

    def members(self) -> list[Process]:
        """Return the processes of the server; ticks are none of them, for they have sessions of their own."""
        return [process for process in processes() if process.session == self.pid]

    def workers(self) -> list[int]:
        return [process.pid for process in self.members() if process.parent == self.pid]

    def ticks(self) -> list[Process]:
        """Return what the server, or cron, has started for the site and is still at work."""
        mark = self.folder.mark
        return [each for each in processes() if each.session != self.pid and each.state != "Z" and each.is_ours(mark)]

    def zombies(self) -> list[Process]:
        """Return the dead children that nobody has waited for, other than processes of the server itself."""
        pids = {process.pid for process in self.members()}
        return [
            process
            for process in processes()
            if process.state == "Z" and process.parent in pids and process.session != self.pid
        ]

    def stop(self) -> None:
        """End the server as its owner would, and surely."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM if self.kind.master else signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self) -> None:
        for process in self.members():
            send(process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


class CgiServer(Server):
    """A server that starts a process for each request, with nothing in its environment but CGI's variables."""

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "1000"], start_new_session=True)

    def get(self, path: str = "/") -> Answer:
        path, _, query = path.partition("?")
        variables = {
            "REQUEST_METHOD": "GET", "PATH_INFO": unquote(path.replace("%00", "")), "QUERY_STRING": query,
            "SERVER_NAME": "x", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.0", "SCRIPT_NAME": "",
            "PATH": "/usr/bin:/bin",
        }  # fmt: skip
        name, _, value = self.folder.mark.partition("=")
        with open(self.log, "ab") as log:
            ended = subprocess.run(
                [sys.executable, "-c", CGI], cwd=self.folder.path, env={**variables, name: value}, timeout=30,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        head, _, body = ended.stdout.partition(b"\r\n\r\n")
        return Answer(int(head.split()[1]), body, None)

    def wake_workers(self) -> None:
        self.get()


def start_server(kind: Kind, folder: SiteFolder, **environment: str) -> Server:
    """Start a server and return it once it listens."""
    return (CgiServer if kind is CGI_KIND else Server)(kind, folder, **environment)


def server_environment(folder: SiteFolder, more: dict[str, str]) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DRACOTASK_", "PYTEST"))
    }
    # The uWSGI of a distribution has the distribution's Python, which knows nothing of the tests' packages.
    path = os.pathsep.join([str(CHECKOUT), sysconfig.get_path("purelib")])
    name, _, value = folder.mark.partition("=")
    return {**kept, "PYTHONPATH": path, name: value, **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def can_listen(port: int) -> bool:
    """Tell whether a server could be started anew on a port: nobody else has it open."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
        return True


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
