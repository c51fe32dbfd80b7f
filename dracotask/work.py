"""What a task finds around it: logger, config and database, Draco's three objects.

They are usable at the top of ``__tasks__.py`` already, and open nothing before they are
touched. Outside a run (a unit test, a shell in the docroot) they work all the same.
"""

from __future__ import annotations

import os
import sys

from .errors import ConfigError, DracotaskError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping
    from typing import Any

    from .siteconfig import Config


def docroot() -> str:
    """Return the docroot at hand: the folder of the loaded task file, or the working directory in a test."""
    path = getattr(sys.modules.get("__tasks__"), "__file__", None)
    return os.path.dirname(path) if path else os.getcwd()


def site_config() -> Config:
    """Return the configuration in force of the docroot at hand."""
    from .siteconfig import find_state, read_config

    return read_config(find_state(docroot()))


def default_database() -> str:
    """Return the default database file: beside the store, and never the store itself."""
    from .siteconfig import find_state

    state = find_state(docroot())
    state.create()  # in a unit test nobody has made the folder yet
    return os.path.join(state.path, "data.db")


class Logger:
    """Logs to the output of the run, through the standard library's logger ``dracotask.task``.

    A message of several lines loses the indentation they share *before* its arguments are put in
    (Draco's manual, 5.2.1), so an argument of several lines is safe. Arguments may come one by one
    or, as Draco had it, as one tuple.
    """

    def __init__(self) -> None:
        self._logger: logging.Logger | None = None

    def debug(self, message: object, *args: Any) -> None:
        self._log("DEBUG", message, args)

    def info(self, message: object, *args: Any) -> None:
        self._log("INFO", message, args)

    def warning(self, message: object, *args: Any) -> None:
        self._log("WARNING", message, args)

    warn = warning

    def error(self, message: object, *args: Any) -> None:
        self._log("ERROR", message, args)

    def exception(self, message: object, *args: Any) -> None:
        """Log an error with the traceback of the exception being handled."""
        self._log("ERROR", message, args, exc_info=True)

    def _log(self, level: str, message: object, args: tuple[Any, ...], exc_info: bool = False) -> None:
        import logging
        from inspect import cleandoc

        if len(args) == 1 and isinstance(args[0], tuple):
            args = args[0]
        # (An exception or any other object is a message too.)
        if isinstance(message, str) and "\n" in message:
            message = cleandoc(message)
        logger = self._logger or self._set_up()
        # The line that a format names is the task's, not ours.
        logger.log(getattr(logging, level), message, *args, exc_info=exc_info, stacklevel=3)

    def _set_up(self) -> logging.Logger:
        """Take the logger, and give it a way to the output where the site's own code gave it none."""
        import logging

        self._logger = logger = logging.getLogger("dracotask.task")
        if not logger.hasHandlers():
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            logger.addHandler(handler)
            logger.setLevel(logging.DEBUG)
            logger.propagate = False
        return logger


class Configuration:
    """The read-only table [config] of dracotask.toml: ``config["key"]``, ``config.get("key", default)``.

    :param section: the name of the table in words, for errors.
    """

    def __init__(self, section: str = "config", values: Mapping[str, Any] | None = None) -> None:
        self._section, self._values = section, values

    def namespace(self, section: str) -> Configuration:
        """Return the table ``[config.section]``, empty when there is none."""
        values = self._table().get(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"[{self._section}] {section} is a value and no table: use config[{section!r}].")
        return Configuration(f"{self._section}.{section}", values)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``, or ``default``."""
        return self._table().get(key, default)

    def keys(self) -> list[str]:
        return list(self._table())

    def items(self) -> list[tuple[str, Any]]:
        return list(self._table().items())

    def __getitem__(self, key: str) -> Any:
        try:
            return self._table()[key]
        except KeyError:
            raise KeyError(f"{key} (in [{self._section}] of dracotask.toml)") from None

    def __contains__(self, key: str) -> bool:
        return key in self._table()

    def __iter__(self) -> Iterator[str]:
        return iter(self._table())

    def __len__(self) -> int:
        return len(self._table())

    def _table(self) -> Mapping[str, Any]:
        if self._values is None:
            import json

            self._values = dict(json.loads(site_config().tables.get("config", "{}")))
        return self._values


class Database:
    """The site's database through DB-API 2.0 (PEP 249); opened on the first touch.

    ``[database] url`` in dracotask.toml names it; by default it is the SQLite file ``data.db`` in
    the state folder. A run's changes are committed when it succeeds and rolled back when it fails.
    """

    def __init__(self) -> None:
        self._connection: Any = None
        self._pid = 0

    @property
    def dbapi(self) -> Any:
        """The DB-API module in use, for its exceptions and types."""
        import sqlite3

        return sqlite3

    def connection(self) -> Any:
        """Return the connection, opened now if need be. One belongs to one process."""
        if self._connection is None or self._pid != os.getpid():
            self._connection, self._pid = self.dbapi.connect(self._path(), timeout=30.0), os.getpid()
        return self._connection

    def cursor(self) -> Any:
        return self.connection().cursor()

    def commit(self) -> None:
        if self._is_open():
            self._connection.commit()

    def rollback(self) -> None:
        if self._is_open():
            self._connection.rollback()

    def close(self) -> None:
        """Close the connection if one is open; what was not committed is rolled back."""
        if self._is_open():
            self._connection.close()
        self._connection = None

    def _is_open(self) -> bool:
        return self._connection is not None and self._pid == os.getpid()

    def _path(self) -> str:
        url = self._url()
        if url is None:
            return default_database()
        kind, found, path = url.partition("://")
        if kind != "sqlite" or not found:
            raise DracotaskError(
                f"[database] url: {kind or url!r} is no database known here. Write sqlite:///absolute/path.db"
                " or sqlite://path-within-the-docroot.db."
            )
        return self._not_the_store(os.path.join(docroot(), path))

    def _url(self) -> str | None:
        import json

        table = json.loads(site_config().tables.get("database", "{}"))
        unknown = [key for key in table if key != "url"]
        if unknown:
            raise ConfigError(f"[database] {unknown[0]}: unknown key. There is: url.")
        url = table.get("url")
        if url is None or (isinstance(url, str) and not url.startswith("env:")):
            return url
        name = str(url).removeprefix("env:")
        if name not in os.environ:
            raise ConfigError(f"[database] url = {url!r}, but the environment has no {name}.")
        return os.environ[name]

    def _not_the_store(self, path: str) -> str:
        from .siteconfig import find_state

        if os.path.realpath(path) == os.path.realpath(find_state(docroot()).store_file):
            raise ConfigError("[database] url names dracotask's own store; a task's data belongs in a file of its own.")
        return path


logger = Logger()
config = Configuration()
database = Database()
