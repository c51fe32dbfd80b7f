"""In a body: loading ``__tasks__.py``, to report what it declares or to run one of its tasks."""

from __future__ import annotations

import marshal
import os
import sys
from stat import S_ISREG

from ..errors import BadTrigger, LoadError, TaskNotFound, suggestion
from ..model import VERBS
from ..state import TASK_FILE, stamp, stamp_of, write_whole
from ..tasks import Task, declaration, in_words
from .outcome import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

    from ..siteconfig import Config
    from ..state import State

MODULE = "__tasks__"

#: More tasks than this in one file are a slip of a loop.
MOST_TASKS = 10_000

#: What imports are made of, as the interpreter has it at hand already.
_BOOTSTRAP: Any = sys.modules["_frozen_importlib_external"]

#: The modules read from within the docroot, and the stamp of each just before it was read.
_READ: dict[str, str] = {}


def enter(docroot: str) -> None:
    """Make this process one of the docroot: its working directory, and first on ``sys.path``."""
    os.chdir(docroot)
    sys.path[0:0] = [docroot]
    sys.path_importer_cache.pop(docroot, None)
    sys.path_hooks.insert(0, _fresh_imports(docroot))


def read_task_file(docroot: str) -> tuple[bytes, str]:
    """Return the bytes of the task file and their stamp."""
    # Without waiting: a FIFO in its place may never have a writer.
    descriptor = os.open(os.path.join(docroot, TASK_FILE), os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not S_ISREG(status.st_mode):
            raise LoadError("it is no regular file.")
        return file.read(), stamp_of(status)


def execute(source: bytes, state: State) -> ModuleType:
    """Execute the bytes of the task file and return its module.

    :raises Exception: whatever the file raises.
    """
    module = type(sys)(MODULE)
    module.__file__ = state.task_file
    sys.modules[MODULE] = module
    exec(_compiled(source, state), module.__dict__)
    return module


def _compiled(source: bytes, state: State) -> CodeType:
    """Return the bytes of the task file compiled, as the state folder keeps them if it was done before.

    The first call of compile() in a process costs a tenth of a bare start, however short the file: it makes the
    hundred classes of the syntax tree. What is kept counts only for the very same bytes, path and interpreter.
    """
    digest = _BOOTSTRAP._imp.source_hash(_BOOTSTRAP._RAW_MAGIC_NUMBER, source)
    mark = b"%s%d%s%s\0" % (_BOOTSTRAP.MAGIC_NUMBER, sys.flags.optimize, digest, os.fsencode(state.task_file))
    try:
        with open(state.compiled_file, "rb") as file:
            kept = file.read()
        if kept.startswith(mark):
            return marshal.loads(kept[len(mark) :])  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError, TypeError, MemoryError):
        pass  # there is none yet, or no longer a whole one
    code: CodeType = compile(source, state.task_file, "exec", dont_inherit=True)
    try:
        write_whole(state.compiled_file, mark + marshal.dumps(code))
    except OSError:
        pass  # a full disk, or no state folder yet: next time again
    return code


def defined_tasks() -> list[tuple[type[Task], int]]:
    """Return the tasks that the file defined and the line of each, in the order of definition.

    :raises LoadError: for two of one name, or one named like a verb.
    """
    tasks: dict[str, tuple[type[Task], int]] = {}
    for kind, line in Task.defined:
        name = kind.__name__
        if kind.__module__ != MODULE or kind.abstract:
            continue
        if name in tasks:
            first = tasks[name][1]
            raise LoadError(f"line {line}: {in_words(kind)} is defined a second time (first in line {first}).")
        if name in VERBS:
            better = f'@task(name="{name}_…")' if kind.of_function is not None else name.capitalize()
            raise LoadError(f"line {line}: {in_words(kind)} has the name of a command. Write {better}.")
        if not name.isidentifier() or len(name) > 64:
            raise LoadError(f"line {line}: {name!r:.80} cannot be the name of a task.")
        tasks[name] = kind, line
    if len(tasks) > MOST_TASKS:
        raise LoadError(f"{len(tasks)} tasks in one file are more than {MOST_TASKS}.")
    return list(tasks.values())


