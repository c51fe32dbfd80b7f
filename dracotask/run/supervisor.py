"""The supervisor of a run: take, lock, start, watch, record.

It holds the run's kernel lock from before the take until the outcome is on record, and never
runs a line of the docroot's code. Whatever befalls the body (a limit, os._exit, a segmentation
fault, the OOM killer), it lives to say so; what befalls the supervisor, the kernel tells
everybody by letting go of the lock.
"""

from __future__ import annotations

import os
import time

from ..clock import utc_now
from ..errors import DracotaskError, StoreError
from ..failpoints import reach
from ..model import FAILED, LATE, STOPPED, TIMED_OUT, Outcome, Policy, Run
from ..state import is_current, lock, write_whole
from .channel import LONGEST, Attention, order_of
from .limits import adopt_orphans
from .output import RunOutput
from .process import fork_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from signal import SIG_IGN, SIGHUP, SIGINT, SIGTERM, getsignal, signal

    from ..state import State
    from ..stores.base import Store
    from .channel import Sender
    from .family import Process
    from .process import Body
    from .reports import Reports, Steer
    from .watch import Ended

    OpenStore = Callable[[], Store]
    #: Returns a line for a terminal, from a Run and how far it says it is: done, total and note.
    Draw = Callable[[Run, tuple[float, float | None, str | None]], bytes]
else:
    from _signal import SIG_IGN, SIGHUP, SIGINT, SIGTERM, getsignal, signal

#: How long (seconds) an outcome is kept in hand for a store that will not have it.
RECORD_PATIENCE = 600.0

#: How often a body is begun anew because the task file was saved meanwhile; then its Run is queued again.
MOST_TRIES = 5

#: A lock file is as long as its outcome may become, so that a full disk has room for it.
_LOCK_SIZE = 8192

#: The note that holds the stamps of the files in force, and the one that says why a load failed.
FILES_NOTE, PROBLEM_NOTE = "files", "problem"


