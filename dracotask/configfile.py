"""Reading and checking dracotask.toml, which happens once for each time it is saved."""

from __future__ import annotations

import json
import os
import tomllib

from .errors import ConfigError, suggestion
from .keys import SECRET_KEYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    #: How a key's value is read; it raises ValueError for a wrong one.
    Keys = dict[str, tuple[Callable[[Any], Any], Any]]

#: The tables a site may have; those of the site owner are kept as they are.
TABLES = ("config", "database", "env", "task")


class Contents:
    """What a dracotask.toml says: ``values`` by key, and the site owner's ``tables`` as JSON."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.values: dict[str, str] = {}
        self.tables: dict[str, str] = {}


def read_file(path: str, site_keys: Keys, task_keys: Keys) -> Contents:
    """Read and check a dracotask.toml.

    :raises ConfigError: for an unknown key or a wrong value, with the place and what would be right.
    """
    contents = Contents(path)
    for key, value in _document(path).items():
        if key in TABLES:
            _read_table(contents, key, value, task_keys)
        elif isinstance(value, dict):
            raise ConfigError(f"{path}: unknown table [{key}].{suggestion(key, list(TABLES))}")
        else:
            contents.values[key] = _checked(key, value, f"{path}: {key}", {**task_keys, **site_keys})
    return contents


def read_state_key(path: str) -> str | None:
    """Return the key ``state`` of the file, or None when it has none or cannot be read.

    A file that is broken elsewhere still says it: a site must not forget its history, and its holds,
    for a slip of the pen.
    """
    try:
        value = _document(path).get("state")
    except ConfigError:
        value = _state_line(path)
    return value if isinstance(value, str) and value else None


def _state_line(path: str) -> object:
    """Return the value of the first line before any table that is ``state = "…"`` by itself, or None."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.lstrip().startswith("["):
                break
            try:
                found = tomllib.loads(line).get("state")
            except tomllib.TOMLDecodeError:
                continue
            if found is not None:
                return found
    return None


def _read_table(contents: Contents, name: str, table: Any, task_keys: Keys) -> None:
    path = contents.path
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name} is a table: write [{name}] on a line of its own.")
    if name == "env":
        for key, value in table.items():
            if not isinstance(value, str) or "\0" in value:
                raise ConfigError(f"{path}: [env] {key}: an environment variable is a text in quotes.")
            if not key or "=" in key or "\0" in key:
                raise ConfigError(f"{path}: [env] {key!r} cannot be the name of an environment variable.")
            contents.values[f"env.{key}"] = value
    elif name == "task":
        for task, keys in table.items():
            _read_task(contents, task, keys, task_keys)
    else:
        contents.tables[name] = json.dumps(table, default=str, ensure_ascii=False)


def _read_task(contents: Contents, task: str, keys: Any, task_keys: Keys) -> None:
    if not isinstance(keys, dict):
        raise ConfigError(f"{contents.path}: [task] holds one table for each task: write [task.{task}].")
    for key, value in keys.items():
        place = f"{contents.path}: [task.{task}] {key}"
        contents.values[f"task.{task}.{key}"] = _checked(key, value, place, task_keys)


def _checked(key: str, value: Any, place: str, known: Keys) -> str:
    """Return the value as text once it has proved readable, and so has the text."""
    if key not in known:
        raise ConfigError(f"{place}: unknown key.{suggestion(key, list(known))}")
    text = "true" if value is True else "false" if value is False else str(value)
    if isinstance(value, list):
        text = ", ".join(map(str, value))
    try:
        known[key][0](value)
        known[key][0](text)
    except (ValueError, TypeError) as error:
        said = "…" if key in SECRET_KEYS else repr(value)  # which may be a secret all the same
        raise ConfigError(f"{place} = {said} cannot be: {str(error).rstrip('.')}.") from None
    return text


def _document(path: str) -> dict[str, Any]:
    if not os.path.isfile(path):
        raise ConfigError(f"{path}: it is no regular file.")
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error}.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
