"""What may stand in dracotask.toml: each key, how its value is read, and its default.

No plain run comes here: what is in force is written down by whoever first meets a changed file
(:mod:`.siteconfig`).
"""

from __future__ import annotations

from .clock import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeVar

    Number = TypeVar("Number", int, float)

#: So many exceptions can be named, each with so many letters.
MOST_EXCEPTIONS, LONGEST_NAME = 50, 200

#: So begins what stands in a variable of the environment, and what may stand for a task in the address of a service.
IN_VARIABLE, IN_ADDRESS = "env:", ("task", "schedule", "slug")

#: A token has so many letters at least: nothing else keeps people from trying them one by one.
SHORTEST_TOKEN = 16


def seconds(value: Any) -> float:
    """Read a duration: "90s", "2h", or a number of seconds."""
    number = parse_duration(value).total_seconds()
    if number <= 0:
        raise ValueError("it must be longer than nothing")
    return number


def days(value: Any) -> float:
    """Read a number of days, or a duration with its unit."""
    if isinstance(value, str) and not _is_number(value):
        return seconds(value) / 86400
    return positive(float, value)


def seconds_or_none(value: Any) -> float | None:
    """Read a duration, or "none" for no limit."""
    return None if _is_none(value) else seconds(value)


def size(value: Any) -> int:
    """Read a number of bytes: 65536, "64 KiB", "1 MiB", "2 GB"."""
    if isinstance(value, str):
        number = value.rstrip("iBbKMGkmg ").strip()
        unit = value[len(number) :].strip().lower().removesuffix("b")
        scale = {"": 1, "k": 1000, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
        if unit not in scale or not _is_number(number):
            raise ValueError('a size is written "64 KiB", "1 MiB" or as a number of bytes')
        return positive(int, float(number) * scale[unit])
    return positive(int, value)


def size_or_none(value: Any) -> int | None:
    """Read a size, or "none" for no limit."""
    return None if _is_none(value) else size(value)


def count(value: Any) -> int:
    """Read a whole number of at least one."""
    if isinstance(value, float) or (isinstance(value, str) and not value.strip().lstrip("-+").isdecimal()):
        raise ValueError("it must be a whole number")
    return positive(int, int(value) if isinstance(value, str) else value)


def bond(value: Any) -> str | None:
    """Read the name that tasks share which must not run beside each other, or "none"."""
    if _is_none(value):
        return None
    if not isinstance(value, str) or not value.replace("-", "").replace("_", "").isalnum() or len(value) > 64:
        raise ValueError("it must be a name of letters, digits, - and _")
    return value


def niceness(value: Any) -> int:
    """Read a niceness, 0 to 19."""
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 19:
        raise ValueError("a niceness is a whole number from 0 to 19")
    return number


def wait(value: Any) -> float:
    """Read a duration that may be none: "0s"."""
    return parse_duration(value).total_seconds()


def whole(least: int, most: int) -> Callable[[Any], int]:
    """Return what reads a whole number from ``least`` to ``most``."""

    def read(value: Any) -> int:
        number = int(value) if isinstance(value, str) and _is_whole(value) else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ValueError(f"it must be a whole number from {least} to {most}")
        return number

    return read


def number(least: float, most: float) -> Callable[[Any], float]:
    """Return what reads a number from ``least`` to ``most``."""

    def read(value: Any) -> float:
        number = float(value) if isinstance(value, str) and _is_number(value) else value
        if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
            raise ValueError(f"it must be a number from {least:g} to {most:g}")
        return float(number)

    return read


def word(*words: str) -> Callable[[Any], str]:
    """Return what reads one of ``words``."""

    def read(value: Any) -> str:
        if value not in words:
            meant = _likely(value, words)
            raise ValueError(f"it must be {', '.join(words[:-1])} or {words[-1]}{f' ({meant}?)' if meant else ''}")
        return str(value)

    return read


def count_or_none(value: Any) -> int | None:
    """Read a whole number of at least one, or "none" for never."""
    return None if _is_none(value) else count(value)


def exceptions(value: Any) -> str | None:
    """Read the names of exceptions: a text with commas, or a list of names and classes; "none" for any."""
    if _is_none(value):
        return None
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, type):
        parts = [parts]
    if not isinstance(parts, list | tuple) or not 0 < len(parts) <= MOST_EXCEPTIONS:
        raise ValueError('it must be names of exceptions: "ConnectionError, TimeoutError"')
    return ",".join(dict.fromkeys(map(_exception, parts)))


