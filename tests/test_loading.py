"""A task file may be broken in any way: the last good set stays in force, and nothing is lost."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sites import PATIENCE, SCRIPT, Site, until

GOOD = """\
class Work(Task):
    def __init__(self):
        self.schedule(cron="0 0 1 1 *")

    def run(self):
        tell(self)
        return "done"
"""

#: The line on which what is added to the good file begins.
NEXT = 3 + GOOD.count("\n") + 1

HEAD = "from dracotask import Skip, Task\nfrom told import *\n"


def class_with(*body: str, name: str = "Other") -> str:
    """Return a class whose constructor has these lines."""
    lines = [f"class {name}(Task):", "    def __init__(self):", *(f"        {line}" for line in body)]
    return "\n".join([*lines, "    def run(self): pass", ""])


def scheduled(arguments: str) -> str:
    return class_with(f"self.schedule({arguments})")


#: What is added to a good file, and what is said of it; ``{line}`` is the added text's first line.
BROKEN = {
    "def broken(:\n": r"line {line}: SyntaxError: .+",
    "if True:\nprint(1)\n": r"line \d+: IndentationError: .+",
    "import no_such_module\n": r"line {line}: ModuleNotFoundError: No module named 'no_such_module'\. Is it installed"
    r" for .*python.*\?",
    "from os import no_such_name\n": r"line {line}: ImportError: cannot import name 'no_such_name' from 'os'.*",
    "import sys; sys.exit(0)\n": r"line {line}: the file ends the program \(sys\.exit\) while it is loaded\.",
    "raise SystemExit\n": r"line {line}: the file ends the program .*",
    "import os; os._exit(0)\n": r"the file ended the process that loaded it, with exit code 0 \(os\._exit\?\)\.",
    "import os; os._exit(7)\n": r"the file ended the process that loaded it, with exit code 7 \(os\._exit\?\)\.",
    "import os; os.kill(os.getpid(), 9)\n": r"the file killed the process that loaded it \(signal 9\)\.",
    "import ctypes; ctypes.string_at(0)\n": r"the file killed the process that loaded it \(signal 11\)\.",
    "while True: pass\n": r"the file was not loaded after 1 s: does it loop or wait at its top level\?",
    "sum(range(10**13))\n": r"the file was not loaded after 1 s: does it loop or wait at its top level\?",
    "import time; time.sleep(3600)\n": r"the file was not loaded after 1 s: .*",
    "while True: print('x' * 100_000)\n": r"the file was not loaded after 1 s, and printed .*B: does it loop .*",
    "open('gate').read()\n": r"the file was not loaded after 1 s: .*",
    GOOD: r"line {line}: class Work is defined a second time \(first in line 4\)\.",
    "class due(Work): pass\n": r"line {line}: class due has the name of a command\. Write Due\.",
    "class Other(Task): pass\n": r"line {line}: class Other has no run\(\)\. Give it one, or set abstract = True\.",
    "class Other(Work): time_limit = 'soon'\n": r"line {line}: class Other: time_limit = 'soon' cannot be: .+\.",
    "class Other(Work): max_instances = 0\n": r"line {line}: class Other: max_instances = 0 cannot be: .+\.",
    scheduled("minute=60"): r"line {line2}: BadTrigger: .*minute.*60.*",
    scheduled("minute=-1"): r"line {line2}: BadTrigger: .*minute.*-1.*",
    scheduled("minute=True"): r"line {line2}: BadTrigger: .*minute.*True.*",
    scheduled("minute=1.5"): r"line {line2}: BadTrigger: .*minute.*1\.5.*",
    scheduled("hour=24"): r"line {line2}: BadTrigger: .*hour.*24.*",
    scheduled("hour=()"): r"line {line2}: BadTrigger: .*hour.*",
    scheduled("dow=7"): r"line {line2}: BadTrigger: .*dow.*7.*",
    scheduled("dow='mon'"): r"line {line2}: BadTrigger: .*dow.*mon.*",
    scheduled("0, 1, 2, 3"): r"line {line2}: TypeError: .+",
    scheduled("second=1"): r"line {line2}: TypeError: .*'second'.*",
    scheduled("hour=4, every='1h'"): r"line {line2}: TypeError: schedule\(\) takes .+",
    scheduled("every='0s'"): r"line {line2}: (BadTrigger|ValueError): .+",
    scheduled("every='1 fortnight'"): r"line {line2}: (BadTrigger|ValueError): .*fortnight.*",
    scheduled("cron='* * *'"): r"line {line2}: BadTrigger: .+",
    scheduled("cron='0 0 31 2 *'"): r"line {line2}: BadTrigger: .+",
    scheduled("cron=5"): r"line {line2}: BadTrigger: .+",
    scheduled("at='yesterday'"): r"line {line2}: (BadTrigger|ValueError): .*yesterday.*",
    scheduled("trigger='hourly'"): r"line {line2}: BadTrigger: .+",
    class_with("1 / 0"): r"line {line2}: ZeroDivisionError: division by zero",
    class_with("import sys; sys.exit()"): r"line {line2}: the file ends the program .*",
    "def down(): down()\ndown()\n": r"line {line}: RecursionError: maximum recursion depth exceeded.*",
    "raise MemoryError('no room')\n": r"line {line}: MemoryError: no room",
    "raise type('Odd', (BaseException,), {})('of its own')\n": r"line {line}: Odd: of its own",
    "import deep_helper\n": r"line {line}: ValueError: deep down",
    "import broken_helper\n": r".*/broken_helper\.py, line 2: SyntaxError: .+",
    "from deep_helper_base import Base\nclass Other(Base): pass\n": r"line {line2}: ZeroDivisionError: .+",
    "x = '\udcff'\n": r"(line \d+: )?SyntaxError: .*utf-8.*",
    "x = 1 \0\n": r"(line \d+: )?(SyntaxError|ValueError): .*null bytes.*",
    "(" * 5000 + ")" * 5000 + "\n": r"(line \d+: )?(SyntaxError|MemoryError|RecursionError).*",
    "for n in range(10_000): type(f'T{n}', (Work,), {'__module__': '__tasks__'})\n": r"10001 tasks in one file are more"
    r" than 10000\.",
}


def a_name(text: str) -> str:
    return repr(text[:60])[1:-1]


@pytest.fixture
def loaded(site: Site) -> Site:
    """Return a site with a good task file in force."""
    site.put("dracotask.toml", 'load_limit = "1s"')
    site.put("helper.py", "def fail(): raise ValueError('deep down')\n")
    site.put("deep_helper.py", "import helper\nhelper.fail()\n")
    site.put("broken_helper.py", "x = 1\ndef broken(:\n")
    base = "from dracotask import Task\nclass Base(Task):\n    abstract = True\n    def __init__(self): 1 / 0\n"
    site.put("deep_helper_base.py", base + "    def run(self): pass\n")
    site.put("__tasks__.py", HEAD + "\n" + GOOD)
    site.due()
    site.make_due("Work")
    return site


@pytest.mark.parametrize("added", BROKEN, ids=a_name)
def test_a_broken_file_changes_nothing_but_what_is_told_of_it(loaded, added):
    # Given a due fire time, and a file that somebody breaks
    before = loaded.schedule("Work")
    path = loaded.docroot / "__tasks__.py"
    path.write_bytes((HEAD + "\n" + GOOD + added).encode("utf-8", "surrogateescape"))

    # When a tick comes
    loaded.due()

    # Then it says what is wrong; the schedule is in force, and what is due is queued
    words = BROKEN[added].replace("{line}", str(NEXT)).replace("{line2}", r"\d+")
    assert re.fullmatch(words, loaded.problem()), loaded.problem()
    if "{line2}" in BROKEN[added]:
        line = int(re.match(r"line (\d+)", loaded.problem())[1])
        assert NEXT < line <= NEXT + 2
    schedule = loaded.schedule("Work")
    assert (schedule.trigger, schedule.vanished_at) == (before.trigger, None)
    assert [run.state for run in loaded.runs()] == ["queued"]

    # And a command says it, too, and starts nothing
    ended = loaded.run("Work")
    assert ended.returncode == 2
    assert ended.stderr == f"dracotask: {path} is broken: {loaded.problem()}\n"
    assert loaded.told() == []

    # And a tick does not load what it knows to be broken
    mark = Path(loaded.state.load_lock)
    loaded_at = mark.stat().st_mtime_ns
    loaded.due()
    assert mark.stat().st_mtime_ns == loaded_at

    # And when it is mended, all goes on
    loaded.put("__tasks__.py", HEAD + "\n" + GOOD + "# mended\n")
    loaded.due()
    assert loaded.problem() is None
    assert [run.state for run in loaded.runs()] == ["succeeded"]


ODD_FILES = {
    "a FIFO": os.mkfifo,
    "a folder": os.mkdir,
    "a device": lambda path: os.symlink("/dev/zero", path),
    "a link to itself": lambda path: os.symlink(path, path),
}


@pytest.mark.parametrize("make", ODD_FILES.values(), ids=ODD_FILES)
def test_what_is_no_file_is_refused_and_never_waited_for(loaded, make):
    # Given something odd in the place of the task file
    path = loaded.docroot / "__tasks__.py"
    path.unlink()
    make(path)

    # When a tick comes, and a command
    loaded.due()
    ended = loaded.run("Work")

    # Then both say so
    assert re.search(r"it is no regular file|IsADirectoryError|symbolic links", loaded.problem())
    assert ended.returncode == 2
    assert [run.state for run in loaded.runs()] == ["queued"]
    assert loaded.schedule("Work").vanished_at is None
    assert loaded.told() == []


@pytest.mark.parametrize("text", [None, "", "# nothing here\n"], ids=["no file", "0 bytes", "no task"])
def test_tasks_that_are_gone_vanish_after_two_seconds_and_not_before(loaded, text):
    # Given a file without its tasks
    path = loaded.docroot / "__tasks__.py"
    path.unlink() if text is None else path.write_text(text)

    # When ticks come
    loaded.due()
    assert loaded.schedule("Work").vanished_at is None
    until(lambda: loaded.due() or loaded.schedule("Work").vanished_at, "the task vanishes")

    # Then it is unknown, and the fire time that was due is on record
    ended = loaded.run("Work")
    assert ended.returncode == 2 and "no task 'Work'" in ended.stderr
    assert len(loaded.runs()) == 1
    assert loaded.told() == []

    # And it comes back with its history
    loaded.put("__tasks__.py", HEAD + GOOD)
    assert loaded.run("Work").returncode == 0
    assert loaded.schedule("Work").vanished_at is None


def test_a_file_of_five_megabytes_is_loaded(loaded):
    loaded.put("dracotask.toml", 'load_limit = "60s"')
    loaded.put("__tasks__.py", HEAD + GOOD + "x = '" + "x" * (5 << 20) + "'\n" + scheduled("hour=3"))

    loaded.due()

    assert loaded.schedule("Other").trigger is not None
    assert [run.state for run in loaded.runs()] == ["succeeded"]


def test_a_gigabyte_printed_by_a_file_that_ends_does_no_harm(loaded):
    loaded.put("dracotask.toml", 'load_limit = "60s"')
    printing = "for _ in range(1000): os.write(1, b'x' * 1_000_000)\n"
    loaded.put("__tasks__.py", HEAD + GOOD + printing + scheduled("hour=3"))

    loaded.due()

    assert loaded.problem() is None
    assert os.path.getsize(loaded.state.load_output) < 1 << 17


def test_a_load_leaves_no_thread_and_no_process(loaded):
    # Given a file that starts a thread which never ends, and a child that holds all there is to hold
    text = (
        "import signal, sys, threading\n"
        "if sys.argv[-1] == 'load':\n"
        "    threading.Thread(target=threading.Event().wait).start()\n"
        "    if os.fork() == 0:\n"
        "        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "        while True: signal.pause()\n"
    )
    loaded.put("__tasks__.py", HEAD + text + GOOD + scheduled("hour=3"))

    # When a tick loads it
    loaded.due()

    # Then it is in force, and nobody is left
    assert (loaded.problem(), loaded.schedule("Other").vanished_at) == (None, None)
    assert [run.state for run in loaded.runs()] == ["succeeded"]
    assert loaded.processes() == []


def test_a_file_that_forks_while_it_is_loaded_runs_its_task_once(loaded):
    # Given a file whose loading becomes two processes that go on
    loaded.put("__tasks__.py", HEAD + "import os\nos.fork()\n" + GOOD)

    # When the task runs, by a tick and by hand
    loaded.due()
    ended = loaded.run("Work")

    # Then each run has run once
    assert ended.returncode == 0
    assert [run.state for run in loaded.runs()] == ["succeeded"] * 2
    assert len(loaded.told("start")) == 2


def test_a_file_that_kills_its_parent_is_given_up_after_the_second_death(loaded):
    # Given a file that kills whoever loads it
    loaded.put("__tasks__.py", HEAD + GOOD + "os.kill(os.getppid(), 9)\n")

    # When ticks come
    assert [loaded.run("due").returncode for _ in range(2)] == [-signal.SIGKILL] * 2
    loaded.wait_for_silence()
    loaded.due()

    # Then the third one says so
    assert loaded.problem() == "the process that loads the file was killed, 2 times by now: does it kill its parent?"

    # And nothing is lost
    loaded.put("__tasks__.py", HEAD + GOOD)
    loaded.due()
    assert [run.state for run in loaded.runs()] == ["succeeded"]


def forging(report: str) -> str:
    """Return a task file that reports in place of the loader, and ends the process."""
    return HEAD + f"""
