"""A run by hand on a real terminal: live output, and below it how far the work is; and what ``-q`` leaves of it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta

import pytest
from helpers import NOON, a_run, a_schedule
from sites import SCRIPT, Site, until
from test_lean_path import forbidden, imported_by

from dracotask.cli.bar import drawn, percent, progress_line
from dracotask.cli.output import Paper, cells
from dracotask.cli.tables import task_lines, task_table

TASKS = (
    "class Index(Task):",
    "    def run(self):",
    "        tell(self)",
    "        exec(open('deeds').read())",
    "        return 'all pages'",
)


def do(site: Site, *deeds: str) -> None:
    """Have the task do this when it runs."""
    site.put("deeds", "\n".join(deeds) + "\n")
    if not os.path.exists(site.state.task_file):
        site.write(*TASKS)
        site.run("load")


class Terminal:
    """A terminal of which the tests see the screen: as much of one as the bar needs, with no end below.

    :ivar raw: all that came.
    """

    def __init__(self, columns: int = 80) -> None:
        self.ours, self.theirs = os.openpty()
        self.raw = b""
        self.resize(columns)

    def resize(self, columns: int) -> None:
        self.columns = columns
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self) -> None:
        os.set_blocking(self.ours, False)
        try:
            while data := os.read(self.ours, 1 << 16):
                self.raw += data
        except OSError:
            pass  # nothing there yet, or nobody at the other end any more

    def screen(self) -> list[str]:
        """Return the lines that can be seen, without blanks behind them."""
        self.read()
        lines, row, column = [""], 0, 0
        text = self.raw.decode("utf-8", "ignore")
        for token in re.findall(r"\033\[[0-9;?]*[A-Za-z]|[\s\S]", text):
            if token == "\r":
                column = 0
            elif token == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif token == "\033[K":
                lines[row] = lines[row][:column]
            elif not token.startswith("\033"):
                lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + 1 :]
                column += 1
        return [line.rstrip() for line in lines]

    def bar(self) -> str:
        """Return the last line if it is a bar, else ""."""
        last = self.screen()[-1]
        return last if "%" in last else ""

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@contextmanager
def at(terminal: Terminal, site: Site, *arguments: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Start a command at a terminal that is its own, with Ctrl-C and all."""
    variables = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "NO_COLOR": "", **options.pop("env", {})}  # type: ignore[dict-item]
    streams = {"stdin": terminal.theirs, "stdout": terminal.theirs, "stderr": terminal.theirs, **options}
    own = lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # noqa: E731
    yield site.start(*arguments, env=variables, start_new_session=True, preexec_fn=own, **streams)


def ended(terminal: Terminal, process: subprocess.Popen[str]) -> int:
    """Wait for the end of a command; the terminal takes all the while what it prints."""
    until(lambda: terminal.read() or process.poll() is not None, "it ends")
    return process.returncode


# -- The bar -------------------------------------------------------------------------------------


def test_a_terminal_shows_how_far_a_run_is_below_what_it_prints_until_it_ends(site, terminal):
    # Given a task that prints, says how far it is, and goes on
    do(
        site, "print('one')", "self.progress(63, 100, 'page 63')", "print('two')", "wait_at_gate()", "print('three')",
        "self.progress(90, 100, 'page 90')", "wait_at_gate()",
    )  # fmt: skip

    # When it runs at a terminal
    with at(terminal, site, "Index") as process:
        # Then the bar stands below its output
        bar = until(terminal.bar, "a bar")
        assert terminal.screen()[:2] == ["one", "two"]
        assert bar.startswith(" 63% ██████") and bar.endswith("page 63")
        until(lambda: re.search(r"·  about \S+ left  page 63$", terminal.bar()), "it says what is left")

        # And is redrawn in its place
        site.open_gate()
        until(lambda: " 90% " in terminal.bar(), "it moves")
        assert terminal.screen()[:3] == ["one", "two", "three"] and len(terminal.screen()) == 4

        # And is gone at the end
        site.open_gate()
        assert ended(terminal, process) == 0
    assert terminal.screen()[:3] == ["one", "two", "three"]
    assert re.fullmatch(r"✓ Index ok in \S+: all pages", terminal.screen()[3])
    assert "\033[36m" in terminal.raw.decode()


def test_where_nobody_knows_of_how_much_it_counts(site, terminal):
    do(site, "self.progress(1200, None, 'rows')", "wait_at_gate()")
    with at(terminal, site, "Index") as process:
        until(lambda: re.fullmatch(r"1200 done  \S+  rows", terminal.screen()[-1]), "it counts")
        site.open_gate()
        assert ended(terminal, process) == 0


def test_an_open_line_of_output_is_left_alone(site, terminal):
    # Given a task that asks for patience in the midst of a line
    do(
        site, "self.progress(1, 2)", "wait_at_gate()", "print('wait', end='', flush=True)",
        "self.progress(3, 4)", "wait_at_gate()", "print(' ... done')", "wait_at_gate()", "print('no end', end='')",
    )  # fmt: skip
    with at(terminal, site, "Index") as process:
        until(terminal.bar, "a bar")

        # When it prints that, then the bar makes room
        site.open_gate()
        until(lambda: terminal.screen() == ["wait"], "the bar is gone")

        # And is back when the line has ended
        site.open_gate()
        until(lambda: " 75% " in terminal.bar(), "it is back")
        assert terminal.screen()[0] == "wait ... done"
        site.open_gate()
        assert ended(terminal, process) == 0
    assert terminal.screen()[1].startswith("no end") and "%" not in terminal.screen()[1]


