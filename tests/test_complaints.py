"""What users of other schedulers complain of (docs/from_asyncz.rst): each line names its tests, and here are some."""

from __future__ import annotations

import ast
import re
import sqlite3
import sys
import time
from pathlib import Path

import pytest
from servers import Kind, Server, SiteFolder, wait_until

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "from_asyncz.rst"

RELOADING = (
    "from werkzeug.serving import run_simple; import wsgi;"
    " run_simple('127.0.0.1', PORT, wsgi.application, use_reloader=True, threaded=True)"
)


def named_tests() -> list[tuple[str, str]]:
    return re.findall(r"``(test_\w+\.py)::(\w+)``", PAGE.read_text())


def complaints() -> list[str]:
    """Return the rows of the table of complaints."""
    table = PAGE.read_text().partition("What people complain of")[2]
    return table.split("\n   * - ")[2:]


def test_each_of_the_twenty_complaints_names_its_tests():
    assert len(complaints()) == 20
    assert all("``test_" in complaint for complaint in complaints())


@pytest.mark.parametrize("module, name", named_tests())
def test_the_tests_that_are_named_are_there(module, name):
    tree = ast.parse((HERE / module).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_store_holds_nothing_but_texts_and_numbers(site):
    # Given a site with runs that have arguments, a retry, a checkpoint and a failure
    site.write(
        "class Work(Task):",
        "    retries = 1",
        "    def __init__(self): self.schedule(every='1h')",
        "    def run(self, what: str = 'x'):",
        "        self.checkpoint({'seen': [1, 2]})",
        "        raise ValueError(what)",
    )
    site.run("Work")
    assert site.run("add", "Nightly", "Work", "every 1d", "what=y", "--why", "a test").returncode == 0

    # Then any SQL shell can read all of it
    connection = sqlite3.connect(site.state.store_file)
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for row in connection.execute(f"SELECT * FROM {table}"):
            assert not any(isinstance(value, bytes) for value in row), table
    connection.close()


@pytest.mark.server
def test_the_reloader_of_a_debug_server_runs_nothing_twice(tmp_path):
    # Given a server whose reloader keeps two processes of the site: one that watches, and one that serves
    folder = SiteFolder(tmp_path)
    folder.load()
    server = Server(Kind("werkzeug-reloader", [sys.executable, "-c", RELOADING]), folder)
    try:
        server.wake_workers()
        wait_until(lambda: len(server.members()) >= 2, "the reloader has started the server anew")

        # When a task falls due, and the site's code is saved meanwhile
        folder.make_due("Short")
        (folder.path / "wsgi.py").touch()
        server.get_many(10)
        wait_until(lambda: folder.told("Short"), "the task has run")
        time.sleep(1)  # for a second run that must not be

        # Then it has run once
        assert len(folder.told("Short")) == 1
    finally:
        server.kill()
        folder.end_everything()