class Supervisor:
    """Takes queued Runs, one after the other, and sees each to its end.

    :param open_store: opens the site's store; never open while a body is forked.
    :param environment: says what a body's environment has besides this process's own; asked before each.
    :param host: what the host is called in the record.
    :param reload: loads the task file when it has changed; called while the store is closed.
    :param steer: does what a run at work wants done to its own Schedule.
    :param slots: says how many Runs may be at work at once.
    :param alert: has pings and alerts sent, by a process that it starts.
    """

    def __init__(
        self,
        state: State,
        open_store: OpenStore,
        *,
        environment: Callable[[], dict[str, str]],
        host: str,
        reload: Callable[[], None],
        steer: Steer,
        slots: Callable[[], int],
        alert: Callable[[], None],
    ) -> None:
        self.state, self.open_store, self.reload, self.steer = state, open_store, reload, steer
        self.slots, self.alert = slots, alert
        self.environment, self.host = environment, host
        self._adopts = False
        self.told_to_stop = False
        self.told_by = ""
        #: Where to say that there is something to tell; None where whoever waits for the end tells it anyway.
        self.news: int | None = None

    def listen(self) -> None:
        """Take INT and TERM as the wish that the run at hand be stopped, and recorded so.

        HUP too, which the end of a terminal sends, unless nohup(1) has it ignored.
        """
        for number in (SIGINT, SIGTERM) if getsignal(SIGHUP) == SIG_IGN else (SIGINT, SIGTERM, SIGHUP):
            signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        self.told_to_stop = True
        told_by: dict[int, str] = {SIGINT: "Ctrl-C", SIGHUP: "the end of its terminal"}
        self.told_by = told_by.get(number, "a TERM to its supervisor")

    def fork_body(self) -> Body:
        """Fork the body of a run to come.

        :raises OSError: no process is to be had; nothing is taken yet, so nothing is lost.
        """

        def work(orders: int, report: Sender) -> int:
            from .body import one_run  # here: a command's supervisor has no use for it

            return one_run(self.state, orders, report)

        return fork_body(work, environment=self.environment())

    def work_off_queue(self, may_go_on: Callable[[], bool]) -> None:
        """Take the next queued Run and see it through, until nothing is queued that could be taken.

        :param may_go_on: asked before each further one.
        """
        more = True
        while more and not self.told_to_stop and may_go_on():
            body = self.fork_body()
            with self.open_store() as store:
                taken = self._take_next(store)
                if taken is None:
                    body.dismiss()
                    return
                niceness = Policy.from_text(taken[0].policy).nice
                # A Run that was given back is for a later tick: at once would be over and over again.
                done = self.see_through(store, *taken, body, niceness=niceness)
                more = done is not None and bool(self._takeable(store, limit=1))

    # -- Take ------------------------------------------------------------------------------

    def _takeable(self, store: Store, limit: int) -> list[Run]:
        """Return queued Runs; none while the task file is broken, for they wait for its mending."""
        return [] if store.note(PROBLEM_NOTE) is not None else store.takeable(limit, utc_now())

    def _take_next(self, store: Store) -> tuple[Run, int] | None:
        """Return a Run made our own and the descriptor of its lock; None when there is none to be had."""
        for run in self._takeable(store, limit=64):
            held = hold_run_lock(self.state, run.id)
            if held is None:
                continue  # somebody is just taking it
            reach("run_locked")
            taken = self.take(store, run)
            if taken is not None:
                reach("run_taken")
                return taken, held
            release_run_lock(self.state, run.id, held)
        return None

    def take(self, store: Store, run: Run, *, is_new: bool = False) -> Run | None:
        """Take one Run, whose lock we hold; return it when it is ours.

        :param is_new: it is not in the store yet, and comes there in the same step.
        """
        token = os.urandom(8).hex()
        limit = Policy.from_text(run.policy).most_at_work
        take = store.begin if is_new else store.take
        try:
            taken = take(run, token=token, host=self.host, pid=os.getpid(), now=utc_now(), limit=limit)
        except StoreError:
            taken = store.run(run.id)  # the answer was lost, perhaps not the deed
        return taken if taken is not None and taken.token == token else None

    # -- See through -----------------------------------------------------------------------

    def see_through(
        self, store: Store, run: Run, held: int, body: Body, *, niceness: int = 0, tee: int | None = None,
        draw: Draw | None = None,
    ) -> Run | None:  # fmt: skip
        """Have the body do a taken Run, watch it to its end and record the outcome.

        :param held: the descriptor of the Run's lock; closed, and the lock gone, afterwards.
        :param draw: draws how far the run is, for the last line of the terminal that is the tee; None for no such line.
        :return: the Run with its outcome, or queued again for its retry; None when the task file has changed into
            one that cannot be loaded, for which the Run now waits.
        """
        policy = Policy.from_text(run.policy)
        output = RunOutput(self.state.output_file(run.id, run.attempt), policy.max_output, tee=tee)
        care = Care(self, store, run, held)
        care.output, care.draw = output, draw
        ended = self._watch(store, run, body, output, care, niceness)
        for _ in range(MOST_TRIES):
            if ended is not None or (fresh := self._fresh_body(store, run)) is None:
                break
            ended = self._watch(store, run, fresh, output, care, niceness)
        output.close()
        if ended is None:
            self._give_back(store, run, held)
            return None
        from .outcome import judge, retry_time

        outcome = judge(ended, policy, stopped_by=care.bell.by or "nobody", now=utc_now(), output_bytes=output.total)
        outcome.late_cause = care.late_cause
        retry_at = retry_time(run, outcome, ended) if outcome.state in (FAILED, TIMED_OUT) else None
        reach("outcome_known")
        if self._record(store, run, outcome, care, held, retry_at):
            reach("outcome_recorded")
            release_run_lock(self.state, run.id, held)
            self._say_news(store)
        else:
            os.close(held)
        output.pass_on_all(lambda: self.told_to_stop)
        return self._afterwards(store, run, outcome, retry_at)

    def _say_news(self, store: Store) -> None:
        """Have the listeners told, if there are any."""
        if self.news is not None and store.listeners():
            try:
                os.write(self.news, b".")
            except OSError:
                pass  # our tick is gone, and the next one tells; or it has not read the last word yet

    def _say_start(self, store: Store, run: Run) -> bool:
        """Have told that a Run begins, if anybody wants to hear that; return whether we have a new child for it."""
        listeners = store.listeners()
        if "RunStarted" not in listeners:
            return False
        self._say_news(store)
        pinged = {"alerts:RunStarted", f"alerts:RunStarted/{run.task}"}
        if self.news is not None or pinged.isdisjoint(listeners.split("\n")):
            return False
        self.alert()
        return True

    def _afterwards(self, store: Store, run: Run, outcome: Outcome, retry_at: datetime | None) -> Run:
        """Return a Run as it is after an attempt."""
        if retry_at is not None:
            try:
                return store.run(run.id) or run
            except StoreError:
                pass  # which has the outcome in hand, or will find it in the lock file
        ended: Run = run.but(**{name: getattr(outcome, name) for name in outcome.__slots__})
        return ended

    def _watch(
        self, store: Store, run: Run, body: Body, output: RunOutput, care: Care, niceness: int
    ) -> Ended | None:
        """Watch the body do the Run; None when it is not to begin: the files were saved since they were loaded."""
        stamps = store.note(FILES_NOTE) or "-"
        if not is_current(stamps):
            body.dismiss()
            return None
        has_company = self._say_start(store, run)
        strangers = self._strangers(body) if has_company or self._adopts else []
        self._adopts = self._adopts or adopt_orphans()  # before it may begin: nothing that it starts can get away
        if run.checkpoint is not None:
            self._hand_over(run, run.checkpoint)
        body.order(*order_of(run, stamps, niceness))
        reach("body_started")
        # What is needed from here on is imported while the body is at work: so nobody waits for it.
        from . import outcome as outcome
        from .watch import Watch

        if run.started_at and run.attempt == 1 and (run.started_at - run.queued_at).total_seconds() > LATE:
            care.find_out_why_late()
        watch = Watch(body, Policy.from_text(run.policy), output, care, run_id=run.id, strangers=strangers)
        ended = watch.until_it_ends()
        body.close()
        return None if ended.mailbox.last("stale") else ended

    def _hand_over(self, run: Run, checkpoint: str) -> None:
        """Lay what an earlier attempt has left where the body looks for it; it may be longer than an order."""
        try:
            write_whole(self.state.checkpoint_file(run.id), checkpoint.encode())
        except OSError as error:
            self.state.log(f"Run {run.id} of {run.task} begins without its checkpoint: {error.strerror}.")

    def _strangers(self, body: Body) -> list[Process]:
        """Return what is with us and none of this run's: what an earlier one has left on purpose, and who sends."""
        from .family import strangers_among_us

        return strangers_among_us(body.pid)

    def _fresh_body(self, store: Store, run: Run) -> Body | None:
        """Have the saved files loaded and return a body that has read them; None when they are broken."""
        store.close()
        try:
            self.reload()
            body = self.fork_body()
        except (DracotaskError, OSError) as error:
            self.state.log(f"Run {run.id} of {run.task} waits: {error}")
            store.open()
            return None
        if store.open().note(PROBLEM_NOTE) is None:
            return body
        body.dismiss()
        return None

    def _give_back(self, store: Store, run: Run, held: int) -> None:
        """Return a Run whose body never began to the queue, and have somebody look again."""
        if not store.give_back(run):
            self._stop_unbegun(store, run)
        reach("run_given_back")
        release_run_lock(self.state, run.id, held)
        self.state.look_now()

    def _stop_unbegun(self, store: Store, run: Run) -> None:
        """Record the end of a Run that somebody has stopped before its body began."""
        from ..stores.base import unbegun

        asked = store.run(run.id)
        if asked is not None and asked.stop_by is not None:
            error = unbegun(asked.stop_by)[0 if run.attempt > 1 else 1]
            store.finish(run, Outcome(state=STOPPED, error=error, finished_at=utc_now()))

    # -- Record ----------------------------------------------------------------------------

    def _record(
        self, store: Store, run: Run, outcome: Outcome, care: Care, held: int, retry_at: datetime | None
    ) -> bool:
        """Write the outcome to the store; when that will not have it, leave it in the lock file for the sweep."""
        until, pause = time.monotonic() + RECORD_PATIENCE, 0.2
        while True:
            try:
                store.open()
                care.settle()
                if store.finish(run, outcome, retry_at=retry_at) or run.exclusive or retry_at or _lets_wait(run):
                    self.state.look_now()  # for what has waited for this end
                return True
            except StoreError as error:
                store.close()
                if not os.fstat(held).st_nlink:
                    return False  # the state folder is gone, and the Run with it
                if time.monotonic() + pause > until or self.told_to_stop:
                    self.state.log(f"The outcome of run {run.id} waits in its lock file: {error}")
                    break
            time.sleep(pause)
            pause = min(2 * pause, 15.0)
        care.give_up()
        leave_outcome(held, run, outcome, retry_at)
        reach("outcome_left")
        return False