def _exception(part: Any) -> str:
    from keyword import iskeyword

    if isinstance(part, type) and issubclass(part, BaseException):
        place = "" if part.__module__ == "builtins" else f"{part.__module__}."
        part = place + part.__qualname__ if part.__qualname__.isidentifier() else part.__name__
    name = part.strip() if isinstance(part, str) else ""
    # (A keyword, such as None, names nothing.)
    steps = name.split(".")
    if not all(step.isidentifier() and not iskeyword(step) for step in steps) or len(name) > LONGEST_NAME:
        raise ValueError(f"{part!r:.80} is no name of an exception")
    return name


def switch(value: Any) -> bool:
    """Read true or false; from the environment also 1, 0, yes, no, on and off."""
    if isinstance(value, bool):
        return value
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if str(value).lower() not in known:
        raise ValueError("it must be true or false")
    return known[str(value).lower()]


def text(value: Any) -> str:
    """Read a text that is not empty and stands on one line."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("it must be a text on one line")
    return value


def address(value: Any) -> str:
    """Read the address of a page, http:// or https://."""
    said = text(value)
    if not _is_web_address(said, but=" ?#\\"):
        raise ValueError('it must be an address like "https://www.example.org/tasks"')
    return said


def service(value: Any) -> str | None:
    """Read the address of a service that is to be called, "env:NAME" for the variable that holds it, or "none"."""
    if _is_none(value):
        return None
    said = text(value)
    if said.startswith(IN_VARIABLE):
        return _in_variable(said)
    # (Not shown again: whoever knows such an address may use it.)
    if not said.isascii() or not _is_web_address(said, but=" #\\"):
        raise ValueError('it must be an address like "https://hc-ping.com/…", or "env:NAME"')
    return said


def service_of_each(value: Any) -> str | None:
    """Read the same for all tasks: in an address {task}, {schedule} or {slug} tells them apart."""
    said = service(value)
    if said and not said.startswith(IN_VARIABLE) and not any(f"{{{name}}}" in said for name in IN_ADDRESS):
        raise ValueError("for all tasks it needs {task} or {slug} in it; for one, write it in its table [task.NAME]")
    return said


def program(value: Any) -> str | None:
    """Read a command as a shell would cut it in words, which no shell is given; or "env:NAME", or "none"."""
    if _is_none(value):
        return None
    import shlex

    said = text(value)
    if said.startswith(IN_VARIABLE):
        return _in_variable(said)
    if not shlex.split(said):
        raise ValueError("it must name a program")
    return said


def token(value: Any) -> str | None:
    """Read a word that whoever sends it is known by, "env:NAME" for the variable that holds it, or "none"."""
    if _is_none(value):
        return None
    said = text(value)
    if said.startswith(IN_VARIABLE):
        return _in_variable(said)
    if len(said) < SHORTEST_TOKEN or " " in said:
        raise ValueError(f"it must be {SHORTEST_TOKEN} letters or more, without a blank: nobody shall guess it")
    return said


def _is_web_address(said: str, *, but: str) -> bool:
    """Tell whether this is an address of the web that names nobody, and has none of the letters in ``but``."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(said)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_one and "@" not in parts.netloc and not set(said) & set(but)


def _in_variable(said: str) -> str:
    name = said.removeprefix(IN_VARIABLE)
    if not (name.isidentifier() and name.isascii()):
        raise ValueError("after env: stands the name of an environment variable")
    return said


def redacted(said: str) -> str:
    """Return as much of an address or a command as anybody may see: its host, or its program."""
    if said.startswith(IN_VARIABLE):
        return said
    scheme, slashes, rest = said.partition("://")
    if slashes and scheme.lower() in ("http", "https"):
        return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}/…"
    import shlex

    first, *others = shlex.split(said)
    return f"{first} …" if others else first


def positive(kind: type[Number], value: Any) -> Number:
    """Read a number greater than zero; booleans are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or not _is_number(str(value)):
        raise ValueError("it must be a number")
    number = kind(value)
    if not 0 < number < 1e15:
        raise ValueError("it must be greater than zero")
    return number


def _is_number(value: str) -> bool:
    return value.replace(".", "", 1).isascii() and value.replace(".", "", 1).isdigit()


