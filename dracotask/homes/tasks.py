"""The Tasks of a program's own Scheduler: functions, Task classes and Task objects, each under a name."""

from __future__ import annotations

import copy
import inspect
import json
from types import MethodType

from ..arguments import parameters_of
from ..errors import ControlError, LoadError
from ..functions import decorated
from ..model import DEFAULT_POLICY, Declaration, Policy, Schedule
from ..promises import REMEDY, is_coroutine, is_generator
from ..steering import at_hand
from ..tasks import Task, declaration, is_surrounded, work_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping
    from typing import Any

    from ..model import Run
    from ..steering import Steering


class LocalTask:
    """What can be run in this process.

    :param target: what was added: a callable, a Task class or a Task.
    :param label: what it is called by itself; several may be.
    :param declared: its name, which is its own, rules, parameters and policy.
    :param work: the callable, or the Task.
    :param is_coroutine: whether it returns a coroutine that does the work.
    """

    def __init__(
        self,
        target: object,
        label: str,
        declared: Declaration,
        work: Callable[..., Any] | Task,
        *,
        is_coroutine: bool,
    ) -> None:
        self.target, self.label, self.declared, self.work = target, label, declared, work
        self.is_coroutine = is_coroutine

    def named(self, name: str) -> LocalTask:
        """Return the same under a name."""
        return LocalTask(
            self.target, self.label, self.declared.but(name=name), self.work, is_coroutine=self.is_coroutine
        )

    def template(self) -> Schedule:
        """Return the Schedule that a Task of a site would have; none is stored here."""
        facts = self.declared
        return Schedule(
            name=facts.name, task=facts.name, declared=True, arguments="{}", parameters=facts.parameters,
            policy=facts.policy, description=facts.description, source=facts.source, rev=0,
        )  # fmt: skip

    def run(self, run: Run, arguments: Mapping[str, Any], steering: Steering) -> object:
        """Do the work, here and now; of a coroutine, return it to be awaited in this context.

        Each Run has a copy of the Task, so that none sees another's ``current_run``; a plain callable finds a Task that
        stands for its Run by :func:`~.functions.current_task`.
        """
        task = copy.copy(self.work) if isinstance(self.work, Task) else Task()
        checkpoint = None if run.checkpoint is None else json.loads(run.checkpoint)
        task.current_run, task.steering = run.but(arguments=arguments, checkpoint=checkpoint), steering
        at_hand.set(task)
        if not isinstance(self.work, Task):
            return self.work(**arguments)
        if not is_surrounded(task):
            return task.run(**arguments)
        if self.is_coroutine:
            return _awaited_within(task, arguments)
        with task.around():
            return task.run(**arguments)
        return None  # what it raised was swallowed


async def _awaited_within(task: Task, arguments: Mapping[str, Any]) -> object:
    """Do an ``async def run()`` within its ``around()``."""
    with task.around():
        return await task.run(**arguments)  # type: ignore[misc]
    return None


class LocalTasks:
    """The Tasks that were ever added and still matter, by name. Guarded by the store's lock."""

    def __init__(self, zone: Callable[[], str]) -> None:
        self._zone = zone
        self._tasks: dict[str, LocalTask] = {}
        # Of what was added there is one LocalTask, however often it is added; and the last number of each label.
        self._known: dict[tuple[Hashable, ...], LocalTask] = {}
        self._numbers: dict[str, int] = {}

    def __getitem__(self, name: str) -> LocalTask:
        return self._tasks[name]

    def get(self, name: str) -> LocalTask | None:
        return self._tasks.get(name)

    def names(self) -> list[str]:
        return list(self._tasks)

    def prepare(self, target: Any, name: str | None) -> LocalTask:
        """Return the LocalTask of what is to be added, known already or not; this needs no lock, and may take long.

        :param name: what the Schedule is to be called; it names a Task that has no name.
        :raises ControlError: it cannot be run, or is to have a name.
        """
        label = own_name(target) or name
        if label is None:
            raise ControlError(f"{target!r:.80} has no name of its own: give it one, name=…")
        return self._known.get(_identity(label, target)) or local_task(target, label, self._zone())

    def take_in(self, prepared: LocalTask) -> LocalTask:
        """Return the LocalTask under the name that it has from now on, unless it has one already.

        Two different ones of the same label are told apart by a number, for a Run says which it is of by name.
        """
        identity = _identity(prepared.label, prepared.target)
        known = self._known.get(identity)
        if known is None:
            known = self._known[identity] = prepared.named(self._free_name(prepared.label))
            self._tasks[known.declared.name] = known
        return known

    def _free_name(self, label: str) -> str:
        free = label
        while free in self._tasks:
            number = self._numbers[label] = self._numbers.get(label, 1) + 1
            free = f"{label} #{number}"
        return free

    def keep_only(self, names: Iterable[str]) -> list[str]:
        """Forget all others, and return their names."""
        forgotten = list(self._tasks.keys() - set(names))
        for name in forgotten:
            gone = self._tasks.pop(name)
            del self._known[_identity(gone.label, gone.target)]
        labels = {task.label for task in self._tasks.values()}
        self._numbers = {label: number for label, number in self._numbers.items() if label in labels}
        return forgotten


def _identity(label: str, target: object) -> tuple[Hashable, ...]:
    """Return what is the same for the same thing, as long as it is kept."""
    if isinstance(target, MethodType):  # each look at it makes an object of its own
        return label, id(target.__self__), id(target.__func__)
    return label, id(target)


def own_name(target: Any) -> str | None:
    """Return the name of a function or of a Task's class; None for a lambda and the like."""
    kind = decorated(target) or (type(target) if isinstance(target, Task) else target)
    name = getattr(kind, "__name__", None)
    return name if isinstance(name, str) and name.isidentifier() else None


def local_task(target: Any, label: str, zone: str) -> LocalTask:
    """Return what is to be run, under its label.

    :raises ControlError: it cannot be run; a policy of its class, or its signature, makes no sense.
    """
    kind = decorated(target) or target
    work = kind() if inspect.isclass(kind) and issubclass(kind, Task) else target
    if not isinstance(work, Task) and not callable(work):
        raise ControlError(f"{target!r:.80} cannot be run: give a function, a Task class or a Task.")
    does = work_of(work) if isinstance(work, Task) else work
    if is_generator(does):
        raise ControlError(f"{label} is a generator, and nobody here would carry it on: {REMEDY}.")
    return LocalTask(target, label, _declared(work, label, zone), work, is_coroutine=is_coroutine(does))


def _declared(work: Callable[..., Any] | Task, name: str, zone: str) -> Declaration:
    kind = type(work) if isinstance(work, Task) else work
    source = f"{getattr(kind, '__module__', '?')}.{getattr(kind, '__qualname__', name)}"
    try:
        if isinstance(work, Task):
            return declaration(work, line=0, zone=zone, policy={}).but(name=name, source=source)
        parameters = parameters_of(work)
    except (LoadError, ValueError, TypeError) as error:
        raise ControlError(f"{name} cannot be added: {error}") from None
    lines = map(str.strip, (inspect.getdoc(work) or "").splitlines())
    return Declaration(
        name=name, trigger=None, parameters=parameters, policy=Policy(**DEFAULT_POLICY).to_text(),
        description=next((line for line in lines if line), ""), source=source,
    )  # fmt: skip
