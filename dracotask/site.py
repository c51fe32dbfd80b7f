"""Site: one docroot wired together."""

from __future__ import annotations

import os

from .clock import from_text, timedelta, to_text, utc_now
from .errors import DocrootNotFound, LoadError, StateError, StoreError, TaskNotFound
from .failpoints import reach
from .model import new_run, new_run_id
from .run.supervisor import FILES_NOTE, PROBLEM_NOTE, Supervisor, hold_run_lock, release_run_lock
from .siteconfig import find_state, read_config
from .state import LOOKERS, is_current, lock, stamp_lines, unlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from signal import alarm
    from typing import Any

    from .adoption import Adoption
    from .housekeeping import Housekeeping
    from .launchers.process import ProcessLauncher
    from .model import Run, Schedule
    from .run.load import Loaded
    from .run.senders import Senders
    from .run.supervisor import Draw
    from .stores.base import Store
    from .tick import Tick
else:
    from _signal import alarm

#: How long (seconds) the part of a tick under its lock may take.
TICK_LIMIT = 60

#: How long after a load that failed the same files are tried again; longer where a try takes long.
RETRY_AFTER, RETRY_SHARE = timedelta(seconds=60), 20

#: The note that says when.
RETRY_NOTE = "retry_at"

#: How often a command loads a task file that goes on changing.
MOST_TRIES = 5

#: How long (seconds) a ``due`` by hand or by cron waits for another tick's decisions.
TICK_PATIENCE = 5.0


