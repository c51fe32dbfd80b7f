"""The command line, by real processes: what it says, what it leaves behind and how it exits."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from urllib.error import HTTPError

import click
import pytest
from sites import SCRIPT, Site, until

from dracotask.cli.commands import commands
from dracotask.cli.running import COMMANDS
from dracotask.model import VERBS
from dracotask.report.outputfile import OutputFile
from dracotask.run.output import RunOutput

TASKS = """\
class Hello(Task):
    \"\"\"Says hello.\"\"\"

    def __init__(self):
        self.schedule(hour=3)

    def run(self):
        print("hello")
        return "greeted"


class Failing(Task):
    def run(self):
        print("on the way")
        raise ValueError("no such thing \\x1b[31m")


class Slow(Task):
    time_limit = "1s"
    stop_grace = "1s"

    def run(self):
        import time
        time.sleep(60)


class Waiting(Task):
    def run(self):
        tell(self)
        print("waiting", flush=True)
        wait_at_gate()
        print("let through")
"""


@pytest.fixture
def shop(site: Site) -> Site:
    """A site whose tasks are loaded."""
    site.write(TASKS)
    assert site.run("load").returncode == 0
    return site


def on_a_terminal(site: Site, *arguments: str, keys: bytes = b"", **env: str) -> tuple[int, str]:
    """Run a command on a terminal of its own; return the exit code and all that it showed."""
    ours, theirs = pty.openpty()
    environment = {"LC_ALL": "C.UTF-8", "TERM": "xterm", "COLUMNS": "100", **env}
    process = site.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    if keys:
        os.write(ours, keys)
    shown = b""
    try:
        while data := os.read(ours, 1 << 16):
            shown += data
    except OSError:
        pass  # nobody has the other end any more
    os.close(ours)
    return process.wait(60), shown.decode().replace("\r\n", "\n")


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


# -- The grammar ---------------------------------------------------------------------------------


def test_help_names_every_command():
    ended = program("--help")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.findall(r"^  ([a-z][a-z-]*)  ", ended.stdout, re.MULTILINE) == list(COMMANDS)


def test_a_call_without_a_word_shows_the_help_and_is_wrong():
    ended = program()

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Usage: dracotask.py DOCROOT" in ended.stderr


def test_the_version_is_told():
    ended = program("--version")

    assert ended.returncode == 0
    assert re.fullmatch(r"dracotask \d+\.\d+\.\d+\n", ended.stdout)


def test_each_command_is_a_kept_word_and_has_its_function():
    assert set(commands.list_commands(click.Context(commands))) == set(COMMANDS) == set(VERBS)


def test_an_empty_docroot_is_not_the_folder_at_hand():
    ended = program("", "list")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("dracotask: DOCROOT is empty.")


def test_a_docroot_that_is_not_there_is_one_clear_sentence():
    ended = program("/nowhere", "list")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("dracotask: DOCROOT '/nowhere' does not exist.")


@pytest.mark.parametrize(
    "words, meant",
    [(["lisst"], "list"), (["Helo"], "Hello"), (["lisst", "--json"], "list"), (["show", "Helo"], "Hello")],
)
def test_a_slip_of_the_pen_is_told_the_likeliest_word(shop, words, meant):
    ended = shop.run(*words)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith(f"Did you mean {meant}?\n")
    assert ended.stderr.count("\n") == 1


def test_a_wrong_option_is_one_sentence_with_the_way_to_help(shop):
    ended = shop.run("runs", "--fail")

    assert ended.returncode == 2
    assert ended.stderr.startswith("dracotask: No such option")
    assert "dracotask.py DOCROOT runs --help" in ended.stderr


def test_whoever_stops_reading_is_not_shouted_at(shop):
    # Given a pipe that nobody reads
    ours, theirs = os.pipe()
    os.close(ours)

    # When the list is printed into it
    process = shop.start("list", stdout=theirs)
    os.close(theirs)
    _, said = process.communicate(timeout=60)

    # Then nothing is said about it
    assert (process.returncode, said) == (1, "")


# -- Run, and the exit codes -----------------------------------------------------------------------


def test_a_run_that_succeeds_exits_with_0(shop):
    ended = shop.run("run", "Hello")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "hello\n", "")


@pytest.mark.parametrize("words", [["Failing"], ["run", "Failing"]])
def test_a_run_that_fails_exits_with_1_and_says_why(shop, words):
    ended = shop.run(*words)

    assert ended.returncode == 1
    assert ended.stderr.startswith("dracotask: Failing failed: ValueError: no such thing")
    assert "\x1b" not in ended.stderr


def test_a_run_while_another_is_at_it_exits_with_75(shop):
    # Given a task at work
    first = shop.start("Waiting")
    shop.wait_for("start")

    # When it is run once more
    second = shop.run("run", "Waiting")

    # Then it is skipped, with the reason
    assert second.returncode == 75
    assert "still running since" in second.stderr
    shop.open_gate()
    assert first.communicate(timeout=60)[0] == "waiting\nlet through\n"


def test_a_run_over_its_limit_exits_with_124(shop):
    ended = shop.run("run", "Slow")

    assert ended.returncode == 124
    assert ended.stderr.endswith("Slow timed out: over its time limit of 1s\n")


def test_a_run_that_is_stopped_exits_with_130(shop):
    # Given a task at work
    process = shop.start("Waiting")
    shop.wait_for("start")

    # When somebody stops it
    ended = shop.run("stop", "Waiting", "--why", "no time for it")

    # Then he hears that it is over, and the run tells who wanted it
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"Waiting was stopped within .*\.\n", ended.stdout)
    assert process.wait(60) == 130
    assert shop.last_run("Waiting").error.endswith("no time for it")
    process.communicate()


def test_a_task_that_is_not_running_needs_no_stop(shop):
    ended = shop.run("stop", "Hello")

    assert (ended.returncode, ended.stdout) == (0, "Hello is not running.\n")


def test_a_queued_run_that_is_stopped_never_starts(shop):
    # Given a Run that a broken task file keeps waiting
    shop.make_due("Hello")
    shop.write("class Hello(Task: pass")
    shop.due()
    (queued,) = shop.active()

    # When it is stopped by its id
    ended = shop.run("stop", queued.id)

    # Then it is over before it began
    assert ended.stdout == "Hello was still queued; it will not be started.\n"
    assert shop.the_run(queued.id).state == "stopped"


def test_a_quiet_run_says_nothing_unless_it_fails(shop):
    well, badly = shop.run("run", "-q", "Hello"), shop.run("run", "--quiet", "Failing")

    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")
    assert badly.returncode == 1
    assert badly.stdout.startswith("on the way\nTraceback")


def test_a_name_with_options_is_run_too(shop):
    ended = shop.run("Hello", "-q")

    assert (ended.returncode, ended.stdout) == (0, "")


def test_a_dead_run_does_not_keep_its_task_from_running_by_hand(shop):
    # Given a run whose supervisor was killed, and no tick that would notice
    process = shop.start("Waiting")
    shop.wait_for("start")
    process.kill()
    process.communicate()
    shop.wait_for_silence()

    # When the list is printed, it says so already
    assert "✕ Waiting" in shop.run("list", env={"LC_ALL": "C.UTF-8"}).stdout

    # Then the next run of it is not skipped
    second = shop.start("run", "Waiting")
    shop.wait_for("start", 2)
    shop.open_gate()
    second.communicate(timeout=60)
    assert [run.state for run in shop.runs("Waiting")] == ["lost", "succeeded"]


def test_debug_runs_in_this_very_process_and_leaves_no_record(shop):
    # Given a task that stops in the debugger
    shop.write(
        "import sys",
        "class Puzzling(Task):",
        "    def run(self):",
        "        answer = 6 * 7",
        "        breakpoint()",
        "        raise ValueError(sys.path[0])",
    )

    # When it is run so on a terminal, looked at and let go on
    code, shown = on_a_terminal(shop, "run", "Puzzling", "--debug", keys=b"p 'answer', answer\nc\n")

    # Then the debugger worked, the traceback is whole, and nothing is on record
    assert "('answer', 42)" in shown
    assert f"ValueError: {shop.docroot}" in shown
    assert code == 1
    assert shop.runs() == []


def test_debug_commits_what_a_task_that_ends_well_has_written(shop):
    # Given a task that writes to the database, and fails when told to
    shop.write(
        "class Counting(Task):",
        "    def run(self):",
        "        self.database.cursor().execute('CREATE TABLE IF NOT EXISTS times (n)')",
        "        self.database.cursor().execute('INSERT INTO times VALUES (1)')",
        "        import os",
        "        if 'FAIL' in os.environ: raise ValueError",
        "        rows = self.database.cursor().execute('SELECT COUNT(*) FROM times').fetchone()",
        "        return f'{rows[0]} times'",
    )

    # When it is debugged, with a failure in between
    codes = [shop.run("run", "--debug", "Counting", env=env).returncode for env in ({}, {"FAIL": "1"})]
    ended = shop.run("run", "--debug", "Counting")

    # Then only what went well has counted
    assert codes == [0, 1]
    assert ended.stderr == "dracotask: Counting ok: 2 times\n"


# -- List, show, runs --------------------------------------------------------------------------------


def test_reading_makes_nothing_on_a_site_that_nobody_has_touched(site):
    # Given a docroot with a task file
    site.write(TASKS)
    before = sorted(os.listdir(site.docroot))

    # When all that only reads is asked
    calls = (["list"], ["runs"], ["log"], ["show", "Hello"], ["stop", "Hello"], ["hold", "Hello"], ["resume", "--all"])
    said = {words[0]: site.run(*words) for words in calls}

    # Then each says what is next, and nothing was made
    assert "has not been looked at yet" in said["list"].stdout
    assert said["runs"].stdout == "No runs yet.\n"
    assert "was never looked at. Take it in:" in said["show"].stderr
    assert [ended.returncode for ended in said.values()] == [0, 0, 0, 2, 2, 2, 2]
    assert json.loads(site.run("list", "--json").stdout) == json.loads(site.run("runs", "--json").stdout) == []
    assert sorted(os.listdir(site.docroot)) == before


def test_an_empty_site_teaches_how_to_begin(site):
    ended = site.run()

    assert ended.returncode == 0
    assert f"No tasks yet. Put a Task subclass in {site.docroot}/__tasks__.py:" in ended.stdout
    assert "from dracotask import Task" in ended.stdout


def test_the_list_has_a_line_for_each_task(shop):
    shop.run("Hello")
    shop.run("Failing")

    ended = shop.run(env={"LC_ALL": "C.UTF-8", "TZ": "Europe/Paris", "DRACOTASK_TIMEZONE": "Europe/Paris"})

    assert ended.returncode == 0
    assert re.search(r"^✓ Hello +daily 03:00 +\S.*ago +ok, .*: greeted$", ended.stdout, re.MULTILINE)
    assert re.search(r"^✕ Failing +on demand +- .*failed, .*ValueError: no such thing", ended.stdout, re.MULTILINE)
    assert "4 tasks, 1 failed. Times in Europe/Paris." in ended.stdout
    assert ended.stdout.endswith("show Failing\n")


def test_a_site_that_nobody_looks_after_says_so_with_the_line_for_cron(shop):
    # Given a site that no tick has come by
    said = shop.run("list").stdout
    assert "Nobody has looked yet" in said
    assert re.search(r"^  \* \* \* \* \* /.* due$", said, re.MULTILINE)

    # When one comes by
    shop.due()

    # Then that is not said, until two minutes have gone by without another
    assert "Nobody" not in shop.run("list").stdout
    then = os.stat(shop.state.next_file).st_mtime - 3600
    os.utime(shop.state.next_file, (then, then))
    assert "Nobody has looked since" in shop.run("list").stdout


def test_a_broken_task_file_is_said_above_the_list(shop):
    shop.write("class Hello(Task: pass")
    ended = shop.run("load")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.search(r"__tasks__\.py is broken: line \d+: SyntaxError", ended.stderr)
    first = shop.run("list").stdout.splitlines()[0]
    assert "__tasks__.py is broken: line" in first


def test_a_changed_task_file_is_said_above_the_list(shop):
    shop.write(TASKS, "# touched")

    assert "has changed since it was loaded" in shop.run("list").stdout


@pytest.mark.parametrize(
    "words", ["run Hello", "load", "stop Hello", "hold Hello", "drain", "init", "serve", "check", "console"]
)
def test_with_a_broken_configuration_nothing_is_done(shop, words):
    shop.put("dracotask.toml", "max_runing = 3\n")

    ended = shop.run(*words.split())

    assert ended.returncode == 2
    assert "Did you mean max_running?" in ended.stdout + ended.stderr


def test_with_a_broken_configuration_reading_goes_on_under_a_banner(shop):
    shop.put("dracotask.toml", "max_runing = 3\n")

    ended = shop.run("list")

    assert ended.returncode == 0
    assert "Did you mean max_running?" in ended.stdout.splitlines()[0]
    assert shop.run("show", "Hello").returncode == 0


def test_a_task_file_that_is_gone_is_told_above_the_list(shop):
    os.unlink(shop.state.task_file)

    ended = shop.run("list")

    assert f"{shop.state.task_file} does not exist.\n  Have one written: " in ended.stdout


def test_json_of_the_list_has_its_keys(shop):
    shop.run("Hello")

    found = {each["name"]: each for each in json.loads(shop.run("list", "--json").stdout)}

    hello, manual = found["Hello"], found["Slow"]
    assert list(hello) == ["name", "task", "trigger", "declared", "held", "next_fire_time", "next_retry", "last_run"]
    assert hello["trigger"].startswith("cron 0 3 * * * ")
    assert (hello["declared"], hello["held"]) == (True, False)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:00:00Z", hello["next_fire_time"])
    assert hello["last_run"]["summary"] == "greeted"
    assert (manual["trigger"], manual["next_fire_time"], manual["last_run"]) == (None, None, None)


def test_json_of_the_history_has_its_keys_newest_first(shop):
    shop.run("Hello")
    shop.run("Failing")

    runs = json.loads(shop.run("runs", "--json").stdout)

    assert list(runs[0])[:15] == [
        "id", "schedule", "task", "state", "origin", "fire_time", "queued_at", "started_at", "finished_at",
        "attempt", "host", "pid", "exit_code", "summary", "error",
    ]  # fmt: skip
    assert [run["task"] for run in runs] == ["Failing", "Hello"]
    assert (runs[1]["state"], runs[1]["origin"], runs[1]["exit_code"]) == ("succeeded", "command", 0)
    assert runs[1]["started_at"].endswith("Z")


def test_history_is_narrowed_by_task_number_and_failure(shop):
    for name in ("Hello", "Failing", "Hello"):
        shop.run(name)

    def listed(*options):
        return [run["task"] for run in json.loads(shop.run("runs", *options, "--json").stdout)]

    assert listed("Hello") == ["Hello", "Hello"]
    assert listed("-n", "2") == ["Hello", "Failing"]
    assert listed("--failed") == ["Failing"]
    assert shop.run("runs", "Slow").stdout == "No runs of Slow.\n"


def test_show_tells_all_of_a_task(shop):
    shop.run("Hello")

    said = shop.run("show", "Hello").stdout
    facts = json.loads(shop.run("show", "Hello", "--json").stdout)

    assert said.startswith("Hello\n  Says hello.\n")
    assert "daily 03:00" in said
    assert f"{shop.docroot}/__tasks__.py:" in said
    assert len(re.findall(r"T\d\d:00:00Z", said)) == 5
    assert "ok, " in said
    assert len(facts["next_fire_times"]) == 5
    assert facts["schedule"] == "daily 03:00"
    assert facts["policy"]["time_limit"] == 86400


def test_show_says_why_a_task_does_not_run(shop):
    process = shop.start("Waiting")
    shop.wait_for("start")

    assert re.search(r"Now +running since .* as process \d+ on ", shop.run("show", "Waiting").stdout)

    shop.open_gate()
    process.communicate(timeout=60)
    shop.write("class Hello(Task: pass")
    shop.run("load")
    assert "waits for the task file to be mended (line" in shop.run("show", "Waiting").stdout


def test_load_says_what_is_new(site):
    site.write(TASKS)
    assert "+ Hello    daily 03:00\n" in site.run("load").stdout

    site.write(TASKS.replace("hour=3", "hour=4").partition("class Waiting")[0])
    said = site.run("load").stdout

    assert "~ Hello    daily 04:00, was daily 03:00\n" in said
    assert "  Slow     on demand\n" in said
    assert "- Waiting  gone from the file\n" in said


# -- Terminals ---------------------------------------------------------------------------------------


def test_a_terminal_gets_colours_unless_it_wants_none(shop):
    shop.run("Hello")

    _, coloured = on_a_terminal(shop, "list")
    _, plain = on_a_terminal(shop, "list", NO_COLOR="1")

    assert "\x1b[32m✓\x1b[0m Hello" in coloured
    assert "✓ Hello" in plain
    assert "\x1b" not in plain


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "", "LANG": "C"}, {"PYTHONIOENCODING": "latin-1"}])
def test_a_locale_without_utf_8_gets_ascii_marks(shop, locale):
    shop.run("Hello")

    _, shown = on_a_terminal(shop, "list", NO_COLOR="1", **locale)

    assert "+ Hello" in shown


def test_a_terminal_cuts_what_a_pipe_gets_in_full(shop):
    shop.write("class Wordy(Task):", "    def run(self):", "        return 'word ' * 80 + 'end'")
    shop.run("Wordy")

    _, shown = on_a_terminal(shop, "list", COLUMNS="80", NO_COLOR="1")
    piped = shop.run("list", env={"COLUMNS": "80"}).stdout

    assert re.search(r"Wordy .* word.*…$", shown, re.MULTILINE)
    assert "word end\n" in piped


def test_the_list_is_kept_on_the_screen_until_ctrl_c(shop):
    # Given a terminal with the list on it
    ours, theirs = pty.openpty()
    process = shop.start("list", "-w", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""

    # When a task runs meanwhile
    def seen(text):
        nonlocal shown
        shown += os.read(ours, 1 << 16)
        return text in shown

    until(lambda: seen(b"4 tasks"))
    shop.run("Hello")

    # Then its result comes up, and Ctrl-C is a good end
    until(lambda: seen(b"greeted"))
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    os.close(ours)


def test_the_list_is_not_kept_on_the_screen_of_a_pipe(shop):
    assert shop.run("list", "-w").returncode == 2


# -- Output ------------------------------------------------------------------------------------------


def test_log_prints_the_output_of_the_last_run_or_of_one(shop):
    shop.run("Failing")
    shop.run("Hello")
    failing = shop.last_run("Failing")

    assert shop.run("log", "Hello").stdout == "hello\n"
    assert shop.run("log", failing.id).stdout.startswith("on the way\nTraceback")
    assert "Loaded" in shop.run("log").stdout


def test_log_of_a_task_that_never_ran_says_so(shop):
    ended = shop.run("log", "Hello")

    assert ended.returncode == 2
    assert "Hello has never run. Run it now:" in ended.stderr


def test_escapes_are_made_visible_on_a_terminal_and_kept_for_a_pipe(shop):
    shop.write("class Evil(Task):", "    def run(self):", r"        print('\x1b[2Jred \u202elive\r')")
    shop.run("Evil")

    _, shown = on_a_terminal(shop, "log", "Evil")
    piped = shop.run("log", "Evil").stdout

    assert shown == "\\x1b[2Jred \\u202elive\n"
    assert piped == "\x1b[2Jred \u202elive\n"


def test_log_follows_a_run_to_its_end(shop):
    # Given a run at work, and somebody who follows its output
    run = shop.start("Waiting")
    shop.wait_for("start")
    follower = shop.start("log", "-f", "Waiting")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "waiting\n"

    # When the run goes on and ends
    shop.open_gate()
    run.communicate(timeout=60)

    # Then the follower has the rest, and ends too
    out, _ = follower.communicate(timeout=60)
    assert (out, follower.returncode) == ("let through\n", 0)


def test_a_follower_sees_each_byte_once_while_the_tail_is_written_anew(tmp_path):
    # Given an output of at most twenty bytes, ten of them the head
    kept = RunOutput(str(tmp_path / "log"), 20)
    follower = OutputFile(str(tmp_path / "log"), 20)
    seen = []

    # When it is followed closely while it grows beyond that
    for number in range(10):
        kept.write(b"line %d\n" % number)
        kept.flush()
        seen += follower.news()

    # Then nothing is missing, and nothing comes twice
    assert b"".join(seen) == b"".join(b"line %d\n" % number for number in range(10))


def test_a_follower_who_comes_late_is_told_what_was_left_out(tmp_path):
    kept = RunOutput(str(tmp_path / "log"), 20)
    kept.write(b"0123456789" * 10)
    kept.close()

    assert b"".join(OutputFile(str(tmp_path / "log"), 20).news()) == (
        b"0123456789\n[dracotask: 80 bytes left out]\n0123456789"
    )


def test_a_task_that_prints_our_mark_is_taken_by_its_word(tmp_path):
    told = b"0123456789\n[dracotask: 7 bytes left out]\nx"
    kept = RunOutput(str(tmp_path / "log"), 100)
    kept.write(told)
    kept.close()

    assert b"".join(OutputFile(str(tmp_path / "log"), 100).news()) == told


# -- Init and serve ----------------------------------------------------------------------------------


def test_init_makes_a_site_whose_next_two_commands_work(site):
    # When a site is begun
    ended = site.run("init")

    # Then the commands it names do their work
    assert ended.returncode == 0
    assert re.search(r"dracotask\.py \S+ Hello  ", ended.stdout)
    hello = site.run("Hello")
    assert (hello.returncode, hello.stdout) == (0, "Hello from dracotask.\n")
    assert "said hello" in site.run().stdout


def test_init_never_touches_a_task_file_that_is_there(shop):
    before = (shop.docroot / "__tasks__.py").read_bytes()

    assert shop.run("init").returncode == 0
    assert (shop.docroot / "__tasks__.py").read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away, as only root can")
def test_root_gives_the_state_folder_to_the_site_s_user(site):
    # Given a site of another user
    os.chown(site.docroot, 1, 1)

    # When root makes its state folder for him
    refused, ended = site.run("init"), site.run("init", "--user", "daemon")

    # Then it is his, and root is sent to work as him from now on
    assert refused.returncode == 2
    assert ended.returncode == 0, ended.stderr
    assert {os.stat(path).st_uid for path in (site.state.path, site.state.runs_folder)} == {1}
    assert "sudo -u daemon " in ended.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away, as only root can")
def test_root_is_not_led_outside_by_what_lies_in_a_state_folder(shop, tmp_path):
    # Given traps laid in a state folder
    (tmp_path / "passwd").write_text("root")
    os.symlink(tmp_path / "passwd", f"{shop.state.path}/link")
    os.link(tmp_path / "passwd", f"{shop.state.path}/name")

    # When root gives the folder away
    assert shop.run("init", "--user", "daemon").returncode == 0

    # Then what lies outside of it is as before
    assert os.stat(tmp_path / "passwd").st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of another user")
@pytest.mark.parametrize(
    "words",
    ["list", "Hello", "run Hello", "show Hello", "runs", "log", "stop Hello", "hold Hello", "drain", "load"],
)
def test_another_user_is_told_the_exact_command(shop, words):
    os.chown(shop.state.path, 1, 1)

    ended = shop.run(*words.split())

    os.chown(shop.state.path, 0, 0)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.search(rf"belongs to daemon, .* As daemon: sudo -u daemon .* {words}\n$", ended.stderr)


@pytest.fixture
def serving(site):
    """Start ``serve`` on a free port, and return its address and the process."""
    started = []

    def start(*arguments):
        process = site.start("serve", "--port", "0", *arguments, stderr=subprocess.DEVNULL)
        started.append(process)
        said = process.stdout.readline()
        return re.search(r"http://127\.0\.0\.1:\d+", said)[0], said, process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    site.wait_for_silence()


def answer(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address, timeout=60) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, ""


@pytest.mark.server
def test_serve_shows_the_files_of_a_docroot_and_keeps_the_private_ones(site, serving):
    # Given a docroot with files of all kinds
    site.write(TASKS)
    site.put("hello.txt", "good day")
    site.put("secret.py", "KEY = 1")
    site.put(".env", "KEY=1")

    # When it is served
    address, said, process = serving()

    # Then there is a page with the public ones, and only these are handed out
    assert "with 4 tasks" in said
    status, page = answer(f"{address}/")
    assert status == 200
    assert "hello.txt" in page
    assert "secret" not in page
    assert answer(f"{address}/hello.txt") == (200, "good day")
    private = ["__tasks__.py", "secret.py", ".env", ".dracotask/state.db", ".dracotask/", "dracotask.toml", "%2e%2e/"]
    assert {answer(f"{address}/{name}")[0] for name in private} == {404}

    # And Ctrl-C is a good end
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


@pytest.mark.server
def test_serve_runs_the_application_of_the_site_and_its_tasks(site, serving):
    # Given a site with a wsgi.py that imports from beside it, and a task that is due each second
    site.write("class Tick(Task):", "    def __init__(self):", "        self.schedule(every='1s')",
               "    def run(self):", "        tell(self)")  # fmt: skip
    site.put("helper.py", "WORD = b'from beside'")
    site.put(
        "wsgi.py",
        "import os, helper\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [helper.WORD, os.getcwd().encode()]\n",
    )

    # When it is served
    address, _, _ = serving()

    # Then it answers, its private files are refused, and the task runs
    assert answer(f"{address}/") == (200, f"from beside{site.docroot}")
    assert answer(f"{address}/__tasks__.py")[0] == 404
    site.wait_for("start")


@pytest.mark.server
def test_serve_survives_a_client_that_hangs_up(site, serving):
    # Given an answer that is long in coming
    site.put(
        "wsgi.py",
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    if environ['PATH_INFO'] == '/long':\n"
        "        return (b'x' * 65536 for _ in range(1000))\n"
        "    return [b'there']\n",
    )
    address, _, _ = serving()
    port = int(address.rpartition(":")[2])

    # When its reader goes away
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /long HTTP/1.0\r\n\r\n")
        client.recv(100)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    # Then the server is still there
    assert answer(f"{address}/") == (200, "there")


def test_a_port_in_use_is_one_clear_sentence(shop):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended = shop.run("serve", "--port", str(port))

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"dracotask: Port {port} of 127.0.0.1 is in use by another program.")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "wsgi, complaint",
    [("app = print\n", "It has an app: write application = app"), ("1 / 0\n", "cannot be loaded: ZeroDivisionError")],
)
def test_a_wsgi_file_that_serves_nothing_is_told_why(shop, wsgi, complaint):
    shop.put("wsgi.py", wsgi)

    ended = shop.run("serve", "--port", "0")

    assert ended.returncode == 2
    assert complaint in ended.stderr.splitlines()[-1]


def test_output_into_a_pipe_that_closes_costs_the_output_and_never_the_run(shop):
    # Given a run whose reader goes away
    process = shop.start("Waiting")
    shop.wait_for("start")
    process.stdout.close()

    # When it prints on
    shop.open_gate()

    # Then it ends well, and its output is kept
    assert process.wait(60) == 0
    assert shop.output(shop.last_run("Waiting")) == "waiting\nlet through\n"
    process.communicate()