class Care(Attention):
    """What is asked and told while one run is at work.

    :ivar bell: who wants it stopped.
    :ivar late_cause: why it has waited to begin, in words, after why it was found late; None when it did not.
    """

    longest_report = LONGEST

    def __init__(self, supervisor: Supervisor, store: Store, run: Run, held: int) -> None:
        self.supervisor, self.store, self.run = supervisor, store, run
        self.bell = Bell(store, run, held)
        self._grace = Policy.from_text(run.policy).stop_grace
        self._reports: Reports | None = None
        self.output: RunOutput | None = None
        self.draw: Draw | None = None
        self._draws = False
        self.late_cause: str | None = None

    def find_out_why_late(self) -> None:
        """Ask what the run has waited for, now that its body is at work: by its end the store may have forgotten."""
        from ..lateness import joined, why_it_waited
        from .outcome import one_line

        try:
            cause = why_it_waited(self.store, self.run, self.supervisor.slots())
            self.late_cause = one_line(joined(self.run.late_cause, cause)) if cause else None
        except Exception as error:  # whatever it is, the run goes on
            self.supervisor.state.log(f"Why run {self.run.id} began late is not known: {error}")

    def must_stop(self) -> float | None:
        if self.supervisor.told_to_stop:
            self.bell.by = self.bell.by or self.supervisor.told_by
            return self._grace
        if not self.bell.has_rung():
            return None
        return self._grace if self.bell.grace is None else self.bell.grace

    def hear(self, message: list[str]) -> None:
        if self._reports is None:
            from .reports import Reports  # most runs say nothing

            self._reports = Reports(self.supervisor.state, self.store, self.run, self.supervisor.steer)
        self._reports.hear(message)
        self._draws = self._draws or (self.draw is not None and message == ["progress"])

    def look(self) -> None:
        if self._reports is not None:
            self._reports.look()
        if self._draws:
            self._draw()

    def _draw(self) -> None:
        """Show the terminal how far the run is."""
        from .steering import read_progress

        progress = read_progress(self.supervisor.state.progress_file(self.run.id))
        if progress is not None and self.draw is not None and self.output is not None:
            self.output.show(self.draw(self.run, progress))

    def settle(self) -> None:
        """Do what the body has said and nobody has done yet.

        :raises StoreError: the store will not have it.
        """
        if self._reports is not None:
            self._reports.settle()
        keep_checkpoint(self.supervisor.state, self.store, self.run)

    def give_up(self) -> None:
        """Say what will not be done any more."""
        if self._reports is not None:
            self._reports.give_up()