import sys
frame = sys._getframe()
while "report" not in frame.f_locals or not hasattr(frame.f_locals["report"], "send"):
    frame = frame.f_back
frame.f_locals["report"].send({report})
os._exit(0)
"""


@pytest.mark.parametrize(
    "report",
    [
        '"report"', '"report", "no JSON"', '"report", "[1]"', '"report", "{}"',
        '"report", \'{"tasks": [{"name": "A"}], "seen": "-", "problem": null, "files": {}}\'',
        '"report", \'{"tasks": [{"no": "such"}], "seen": "-", "problem": null, "files": {}}\'',
        '"report", \'{"tasks": [], "seen": 7, "problem": null, "files": {}}\'',
        '"report", \'{"tasks": [], "seen": "-", "problem": null, "files": []}\'',
    ],
)  # fmt: skip
def test_a_report_that_no_loader_writes_is_none(loaded, report):
    # Given a file whose code finds the way to the supervisor
    loaded.put("__tasks__.py", forging(report))

    # When it is loaded
    loaded.due()

    # Then it is a file that ended its process, and the last good set stays
    assert "ended the process that loaded it, with exit code 0" in loaded.problem()
    assert loaded.schedule("Work").vanished_at is None


def test_a_task_that_has_just_gone_from_the_file_is_missed_and_no_failure_of_ours(loaded):
    # Given a due fire time of a task that somebody has taken out of the file a moment ago
    loaded.put("__tasks__.py", HEAD + "class Other(Task):\n    def run(self): pass\n")

    # When the next look comes, and somebody runs it by hand
    loaded.due()
    by_hand = loaded.run("Work")

    # Then it is on record as missed, with no traceback
    assert by_hand.returncode == 2
    assert "Traceback" not in by_hand.stdout + by_hand.stderr
    assert {(run.state, run.summary) for run in loaded.runs("Work")} == {("missed", "the task is gone from the file")}


# -- Compiled once ---------------------------------------------------------------------------


def test_a_task_file_is_compiled_once_and_the_docroot_is_left_as_it_is(loaded):
    # Given a file that was loaded
    (kept,) = Path(loaded.state.path).glob("tasks.*")
    assert kept.stat().st_mode & 0o777 == 0o600
    before = kept.stat()

    # When a task runs
    assert loaded.run("Work").returncode == 0

    # Then nobody has compiled it again, and nothing lies beside it
    assert kept.stat().st_mtime_ns == before.st_mtime_ns
    assert not list(loaded.docroot.glob("**/__pycache__/__tasks__.*"))


@pytest.mark.parametrize("rest", [b"", b"\0" * 100, b"(\xff\x00\x00\x00"])
def test_what_is_left_of_a_compiled_file_by_a_full_disk_is_compiled_again(loaded, rest):
    (kept,) = Path(loaded.state.path).glob("tasks.*")
    whole = kept.read_bytes()
    mark = whole[: whole.index(os.fsencode(loaded.state.task_file)) + len(loaded.state.task_file) + 1]

    for damaged in (rest, mark + rest):
        kept.write_bytes(damaged)
        assert loaded.run("Work").returncode == 0
        assert kept.read_bytes() == whole


def test_a_docroot_that_moves_has_its_own_path_in_its_tracebacks(tmp_path):
    # Given a site whose task failed once
    old = tmp_path / "old"
    old.mkdir()
    (old / "__tasks__.py").write_text("from dracotask import Task\nclass Fail(Task):\n    def run(self): 1 / 0\n")
    command = [sys.executable, SCRIPT]
    subprocess.run([*command, old, "Fail"], capture_output=True, timeout=PATIENCE)

    # When it moves
    new = old.rename(tmp_path / "new")
    ended = subprocess.run([*command, new, "Fail"], capture_output=True, text=True, timeout=PATIENCE)

    # Then the old name is forgotten
    assert f'File "{new}/__tasks__.py", line 3' in ended.stdout
    assert str(old) not in ended.stdout + ended.stderr


# -- What else counts as a change ------------------------------------------------------------


def hour_of(site: Site, name: str = "Hourly") -> str:
    """Return the hour at which the schedule fires."""
    return site.schedule(name).trigger.split()[2]


HOURLY = "import times\n" + class_with("self.schedule(hour=times.HOUR)", name="Hourly")


def test_a_changed_helper_is_loaded_anew_also_twice_within_one_second(site):
    # Given a task file that asks a helper, whose bytecode lies there
    site.put("times.py", "HOUR = 1\n")
    site.write(HOURLY)
    site.due()
    assert hour_of(site) == "1"

    for hour in ("2", "3"):
        # When the helper changes, in the same second and to the same size, and somebody else compiles it
        site.run(program=[sys.executable, "-c", "import sys; sys.path[0] = sys.argv[1]; import times"])
        kept = os.stat(site.docroot / "times.py")
        site.put("times.py", f"HOUR = {hour}\n")
        os.utime(site.docroot / "times.py", ns=(kept.st_atime_ns, kept.st_mtime_ns))

        # Then the next tick has the new one in force
        site.due()
        assert hour_of(site) == hour


def test_a_helper_mended_alone_mends_the_file(site):
    # Given a helper that does not parse
    site.put("times.py", "HOUR = (\n")
    site.write(HOURLY)
    site.due()
    assert "times.py, line 1: SyntaxError" in site.problem()

    # When it alone is mended
    site.put("times.py", "HOUR = 4\n")
    site.due()

    # Then the file is in force
    assert (site.problem(), hour_of(site)) == (None, "4")


@pytest.mark.parametrize("place", ["times.py", "times/__init__.py"])
def test_a_missing_helper_mends_the_file_when_it_comes(site, place):
    site.write(HOURLY)
    site.due()
    assert "No module named 'times'" in site.problem()

    (site.docroot / place).parent.mkdir(exist_ok=True)
    (site.docroot / place).write_text("HOUR = 5\n")
    site.due()

    assert (site.problem(), hour_of(site)) == (None, "5")


def test_what_is_wrong_elsewhere_is_tried_again_after_a_minute(site):
    # Given a file that needs something outside of the docroot
    needed = site.docroot.parent / "needed"
    site.write(f"open({str(needed)!r})", GOOD)
    site.due()
    assert "FileNotFoundError" in site.problem()

    # When it has come, and a minute is over
    needed.touch()
    site.due()
    assert "FileNotFoundError" in site.problem()
    site.let_a_minute_pass()
    site.due()

    # Then the file is in force, though nobody saved it
    assert site.problem() is None


def test_a_changed_configuration_is_loaded_like_a_changed_file(loaded):
    loaded.put("dracotask.toml", 'time_limit = "7s"')

    loaded.due()

    assert "time_limit=7.0" in loaded.schedule("Work").policy


# -- Saved between load and run --------------------------------------------------------------

#: A program whose launcher (or whose command, at its first take) finds the task file changed just before a body starts.
MEDDLING = """\
import shutil, sys
from dracotask.run.process import Body
order = Body.order
def meddle(self, *fields):
    Body.order = order
    shutil.copy({new!r}, {path!r})
    order(self, *fields)
