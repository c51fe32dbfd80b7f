"""The ticker: looks when it is time, and starts a tick.

One lives in each process of the web server. It opens no store and decides nothing: it looks at
one small file, takes the tick's lock so that one tick is started and not one per worker, and
hands both to ``dracotask.py DOCROOT due``.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import time
from time import monotonic

from ..siteconfig import find_state, variable
from ..state import TICK_AT_LEAST_EVERY, is_current, lock
from .spawn import Tick, start_tick
from .traffic import Visits, request_in_words
from .watcher import watch_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from .middleware import TaskMiddleware
    from .watcher import Watcher

#: How often (seconds) somebody looks at the files: this is the truth of hot reload.
BEAT = 0.1

#: The same where a watcher tells of changes besides.
WATCHED_BEAT = 0.5

#: How long (seconds) requests trust a beat before one of them looks by itself.
BEAT_PATIENCE = 1.0

#: So many beats on end the thread must wake on time before it looks. There are servers that let no thread
#: run between two requests; one frozen with the tick's lock in hand would stop the ticks of every worker.
BEATS_ON_PROBATION = 10

#: A thread that wakes later (seconds) than it wanted is on probation again.
LATE = 0.25

#: The longest pause (seconds) after a tick that failed.
MOST_BACK_OFF = 60.0

logger = logging.getLogger("dracotask")


class Ticker:
    """What looks after the tasks from within one process of the web server.

    :param middleware: told of each beat, so that no request looks in vain.
    """

    def __init__(self, middleware: TaskMiddleware) -> None:
        self.middleware = middleware
        self.docroot = middleware.docroot
        self.pid = os.getpid()
        self.state = find_state(self.docroot)
        self.wake = threading.Event()
        self._started = threading.Lock()
        self._watcher: Watcher | None = None
        self._stopping = False
        self.is_off = _is_switched_off()
        self._ticks: list[Tick] = []
        self._failures = 0
        self._quiet_until = 0.0
        self._told: str | None = None
        self._seen: tuple[int, int] | None = None
        self._stamps = ""
        self._visits = Visits()
        self._find_folding()

    # -- The thread ------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, if there may be one and is none."""
        if self.is_off or not self.middleware.idle_tick or not do_threads_run():
            return
        # Test and set: of two requests that come here at once, one starts the thread.
        if not self._started.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._beat_on, name="dracotask-ticker", daemon=True).start()
        except RuntimeError:
            self._started.release()  # no thread is to be had: isolated sub-interpreters allow none that is a daemon
        else:
            self._stop_with_server()

    def stop(self, *event: object, **facts: object) -> None:
        """Have the thread end at its next breath; nobody need wait for it."""
        self._stopping = True
        self.wake.set()

    def _stop_with_server(self) -> None:
        subscribe = getattr(sys.modules.get("mod_wsgi"), "subscribe_shutdown", None)
        if subscribe:
            subscribe(self.stop)

    def _beat_on(self) -> None:
        self._prove_itself()
        self._watcher = watch_folder(self.docroot, self.wake)
        while not self._stopping:
            self.look("tick")
            self.middleware.beat(asks=self._asks())
            if not self._sleep(self._pause()):
                self._prove_itself()
        if self._watcher:
            self._watcher.stop()

    def _asks(self) -> bool:
        """Put down the request that has said that it came; return whether another is asked to: once a minute."""
        came_at, self.middleware.came_at = self.middleware.came_at, None
        if came_at is not None:
            self.put_down_visit(came_at)
        return self._visits.are_wanted()

    def put_down_visit(self, at: float) -> None:
        """Put down that a request came at that time (seconds since 1970), for the forecast. Never raises."""
        if not self.is_off:
            self._visits.put_down(self.state, at)

    def _prove_itself(self) -> None:
        """Return once the thread has woken on time often enough; meanwhile the requests look."""
        beats = 0
        while beats < BEATS_ON_PROBATION and not self._stopping:
            beats = beats + 1 if self._sleep(BEAT) else 0

    def _sleep(self, seconds: float) -> bool:
        """Wait, or be woken; return whether it took no longer than wanted."""
        until = monotonic() + seconds
        self.wake.wait(seconds)
        self.wake.clear()
        return monotonic() < until + LATE

    def _pause(self) -> float:
        """Return the seconds until there may be something to see."""
        beat = WATCHED_BEAT if self._watcher and self._watcher.is_alive() else BEAT
        due_in = self._seen[0] / 1e9 - time.time() if self._seen else beat
        return min(max(due_in, self._quiet_until - monotonic(), 0.01), beat)

    def _find_folding(self) -> None:
        if os.path.exists(os.path.join(self.docroot, "__TASKS__.PY")):
            self.middleware.fold_case()

    # -- Looking ---------------------------------------------------------------------------

    def look(self, origin: str, environ: WSGIEnvironment | None = None) -> None:
        """Start a tick if it is time for one. Never raises: no request is ever hurt.

        :param origin: what the Run's record will say: ``request`` or ``tick``.
        :param environ: of the request that looks, for the record; None where there is none.
        """
        if self.is_off:
            return
        try:
            self._reap()
            if monotonic() >= self._quiet_until and self._is_time():
                self._tick(origin, environ)
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}")

    def _is_time(self) -> bool:
        """Tell whether something is due, or a file has changed since the last load."""
        try:
            status = os.stat(self.state.next_file)
        except OSError:
            return True
        if self._seen != (status.st_mtime_ns, status.st_ino):
            with open(self.state.next_file, encoding="utf-8", errors="surrogateescape") as file:
                self._stamps = file.read()
            self._seen = status.st_mtime_ns, status.st_ino
        ahead = status.st_mtime - time.time()
        # A tick comes once a minute in any case, so a moment further off is a clock set back.
        return ahead <= 0 or ahead > 1.5 * TICK_AT_LEAST_EVERY or not is_current(self._stamps)

    def _tick(self, origin: str, environ: WSGIEnvironment | None) -> None:
        """Start a tick, if nobody else is at it."""
        self.state = find_state(self.docroot)
        self._quiet_until = monotonic() + 0.05  # while it decides, there is nothing new to see
        if not self.state.exists():
            self._start(origin, environ, None)
            self._quiet_until = monotonic() + 1.0  # it makes the folder; then there is a lock to look at
            return
        self.state.check_user()
        self._note_console()
        held = lock(self.state.tick_lock, patience=0)
        if held is None:
            return
        try:
            # Somebody else's tick may have ended between our look and our lock.
            if self._is_time():
                self._start(origin, environ, held)
        finally:
            os.close(held)

    def _note_console(self) -> None:
        """Put down where the console is, before anybody has asked for it; who did knows better."""
        if self.middleware.console is not None and not os.path.exists(self.state.console_file):
            try:
                self.state.note_console(self.middleware.console)
            except OSError:
                pass  # a link is less than a tick

    def _start(self, origin: str, environ: WSGIEnvironment | None, held: int | None) -> None:
        worker = f"worker {self.pid}"
        by = worker if environ is None else f"{request_in_words(environ)} ({worker})"
        tick = start_tick(self.docroot, origin, by=by, held=held, errors=self._open_errors(), seen=self._seen)
        self._ticks.append(tick)

    def _open_errors(self) -> int:
        """Open what gets a tick's last words: a file in the state folder, as soon as there is one."""
        if self.state.exists():
            return os.open(self.state.tick_errors, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        descriptor, path = tempfile.mkstemp()
        os.unlink(path)
        return descriptor

    # -- What became of it -----------------------------------------------------------------

    def _reap(self) -> None:
        for tick in self._ticks[:]:
            code = tick.poll()
            if code is None:
                continue
            try:
                self._ticks.remove(tick)
            except ValueError:
                continue  # another request was quicker
            # An exit code is no proof: where the server reaps its children before us it is always 0.
            if code == 0 and self._next() != tick.seen:
                self._failures, self._told = 0, None
            else:
                self._fail(tick.last_words() or f"{tick.command} ended with exit code {code} and wrote nothing")
            tick.close()

    def _next(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.state.next_file)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _fail(self, words: str) -> None:
        """Tell of a failure once, and wait longer each time before the next try."""
        self._failures += 1
        pause = min(2.0 ** min(self._failures, 10), MOST_BACK_OFF)
        self._quiet_until = monotonic() + pause
        if words != self._told:
            self._told = words
            logger.error("dracotask: the tasks of %s are not looked after: %s", self.docroot, words)


def do_threads_run() -> bool:
    """Tell whether threads run here between two requests, as far as the server can be asked.

    gevent's and eventlet's are green, and uWSGI's stand still unless it has enable-threads.
    """
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return False
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return False
    return have_threads()


def have_threads() -> bool:
    """Tell whether the server lets any thread of ours run: uWSGI does so with enable-threads."""
    return bool(getattr(sys.modules.get("uwsgi"), "has_threads", True))


def _is_switched_off() -> bool:
    """Tell whether DRACOTASK_ENABLED turns everything off, as a test or a staging copy wants it."""
    return os.environ.get(variable("enabled"), "1").lower() in ("0", "false", "no", "off")