def find_task(name: str, docroot: str) -> type[Task]:
    """Return the loaded task of that name.

    :raises TaskNotFound: there is none.
    """
    tasks = {kind.__name__: kind for kind, _ in defined_tasks()}
    if name not in tasks:
        raise TaskNotFound(name, os.path.join(docroot, TASK_FILE), list(tasks))
    return tasks[name]


def declarations(state: State, config: Config, zone: str) -> dict[str, Any]:
    """Load the task file and return all that a load reports.

    :return: ``tasks`` (a dictionary each), ``seen`` (the stamp of what was read) and ``files`` (the modules
        within the docroot that it imported and the files of holidays, each with its stamp); with ``problem`` when it
        does not load.
    """
    docroot, path = state.docroot, state.task_file
    report: dict[str, Any] = {"tasks": [], "seen": stamp(path), "problem": None, "listeners": ""}
    wanted: list[str] = []
    try:
        source, report["seen"] = read_task_file(docroot)
        execute(source, state)
        for kind, line in defined_tasks():
            declared = _declare(kind, line, zone, config)
            declared.description = one_line(declared.description) or ""
            report["tasks"].append({name: getattr(declared, name) for name in declared.__slots__})
        names = [facts["name"] for facts in report["tasks"]]
        report["listeners"] = _listeners(names)
        _check_followers(report["tasks"])
    except BaseException as error:
        if not (isinstance(error, FileNotFoundError) and error.filename == path):
            report["problem"] = one_line(explain(error, docroot))
        wanted = _wanted(error, docroot)
    report["files"] = {**dict.fromkeys(wanted, "-"), **_holiday_files(), **helpers(docroot)}
    return report


def _declare(kind: type[Task], line: int, zone: str, config: Config) -> Any:
    try:
        return declaration(kind(), line=line, zone=zone, policy=config.policy(kind.__name__))
    except LoadError as error:
        raise LoadError(f"line {line}: {error}") from None
    except Exception as error:
        if _line_of(error, sys.modules[MODULE].__file__ or "") is None:  # it happened in a helper's base class
            raise LoadError(f"line {line}: {type(error).__name__}: {error}") from error
        raise


def _listeners(tasks: list[str]) -> str:
    """Return who listens to what, as the store's note has it.

    :raises LoadError: one could not be called, or hears of a task that is not there.
    """
    events = sys.modules.get("dracotask.events")
    if events is None:  # the file has never asked for it
        return ""
    wanted: dict[str, None] = {}
    for listener in events.Listener.defined:
        _check_listener(listener, tasks)
        wanted.update(dict.fromkeys(listener.wanted()))
    return "\n".join(sorted(wanted))


def _check_listener(listener: Any, tasks: list[str]) -> None:
    import inspect

    try:
        inspect.signature(listener.function).bind(None)
    except ValueError:
        pass  # it is written in C, and does not tell
    except TypeError:
        name = listener.name
        remedy = f"write def {name}(event)"
        raise LoadError(f"line {listener.line}: {name} cannot be told of events: {remedy}.") from None
    for name in listener.tasks or ():
        if name not in tasks:
            hint = suggestion(name, tasks)
            words = f"{listener.name} listens to {name}, and there is no such task.{hint}"
            raise LoadError(f"line {listener.line}: {words}")


def _check_followers(tasks: list[dict[str, Any]]) -> None:
    """Refuse tasks that would follow each other round and round, and names that are a slip of the pen.

    :raises LoadError: there are such.
    """
    before = {facts["name"]: _names_before(facts) for facts in tasks}
    if not any(before.values()):
        return
    from ..triggers.after import circle

    for facts in tasks:
        name = facts["name"]
        line = facts["source"].rpartition(":")[2]
        if way := circle(name, before):
            raise LoadError(f"line {line}: {' after '.join(way)}: they would run after each other for ever.")
        for named in before[name]:
            hint = "" if named in before else suggestion(named, list(before))
            if "Did you mean" in hint:
                raise LoadError(f"line {line}: {name} comes after {named}, and there is no such task.{hint}")