class Site:
    """One docroot with its configuration, state folder and store. Making it opens nothing.

    :param docroot: the folder with ``__tasks__.py``; any spelling of its path.
    :raises DocrootNotFound: it is not a folder.
    """

    def __init__(self, docroot: str) -> None:
        if not docroot:  # an unset variable in a script, which must not mean the folder at hand
            raise DocrootNotFound("DOCROOT is empty. The docroot comes first: dracotask DOCROOT …")
        self.docroot = os.path.abspath(docroot)
        if not os.path.isdir(self.docroot):
            kind = "is a file, not a folder" if os.path.exists(self.docroot) else "does not exist"
            raise DocrootNotFound(f"DOCROOT {self.docroot!r:.300} {kind}. The docroot comes first: dracotask DOCROOT …")
        if not self.docroot.isprintable():
            raise DocrootNotFound(f"DOCROOT {self.docroot!r:.300} has letters that cannot be written: rename it.")
        self.state = find_state(self.docroot)
        self.config = read_config(self.state)
        self._has_listeners = False
        self._senders: Senders | None = None
        self._looker, self._by = "command", ""
        self._loading_since: datetime | None = None

    @property
    def host(self) -> str:
        return self.config.host or os.uname().nodename

    def open_store(self, *, create: bool = True, patience: float | None = None) -> Store:
        """Open the site's store; ``with`` closes it again.

        :param patience: seconds that it waits for a lock of another process; None for as long as stores do.
        """
        from .stores.sqlite import PATIENCE, SQLiteStore

        patience = PATIENCE if patience is None else patience
        return SQLiteStore(self.state.store_file, patience=patience).open(create=create)

    # (What a plain run by hand has no use for is imported where it is used.)

    def adoption(self, store: Store) -> Adoption:
        from .adoption import Adoption

        return Adoption(self.state, store)

    def decisions(self, store: Store) -> Tick:
        from .tick import Tick

        return Tick(store, self.state.log, by=self._by or None, why_late=self._why_late)

    def _why_late(self, fire_time: datetime, now: datetime) -> str | None:
        from .lateness import why_found_late

        return why_found_late(
            self.state, fire_time, now, looker=self._looker, loading_since=self._loading_since
        )

    def housekeeping(self, store: Store) -> Housekeeping:
        from .housekeeping import Housekeeping

        return Housekeeping(self.state, store)

    def supervisor(self) -> Supervisor:
        return Supervisor(
            self.state,
            self.open_store,
            environment=self._environment,
            host=self.host,
            reload=self._load_if_changed,
            steer=self._steer,
            slots=lambda: self.config.max_running,
            alert=self._start_sending,
        )

    def _steer(self, store: Store, run: Run, verb: str, details: dict[str, str | None]) -> None:
        """Do what a run at work wants done to its own Schedule.

        :raises DracotaskError, ValueError: it cannot be done.
        """
        from .control import Control

        Control(store, by="the task itself", log=self.state.log).steer(run.schedule, verb, details, utc_now())
        self.state.look_now()

    def _environment(self) -> dict[str, str]:
        """Return what [env] says by now: a supervisor with a queue before it outlives many a dracotask.toml."""
        self.config = read_config(self.state)
        return run_environment(self.config.environment())

    def prepare(self) -> None:
        """Make the state folder if need be, and write down a configuration that has changed.

        :raises StateError, WrongUser: this user cannot work here.
        """
        self.state.create()
        if self.config.is_fresh:
            if self.config.problem:
                self.state.log(f"{self.config.problem} The last good configuration stays in force.")
            self.config.save(self.state)

    # -- The tick --------------------------------------------------------------------------

    def tick(self, origin: str, held: int | None = None, *, by: str = "") -> bool:
        """Load what changed, claim what is due, sweep, launch, and wait for what was launched.

        :param origin: what brought it about: ``request``, ``tick`` or ``command``.
        :param by: the same in words, for the record of the Runs; "" where nobody knows.
        :param held: the descriptor of the tick's lock, when whoever started us took it.
        :return: False when another tick is at it.
        :raises DracotaskError: the store or the state folder cannot be used.
        """
        self._looker, self._by = looker_of(origin), by
        try:
            return self._tick(origin, held)
        except OSError as error:
            if isinstance(error, StateError):
                raise
            place = f"{error.filename}: " if error.filename else ""
            raise StateError(f"The tick cannot go on: {place}{error.strerror}. The next one tries again.") from error

    def _tick(self, origin: str, held: int | None) -> bool:
        self.prepare()
        if held is None:
            held = lock(self.state.tick_lock, patience=TICK_PATIENCE)
            if held is None:
                return False
        reach("tick_locked")
        try:
            launcher, has_news = self._tick_under_lock(origin, held)
        except Exception as error:
            self._put_down_hindrance(error)
            raise
        finally:
            self.state.put_down_look(self._looker)
        reach("tick_launched")
        alarm(0)
        unlock(held)
        if has_news:
            self._tell()
        if launcher:
            launcher.wait(self._tell)
        if self._senders is not None:
            self._senders.wait(lambda: True, lambda words: None)
        return True

    def _put_down_hindrance(self, error: Exception | None = None) -> None:
        """Put down why this tick cannot do its work; without an error the site is switched off."""
        from .lateness import put_down_hindrance

        words = "the site was switched off"
        if error is not None:
            what = "the store was down" if isinstance(error, StoreError) else "a tick failed"
            words = f"{what}: {str(error) or type(error).__name__}"
        put_down_hindrance(self.state, words, utc_now())

    def _tell(self, **steering: Any) -> None:
        """Have told what has happened: the listeners by this process, pings and alerts by one of their own."""
        if self._has_alerts():
            self._start_sending()
        self.tell_listeners(**steering)

    def _has_alerts(self) -> bool:
        from .events import ALERTS

        try:
            with self.open_store() as store:
                return ALERTS in store.listeners() and bool(store.events(1, ALERTS))
        except StoreError:
            return False  # the next tick sees to them

    def _start_sending(self) -> None:
        """Have pings and alerts sent while this process goes on; nothing of a site that is switched off."""
        if self.config.enabled:
            from .run.senders import Senders

            self._senders = self._senders or Senders(self.state)
            self._senders.start()

    def send_alerts(self) -> None:
        """Send what pings and alerts there are to send, in a process that was started for it.

        :raises WrongUser: the state folder is another's.
        """
        from .run.alerting import NICENESS, Alerting

        self.state.check_user()  # a root's lock in somebody's folder would silence them
        os.nice(NICENESS)
        environment = {**os.environ, **run_environment(self.config.environment())}
        Alerting(self.state, self.open_store, self.config, host=self.host, environment=environment).send_all()

    def tell_listeners(self, **steering: Any) -> None:
        """Have the listeners in the task file told of what has happened. The store must be closed.

        :param steering: ``may_go_on`` and ``say``, as of :class:`~.run.telling.Telling`.
        """
        from .run.telling import Telling

        config = self.config
        telling = Telling(
            self.state, self.open_store, environment=self._environment, limit=config.listener_limit,
            load_limit=config.load_limit, **steering,
        )  # fmt: skip
        telling.tell_all()

    def _tick_under_lock(self, origin: str, held: int) -> tuple[ProcessLauncher | None, bool]:
        """Do what a tick does alone; return who launched something, and whether there is something to tell."""
        if not self.config.enabled:
            self._put_down_hindrance()
            self.state.write_next(None, stamp_lines([self.state.config_file]))
            return None, False
        self._load_if_changed()
        alarm(TICK_LIMIT)  # not before: a load has a limit of its own
        now = utc_now()
        with self.open_store() as store:
            housekeeping = self.housekeeping(store)
            housekeeping.sweep(now)  # first, so that no dead run stands in the way of its next
            reach("tick_swept")
            self.decisions(store).claim_due(now, origin)
            reach("tick_claimed")
            self.state.forget_hindrance()
            housekeeping.prune(now)
            is_broken = store.note(PROBLEM_NOTE) is not None
            wanted = 0 if is_broken else len(store.queued(self.config.max_running, now))
            next_look, stamps = self.adoption(store).next_look(now), store.note(FILES_NOTE) or ""
            has_news = bool(store.listeners() and store.events(1, None))
        launcher = self._launch(wanted, held) if wanted else None
        self.state.write_next(next_look, stamps)
        return launcher, has_news

    def _launch(self, wanted: int, held: int) -> ProcessLauncher:
        from .launchers.process import ProcessLauncher

        launcher = ProcessLauncher(
            self.state, self.supervisor(), max_running=self.config.max_running, private=[held], is_open=self._is_open
        )
        launcher.launch(wanted)
        return launcher

    def _is_open(self, slot: int) -> bool:
        """Tell whether the configuration as it is by now lets a slot be used."""
        self.config = read_config(self.state)
        return bool(self.config.enabled) and slot <= self.config.max_running

    # -- Loading ---------------------------------------------------------------------------

    def _load_if_changed(self) -> None:
        if self._must_load():
            from .run.load import load

            self._loading_since = utc_now()
            self.config = read_config(self.state)
            self.prepare()
            load(self.state, self.config, self._adopt, is_needed=self._must_load)

    def _must_load(self) -> bool:
        with self.open_store() as store:
            stamps = store.note(FILES_NOTE)
            current = stamps is not None and is_current(stamps)
            retry_at, now = store.note(RETRY_NOTE), utc_now()
            current = current and (retry_at is None or now < from_text(retry_at))
            return self.adoption(store).must_load(current, now)

    def load(self) -> Loaded:
        """Load the task file and make what it declares the set in force.

        :return: what was found; with its ``problem`` when the last good set stays.
        """
        from .run.load import load

        loaded = load(self.state, self.config, self._adopt)
        assert loaded is not None
        return loaded

    def _adopt(self, loaded: Loaded) -> None:
        now = utc_now()
        with self.open_store() as store, store.transaction():
            self.adoption(store).adopt(loaded, now)
            if store.listeners():
                self.state.look_now()  # what is new in the file is told by a tick
            # What is wrong need not lie in the files: a package is missing, a database down, memory short.
            retry_at: datetime | None = now + max(RETRY_AFTER, RETRY_SHARE * loaded.took)
            if not loaded.problem:
                retry_at = self.adoption(store).list_again_at(loaded, now)
            store.put_note(RETRY_NOTE, None if retry_at is None else to_text(retry_at))

    # -- A run by hand ---------------------------------------------------------------------

    def run(
        self,
        name: str,
        *,
        by: str,
        tee: int | None = None,
        draw: Draw | None = None,
        arguments: Mapping[str, str] | None = None,
        even_if_held: bool = False,
    ) -> Run:
        """Run a task here and now, and return its Run with the outcome, or as skipped.

        The listeners are told of it by :meth:`tell_of_run`.

        :param name: of a Task, or of a Schedule that was added.
        :param by: who asked, in words.
        :param tee: a descriptor that gets the output as well; None for none.
        :param draw: as of :meth:`~.run.supervisor.Supervisor.see_through`.
        :param arguments: what ``run()`` is handed by name instead of the Schedule's own, as words of a command
            line; None for those.
        :param even_if_held: begin although its Schedule, or the site, is held.
        :raises TaskNotFound: there is no such task; LoadError: the task file is broken; ControlError: the
            arguments do not fit.
        """
        self.prepare()
        asked = Asked(name, by, arguments, even_if_held)
        for _ in range(MOST_TRIES):
            run = self._run_if_loaded(asked, tee, draw)
            if run is not None:
                return run
            self._load_if_changed()
        raise LoadError(f"{self.state.task_file} changes faster than it can be loaded.")

    def tell_of_run(self, say: Callable[[str], None]) -> None:
        """Have told of what :meth:`run` has done; a Ctrl-C leaves that to the next tick, or to who is at it.

        :param say: is told what this waits for.
        """
        if self._has_listeners:
            supervisor = self.supervisor()
            supervisor.listen()
            self._tell(may_go_on=lambda: not supervisor.told_to_stop, say=say)
            if self._senders is not None:
                self._senders.wait(lambda: not supervisor.told_to_stop, say)

    def _run_if_loaded(self, asked: Asked, tee: int | None, draw: Draw | None) -> Run | None:
        """Run the task; None when the task file is to be loaded first.

        The body comes first: it gets ready while the store is still being opened.
        """
        supervisor = self.supervisor()
        body = supervisor.fork_body()
        with self.open_store() as store:
            stamps = store.note(FILES_NOTE)
            if stamps is None or not is_current(stamps):
                body.dismiss()
                return None
            self._has_listeners = bool(store.listeners())
            try:
                run, held = self._take_command(supervisor, store, asked)
            except BaseException:
                body.dismiss()
                raise
            if held is None:
                body.dismiss()
                return run
            supervisor.listen()
            ended = supervisor.see_through(store, run, held, body, tee=tee, draw=draw)
            if ended is None:
                self._withdraw(store, run)
                self._runnable(store, asked.name)  # says what is wrong with the task file
                raise LoadError(f"{self.state.task_file} changes faster than it can be loaded.")
            if not self._has_listeners:  # else others are still to be forked
                store.leave()
        return ended

    def _withdraw(self, store: Store, run: Run) -> None:
        """Take a demand back that is answered by an error; what a fire time owes stays queued."""
        queued = store.run(run.id)
        if queued is not None and queued.fire_time is None:
            store.skip(queued, "the task file was being changed", utc_now())

    def _take_command(self, supervisor: Supervisor, store: Store, asked: Asked) -> tuple[Run, int | None]:
        """Queue a Run and take it, in one step; return it with its lock, or as skipped with None."""
        run_id = new_run_id()
        held = hold_run_lock(self.state, run_id)
        now = utc_now()
        try:
            with store.transaction():
                schedule = self._runnable(store, asked.name)
                if schedule.held_at:
                    schedule = self.decisions(store).present(schedule, now)
                queued = self._claim_for_command(store, schedule, run_id, asked, now)
                if queued is None:  # nothing of it is due: a demand
                    queued = asked.run(schedule, run_id, now)
                    taken = supervisor.take(store, queued, is_new=True)
                else:
                    taken = supervisor.take(store, queued)
                if taken is None and self.housekeeping(store).sweep(now):
                    # A dead Run must not keep its Task from running where no tick ever comes by.
                    taken = supervisor.take(store, queued)
                if taken is None:
                    queued = self._leave(store, schedule, queued, now)
        except BaseException:
            if held is not None:
                release_run_lock(self.state, run_id, held)
            raise
        reach("run_taken")
        if taken is not None and held is not None:
            return taken, held
        if held is not None:
            release_run_lock(self.state, run_id, held)
        return queued, None

    def _leave(self, store: Store, schedule: Schedule, run: Run, now: datetime) -> Run:
        """Skip a Run that could not be taken, and return it with the reason.

        The fire time that another of its ``exclusive`` name keeps from beginning stays queued, as if a tick had
        claimed it.
        """
        why = self._why_not(store, schedule, run, now)
        if run.fire_time is None or not self.decisions(store).may_wait(schedule, now, run.id):
            store.skip(run, why, now)
        return (store.run(run.id) or run).but(summary=why)

    def _claim_for_command(
        self, store: Store, schedule: Schedule, run_id: str, asked: Asked, now: datetime
    ) -> Run | None:
        """Claim the fire time that a command finds due and return its queued Run; None when none is due."""
        if schedule.next_fire_time is None or schedule.next_fire_time > now:
            return None
        if asked.is_special:
            return None  # what is due is owed as it was planned
        return self.decisions(store).claim_for_command(schedule, run_id, asked.by, now)

    def _why_not(self, store: Store, schedule: Schedule, run: Run, now: datetime) -> str:
        """Say why a Run that was not taken could not begin."""
        from .stores.holds import SiteHold, because, held_in_words

        if schedule.held_at and not run.despite_hold:
            return held_in_words(schedule)
        hold = None if run.despite_hold else SiteHold.of(store)
        if hold is not None:
            return f"the whole site is held by {hold.by}{because(hold.why)}"
        rival = next((each for each in store.running() if run.exclusive and each.exclusive == run.exclusive), None)
        beside = f"{rival.schedule} is at work (exclusive: {run.exclusive})" if rival else "it could not begin"
        return self.decisions(store).busy(schedule, now, but=run.id) or beside

    def _runnable(self, store: Store, name: str) -> Schedule:
        problem = store.note(PROBLEM_NOTE)
        if problem is not None:
            raise LoadError(f"{self.state.task_file} is broken: {problem}")
        schedule = store.schedule(name)
        if schedule is None or schedule.vanished_at:
            known = [schedule.name for schedule in store.schedules() if not schedule.vanished_at]
            raise TaskNotFound(name, self.state.task_file, known)
        return schedule


