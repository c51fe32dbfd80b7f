"""Arguments: what a task's ``run()`` can be handed, told without running a line of its code.

The signature is read where the task file is loaded, and stored as JSON with the Schedule: a list
of ``[name, kind, needed]``, where the kind is ``int``, ``float``, ``bool``, ``str``, ``json`` or
``any``, with a ``?`` when None will do. The last may be ``["**", "any", false]``: any further name.
"""

from __future__ import annotations

import json
import math

from .errors import ControlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .model import Schedule

#: They are read by people and kept for long: longer ones (as JSON, in letters) are refused.
LONGEST = 64 << 10

#: How words on a command line become values, by the kind of the parameter.
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")

#: The kinds, by what an annotation or a default of the signature says.
_KINDS: dict[object, str] = {int: "int", float: "float", bool: "bool", str: "str", list: "json", dict: "json"}


def parameters_of(run: Callable[..., Any]) -> str:
    """Return the parameters of a bound ``run()``, or of a function, as text.

    :raises ValueError: one of them cannot be given by name.
    """
    import inspect

    found: list[list[Any]] = []
    rest = False
    for parameter in inspect.signature(run).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            rest = True
        elif parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            called = getattr(run, "__name__", "it")
            raise ValueError(f"{called}() takes {parameter.name!r} by its place, and arguments are handed by name")
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            found.append([parameter.name, _kind(parameter), parameter.default is parameter.empty])
    return json.dumps(found + [["**", "any", False]] * rest)


def _kind(parameter: Any) -> str:
    """Return the kind of a parameter: by its annotation, or else by its default."""
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return _KINDS.get(type(parameter.default), "any")
    # As ``from __future__ import annotations`` leaves it, an annotation is text; else a type, or a union of types.
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    if text in ("Union", "Optional"):
        text = str(annotation)
    union = text.replace("Optional[", "None | ").replace("typing.", "").rstrip("]")
    names = [name.strip() for name in union.split("|")]
    kinds = {kind.__name__: name for kind, name in _KINDS.items() if isinstance(kind, type)}
    known = {kinds.get(name.partition("[")[0], "any") for name in names if name != "None"}
    may_be_none = "None" in names or parameter.default is None
    return (known.pop() if len(known) == 1 else "any") + "?" * may_be_none


def handed(schedule: Schedule, words: Mapping[str, str] | None) -> str:
    """Return what words of a command line hand to ``run()``, as the JSON that is stored.

    :param words: by the names of the parameters; None for the Schedule's own arguments.
    :raises ControlError: ``run()`` cannot be handed these.
    """
    try:
        arguments = json.loads(schedule.arguments) if words is None else typed(schedule.parameters, words)
    except ValueError as error:
        raise ControlError(f"{schedule.name}: {error}") from None
    refuse_misfit(schedule.name, schedule.parameters, arguments)
    return written(arguments)


def written(arguments: Mapping[str, Any]) -> str:
    """Return arguments as the JSON that is stored.

    :raises ControlError: JSON does not know them, or they are too long.
    """
    try:
        text = json.dumps(dict(arguments), allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"the arguments are not what JSON knows, texts, numbers, lists and the like: {error}."
        raise ControlError(problem) from None
    if len(text) > LONGEST:
        raise ControlError(f"arguments of {len(text)} bytes are too long: keep the data elsewhere, and hand its name.")
    return text


def refuse_misfit(name: str, parameters: str | None, arguments: Mapping[str, Any]) -> None:
    """Raise ControlError when ``run()`` of what is called ``name`` cannot be handed these arguments."""
    problem = misfit(parameters, arguments)
    if problem:
        raise ControlError(f"{name}: {problem}")


def misfit(parameters: str | None, arguments: Mapping[str, Any]) -> str | None:
    """Say why ``run()`` cannot be handed these arguments, or None when it can.

    :param parameters: as :func:`parameters_of` writes them; None when they are not known.
    """
    if parameters is None:
        return None
    known, takes_any = _known(parameters)
    for name, value in arguments.items():
        if name not in known and (not takes_any or name == "self"):
            return f"run() takes no {name!r}. {_listed(known)}"
        kind = known.get(name, ("any", False))[0]
        if not _fits(kind, value):
            return f"{name} = {value!r:.60} is not {_in_words(kind)}."
    missing = [name for name, (_, needed) in known.items() if needed and name not in arguments]
    return f"run() needs {', '.join(missing)}." if missing else None


def typed(parameters: str | None, words: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that words of a command line stand for, by the kinds of the parameters.

    :raises ValueError: a word cannot be such a value.
    """
    known, _ = _known(parameters or "[]")
    return {name: _value(name, known.get(name, ("any", False))[0], word) for name, word in words.items()}


def _value(name: str, kind: str, word: str) -> Any:
    if kind.endswith("?") and word.lower() in ("none", "null"):
        return None
    try:
        match kind.rstrip("?"):
            case "int":
                return int(word)
            case "float" if math.isfinite(float(word)):
                return float(word)
            case "float":
                raise ValueError(word)
            case "bool":
                return {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}[word.lower()]
            case "json":
                return json.loads(word)
    except (ValueError, KeyError):
        raise ValueError(f"{name} = {word!r:.60} is not {_in_words(kind)}.") from None
    return word


def _known(parameters: str) -> tuple[dict[str, tuple[str, bool]], bool]:
    """Return kind and need of each parameter by its name, and whether others are taken too."""
    listed = json.loads(parameters)
    return {name: (kind, needed) for name, kind, needed in listed if name != "**"}, any(
        name == "**" for name, _, _ in listed
    )


def _fits(kind: str, value: object) -> bool:
    if value is None:
        return kind.endswith("?") or kind == "any"
    match kind.rstrip("?"):
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case "str":
            return isinstance(value, str)
    return True


def _in_words(kind: str) -> str:
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text", "json": "JSON"}
    return words.get(kind.rstrip("?"), "a value")


def _listed(known: Mapping[str, object]) -> str:
    return f"It takes {', '.join(known)}." if known else "It takes none."