def _names_before(facts: dict[str, Any]) -> tuple[str, ...]:
    if "after " not in (facts["trigger"] or ""):
        return ()
    from ..triggers import parse_trigger
    from ..triggers.after import names_before

    try:
        return names_before(parse_trigger(facts["trigger"]))
    except BadTrigger as error:
        raise LoadError(f"line {facts['source'].rpartition(':')[2]}: {error}") from None


def _holiday_files() -> dict[str, str]:
    """Return the files of holidays that were read, each with its stamp from before."""
    holidays = sys.modules.get("dracotask.holidays")
    return dict(holidays.read_files) if holidays else {}


def _wanted(error: BaseException, docroot: str) -> list[str]:
    """Return where a module that was not found would lie in the docroot: once it is there, it is time to load."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return []
    place = os.path.join(docroot, *error.name.split("."))
    return [f"{place}.py", os.path.join(place, "__init__.py")]


def helpers(docroot: str) -> dict[str, str]:
    """Return the files within the docroot that were imported, so that a change of theirs reloads too.

    Also of modules whose import failed; each with its stamp from before it was read.
    """
    inside = os.path.join(docroot, "")
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.startswith(inside) and path not in _READ:
            _READ[path] = stamp(path)  # an extension, or imported in a way of its own
    # A virtual environment within the docroot is no helper.
    return {
        path: seen
        for path, seen in sorted(_READ.items())
        if "/site-packages/" not in path and path != os.path.join(docroot, TASK_FILE)
    }


def explain(error: BaseException, docroot: str) -> str:
    """Say in one line what is wrong with the task file, and where: "line 7: NameError: …"."""
    path = os.path.join(docroot, TASK_FILE)
    if isinstance(error, LoadError):
        return str(error)
    if isinstance(error, SyntaxError) and error.filename:
        place = "" if error.filename == path else f"{error.filename}, "
        where = f"{place}line {error.lineno}: " if error.lineno else place.replace(",", ":")
        return f"{where}{type(error).__name__}: {error.msg}"
    line = _line_of(error, path)
    where = f"line {line}: " if line else ""
    if isinstance(error, SystemExit):
        return f"{where}the file ends the program (sys.exit) while it is loaded."
    if isinstance(error, ModuleNotFoundError):
        return f"{where}{type(error).__name__}: {error}. Is it installed for {sys.executable}?"
    return f"{where}{type(error).__name__}: {error}"


def _line_of(error: BaseException, path: str) -> int | None:
    """Return the innermost line of ``path`` that the error came through."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _fresh_imports(docroot: str) -> Any:
    """Return a path hook under which modules of the docroot are never taken from stale bytecode.

    Python compares whole seconds and the size: a helper saved twice within one second would run in
    its first version for ever. Bytecode counts here when it was written two seconds after its source.
    """
    class FreshLoader(_BOOTSTRAP.SourceFileLoader):  # type: ignore[misc]
        def path_stats(self, path: str) -> Any:
            source = os.stat(path)
            _READ[path] = stamp_of(source)
            try:
                bytecode = os.stat(_BOOTSTRAP.cache_from_source(path))
            except OSError:
                bytecode = None
            if bytecode is None or bytecode.st_mtime_ns < source.st_mtime_ns + 2_000_000_000:
                raise OSError("the bytecode may be stale")
            return super().path_stats(path)

        def set_data(self, *arguments: object, **options: object) -> None:
            """Write no bytecode: the docroot is the site owner's."""

    loaders = [
        (_BOOTSTRAP.ExtensionFileLoader, _BOOTSTRAP._imp.extension_suffixes()),
        (FreshLoader, _BOOTSTRAP.SOURCE_SUFFIXES),
    ]

    def hook(path: str) -> Any:
        if (path != docroot and not path.startswith(os.path.join(docroot, ""))) or "/site-packages" in path:
            raise ImportError("not within the docroot")
        return _BOOTSTRAP.FileFinder.path_hook(*loaders)(path)

    return hook
