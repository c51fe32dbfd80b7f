"""``check``: is this site set up so that its tasks run? Each finding comes with what to do about it."""

from __future__ import annotations

import os

from ..clock import in_words, utc_now
from ..errors import ConfigError, DracotaskError, WrongUser
from ..keys import ALL_KEYS, seconds, seconds_or_none, size, size_or_none
from ..run.outcome import in_bytes
from ..web.spawn import entry_point, interpreter
from ..zones import is_zone, site_zone
from .banners import NOBODY_AFTER, next_look
from .checkfiles import check_files
from .checkweb import check_web, deny_lines
from .cronline import cron_line, edit_crontab, site_owner, user_name
from .finding import Finding, ok, problem, warning
from .output import cells, print_json, visible_line
from .running import EXIT_DONE, EXIT_FAILED, EXIT_USAGE
from .words import schedule_in_words, since_in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

    from .invocation import Invocation


def check(invocation: Invocation, *, url: str | None, as_json: bool) -> int:
    """Print all findings and return the exit code: 1 when one is a problem, 2 for a broken dracotask.toml."""
    findings = list(find(invocation, url))
    has_problem = any(each.status == "problem" for each in findings)
    if as_json:
        print_json(_as_json(invocation, findings, has_problem))
    else:
        _print(invocation, findings)
    if invocation.config.problem:
        return EXIT_USAGE
    return EXIT_FAILED if has_problem else EXIT_DONE


def find(invocation: Invocation, url: str | None) -> Iterator[Finding]:
    """Yield what is found, in the order in which a site owner would ask."""
    yield ok("docroot", invocation.site.docroot)
    yield from _check_config(invocation)
    mine = yield from _check_user(invocation)
    if mine:
        yield from _check_load(invocation)
        yield from _check_looks(invocation)
        yield from _check_slots(invocation)
    yield from check_files(invocation)
    yield from _check_python(invocation)
    yield from _check_zone(invocation)
    if url:
        yield from check_web(invocation, url)


# -- One thing each ----------------------------------------------------------------------------


def _check_config(invocation: Invocation) -> Iterator[Finding]:
    config = invocation.config
    if config.problem:
        yield problem("config", config.problem, "The last good configuration stays in force until that is mended.")
    for key in ALL_KEYS:
        try:
            config.value(key)
        except ConfigError as error:
            yield problem("config", str(error), "Change the variable, or unset it.")
    if _value(invocation, "enabled") is False:
        yield warning("enabled", "tasks are switched off on this site", f"by {config.origin('enabled')}")


def _check_user(invocation: Invocation) -> Generator[Finding, None, bool]:
    """Yield whether this user may work here; also the generator's value."""
    try:
        invocation.state.check_user()
    except WrongUser as error:
        fact, _, remedy = str(error).partition(". ")
        yield problem("user", fact, remedy)
        yield warning("tasks", "not loaded: that is for the site's own user to try", "Run this check as that user.")
        return False
    yield ok("user", f"{user_name(os.geteuid())} owns the site's state")
    return True


def _check_load(invocation: Invocation) -> Iterator[Finding]:
    path = invocation.state.task_file
    if not os.path.exists(path):
        yield problem("tasks", f"{path} does not exist", f"Have one written: {invocation.command('init')}")
        return
    try:
        invocation.site.prepare()
        loaded = invocation.site.load()
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


