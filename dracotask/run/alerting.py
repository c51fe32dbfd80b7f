"""Sending pings and alerts: a short process of its own, which loads no code of the docroot.

Whoever has put on record what is to be told starts it and goes on. One sends at a time; what comes meanwhile it takes
along. Each host is a lane with a thread of its own, so one that does not answer keeps no other waiting, and what is
told of a Schedule arrives there in its order. An event is forgotten when it has been sent or given up; so after a
``kill -9`` in between it may be sent once more, but it is not lost.
"""

from __future__ import annotations

import os
from time import monotonic

from ..alerts import Call, Orders, Place, command, in_plain, is_pinged, is_stale, ping, webhook
from ..clock import utc_now
from ..errors import ConfigError, DracotaskError
from ..events import ALERTS, is_turn
from ..failpoints import reach
from ..state import lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue
    from typing import Any

    from ..alerts import Command
    from ..siteconfig import Config
    from ..state import State
    from ..stores.base import Store
    from ..stores.outbox import Row

#: Seconds that a call may wait for an answer, and the pauses between its tries.
CALL_LIMIT, PAUSES = 10.0, (1.0, 3.0)

#: Seconds that a command may take.
COMMAND_LIMIT = 30.0

#: Seconds that a host which does not answer is still tried, once for each call, after one call was given up.
LANE_PATIENCE = 30.0

#: So many events are in hand at once, and so often (seconds) somebody looks whether there are more.
BATCH, LOOK_EVERY = 500, 0.2

#: So many bytes of what a command prints are told when it fails, in one line.
LONGEST_COMPLAINT = 300

#: The niceness of all this: visitors come first.
NICENESS = 10


#: What went wrong with a command that took too long, and with an alert that was redirected.
KILLED, ELSEWHERE = "killed", "it sends us elsewhere, where no alert is posted: write that address"