def test_a_window_that_is_made_narrow_keeps_the_bar_in_one_line(site, terminal):
    do(site, "self.progress(1, 2, 'x' * 200)", "wait_at_gate()")
    with at(terminal, site, "Index") as process:
        until(terminal.bar, "a bar")
        assert cells(terminal.bar()) == 79

        terminal.resize(24)

        until(lambda: 0 < cells(terminal.bar()) <= 23, "it is narrow")
        site.open_gate()
        assert ended(terminal, process) == 0


def test_long_lines_and_much_output_come_through_whole(site, terminal):
    # Given a task that prints much, and tells of it
    line = "print(f'{number:03d} ' + 'y' * 400)"
    do(site, "for number in range(300):", "    self.progress(number + 1, 300)", f"    {line}")
    with at(terminal, site, "Index") as process:
        assert ended(terminal, process) == 0
    lines = terminal.screen()
    assert lines[:300] == [f"{number:03d} {'y' * 400}" for number in range(300)]
    assert "Index ok" in lines[300]


def test_ctrl_c_leaves_no_bar_behind(site, terminal):
    do(site, "self.progress(1, 2, 'half')", "wait_at_gate()")
    with at(terminal, site, "Index") as process:
        until(terminal.bar, "a bar")
        terminal.type(b"\x03")
        assert ended(terminal, process) == 130
    assert not any("%" in line for line in terminal.screen())
    assert any("Index stopped" in line for line in terminal.screen())


def test_a_task_cannot_steer_the_terminal_by_what_it_notes(site, terminal):
    do(site, "self.progress(1, 2, 'a\\033[2Jb')", "wait_at_gate()")
    with at(terminal, site, "Index") as process:
        assert until(terminal.bar, "a bar").endswith("a [2Jb")
        site.open_gate()
        assert ended(terminal, process) == 0
    assert b"\033[2J" not in terminal.raw


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({"env": {"TERM": "dumb"}}, ()), ({"stderr": subprocess.DEVNULL}, ()), ({"stdout": subprocess.PIPE}, ()),
        ({}, ("-q",)), ({}, ("-q", "--even-if-held")),
    ],
    ids=["dumb", "stderr elsewhere", "stdout elsewhere", "quiet", "quiet command"],
)  # fmt: skip
def test_there_is_no_bar_where_nobody_wants_one(site, terminal, options, arguments):
    do(site, "self.progress(1, 2)", "__import__('time').sleep(0.5)")
    with at(terminal, site, "Index", *arguments, **options) as process:
        assert ended(terminal, process) == 0
    assert b"%" not in terminal.raw and b"\033[K" not in terminal.raw


def test_without_colour_the_bar_has_none(site, terminal):
    do(site, "self.progress(1, 2)", "wait_at_gate()")
    with at(terminal, site, "Index", env={"NO_COLOR": "1"}) as process:
        until(terminal.bar, "a bar")
        site.open_gate()
        assert ended(terminal, process) == 0
    assert b"\033[3" not in terminal.raw


# -- Quiet -----------------------------------------------------------------------------------------


def test_a_quiet_run_says_nothing_when_it_is_well_and_all_when_it_fails(site):
    # Given a task that prints
    do(site, "print('counting')")
    well = site.run("Index", "-q")
    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")

    # When it fails, then cron has something to mail
    do(site, "print('counting')", "raise ValueError('no figures')")
    for option in ("-q", "--quiet"):
        bad = site.run("Index", option)
        assert bad.returncode == 1
        assert bad.stdout.startswith("counting\n") and "ValueError: no figures" in bad.stdout
        assert bad.stderr == "dracotask: Index failed: ValueError: no figures\n"


def test_a_quiet_run_by_cron_is_as_lean_as_any(site):
    do(site, "pass")
    assert forbidden(imported_by(SCRIPT, site.docroot, "Index", "-q")) - imported_by("-c", "import sqlite3") == set()


def test_a_quiet_run_of_nothing_is_told(site):
    do(site, "pass")
    ended = site.run("Indx", "-q")
    assert ended.returncode == 2 and "Did you mean Index?" in ended.stderr


# -- Drawn -----------------------------------------------------------------------------------------


def test_a_bar_is_drawn_by_eighths_and_without_unicode_by_letters():
    plain = Paper(unicode=False)
    assert [drawn(share, 4, Paper()) for share in (0, 0.03, 0.5, 0.63, 1)] == ["····", "····", "██··", "██▌·", "████"]
    assert [drawn(share, 4, plain) for share in (0, 0.5, 0.63, 1)] == ["....", "##..", "##..", "####"]


def test_a_hundred_is_said_only_of_what_is_done():
    assert [percent(share) for share in (0, 0.639, 0.999, 1)] == ["0%", "63%", "99%", "100%"]


def test_a_bar_fits_any_terminal():
    run = a_run(
        state="running", started_at=NOON - timedelta(minutes=1), progress_done=2, progress_total=3,
        progress_note="第一 page, of many that are still to come",
    )  # fmt: skip
    for width in range(1, 121):
        for paper in (Paper(), Paper(unicode=False)):
            assert cells(progress_line(run, NOON, paper, width)) <= width


def test_the_list_on_a_terminal_has_a_bar_for_what_is_at_work():
    # Given a run that is at 63 %
    run = a_run(state="running", started_at=NOON - timedelta(seconds=43), progress_done=63, progress_total=100)
    lines = task_lines([a_schedule()], {"Report": run}, {}, now=NOON, zone=UTC, late_after=300)

    # When it is listed on a wide terminal, on a narrow one, and in a pipe
    wide, narrow, piped = (task_table(lines, Paper(width=width))[1] for width in (120, 60, None))

    # Then there is a bar where there is room
    assert "63% ██████▎··· 25s left" in wide
    assert "63%" in narrow and "█" not in narrow
    assert "running, 63 %" in piped
