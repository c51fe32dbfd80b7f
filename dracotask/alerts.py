"""Pings and alerts: what is to be sent, and where to, when something has happened to a Run.

A ping tells a dead-man switch such as healthchecks.io that an attempt has begun and how it has ended: it sounds the
alarm when nothing comes. An alert tells people, by a webhook or a command, that a Schedule that was well has failed,
and when it is well again. Both are a matter of dracotask.toml and not of the task file, so a broken one keeps neither
from going out. All here is pure; :mod:`.run.alerting` sends.
"""

from __future__ import annotations

from .events import ALERTS, TURN
from .keys import ALERT_KEYS_OF_ONE, IN_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import timedelta
    from typing import Any

    from .events import RunEvent
    from .siteconfig import Config

#: What a ping says of what has happened: the end of its address. Neither well nor failed is what somebody has stopped,
#: and an attempt that another will follow.
ENDINGS = {
    "RunStarted": "/start", "RunSucceeded": "", "RunFailed": "/fail", "RunTimedOut": "/fail", "RunLost": "/fail",
    "RunRetried": "/log", "RunStopped": "/log",
}  # fmt: skip

#: A ping has no more to say than this (bytes): so much healthchecks keeps where people run it themselves.
LONGEST_BODY = 10_000

#: The facts of an alert, as the JSON of a webhook has them; a command has them as ``DRACOTASK_ALERT_…``.
FACTS = (
    "event", "docroot", "host", "task", "schedule", "run_id", "state", "error", "summary", "failures", "origin",
    "requested_by", "attempt", "started_at", "finished_at", "link", "text",
)  # fmt: skip


class Orders:
    """What is to be sent for one Task: ``ping``, ``alert_url`` and ``alert_command``, as they are written, or None."""

    __slots__ = ("alert_command", "alert_url", "ping")

    def __init__(self, config: Config, task: str) -> None:
        for key, (read, _) in ALERT_KEYS_OF_ONE.items():
            own = config.values.get(f"task.{task}.{key}")
            setattr(self, key, config.value(key) if own is None else read(own))

    ping: str | None
    alert_url: str | None
    alert_command: str | None


class Call:
    """A request that is to be made.

    :ivar what: in words, for the log.
    :ivar url: where to; a secret.
    :ivar body: what is posted, in UTF-8 or as JSON.
    """

    __slots__ = ("body", "is_json", "url", "what")

    def __init__(self, what: str, url: str, body: bytes, *, is_json: bool = False) -> None:
        self.what, self.url, self.body, self.is_json = what, url, body, is_json


class Command:
    """A program that is to be run.

    :ivar words: it and its arguments.
    :ivar variables: what its environment has besides.
    :ivar text: what it finds on its stdin.
    """

    __slots__ = ("text", "variables", "what", "words")

    def __init__(self, what: str, words: list[str], variables: dict[str, str], text: str) -> None:
        self.what, self.words, self.variables, self.text = what, words, variables, text


class Place:
    """Where all this happens, as an alert tells it.

    :ivar console: the address of the console, or None.
    """

    __slots__ = ("console", "docroot", "host")

    def __init__(self, docroot: str, host: str, console: str | None) -> None:
        self.docroot, self.host, self.console = docroot, host, console


# -- Who wants to hear what --------------------------------------------------------------------


def wanted(config: Config) -> str:
    """Return of what the configuration wants pings and alerts, a line each; "" when of nothing."""
    lines: set[str] = set()
    for task, key, _ in orders_of(config):
        # (A task that wants none, where all others do, is left out when it is sent.)
        kinds = ENDINGS if key == "ping" else (TURN,)
        lines.update(f"{ALERTS}{kind}{f'/{task}' if task else ''}" for kind in kinds)
    return "\n".join(sorted(lines))