Body.order = meddle
fork = __import__("dracotask.run.supervisor", fromlist=["x"]).fork_body
def late(work, **options):
    # The file is saved when the body is forked, and before it reads it.
    import dracotask.run.supervisor as supervisor
    supervisor.fork_body = fork
    shutil.copy({new!r}, {path!r})
    return fork(work, **options)
if {early}:
    import dracotask.run.supervisor as supervisor
    supervisor.fork_body = late
from dracotask.cli.main import main
main()
"""


@pytest.mark.parametrize("early", [True, False], ids=["before the body reads it", "with the order"])
@pytest.mark.parametrize("how", ["due", "Work"])
def test_a_file_saved_between_load_and_run_is_loaded_first(loaded, how, early):
    # Given a file in force, and the next one
    new = loaded.docroot.parent / "new.py"
    new.write_text(HEAD + GOOD.replace('"done"', '"done by the new one"') + scheduled("hour=3"))
    program = MEDDLING.format(new=str(new), path=str(loaded.docroot / "__tasks__.py"), early=early)

    # When it is saved at the last moment
    ended = loaded.run(how, program=[sys.executable, "-c", program])

    # Then the task has run once, and not in a version that was never in force
    assert ended.returncode == 0, ended.stderr
    (run,) = loaded.runs()
    assert (run.state, run.attempt) == ("succeeded", 1)
    # (When it comes at the same moment as the order, a slow body may still read it.)
    assert run.summary in ({"done by the new one"} if early else {"done", "done by the new one"})
    assert len(loaded.told()) == 1
    loaded.due()
    assert loaded.schedule("Other").trigger is not None


@pytest.mark.parametrize("how", ["due", "Work"])
def test_a_file_broken_between_load_and_run_fails_no_run(loaded, how):
    # Given a file that is broken at the last moment
    new = loaded.docroot.parent / "new.py"
    new.write_text(HEAD + GOOD + "def broken(:\n")
    program = MEDDLING.format(new=str(new), path=str(loaded.docroot / "__tasks__.py"), early=True)

    # When a tick or a command comes
    ended = loaded.run(how, program=[sys.executable, "-c", program])

    # Then the due fire time waits, and a command says why
    assert ended.returncode == (0 if how == "due" else 2), ended.stderr
    assert all(run.state == "queued" and run.attempt == 0 for run in loaded.runs())
    assert "SyntaxError" in loaded.problem()
    assert loaded.told() == []

    # And it runs when the file is mended
    shutil.copy(new, loaded.docroot / "__tasks__.py")
    loaded.put("__tasks__.py", HEAD + GOOD)
    loaded.due()
    assert [(run.state, run.attempt) for run in loaded.runs()] == [("succeeded", 1)]


# -- A storm of saves ------------------------------------------------------------------------

#: Each load leaves a line; the hour is the number of the version.
COUNTED = "import os\nwith open('loads', 'a') as loads: loads.write('x')\n"

WSGI = """\
from dracotask import TaskMiddleware

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]