def _check_python(invocation: Invocation) -> Iterator[Finding]:
    """Yield whether runs get an interpreter that has dracotask, and the site's own virtual environment."""
    import subprocess

    docroot = invocation.site.docroot
    python = interpreter(docroot)
    try:
        command = [*entry_point(docroot), "--version"]
        subprocess.run(command, check=True, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
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


def _check_zone(invocation: Invocation) -> Iterator[Finding]:
    configured = _value(invocation, "timezone")
    name, guessed = site_zone(configured)
    if not is_zone(name):
        yield problem("timezone", f"{name} is no time zone that this Python knows", 'Write one like "Europe/Paris".')
    elif guessed:
        fact, _, remedy = guessed.partition(". ")
        yield warning("timezone", fact, remedy)
    else:
        origin = invocation.config.origin("timezone") if configured else _zone_origin(name)
        yield ok("timezone", f"{name}, from {origin}")


def _zone_origin(name: str) -> str:
    if os.environ.get("TZ", "").lstrip(":") == name:
        return "$TZ"
    try:
        with open("/etc/timezone", encoding="ascii") as file:
            return "/etc/timezone" if file.readline().strip() == name else "/etc/localtime"
    except (OSError, ValueError):
        return "/etc/localtime"


def _check_looks(invocation: Invocation) -> Iterator[Finding]:
    now, moment = utc_now(), next_look(invocation.state)
    remedy = "Serve a request through TaskMiddleware, or add the cron line below."
    if moment is None:
        yield warning("looks", "no server and no cron has looked for what is due yet", remedy)
    elif now - moment > NOBODY_AFTER:
        since = since_in_words(moment, now, invocation.zone())
        yield warning("looks", f"nobody has looked for what is due since {since}", remedy)
    else:
        yield ok("looks", "a server or cron has looked for what is due within the last minutes")


def _check_slots(invocation: Invocation) -> Iterator[Finding]:
    from ..state import is_locked

    most = _value(invocation, "max_running") or 0
    busy = sum(is_locked(invocation.state.slot(number)) for number in range(1, most + 1))
    if busy < most:
        yield ok("slots", f"{busy} of {most} slots are busy")
    else:
        remedy = "Raise max_running, or stop something: what is due waits."
        yield warning("slots", f"all slots are busy ({most})", f"{remedy} {invocation.command('runs')}")


def _value(invocation: Invocation, key: str) -> Any:
    """Return the value of a key, or None for one that makes no sense, which is a finding of its own."""
    try:
        return invocation.config.value(key)
    except ConfigError:
        return None


def _in_words(invocation: Invocation, key: str) -> str:
    """Return the value of a key as people read it, and what stands for one that is not set."""
    value, site = _value(invocation, key), invocation.site
    if value is None:
        if key == "python":
            return interpreter(site.docroot)
        unset = {"timezone": invocation.zone().key, "state": site.state.path, "host": site.host}
        return unset.get(key, "none")
    if isinstance(value, bool):
        return "true" if value else "false"
    read, _ = ALL_KEYS[key]
    if read in (seconds, seconds_or_none):
        return in_words(value)
    if read in (size, size_or_none):
        return in_bytes(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


# -- Told ----------------------------------------------------------------------------------------


def _print(invocation: Invocation, findings: list[Finding]) -> None:
    paper = invocation.paper
    for each in findings:
        print("\n".join(each.lines(paper)))
    print(f"\n{paper.paint('In force', 'bold')}")
    values = {key: visible_line(_in_words(invocation, key)) for key in ALL_KEYS}
    width = max(map(cells, values.values()))
    for key, value in values.items():
        room = " " * (width - cells(value))
        print(f"  {key:<13}  {value}{room}  {paper.paint(invocation.config.origin(key), 'dim')}")
    owner = site_owner(invocation)
    print(f"\n{paper.paint('The line for cron', 'bold')}, in the crontab of {owner} ({edit_crontab(owner)}):")
    print(f"  {cron_line(invocation)}")
    print(f"\n{paper.paint('If a front server serves files of the docroot itself', 'bold')}, deny it these:")
    for line in deny_lines(invocation):
        print(f"  {line}")
    problems = sum(each.status == "problem" for each in findings)
    print(f"\n{'No problem' if not problems else '1 problem' if problems == 1 else f'{problems} problems'} found.")


def _as_json(invocation: Invocation, findings: list[Finding], has_problem: bool) -> dict[str, Any]:
    config = invocation.config
    return {
        "ok": not has_problem,
        "findings": [each.as_json() for each in findings],
        "config": {key: {"value": _value(invocation, key), "origin": config.origin(key)} for key in ALL_KEYS},
        "cron_line": cron_line(invocation),
        "user": site_owner(invocation),
    }