class Asked:
    """What a command asks for: a Run of a Schedule, perhaps with arguments of its own, or despite a hold."""

    __slots__ = ("arguments", "by", "even_if_held", "name")

    def __init__(self, name: str, by: str, arguments: Mapping[str, str] | None, even_if_held: bool) -> None:
        self.name, self.by, self.arguments, self.even_if_held = name, by, arguments, even_if_held

    @property
    def is_special(self) -> bool:
        """Whether the Run is another than its Schedule has planned."""
        return self.arguments is not None or self.even_if_held

    def run(self, schedule: Schedule, run_id: str, now: datetime) -> Run:
        """Return the queued Run on demand.

        :raises ControlError: ``run()`` cannot be handed these arguments.
        """
        run = new_run(schedule, now, "command", run_id=run_id, by=self.by)
        arguments = schedule.arguments
        if self.arguments is not None or schedule.parameters not in (None, "[]"):
            from .arguments import handed

            arguments = handed(schedule, self.arguments)
        return run.but(despite_hold=self.even_if_held, arguments=arguments)


def looker_of(origin: str) -> str:
    """Return which of :data:`~.state.LOOKERS` has brought a tick about."""
    if origin == "command" and not os.isatty(0):
        return "cron"
    return origin if origin in LOOKERS else "command"


def run_environment(table: dict[str, str]) -> dict[str, str]:
    """Return what a run's environment has besides the server's: [env], and output that is seen at once."""
    own = {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    if "HOME" not in os.environ:  # a server started by init has none
        import pwd

        own["HOME"] = pwd.getpwuid(os.geteuid()).pw_dir
    return {**own, **table}

