"""Is this site set up so that its tasks run? Each finding comes with what to do about it."""

from __future__ import annotations

import os

from ..alerts import in_plain, orders_of
from ..clock import in_words, utc_now
from ..errors import ConfigError, DracotaskError, WrongUser
from ..keys import (
    ALERT_KEYS,
    ALERT_KEYS_OF_ONE,
    ALL_KEYS,
    redacted,
    seconds,
    seconds_or_none,
    shown,
    size,
    size_or_none,
    token,
    wait,
)
from ..run.outcome import in_bytes
from ..web.spawn import entry_point, interpreter
from ..zones import is_zone, site_zone
from .banners import NOBODY_AFTER, next_look
from .checkfiles import check_files
from .checkweb import check_web
from .cronline import user_name
from .finding import Finding, ok, problem, warning
from .words import schedule_in_words, since_in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

    from .desk import Desk


def find(desk: Desk, url: str | None = None, *, may_load: bool = True) -> Iterator[Finding]:
    """Yield what is found, in the order in which a site owner would ask.

    :param url: the address of the site, which is asked for its private files; None to ask nobody.
    :param may_load: whether the task file may be loaded for it, in a body that this process forks.
    """
    yield ok("docroot", desk.site.docroot)
    yield from _check_config(desk)
    mine = yield from _check_user(desk)
    if mine:
        if may_load:
            yield from _check_load(desk)
        yield from _check_looks(desk)
        yield from _check_slots(desk)
    yield from check_files(desk)
    yield from _check_python(desk)
    yield from _check_zone(desk)
    yield from _check_alerts(desk)
    yield from _check_metrics(desk)
    if url:
        yield from check_web(desk, url)


#: The commands that were found to start dracotask: a console need not try them at each look.
_sound: set[tuple[str, ...]] = set()


# -- One thing each ----------------------------------------------------------------------------


def _check_config(desk: Desk) -> Iterator[Finding]:
    config = desk.config
    if config.problem:
        yield problem("config", config.problem, "The last good configuration stays in force until that is mended.")
    for key in ALL_KEYS:
        try:
            config.value(key)
        except ConfigError as error:
            yield problem("config", str(error), "Change the variable, or unset it.")
    if value_of(desk, "enabled") is False:
        yield warning("enabled", "tasks are switched off on this site", f"by {config.origin('enabled')}")


def _check_user(desk: Desk) -> Generator[Finding, None, bool]:
    """Yield whether this user may work here; also the generator's value."""
    try:
        desk.state.check_user()
    except WrongUser as error:
        fact, _, remedy = str(error).partition(". ")
        yield problem("user", fact, remedy)
        yield warning("tasks", "not loaded: that is for the site's own user to try", "Run this check as that user.")
        return False
    yield ok("user", f"{user_name(os.geteuid())} owns the site's state")
    return True


def _check_load(desk: Desk) -> Iterator[Finding]:
    path = desk.state.task_file
    if not os.path.exists(path):
        yield problem("tasks", f"{path} does not exist", f"Have one written: {desk.command('init')}")
        return
    try:
        desk.site.prepare()
        loaded = desk.site.load()
    except DracotaskError as error:
        yield problem("tasks", str(error), "")
        return
    if loaded.problem:
        yield problem("tasks", f"{path} is broken: {loaded.problem}", "Its last good version stays in force.")
    elif not loaded.declared:
        yield warning("tasks", f"{path} defines no task", "Put a subclass of dracotask.Task in it.")
    else:
        told = (f"{each.name} ({schedule_in_words(each.trigger)})" for each in loaded.declared[:12])
        more = f" and {len(loaded.declared) - 12} more" if len(loaded.declared) > 12 else ""
        yield ok("tasks", ", ".join(told) + more)


def _check_python(desk: Desk) -> Iterator[Finding]:
    """Yield whether runs get an interpreter that has dracotask, and the site's own virtual environment."""
    import subprocess

    docroot = desk.site.docroot
    python = interpreter(docroot)
    command = (*entry_point(docroot), "--version")
    try:
        if command not in _sound:
            subprocess.run(command, check=True, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
            _sound.add(command)
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error).encode()
        told = reason.decode("utf-8", "replace").strip().rpartition("\n")[2]
        yield problem("python", f"{python} cannot run dracotask: {told}", "Set the key python, or mend that venv.")
        return
    venv = os.path.dirname(os.path.dirname(python))
    if os.path.exists(os.path.join(venv, "pyvenv.cfg")):
        yield ok("python", f"{python}, of the virtual environment {venv}")
        return
    yield from _check_other_venv(docroot, python)


