"""Functions as tasks: ``@task``, and what such a function has instead of ``self``.

    @task(every="5m")
    def sweep(days: int = 7):
        current_task().progress(1, days)
"""

from __future__ import annotations

import sys

from .keys import POLICY_KEYS
from .tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, TypeVar, overload

    Function = TypeVar("Function", bound=Callable[..., Any])


class FunctionTask(Task):
    """What :func:`task` makes of a function: a Task of its name, whose ``run()`` it is.

    :cvar rules: what each ``@task`` above it says to ``schedule()``.
    """

    abstract = True
    rules: ClassVar[list[tuple[tuple[Any, ...], dict[str, Any]]]]

    def __init__(self) -> None:
        for places, said in self.rules:
            self.schedule(*places, **said)

    def run(self, **arguments: Any) -> Any:
        return self.of_function(**arguments)  # type: ignore[misc]


if TYPE_CHECKING:

    @overload
    def task(function: Function, /) -> Function: ...

    @overload
    def task(*places: Any, **said: Any) -> Callable[[Function], Function]: ...


def task(*places: Any, **said: Any) -> Any:
    """Make a task of a function: ``@task`` for one on demand, ``@task(every="5m", time_limit="10m")``.

    The function is returned as it is, to be called as ever. Its name is the task's, its parameters are those of
    ``run()``, the first line of its docstring is the description. Within a Run :func:`current_task` gives what a Task
    has in ``self``. Several ``@task`` above one function join: it is due whenever one of them says so.

    :param places: minute, hour and day of the week, as of :meth:`Task.schedule`.
    :param said: any keyword of :meth:`Task.schedule`, any policy of a Task, and ``name``, by which the task is called
        instead.
    :raises TypeError: for any other keyword, and for what is no function with a name.
    """
    if places and callable(places[0]):
        return _enrol(places[0], places[1:], said)
    return lambda function: _enrol(function, places, said)


def _enrol(function: Any, places: tuple[Any, ...], said: dict[str, Any]) -> Any:
    """Define the Task of a function, or add to it, and return the function."""
    name, policy, rule = _sorted_out(function, dict(said))
    kind: Any = Task.defined[-1][0]  # the one of another @task above the same function, perhaps
    if not (_does(kind, function) and kind.__name__ == name):
        caller = sys._getframe(1)
        while caller.f_back and caller.f_globals is globals():
            caller = caller.f_back
        module = caller.f_globals.get("__name__")
        members = {
            "of_function": staticmethod(function), "rules": [], "__doc__": function.__doc__, "__module__": module,
            "__qualname__": function.__qualname__,
        }  # fmt: skip
        kind = type.__call__(type, name, (FunctionTask,), members, line=_line_of_def(function))
    for key, value in policy.items():
        if kind.__dict__.get(key, value) != value:
            raise TypeError(f"@task says {key} twice for {name}, and differently.")
        setattr(kind, key, value)
    if places or rule:
        kind.rules.append((places, rule))
    return function


def _sorted_out(function: Any, said: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the name, the policies and the rule that ``@task`` gives to a function.

    :raises TypeError: it is none, or a keyword is unknown.
    """
    given = said.pop("name", None)
    name = getattr(function, "__name__", "?") if given is None else given
    if isinstance(function, type):
        raise TypeError(f"@task is for functions. Let the class {name} be one of Task: class {name}(Task).")
    if not isinstance(function, type(task)):
        raise TypeError(f"@task is for functions, and {function!r:.60} is none. Write a def, and call it there.")
    if not isinstance(name, str) or not name.isidentifier() or function.__name__ == "<lambda>":
        raise TypeError(f"@task needs a function with a name, and {name!r:.60} cannot be one. Write a def.")
    policy = {key: said.pop(key) for key in list(said) if key in POLICY_KEYS or key == "start_held"}
    code = Task.schedule.__code__
    known = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    for key in said:
        if key not in known:
            from .errors import suggestion

            hint = suggestion(key, ["name", *known, *POLICY_KEYS])
            raise TypeError(f"@task of {name} takes no {key!r}.{hint}")
    return name, policy, said


def _does(kind: type[Task], function: object) -> bool:
    return kind.of_function is not None and kind.of_function is function


def _line_of_def(function: Any) -> int:
    """Return the line of a function's ``def``; Python counts from its first decorator. In a body nobody asks."""
    first: int = function.__code__.co_firstlineno
    if Task.reads_schedules:
        from linecache import getlines

        for number, text in enumerate(getlines(function.__code__.co_filename)[first - 1 :], first):
            if text.lstrip().startswith(("def ", "async def ")):
                return number
    return first


def decorated(function: object) -> type[Task] | None:
    """Return the Task that ``@task`` has made of a function; None for any other object."""
    return next((kind for kind, _ in reversed(Task.defined) if _does(kind, function)), None)


def current_task() -> Task:
    """Return the Task whose Run this is, for functions, which have no ``self``: ``current_task().proceed()``.

    In a thread that a Run has started within a program's own Scheduler there is none, for such a thread has a context
    of its own. Where there is none, as in a unit test, the Task that is returned leads nowhere: ``proceed()`` is True,
    and ``current_run`` None.
    """
    from .steering import at_hand

    return at_hand.get(None) or Task.of_this_process or Task()
