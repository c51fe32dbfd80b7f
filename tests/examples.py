"""The example sites of docs/examples, each in a folder of its own and under the server that its own words name."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

from servers import free_port
from sites import Site, until

from dracotask.model import ACTIVE, SUCCEEDED, Run

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
SECOND = timedelta(seconds=1)

#: What a server is told besides what the example says, so that tests do not meet at a port.
PORT_OPTIONS = {
    "gunicorn": ["--bind", "127.0.0.1:PORT", "--no-control-socket"],
    "uvicorn": ["--port", "PORT"],
    "pserve": ["http_port=PORT"],
    "flask_by_stat.py": ["--port", "PORT"],
    "python": ["127.0.0.1:PORT"],
}


class Example:
    """One example, with its task due every second.

    :param site: the docroot that it is put into.
    """

    def __init__(self, name: str, site: Site) -> None:
        self.site = site
        shutil.copytree(EXAMPLES / name, site.docroot, dirs_exist_ok=True)
        file = site.docroot / "__tasks__.py"
        assert 'every="5s"' in file.read_text()
        file.write_text(file.read_text().replace('every="5s"', 'every="1s"'))
        # Nothing of the checkout on the path: the example finds what is installed, as its reader's would.
        others = ("PYTHON", "DRACOTASK_", "PYTEST")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**kept, "PATH": path, "PYTHONPATH": ".", "DRACOTASK_TEST_MARK": site.mark}
        self.log = site.docroot.parent / "server.log"

    def says(self, command: str) -> bool:
        """Tell whether a command stands in the example as it is read."""
        files = [path for path in self.site.docroot.rglob("*.py") if path.name in ("wsgi.py", "shop.py", "manage.py")]
        return any(f"    {command}" in path.read_text() for path in files)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the example's folder to its end."""
        return subprocess.run(
            command, cwd=self.site.docroot, env=self.environment, text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip

    @contextmanager
    def served(self, *words: str) -> Iterator[int]:
        """Serve it while that lasts; yield the port."""
        port = free_port()
        name = next(name for name in PORT_OPTIONS if name in words)
        options = [option.replace("PORT", str(port)) for option in PORT_OPTIONS[name]]
        with open(self.log, "ab") as log:
            server = subprocess.Popen(
                [*words, *options], cwd=self.site.docroot, env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            until(lambda: server.poll() is not None or self.listens(port), f"it listens\n{self.words()}", patience=30)
            assert server.poll() is None, self.words()
            yield port
        finally:
            server.send_signal(signal.SIGINT if "python" in words else signal.SIGTERM)
            server.wait(20)

    def words(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def listens(self, port: int) -> bool:
        try:
            self.get(port, "/")
        except OSError:
            return False
        return True

    def get(self, port: int, path: str, **headers: str) -> tuple[int, str]:
        """Return status and body of a page, asked for on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", path, headers={"Connection": "close", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    # -- What its task did -----------------------------------------------------------------

    def first_sight(self) -> datetime:
        """Load the task, and return after which moment it counts as due."""
        ended = self.run("dracotask", ".", "load")
        assert ended.returncode == 0, ended.stderr
        return self.site.schedule("Stocktaking").watermark

    def done(self) -> list[Run]:
        return self.site.runs("Stocktaking", states=[SUCCEEDED])

    def wait_for_runs(self, number: int) -> None:
        until(lambda: len(self.done()) >= number, f"{number} runs have succeeded\n{self.words()}", patience=30)

    def assert_each_fire_time_was_once(self, first_sight: datetime) -> None:
        """Every fire time is on record once, and each of those that ran did so once."""
        until(lambda: not self.site.runs(states=ACTIVE), "everything is over")
        rows, watermark = self.site.runs("Stocktaking"), self.site.schedule("Stocktaking").watermark
        due = seconds_between(first_sight, watermark)
        assert Counter(time for row in rows for time in covered(row)) == Counter(due)
        ran = [str(run.fire_time) for run in self.done()]
        assert sorted((self.site.docroot / "stock.txt").read_text().splitlines()) == sorted(ran)


def seconds_between(after: datetime, until: datetime) -> list[datetime]:
    """Return the whole seconds later than ``after``, up to ``until``."""
    first = after.replace(microsecond=0) + SECOND
    return [first + number * SECOND for number in range(int((until - first) / SECOND) + 1)]


def covered(row: Run) -> list[datetime]:
    """Return the fire times that a row stands for."""
    return [row.fire_time] if row.fire_from is None else seconds_between(row.fire_from - SECOND, row.fire_time)