app = TaskMiddleware(app, {docroot!r})
app.start()
"""


def version(minute: int) -> str:
    return HEAD + COUNTED + class_with(f"self.schedule(minute={minute})", name="Hourly")


def number_of_loads(site: Site) -> int:
    path = site.docroot / "loads"
    return path.stat().st_size if path.exists() else 0


def minute_of(site: Site) -> str | None:
    try:
        return site.schedule("Hourly").trigger.split()[1]
    except Exception:
        return None


def save_a_thousand_times(site: Site, path: Path) -> None:
    """Save a thousand versions within two seconds, the last of which is for minute 59."""
    begun = time.monotonic()
    for number in range(1000):
        path.write_text(version(59 if number == 999 else number % 59))
        if (ahead := begun + number / 500 - time.monotonic()) > 0:
            time.sleep(ahead)  # this is the storm's own pace, not a wait


def test_of_a_thousand_saves_few_are_loaded_by_ticks_in_a_row(site):
    # Given ticks that come one after the other
    path = site.docroot / "__tasks__.py"
    path.write_text(version(0))
    site.due()
    before = number_of_loads(site)
    ticks = site.start(program=["bash", "-c", 'while [ ! -e "$3/over" ]; do "$1" "$2" "$3" due; done', "-", *COMMAND])

    # When a thousand versions are saved
    save_a_thousand_times(site, path)
    until(lambda: minute_of(site) == "59", "the last version is in force")
    (site.docroot / "over").touch()
    assert ticks.communicate(timeout=PATIENCE) == ("", "")

    # Then few were loaded. (One process is a load, whichever version it reads.)
    assert number_of_loads(site) - before <= 5


COMMAND = [sys.executable, str(Path(__file__).parent.parent / "bin" / "dracotask.py")]


@pytest.mark.server
def test_of_a_thousand_saves_few_are_loaded_by_a_server(site):
    # Given a server that looks after the site
    path = site.docroot / "__tasks__.py"
    path.write_text(version(0))
    (site.docroot / "wsgi.py").write_text(WSGI.format(docroot=str(site.docroot)))
    options = ["--chdir", str(site.docroot), "--bind", "127.0.0.1:0", "--workers", "2", "--preload", "wsgi:app"]
    log = open(site.docroot / "server.log", "w")  # noqa: SIM115
    server = site.start(program=[sys.executable, "-m", "gunicorn", *options], stdout=log, stderr=log)
    until(lambda: minute_of(site) == "0", "the first version is in force")
    before = number_of_loads(site)

    # When a thousand versions are saved
    save_a_thousand_times(site, path)
    until(lambda: minute_of(site) == "59", "the last version is in force")

    # Then few were loaded
    count = number_of_loads(site) - before
    server.terminate()
    server.communicate(timeout=PATIENCE)
    log.close()
    assert count <= 5
