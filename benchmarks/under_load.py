"""A minute of ten tasks of one second under gunicorn with four workers, while visitors come and workers die.

    python benchmarks/under_load.py [--seconds 60] [--kill-every 3]

Every fire time is looked for in the store's rows (ranges included) and in the tasks' own witness file.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from common import CHECKOUT, ENVIRONMENT, quantile, say, site

TASKS = """
import os
from dracotask import Task

for number in range(10):
    def __init__(self):
        self.schedule(every="1s")
    def run(self):
        line = f"{self.current_run.schedule} {self.current_run.fire_time.isoformat()}\\n"
        witness = os.open("witness", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(witness, line.encode())
        os.close(witness)
    type(f"Task{number}", (Task,), {"__init__": __init__, "run": run, "__module__": __name__})
"""

WSGI = """
import os
from dracotask import TaskMiddleware

def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"shop\\n"]

application = TaskMiddleware(site, os.path.dirname(os.path.abspath(__file__)))
"""

SECOND = timedelta(seconds=1)


class Visitors:
    """A few browsers that ask again and again, and count what fails."""

    def __init__(self, port: int, count: int = 4, pause: float = 0.03) -> None:
        self.port, self.pause = port, pause
        self.answers: Counter[str] = Counter()
        self.milliseconds: list[float] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.visit, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def visit(self) -> None:
        while not self.stopping.wait(self.pause):
            begun = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request("GET", "/cart")
                self.answers[str(connection.getresponse().status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.answers[type(error).__name__] += 1
            finally:
                connection.close()
            self.milliseconds.append((time.monotonic() - begun) * 1000)

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def bodies(docroot: Path) -> int:
    """Count the bodies at work: they lead their sessions, and are children of a supervisor of this docroot."""
    return sum(is_body(int(name), docroot) for name in os.listdir("/proc") if name.isdigit())


def is_body(pid: int, docroot: Path) -> bool:
    try:
        if os.getsid(pid) != pid:
            return False
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        words = Path(f"/proc/{parent}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return False
    return str(docroot) in words and any(word.endswith("dracotask.py") for word in words)


def workers(master: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_gunicorn(docroot: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gunicorn", "-w", "4", "--threads", "2", "-b", f"127.0.0.1:{port}"]
    command += ["--no-control-socket", "--chdir", str(docroot), "wsgi:application"]
    environment = {**ENVIRONMENT, "PYTHONPATH": str(CHECKOUT)}
    # Not in the docroot itself: there is where bodies are looked for.
    server = subprocess.Popen(command, env=environment, cwd="/", stderr=subprocess.DEVNULL)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return server
        except OSError:
            time.sleep(0.05)


def watch(docroot: Path, server: subprocess.Popen[bytes], seconds: float, kill_every: float) -> tuple[int, int]:
    """Let it run; return the most bodies ever seen at once, and how many workers were killed."""
    most = killed = 0
    until, next_kill = time.monotonic() + seconds, time.monotonic() + kill_every
    while time.monotonic() < until:
        most = max(most, bodies(docroot))
        if kill_every and time.monotonic() >= next_kill:
            next_kill += kill_every
            victims = workers(server.pid)
            if victims:
                os.kill(victims[killed % len(victims)], signal.SIGKILL)
                killed += 1
        time.sleep(0.02)
    return most, killed


def outcomes(docroot: Path, begun: datetime, ended: datetime) -> dict[str, object]:
    """Hold every fire time between two moments against the store and the witness."""
    store = sqlite3.connect(docroot / ".dracotask" / "state.db")
    rows = store.execute("SELECT schedule, state, fire_from, fire_time, started_at FROM runs WHERE fire_time NOT NULL")
    covered: Counter[tuple[str, datetime]] = Counter()
    states: Counter[str] = Counter()
    late: list[float] = []
    for schedule, state, fire_from, fire_time, started_at in rows:
        last = datetime.fromisoformat(fire_time)
        moment = datetime.fromisoformat(fire_from) if fire_from else last
        while moment <= last:
            if begun <= moment <= ended:
                covered[schedule, moment] += 1
                states[state] += 1
            moment += SECOND
        if started_at and begun <= last <= ended:
            late.append((datetime.fromisoformat(started_at) - last).total_seconds() * 1000)
    expected = [(f"Task{n}", begun + SECOND * k) for n in range(10) for k in range(int((ended - begun) / SECOND) + 1)]
    starts = Counter(line for line in (docroot / "witness").read_text().splitlines())
    return {
        "fire times": len(expected),
        "without an outcome": sum(1 for key in expected if not covered[key]),
        "with two outcomes": sum(1 for key in expected if covered[key] > 1),
        "started twice": sum(1 for count in starts.values() if count > 1),
        "states": dict(states),
        "started, %": 100 * sum(1 for s, m in expected if starts[f"{s} {m.isoformat()}"]) / len(expected),
        "start after fire time, ms (p50, p99)": f"{quantile(late, 0.5):.0f}, {quantile(late, 0.99):.0f}",
    }


def main(seconds: float, kill_every: float) -> None:
    with site(TASKS) as docroot:
        (docroot / "wsgi.py").write_text(WSGI)
        port = free_port()
        server = start_gunicorn(docroot, port)
        visitors = Visitors(port)
        try:
            time.sleep(4)
            begun = datetime.now(UTC).replace(microsecond=0) + SECOND
            most, killed = watch(docroot, server, seconds + 1, kill_every)
            ended = begun + SECOND * (int(seconds) - 1)
            time.sleep(3)
        finally:
            visitors.stop()
            server.terminate()
            server.wait()
        while bodies(docroot):
            time.sleep(0.1)
        found = outcomes(docroot, begun, ended)
    found |= {
        "most bodies at once (cap 4)": most,
        "workers killed": killed,
        "requests": dict(visitors.answers),
        "request p50, p99, ms": ", ".join(f"{quantile(visitors.milliseconds, share):.1f}" for share in (0.5, 0.99)),
    }
    say(f"gunicorn, 4 workers x 2 threads, ten tasks of one second, {seconds:.0f} s", list(found.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kill-every", type=float, default=0)
    options = parser.parse_args()
    main(options.seconds, options.kill_every)