class Bell:
    """Whether somebody wants the Run at hand stopped.

    A stop is written in the store; the bell is a touch of the run's lock file, so that nobody need
    ask the store five times a second.

    :ivar by: who wants it and why, in words; None when nobody does.
    :ivar grace: the seconds between the polite stop and KILL that were asked for; None for the policy's.
    """

    def __init__(self, store: Store, run: Run, held: int) -> None:
        self.store, self.run, self.held = store, run, held
        self.by: str | None = None
        self.grace: float | None = None
        self._heard = 0  # as the lock was made: who rings between the take and now is heard

    def has_rung(self) -> bool:
        """Tell whether the run is to be stopped."""
        rung = os.fstat(self.held).st_mtime_ns
        if rung != self._heard:
            try:
                self._ask()
                self._heard = rung
            except StoreError:
                pass  # asked again at the next look
        return self.by is not None

    def _ask(self) -> None:
        run = self.store.run(self.run.id)
        if run is not None and run.stop_at is not None:
            self.by = f"{run.stop_by}: {run.stop_why}" if run.stop_why else run.stop_by
            self.grace = run.stop_grace


def _lets_wait(run: Run) -> bool:
    """Tell whether others of its Schedule may wait for the end of a Run."""
    policy = Policy.from_text(run.policy)
    return policy.overlap == "queue" or policy.coalesce == "all"


def ring(state: State, run_id: str) -> None:
    """Have the supervisor of a Run look at the store."""
    try:
        os.utime(state.run_lock(run_id))
    except OSError:
        pass  # it has just ended


def keep_checkpoint(state: State, store: Store, run: Run) -> None:
    """Put on record what a body has left for the next attempt, however it came to its end."""
    path = state.checkpoint_file(run.id)
    if os.path.exists(path):
        from .steering import read_checkpoint  # most runs leave nothing

        text = read_checkpoint(path)
        if text is not None:
            store.keep_checkpoint(run, text)


def hold_run_lock(state: State, run_id: str) -> int | None:
    """Take the lock of a Run and return its descriptor, or None when somebody holds it."""
    held = lock(state.run_lock(run_id))
    if held is not None and not os.fstat(held).st_size:  # else it may hold an outcome already
        try:
            os.pwrite(held, b" " * _LOCK_SIZE, 0)
        except OSError:
            pass  # a full disk: the outcome may find no room
    if held is not None:
        os.utime(held, (0, 0))  # nobody has rung
    return held


def leave_outcome(held: int, run: Run, outcome: Outcome, retry_at: datetime | None) -> None:
    """Leave an outcome in the lock file of its Run, where the sweep looks for it."""
    from .outcome import to_lines

    # The whole file is written: nothing stays of what an earlier attempt has left there.
    os.pwrite(held, to_lines(run, outcome, retry_at).encode()[:_LOCK_SIZE].ljust(_LOCK_SIZE), 0)


def release_run_lock(state: State, run_id: str, held: int) -> None:
    """Remove the lock file of a Run that needs none any more, and let go. Only its holder may."""
    for path in (state.progress_file(run_id), state.checkpoint_file(run_id), state.run_lock(run_id)):
        try:
            os.unlink(path)
        except OSError:
            pass
    os.close(held)


