"""The configuration in force: defaults < dracotask.toml < DRACOTASK_* < flags.

Reading TOML costs more than a bare interpreter's start. So whoever first meets a changed
dracotask.toml checks it and writes what is in force, as plain text, into the state folder,
and every run reads that (:mod:`.configfile` is imported only for a changed file). A broken
file leaves the last good configuration in force.
"""

from __future__ import annotations

import os

from .errors import ConfigError
from .state import CONFIG_FILE, FOLDER, State, stamp, write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FORMAT = "dracotask 1"

#: The variable in which a server's process tells a tick who has brought it about. (It is no key, and no run has it.)
BY_VARIABLE = "DRACOTASK_BY"

#: Keys without a default. A run asks for no others, and is spared all that is known of them (:mod:`.keys`).
NO_DEFAULT = ("timezone", "state", "host", "python", "console_url")


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
        try:
            return self.value(key)
        except KeyError:
            raise AttributeError(key) from None

    def value(self, key: str) -> Any:
        """Return the value of a key, read.

        :raises ConfigError: its DRACOTASK_ variable makes no sense.
        :raises KeyError: there is no such key.
        """
        said = self._said(key)
        if said is None and key in NO_DEFAULT:
            return None
        from .keys import ALL_KEYS

        read, default = ALL_KEYS[key]
        if said is None:
            return read(default)
        try:
            return read(said)
        except ValueError as error:
            from .keys import SECRET_KEYS

            shown = "…" if key in SECRET_KEYS else repr(said)
            raise ConfigError(f"{self.origin(key)}: {key} = {shown} cannot be: {str(error).rstrip('.')}.") from None

    def origin(self, key: str) -> str:
        """Return where a value comes from: a variable's name, "dracotask.toml" or "default"."""
        if variable(key) in os.environ:
            return variable(key)
        return CONFIG_FILE if key in self.values else "default"

    def _said(self, key: str) -> str | None:
        return os.environ.get(variable(key), self.values.get(key))

    def policy(self, task: str) -> dict[str, Any]:
        """Return what is said of the policy of ``task``, by key: its own table before the site's keys."""
        from .keys import POLICY_KEYS

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
    from .keys import ALERT_KEYS, ALERT_KEYS_OF_ONE, KEYS, POLICY_KEYS

    try:
        contents = read_file(path, {**KEYS, **ALERT_KEYS}, {**POLICY_KEYS, **ALERT_KEYS_OF_ONE})
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