def orders_of(config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield what is said of pings and alerts: the task ("" for all of them), the key and the value.

    :raises ConfigError: a DRACOTASK_ variable makes no sense.
    """
    for key in ALERT_KEYS_OF_ONE:
        if (said := config.value(key)) is not None:
            yield "", key, said
    for name, written in config.values.items():
        table, _, rest = name.partition(".")
        task, _, key = rest.rpartition(".")
        if table == "task" and key in ALERT_KEYS_OF_ONE and task.isprintable():
            read, _ = ALERT_KEYS_OF_ONE[key]
            if (said := read(written)) is not None:
                yield task, key, said


def in_plain(said: str, environment: Mapping[str, str], read: Callable[[Any], Any]) -> str:
    """Return an address or a command as it is, also where a variable holds it.

    :raises ValueError: there is no such variable, or what it holds is none.
    """
    if not said.startswith(IN_VARIABLE):
        return said
    name = said.removeprefix(IN_VARIABLE)
    if not environment.get(name):
        raise ValueError(f"there is no variable {name}")
    try:
        found = read(environment[name])
    except ValueError as error:
        raise ValueError(f"what {name} holds cannot be: {error}") from None
    if found is None or found.startswith(IN_VARIABLE):
        raise ValueError(f"{name} holds no more than another name")
    return str(found)


# -- Pings -------------------------------------------------------------------------------------


def is_pinged(event: RunEvent) -> bool:
    """Tell whether an event is one of an attempt that has begun: what never began pings nothing."""
    return event.kind in ENDINGS and event.started_at is not None


def is_stale(event: RunEvent, age: timedelta) -> bool:
    """Tell whether a ping comes too late to say anything: it would be taken for news."""
    return age.total_seconds() > 3600


def ping(event: RunEvent, address: str, output: Callable[[int], bytes]) -> Call:
    """Return the ping of what has happened.

    :param address: that of the check, with its secret.
    :param output: returns the last so many bytes that the attempt has printed.
    """
    ending = ENDINGS[event.kind]
    body = b"" if event.kind == "RunStarted" else _with_output(_verdict(event), output)
    words = f"The ping ({ending.strip('/') or 'success'}) of {event.schedule}, run {event.run_id},"
    return Call(words, _ping_url(_filled(address, event), ending, _rid(event)), body)


def _ping_url(address: str, ending: str, rid: str) -> str:
    from urllib.parse import urlsplit, urlunsplit

    scheme, host, path, query, _ = urlsplit(address)
    return urlunsplit((scheme, host, path.rstrip("/") + ending, "&".join(filter(None, (query, f"rid={rid}"))), ""))


def _rid(event: RunEvent) -> str:
    """Return the UUID of an attempt: the same for its start and its end, whoever works it out."""
    from uuid import NAMESPACE_URL, uuid5

    return str(uuid5(NAMESPACE_URL, f"dracotask:{event.run_id}/{event.attempt}"))


def _filled(address: str, event: RunEvent) -> str:
    """Return an address with the names of what it is about in their places."""
    from urllib.parse import quote

    letters = "abcdefghijklmnopqrstuvwxyz0123456789_-"
    slug = "".join(letter if letter in letters else "-" for letter in event.schedule.lower())
    for name, value in (("task", event.task), ("schedule", event.schedule), ("slug", slug)):
        address = address.replace(f"{{{name}}}", quote(value, safe=""))
    return address


def _with_output(verdict: str, output: Callable[[int], bytes]) -> bytes:
    """Return the end of an output, and below it how the attempt ended, in valid UTF-8 of :data:`LONGEST_BODY`."""
    last = f"{verdict}\n".encode()
    text = output(LONGEST_BODY).decode("utf-8", "replace").rstrip("\n")
    room = LONGEST_BODY - len(last) - 1
    tail = text.encode()[-room:].decode("utf-8", "ignore").encode()
    return tail + b"\n" + last if tail else last


def _verdict(event: RunEvent) -> str:
    words = event.error if event.kind != "RunSucceeded" else event.summary
    state = {"RunSucceeded": "ok", "RunRetried": f"{event.state}, and will be tried again"}.get(event.kind, event.state)
    return f"{state.replace('_', ' ')}: {words}" if words else state.replace("_", " ")


# -- Alerts ------------------------------------------------------------------------------------


def facts_of(event: RunEvent, place: Place) -> dict[str, Any]:
    """Return what an alert tells, by the names of :data:`FACTS`."""
    from .clock import rfc3339

    link = f"{place.console.rstrip('/')}/runs/{event.run_id}" if place.console else None
    facts: dict[str, Any] = {name: getattr(event, name, None) for name in FACTS}
    for name in ("started_at", "finished_at"):
        facts[name] = rfc3339(facts[name]) if facts[name] else None
    facts.update(event="recovered" if event.kind == "RunSucceeded" else "failed", docroot=place.docroot)
    facts.update(host=place.host, link=link, text=_in_words(event, place, link))
    return facts


def _in_words(event: Any, place: Place, link: str | None) -> str:
    """Return an alert as a sentence, for people and for whatever takes ``text`` as Slack does."""
    from .visible import visible_line

    name = visible_line(f"{event.schedule} on {place.host} ({place.docroot})")
    if event.kind == "RunSucceeded":
        times = "once" if event.failures == 1 else f"{event.failures} times in a row"
        words = f"{name} is well again, after it had failed {times}" + (f": {event.summary}" if event.summary else "")
    else:
        words = f"{name} {_verdict(event)}"
    return visible_line(words) + (f" {link}" if link else f" (run {event.run_id})")


def webhook(event: RunEvent, address: str, place: Place) -> Call:
    """Return the call that posts an alert as JSON."""
    import json

    body = json.dumps(facts_of(event, place)).encode("ascii")
    return Call(f"The alert of {event.schedule}, run {event.run_id},", _filled(address, event), body, is_json=True)


def command(event: RunEvent, said: str, place: Place) -> Command:
    """Return the command that is told of an alert."""
    import shlex

    facts = {name: str(value) for name, value in facts_of(event, place).items() if value is not None}
    # (Not DRACOTASK_STATE and the like: those are keys, and the command may call dracotask.py itself.)
    variables = {f"DRACOTASK_ALERT_{name.upper()}": value.replace("\0", "\\0") for name, value in facts.items()}
    what = f"The alert command for {event.schedule}, run {event.run_id},"
    return Command(what, shlex.split(said), variables, facts["text"] + "\n")