def _is_whole(value: str) -> bool:
    return value.isascii() and value.strip().removeprefix("-").isdigit() and len(value) < 20


def _likely(name: Any, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the one of ``known`` that a name is a slip of the pen for, or None."""
    from difflib import get_close_matches

    close = get_close_matches(str(name)[:100].lower(), list(known), n=1, cutoff=cutoff)
    return close[0] if close else None


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lower() == "none")


#: The site's own keys: how each is read, and its default in the words of dracotask.toml.
KEYS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "timezone": (text, None),  # None: the server's
    "state": (text, None),  # None: DOCROOT/.dracotask
    "host": (text, None),  # None: the host's own name
    "python": (text, None),  # None: the interpreter of the web server
    "enabled": (switch, True),
    "max_running": (count, 4),
    "late_after": (seconds, "5m"),
    "load_limit": (seconds, "30s"),
    "listener_limit": (seconds, "30s"),
    "console_url": (address, None),  # None: nobody has said
    "metrics_token": (token, "none"),
}

#: What stands for all tasks in dracotask.toml, in a table [task.NAME] for one, or on its class.
POLICY_KEYS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "time_limit": (seconds_or_none, "24h"),
    "stop_grace": (seconds, "10s"),
    "max_output": (size, "1 MiB"),
    "memory_limit": (size_or_none, "none"),
    "nice": (niceness, 10),
    "exclusive": (bond, "none"),
    "max_instances": (count, 1),
    "keep_runs": (count, 100),
    "keep_days": (days, 90),
    "coalesce": (word("latest", "earliest", "all"), "latest"),
    "catch_up": (whole(1, 1000), 10),
    "grace": (seconds_or_none, "none"),
    "overlap": (word("skip", "queue", "allow"), "skip"),
    "priority": (whole(-100, 100), 0),
    "retries": (whole(0, 1000), 0),
    "retry_delay": (wait, "60s"),
    "retry_backoff": (number(1, 10), 2),
    "retry_max_delay": (wait, "1h"),
    "retry_jitter": (number(0, 1), 0),
    "retry_on": (exceptions, "none"),
    "on_lost": (word("record", "retry"), "record"),
    "pause_after": (count_or_none, "none"),
}

#: Who is told of runs, for all tasks or in a table [task.NAME] for one: secrets, so they stand on no class.
ALERT_KEYS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "ping": (service_of_each, "none"),
    "alert_url": (service, "none"),
    "alert_command": (program, "none"),
}

#: The same in the table of one task.
ALERT_KEYS_OF_ONE = {**ALERT_KEYS, "ping": (service, "none")}

ALL_KEYS = {**KEYS, **POLICY_KEYS, **ALERT_KEYS}

#: Whoever knows their values may do something with them, so they are not shown.
SECRET_KEYS = ("metrics_token", *ALERT_KEYS)


def shown(key: str, value: Any) -> Any:
    """Return the value of a key as anybody may see it: of a secret no more than that there is one."""
    if value is None or key not in SECRET_KEYS:
        return value
    if key in ALERT_KEYS:
        return redacted(value)
    return value if value.startswith(IN_VARIABLE) else "set"


def read_policy(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of a policy, read, by its keys.

    :raises ValueError: for an unknown key or a wrong value, with what would be right.
    """
    own: dict[str, Any] = {}
    for key, value in said.items():
        if key not in POLICY_KEYS:
            meant = _likely(key, POLICY_KEYS)
            raise ValueError(f"{key!r:.80} is no policy.{f' Did you mean {meant}?' if meant else ''}")
        try:
            own[key] = POLICY_KEYS[key][0](value)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{key} = {value!r:.80} cannot be: {str(error).rstrip('.')}.") from None
    return own


def likely_policy(name: str) -> str | None:
    """Return the key of a policy that a name of the site owner's can only be a slip of the pen for, or None."""
    meant = _likely(name, POLICY_KEYS, cutoff=0.85)
    # ``retires`` can only be ``retries``; ``retried`` and ``retry_at``, which are as near, are the owner's own. (And at
    # 0.8 ``trace`` and ``grade`` would be taken for ``grace``.)
    is_sure = meant is not None and (sorted(name) == sorted(meant) or _likely(name, [meant], cutoff=0.88) is not None)
    return meant if is_sure else None
