"""What a framework's settings may say, read into the arguments of ``TaskMiddleware``."""

from __future__ import annotations

from pkgutil import resolve_name

from ..errors import ConfigError, suggestion
from ..keys import switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def read_options(said: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return the arguments of ``TaskMiddleware`` besides the application; one that is not said is not there.

    :param said: ``docroot``, ``console``, ``authorize`` and ``idle_tick``; as text, too, as an ini file has them.
    :param place: where it is said, for the message: ``settings.DRACOTASK``.
    :raises ConfigError: a key is unknown, or a value makes no sense.
    """
    options = {}
    for key, value in said.items():
        if key not in _READERS:
            raise ConfigError(f"{place}: unknown key {key!r:.80}.{suggestion(key, list(_READERS))}")
        try:
            options[key] = _READERS[key](value)
        except (ValueError, TypeError, ImportError, AttributeError) as error:
            raise ConfigError(f"{place}: {key} = {value!r:.80} cannot be: {str(error).rstrip('.')}.") from error
    return options


def _path(value: Any) -> Any:
    if not value:
        raise ValueError("it is the folder with __tasks__.py")
    return value


def _mount(value: Any) -> Any:
    return value or None  # in an ini file, nothing is an empty text


def _callable(value: Any) -> Any:
    """Return what is called; a text is its name, ``shop.tasks.may_see`` or ``shop.tasks:may_see``."""
    found = resolve_name(value) if isinstance(value, str) and value else value or None
    if found is not None and not callable(found):
        raise TypeError("it must be a function of environ")
    return found


_READERS: dict[str, Callable[[Any], Any]] = {
    "docroot": _path, "console": _mount, "authorize": _callable, "idle_tick": switch,
}  # fmt: skip