def _check_other_venv(docroot: str, python: str) -> Iterator[Finding]:
    for folder in (docroot, os.path.dirname(docroot)):
        for name in (".venv", "venv", "env"):
            own = os.path.join(folder, name)
            if os.path.exists(os.path.join(own, "pyvenv.cfg")):
                remedy = f"If its packages are wanted: {own}/bin/python -m pip install dracotask, and use that one."
                yield warning("python", f"{python}, while the site has a virtual environment {own}", remedy)
                return
    yield ok("python", f"{python}, of no virtual environment")


def _check_zone(desk: Desk) -> Iterator[Finding]:
    configured = value_of(desk, "timezone")
    name, guessed = site_zone(configured)
    if not is_zone(name):
        yield problem("timezone", f"{name} is no time zone that this Python knows", 'Write one like "Europe/Paris".')
    elif guessed:
        fact, _, remedy = guessed.partition(". ")
        yield warning("timezone", fact, remedy)
    else:
        origin = desk.config.origin("timezone") if configured else _zone_origin(name)
        yield ok("timezone", f"{name}, from {origin}")


def _zone_origin(name: str) -> str:
    if os.environ.get("TZ", "").lstrip(":") == name:
        return "$TZ"
    try:
        with open("/etc/timezone", encoding="ascii") as file:
            return "/etc/timezone" if file.readline().strip() == name else "/etc/localtime"
    except (OSError, ValueError):
        return "/etc/localtime"


def _check_alerts(desk: Desk) -> Iterator[Finding]:
    """Yield who is told of runs, for all tasks and for one, and what is not to be had in the environment."""
    told = []
    environment = {**os.environ, **desk.config.environment()}
    for task, key, said in orders_of(desk.config):
        told.append(f"{task}: {key} {redacted(said)}" if task else f"{key} {redacted(said)}")
        try:
            in_plain(said, environment, (ALERT_KEYS_OF_ONE if task else ALERT_KEYS)[key][0])
        except ValueError as error:
            what = f"{key} of {task}" if task else key
            yield warning("alerts", f"{what}: {error}", "Servers and cron need it too: a table [env] gives it to both.")
    if told:
        yield ok("alerts", ", ".join(told))


def _check_metrics(desk: Desk) -> Iterator[Finding]:
    """Yield whether the machine that has the ``metrics_token`` is let in, where there is one."""
    from importlib.util import find_spec

    said = value_of(desk, "metrics_token")
    if said is None:
        return
    if find_spec("prometheus_client") is None:
        yield warning("metrics", "they need prometheus_client, which is missing", "pip install dracotask[metrics]")
    try:
        in_plain(said, {**os.environ, **desk.config.environment()}, token)
        yield ok("metrics", "told to whoever sends the metrics_token")
    except ValueError as error:
        yield warning("metrics", f"metrics_token: {error}", "The web server needs it; here it may be missing.")


def _check_looks(desk: Desk) -> Iterator[Finding]:
    now, moment = utc_now(), next_look(desk.state)
    remedy = "Serve a request through TaskMiddleware, or add the line for cron."
    if moment is None:
        yield warning("looks", "no server and no cron has looked for what is due yet", remedy)
    elif now - moment > NOBODY_AFTER:
        since = since_in_words(moment, now, desk.zone())
        yield warning("looks", f"nobody has looked for what is due since {since}", remedy)
    else:
        yield ok("looks", "a server or cron has looked for what is due within the last minutes")


def _check_slots(desk: Desk) -> Iterator[Finding]:
    from ..state import is_locked

    most = value_of(desk, "max_running") or 0
    busy = sum(is_locked(desk.state.slot(number)) for number in range(1, most + 1))
    if busy < most:
        yield ok("slots", f"{busy} of {most} slots are busy")
    else:
        remedy = "Raise max_running, or stop something: what is due waits."
        yield warning("slots", f"all slots are busy ({most})", f"{remedy} {desk.command('runs')}")


def value_of(desk: Desk, key: str) -> Any:
    """Return the value of a key, or None for one that makes no sense, which is a finding of its own."""
    try:
        return desk.config.value(key)
    except ConfigError:
        return None


def value_shown(desk: Desk, key: str) -> Any:
    """Return the same as anybody may see it."""
    return shown(key, value_of(desk, key))


def value_in_words(desk: Desk, key: str) -> str:
    """Return the value of a key as people read it, and what stands for one that is not set."""
    value, site = value_shown(desk, key), desk.site
    if value is None:
        if key == "python":
            return interpreter(site.docroot)
        unset = {"timezone": desk.zone().key, "state": site.state.path, "host": site.host}
        return unset.get(key, "none")
    if isinstance(value, bool):
        return "true" if value else "false"
    read, _ = ALL_KEYS[key]
    if read in (seconds, seconds_or_none, wait):
        return in_words(value)
    if read in (size, size_or_none):
        return in_bytes(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
