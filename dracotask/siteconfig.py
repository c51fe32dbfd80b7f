"""The configuration in force: defaults < dracotask.toml < DRACOTASK_* < flags.

Reading TOML costs more than a bare interpreter's start. So whoever first meets a changed
dracotask.toml checks it and writes what is in force, as plain text, into the state folder,
and every run reads that (:mod:`.configfile` is imported only for a changed file). A broken
file leaves the last good configuration in force.
"""

from __future__ import annotations

import os

from .clock import parse_duration
from .errors import ConfigError
from .state import CONFIG_FILE, FOLDER, State, stamp, write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Number = TypeVar("Number", int, float)

_FORMAT = "dracotask 1"


# -- What a value may be -----------------------------------------------------------------------


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
}

ALL_KEYS = {**KEYS, **POLICY_KEYS}


class Config:
    """The configuration in force for one site.

    ``config.max_running`` and the like are the values; :meth:`origin` says where one came from.

    :ivar values: what dracotask.toml says, by key; ``task.NAME.key`` and ``env.NAME`` for its tables.
    :ivar tables: its tables ``[config]`` and ``[database]``, as JSON.
    :ivar problem: why the file as it is now is not in force, or None.
    :ivar is_fresh: the file has changed, and what is in force is not yet written down.
    """

    __slots__ = ("is_fresh", "problem", "stamp", "tables", "values")

    def __init__(
        self, values: dict[str, str] | None = None, tables: dict[str, str] | None = None, stamp: str = "-"
    ) -> None:
        self.values = values or {}
        self.tables = tables or {}
        self.stamp = stamp
        self.problem: str | None = None
        self.is_fresh = False

    def __getattr__(self, key: str) -> Any:
        if key not in ALL_KEYS:
            raise AttributeError(key)
        return self.value(key)

    def value(self, key: str) -> Any:
        """Return the value of a key, read.

        :raises ConfigError: its DRACOTASK_ variable makes no sense.
        """
        read, default = ALL_KEYS[key]
        said = self._said(key)
        if said is None:
            return None if default is None else read(default)
        try:
            return read(said)
        except ValueError as error:
            raise ConfigError(f"{self.origin(key)}: {key} = {said!r} cannot be: {str(error).rstrip('.')}.") from None

    def origin(self, key: str) -> str:
        """Return where a value comes from: a variable's name, "dracotask.toml" or "default"."""
        if variable(key) in os.environ:
            return variable(key)
        return CONFIG_FILE if key in self.values else "default"

    def _said(self, key: str) -> str | None:
        return os.environ.get(variable(key), self.values.get(key))

    def policy(self, task: str) -> dict[str, Any]:
        """Return what is said of the policy of ``task``, by key: its own table before the site's keys."""
        said = {key: self.value(key) for key in POLICY_KEYS if self._said(key) is not None}
        for key, (read, _) in POLICY_KEYS.items():
            if (own := self.values.get(f"task.{task}.{key}")) is not None:
                said[key] = read(own)
        return said

    def environment(self) -> dict[str, str]:
        """Return the table [env]: what a run's environment has besides the server's."""
        return {key[4:]: value for key, value in self.values.items() if key.startswith("env.")}

    # -- Written down ----------------------------------------------------------------------

    def to_text(self) -> str:
        lines = [f"{_FORMAT}\t{self.stamp}", f"problem\t{_escaped(self.problem)}" if self.problem else "problem\t"]
        lines += [f"key\t{_escaped(key)}\t{_escaped(value)}" for key, value in self.values.items()]
        lines += [f"table\t{_escaped(name)}\t{_escaped(value)}" for name, value in self.tables.items()]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_text(cls, written: str) -> Config | None:
        """Read :meth:`to_text` back; None when it is another version's, or no longer whole."""
        lines = [line.split("\t") for line in written.splitlines()]
        if [len(line) for line in lines[:2]] != [2, 2] or lines[0][0] != _FORMAT or not written.endswith("\n"):
            return None
        config = cls(stamp=lines[0][1])
        config.problem = _unescaped(lines[1][1]) or None
        for kind, name, value in (line for line in lines[2:] if len(line) == 3):
            target = config.values if kind == "key" else config.tables
            target[_unescaped(name)] = _unescaped(value)
        return config

    def save(self, state: State) -> None:
        """Write down what is in force, for every later process."""
        write_whole(state.config_in_force, self.to_text().encode("ascii"))
        self.is_fresh = False


def variable(key: str) -> str:
    """Return the name of the environment variable that overrides ``key``."""
    return "DRACOTASK_" + key.upper()


def read_config(state: State) -> Config:
    """Return the configuration in force of the site.

    A file that cannot be read leaves the last good one in force, with ``problem`` set.
    """
    seen = stamp(state.config_file)
    known = _written_down(state)
    if known is not None and known.stamp == seen:
        return known
    if seen == "-":
        config = Config()
        config.is_fresh = known is not None
        return config
    return _read_anew(state.config_file, seen, known)


def _read_anew(path: str, seen: str, last_good: Config | None) -> Config:
    from .configfile import read_file

    try:
        contents = read_file(path, KEYS, POLICY_KEYS)
        config = Config(contents.values, contents.tables)
    except ConfigError as error:
        config = last_good or Config()
        config.problem = str(error)
    config.stamp = seen
    config.is_fresh = True
    return config


def find_state(docroot: str) -> State:
    """Return where the state of a site lies: DRACOTASK_STATE, the key ``state``, or DOCROOT/.dracotask."""
    moved = os.environ.get(variable("state"))
    if moved is None:
        moved = _moved_state(os.path.join(docroot, CONFIG_FILE))
    return State(docroot, os.path.join(docroot, os.path.expanduser(moved or FOLDER)))


def _moved_state(path: str) -> str | None:
    """Look for the key ``state`` with no TOML reader: nearly no site has it, and those that do, pay."""
    if not os.path.isfile(path):  # a FIFO would be waited for
        return None
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return None
    if not any(line.lstrip().startswith((b"state", b'"state"', b"'state'")) for line in lines):
        return None
    from .configfile import read_state_key

    return read_state_key(path)


def _written_down(state: State) -> Config | None:
    try:
        with open(state.config_in_force, encoding="ascii") as file:
            return Config.from_text(file.read())
    except (OSError, ValueError):
        return None


def _escaped(value: str | None) -> str:
    return (value or "").encode("unicode_escape").decode("ascii")


def _unescaped(value: str) -> str:
    return value.encode("ascii").decode("unicode_escape")