class Alerting:
    """Sends what is in the outbox for pings and alerts.

    :param open_store: opens the site's store.
    :param environment: in which variables are looked up, and commands run.
    """

    def __init__(
        self,
        state: State,
        open_store: Callable[[], Store],
        config: Config,
        *,
        host: str,
        environment: dict[str, str],
        call_limit: float = CALL_LIMIT,
        command_limit: float = COMMAND_LIMIT,
        pauses: tuple[float, ...] = PAUSES,
        patience: float = LANE_PATIENCE,
    ) -> None:
        self.state, self.open_store, self.config, self.environment = state, open_store, config, environment
        self.call_limit, self.command_limit, self.pauses, self.patience = call_limit, command_limit, pauses, patience
        self.place = Place(state.docroot, host, config.console_url)

    @property
    def longest_job(self) -> float:
        """Seconds after which a lane at one job has hung where no limit reaches: in a resolver, or byte by byte."""
        tries = len(self.pauses) + 1
        return max(2 * tries * self.call_limit + sum(self.pauses), 2 * self.command_limit)

    def send_all(self) -> None:
        """Send all there is to send, unless another process is at it; it will send this too.

        Nothing is raised: what could not be sent for want of the store waits for the next one who has something.
        """
        try:
            while self._has_news():
                held = lock(self.state.alerts_lock, patience=0)
                if held is None:
                    return
                try:
                    self._send_alone()
                finally:
                    os.close(held)
                # What came after our last look and before the lock was let go is still ours to send.
        except (DracotaskError, OSError) as error:
            self.state.log(f"Pings and alerts were not sent: {error}")

    def _has_news(self) -> bool:
        with self.open_store() as store:
            return bool(store.events(1, ALERTS))

    def _send_alone(self) -> None:
        """Hand out what there is, forget what is done, until there is no more."""
        from queue import Empty, SimpleQueue

        done: SimpleQueue[int] = SimpleQueue()
        lanes = Lanes(self, done)
        left: dict[int, int] = {}  # how many jobs of an event are still to be done
        with self.open_store() as store:
            while rows := store.events(BATCH, ALERTS):
                self._hand_out([row for row in rows if row.number not in left], lanes, left)
                try:
                    while all(left.values()):  # else there is one to forget
                        left[done.get(timeout=LOOK_EVERY)] -= 1
                except Empty:
                    lanes.give_up_hung()
                self._forget(store, left)
        lanes.close()

    def _hand_out(self, rows: list[Row], lanes: Lanes, left: dict[int, int]) -> None:
        for row in rows:
            jobs = self._jobs(row)
            left[row.number] = len(jobs)
            for job in jobs:
                lanes.put(row.number, job)

    def _forget(self, store: Store, left: dict[int, int]) -> None:
        over = [number for number, jobs in left.items() if not jobs]
        if over:
            reach("alert_sent")
            store.forget_events(over)
        for number in over:
            del left[number]

    # -- What is to be done ----------------------------------------------------------------

    def _jobs(self, row: Row) -> list[Call | Command]:
        """Return what an event wants sent; what cannot be told of is told in the site's log."""
        from ..events import RunEvent, event_from_json
        from ..keys import shown

        try:
            event = event_from_json(row.text)
        except (ValueError, TypeError):
            return []  # of another version
        if not isinstance(event, RunEvent):
            return []
        try:
            orders = Orders(self.config, event.task)
        except ConfigError as error:
            self.state.log(f"Nothing is sent of {event.schedule}: {error}")
            return []
        jobs = []
        for key, make in (("ping", self._ping), ("alert_url", self._webhook), ("alert_command", self._command)):
            said = getattr(orders, key)
            try:
                job = None if said is None else make(event, said)
            except ValueError as error:
                self.state.log(f"{key} = {shown(key, said)} of {event.schedule} leads nowhere: {error}.")
                continue
            if job is not None:
                jobs.append(job)
        return jobs

    def _ping(self, event: Any, said: str) -> Call | None:
        from ..keys import service

        if not is_pinged(event):
            return None
        call = ping(event, in_plain(said, self.environment, service), lambda most: self._output(event, most))
        if is_stale(event, utc_now() - event.at):
            self.state.log(f"{call.what} was not sent: it comes too late to be news.")
            return None
        return call

    def _webhook(self, event: Any, said: str) -> Call | None:
        from ..keys import service

        return webhook(event, in_plain(said, self.environment, service), self.place) if is_turn(event) else None

    def _command(self, event: Any, said: str) -> Command | None:
        from ..keys import program

        return command(event, in_plain(said, self.environment, program), self.place) if is_turn(event) else None

    def _output(self, event: Any, most: int) -> bytes:
        """Return the last bytes that an attempt has printed; nothing when there is no file of it."""
        try:
            with open(self.state.output_file(event.run_id, event.attempt), "rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - most, 0))
                return file.read(most)
        except OSError:
            return b""


class Lanes:
    """The lanes there are: one for each host, and one for the commands."""

    def __init__(self, alerting: Alerting, done: SimpleQueue[int]) -> None:
        self.alerting, self.done = alerting, done
        self._lanes: dict[str, Lane] = {}

    def put(self, number: int, job: Call | Command) -> None:
        name = _host(job.url) if isinstance(job, Call) else ""
        if name not in self._lanes:
            self._lanes[name] = Lane(name, self.alerting, self.done)
        self._lanes[name].put(number, job)

    def give_up_hung(self) -> None:
        for lane in self._lanes.values():
            lane.give_up_if_hung()

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()


class Lane:
    """What goes to one host, one after the other, in a thread of its own.

    After a call that was given up the others get one try each, for a while; then none.

    :param name: the host; "" for the commands.
    """

    def __init__(self, name: str, alerting: Alerting, done: SimpleQueue[int]) -> None:
        from queue import SimpleQueue
        from threading import Lock, Thread

        self.name, self.alerting, self._done = name, alerting, done
        self._jobs: SimpleQueue[tuple[int, Call | Command] | None] = SimpleQueue()
        self._changing = Lock()
        self._at: tuple[int, str, float] | None = None  # number, words, since when
        self._down_since: float | None = None
        self._unsent = 0
        self._is_hung = False
        self._thread = Thread(target=self._work, name=f"dracotask-alerts-{name}", daemon=True)
        self._thread.start()

    def put(self, number: int, job: Call | Command) -> None:
        if self._is_hung:
            self._unsent += 1
            self._done.put(number)
        else:
            self._jobs.put((number, job))

    def close(self) -> None:
        """Let the thread end, and say how many were not even tried."""
        self._jobs.put(None)
        if not self._is_hung:
            self._thread.join()
        if self._unsent:
            to = self.name or "the alert command"
            self.alerting.state.log(f"{self._unsent} more for {to} were not sent: it does not answer.")

    def give_up_if_hung(self) -> None:
        """Go on without a thread that hangs where no limit reaches, and with it without all that it still had to do."""
        with self._changing:
            if self._at is None or monotonic() - self._at[2] < self.alerting.longest_job:
                return
            self._is_hung = True
            number, words, _ = self._at
        self.alerting.state.log(f"{words} hangs on its way, and is given up.")
        self._done.put(number)
        while not self._jobs.empty():
            waiting = self._jobs.get()
            if waiting is not None:
                self._unsent += 1
                self._done.put(waiting[0])

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            number, what = job
            self._at = number, what.what, monotonic()
            try:
                self._do(what)
            except Exception as error:  # a surprise must not end the lane; its words may hold the address
                self.alerting.state.log(f"{what.what} was not sent: {type(error).__name__}.")
            with self._changing:
                self._at = None
                if self._is_hung:
                    return  # it was given up meanwhile
            self._done.put(number)

    def _do(self, job: Call | Command) -> None:
        if self._down_since is not None and monotonic() > self._down_since + self.alerting.patience:
            self._unsent += 1
        elif isinstance(job, Call):
            self._call(job)
        else:
            self._run(job)

    def _run(self, job: Command) -> None:
        alerting = self.alerting
        problem = run_command(job, alerting.state.docroot, alerting.environment, alerting.command_limit)
        if problem != KILLED:
            self._down_since = None
        else:
            self._down_since = self._down_since or monotonic()
            problem = f"was killed after {alerting.command_limit:g} s."
        if problem:
            alerting.state.log(f"{job.what} {problem}")

    def _call(self, call: Call) -> None:
        from time import sleep

        pauses = self.alerting.pauses if self._down_since is None else ()
        for pause in (*pauses, None):
            problem, may_change = post(call, self.alerting.call_limit)
            if problem is None:
                self._down_since = None
                return
            if not may_change or pause is None:
                break
            sleep(pause)
        if may_change:
            self._down_since = self._down_since or monotonic()
        self.alerting.state.log(f"{call.what} could not be sent to {self.name}: {problem}.")


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).netloc


