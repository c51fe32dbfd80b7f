"""The lean path stays lean: a run by name and a tick import nothing that they can do without."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "bin" / "dracotask.py"

#: What each start would pay for, and no run needs before a branch of it does.
FORBIDDEN = """
click werkzeug jinja2 watchdog asyncio logging json dataclasses typing re tomllib subprocess enum
pathlib traceback socket inspect functools contextlib collections.abc zoneinfo cronsim
"""

TASKS = """\
from dracotask import Task


class Hello(Task):
    def run(self):
        print("hello")
"""


def imported_by(*arguments: object) -> set[str]:
    """Return the modules that a Python process and its forked children imported; it has to end well."""
    command = [sys.executable, "-X", "importtime", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-2000:]
    return set(re.findall(r"^import time:.*\|\s+(\S+)$", ended.stderr, re.MULTILINE))


def forbidden(modules: set[str]) -> set[str]:
    names = set(FORBIDDEN.split())
    return {module for module in modules if module in names or module.split(".")[0] in names}


@pytest.mark.parametrize("what", ["Hello", "due"])
def test_a_run_and_a_tick_import_nothing_heavy(tmp_path, what):
    # Given a site with a task and a state folder that is already there
    (tmp_path / "__tasks__.py").write_text(TASKS)
    imported_by(SCRIPT, tmp_path, "Hello")

    # When the task is run, or a tick looks for what is due
    modules = imported_by(SCRIPT, tmp_path, what)

    # Then nothing came in beyond what the store's driver brings along in this version of Python
    assert "dracotask.cli.main" in modules
    assert forbidden(modules) - imported_by("-c", "import sqlite3") == set()