# -- One call, one command ---------------------------------------------------------------------


def post(call: Call, limit: float) -> tuple[str | None, bool]:
    """Post what a call says; return what went wrong, or None, and whether it may go well at another try.

    :param limit: seconds that the host may keep us waiting at each step.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    kind = "application/json" if call.is_json else "text/plain; charset=utf-8"
    headers = {"Content-Type": kind, "User-Agent": "dracotask"}
    try:
        with urlopen(Request(call.url, call.body, headers, method="POST"), timeout=limit) as answer:
            # (A redirect is followed with a GET, which is as good a ping; but of an alert it has nothing.)
            is_lost = call.is_json and answer.url != call.url
            return (ELSEWHERE if is_lost else None), False
    except HTTPError as error:
        error.close()
        return f"it answered {error.code}", error.code >= 500 or error.code in (408, 429)
    except TimeoutError:
        return f"no answer within {limit:g} s", True
    except (URLError, HTTPException, OSError, ValueError) as error:
        # Not the error itself, which may name the address.
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return f"no answer within {limit:g} s", True
        words = reason.strerror if isinstance(reason, OSError) else None
        kind = type(error if isinstance(reason, str) else reason).__name__
        return words or kind, isinstance(error, OSError | HTTPException)


def run_command(order: Command, docroot: str, environment: dict[str, str], limit: float) -> str | None:
    """Run a command in the docroot; return what went wrong, :data:`KILLED` or other words, or None.

    :param limit: seconds after which it is killed, with all that it has started in its session.
    """
    import subprocess

    try:
        process = subprocess.Popen(
            order.words, cwd=docroot, env={**environment, **order.variables}, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        return f"could not be started: {getattr(error, 'strerror', None) or error}."
    assert process.stdin is not None and process.stdout is not None
    until = monotonic() + limit
    with process.stdout as output:
        _hand_in(process.stdin, order.text)
        said = _read_until_end(output.fileno(), process.poll, until)
        if process.poll() is None:  # asked while somebody listens: one who goes on printing would end of our leaving
            _kill_session(process.pid)
            process.wait()
            return KILLED
    if not process.returncode:
        return None
    last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"ended with exit code {process.returncode}{f': {last}' if last else ''}."


def _hand_in(pipe: Any, text: str) -> None:
    """Write what a command may read; that it reads nothing is no error. (It is less than a pipe takes at once.)"""
    try:
        with pipe:
            pipe.write(text.encode("utf-8", "replace"))
    except OSError:
        pass


def _read_until_end(descriptor: int, has_ended: Callable[[], int | None], until: float) -> bytes:
    """Return the last words of a command, once it has ended or its time is over."""
    from select import POLLIN, poll

    waiting, tail = poll(), b""
    waiting.register(descriptor, POLLIN)
    is_open = True
    while monotonic() < until and has_ended() is None:
        if not is_open:
            waiting.poll(20)
        elif waiting.poll(100):
            data = os.read(descriptor, 1 << 16)
            tail = (tail + data)[-LONGEST_COMPLAINT:]
            if not data:
                waiting.unregister(descriptor)
                is_open = False
    os.set_blocking(descriptor, False)
    try:
        while is_open and monotonic() < until and (data := os.read(descriptor, 1 << 16)):
            tail = (tail + data)[-LONGEST_COMPLAINT:]
    except BlockingIOError:
        pass
    return tail


def _kill_session(pid: int) -> None:
    from signal import SIGKILL

    try:
        os.killpg(pid, SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
